use crate::bindings::kinesis::sluicebox::pipeline::elements::ElementBatch;
use crate::bindings::kinesis_converter::exports::sluicebox::pipeline::kinesis_element_converter::EntryBatch;
use crate::kinesis::Entries;
use crate::{Config, Element, Error};

/// Makes entries for a Kinesis stream of elements. Export an implementation with
/// [`kinesis_element_converter`](crate::kinesis_element_converter).
///
/// ```
/// use sluicebox_guest::kinesis::{ElementConverter, Entries};
/// use sluicebox_guest::{Config, Element, Error};
///
/// /// Sends `key=value` lines to the shard of their key.
/// struct Lines;
///
/// impl ElementConverter for Lines {
///     fn open(_config: &Config) -> Result<Self, Error> {
///         Ok(Self)
///     }
///
///     fn convert(&mut self, element: &Element<'_>, out: &mut Entries<'_>) -> Result<(), Error> {
///         let line = str::from_utf8(element.payload()).map_err(|error| Error::poison("not-utf8", error))?;
///         let (key, value) = line.split_once('=').ok_or_else(|| Error::poison("no-key", "a line is `key=value`"))?;
///         out.put(key, value.as_bytes());
///         Ok(())
///     }
/// }
///
/// sluicebox_guest::kinesis_element_converter!(Lines);
///
/// # fn main() -> Result<(), Error> {
/// // Natively, without a sandbox, the `testing` module runs the same code.
/// use sluicebox_guest::testing::{KinesisConverterInstance, TestElement};
/// let mut lines = KinesisConverterInstance::<Lines>::open([])?;
/// let outcome = lines.convert(&[TestElement::new("a=1"), TestElement::new("b")]);
/// assert_eq!((outcome.entries[0].partition_key.as_str(), outcome.entries[0].data.as_slice()), ("a", &b"1"[..]));
/// assert_eq!(outcome.errors[0].1.code(), "no-key");
/// # Ok(())
/// # }
/// ```
///
/// A subtask has one instance for each sink that names the component. It sees elements in the order of their shards, and
/// those of a failed batch again; what a deserializer may rely on holds here too.
pub trait ElementConverter: Sized + 'static {
    /// Makes an instance. Reads its configuration, makes its metrics.
    ///
    /// # Errors
    /// A retryable error is tried again in a new instance, any other stops the pipeline.
    fn open(config: &Config) -> Result<Self, Error>;

    /// Makes entries of one element: any number. None filters it, which the host counts.
    ///
    /// # Errors
    /// The entries of this element are taken back, and the error is the element's alone: the other elements of the batch
    /// are not affected.
    fn convert(&mut self, element: &Element<'_>, out: &mut Entries<'_>) -> Result<(), Error>;

    /// Called before an orderly end, never after a trap. What it returns is handed to [`restore`](Self::restore) of the
    /// instance that follows.
    ///
    /// # Errors
    /// Written to the log; the pipeline ends all the same.
    fn close(&mut self) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }

    /// Takes over what the instance before this one returned from [`close`](Self::close).
    ///
    /// # Errors
    /// The instance is not used.
    fn restore(&mut self, _snapshot: &[u8]) -> Result<(), Error> {
        Err(Error::poison("no-snapshots", "the component has no use for a snapshot"))
    }
}

/// Runs a converter over one batch, element by element, and packs its entries. For components that implement the raw
/// traits of [`bindings::kinesis_converter`](crate::bindings::kinesis_converter) themselves.
///
/// # Errors
/// Data was written by taking away that of other elements: the batch as a whole is lost.
pub fn convert<C: ElementConverter>(converter: &mut C, batch: &ElementBatch) -> Result<EntryBatch, Error> {
    let mut out = Entries::new(batch);
    for (index, input) in (0..batch.payload.ends.len()).zip(0..) {
        out.begin(input);
        let result = converter.convert(&Element::new(batch, index), &mut out);
        out.end(result)?;
    }
    Ok(out.finish())
}

/// Makes a component of a [`kinesis::ElementConverter`](crate::kinesis::ElementConverter): once, in a crate of type
/// `cdylib` that is built for `wasm32-wasip2`. Elsewhere it only checks that the type can be exported.
#[macro_export]
macro_rules! kinesis_element_converter {
    ($converter:ty) => {
        const _: () = {
            use $crate::bindings::kinesis_converter::exports::sluicebox::pipeline::kinesis_element_converter;
            use $crate::bindings::sluicebox::pipeline::types::GuestError;
            use $crate::kinesis::ElementConverter;

            $crate::__component!($converter as ElementConverter);

            impl kinesis_element_converter::Guest for Component {
                fn convert(
                    batch: kinesis_element_converter::ElementBatch,
                ) -> ::std::result::Result<kinesis_element_converter::EntryBatch, GuestError> {
                    INSTANCE.with(|slot| slot.with(|converter| $crate::kinesis::convert(converter, &batch)))
                }
            }

    $crate::export_component!(Component: kinesis_element_converter);
        };
    };
}
