//! Converters for DynamoDB sinks: items, and what to do with them.
//!
//! ```
//! use sluicebox_guest::dynamodb::{ElementConverter, Item, Number, Requests};
//! use sluicebox_guest::{Config, Element, Error};
//!
//! /// Keeps the last reading of each sensor: `sensor=degrees`, nothing behind the sign removes it.
//! struct Readings;
//!
//! impl ElementConverter for Readings {
//!     fn open(_config: &Config) -> Result<Self, Error> {
//!         Ok(Self)
//!     }
//!
//!     fn convert(&mut self, element: &Element<'_>, out: &mut Requests) -> Result<(), Error> {
//!         let line = str::from_utf8(element.payload()).map_err(|error| Error::poison("not-utf8", error))?;
//!         let (sensor, degrees) = line.split_once('=').ok_or_else(|| Error::poison("no-sensor", "no `=` in the line"))?;
//!         let key = Item::new().with("sensor", sensor);
//!         if degrees.is_empty() {
//!             out.delete(&key);
//!         } else {
//!             out.put(&key.with("degrees", Number::parse(degrees)?).with("at", element.event_time()));
//!         }
//!         Ok(())
//!     }
//! }
//!
//! sluicebox_guest::dynamodb_element_converter!(Readings);
//!
//! # fn main() -> Result<(), Error> {
//! // Natively, without a sandbox, the `testing` module runs the same code.
//! use sluicebox_guest::dynamodb::Action;
//! use sluicebox_guest::testing::{DynamodbConverterInstance, TestElement};
//! let mut readings = DynamodbConverterInstance::<Readings>::open([])?;
//! let outcome = readings.convert(&[
//!     TestElement::new("attic=21.50").event_time(7),
//!     TestElement::new("cellar="),
//!     TestElement::new("attic=warm"),
//! ]);
//! let reading = Item::new().with("sensor", "attic").with("degrees", Number::parse("21.5")?).with("at", 7);
//! assert_eq!((outcome.requests[0].action, &outcome.requests[0].item), (Action::Put, &reading));
//! assert_eq!(outcome.requests[1].action, Action::Delete);
//! assert_eq!(outcome.errors[0].1.code(), "invalid-number");
//! # Ok(())
//! # }
//! ```

mod number;
mod item;
mod forest;
mod requests;
mod converter;

pub use converter::{ElementConverter, convert};
pub use item::{Item, Value};
pub use number::Number;
pub use requests::{Action, Requests};
