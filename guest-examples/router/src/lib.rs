//! Emits JSON records unchanged, each on the route that one of its fields names: what has `"kind": "strong"` goes to the
//! sinks with `when = ["strong"]`, and to those without `when`.
//!
//! Configuration:
//!
//! - `route_field`: the field whose text is the route (required).
//! - `other`: the route of records that do not have the field. Without it they go to every sink.
//!
//! ```toml
//! config = { route_field = "kind", other = "weak" }
//! ```
//!
//! What is no JSON object is poison, `not-json`; so is a route that the field cannot name: `no-route`.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use sluicebox_guest::{Config, Elements, Error, Record, kinesis};

struct Router {
    route_field: String,
    other: Option<String>,
}

impl kinesis::Deserializer for Router {
    fn open(config: &Config) -> Result<Self, Error> {
        let missing = || Error::poison("invalid-config", "`route_field` must name the field of the route");
        Ok(Self {
            route_field: config.text("route_field")?.ok_or_else(missing)?.to_owned(),
            other: config.text("other")?.map(str::to_owned),
        })
    }

    fn deserialize(&mut self, record: &Record<'_>, out: &mut Elements) -> Result<(), Error> {
        // Names are owned, because a name with an escape cannot be borrowed.
        let fields: BTreeMap<String, &RawValue> =
            serde_json::from_slice(record.data()).map_err(|error| Error::poison("not-json", error))?;
        let named = fields.get(&self.route_field).map(|value| serde_json::from_str::<String>(value.get()));
        let named = named
            .transpose()
            .map_err(|_| Error::poison("no-route", format_args!("`{}` is no text", self.route_field)))?;
        let element = out.element();
        match named.as_ref().or(self.other.as_ref()) {
            Some(route) => element.route(route).push(record.data()),
            None => element.push(record.data()),
        }
        Ok(())
    }
}

sluicebox_guest::kinesis_deserializer!(Router);

#[cfg(test)]
mod tests {
    use sluicebox_guest::testing::{Instance, TestRecord};

    use super::*;

    const RECORDS: [&str; 4] = [r#"{"kind":"strong"}"#, r#"{ "n": 1 }"#, r#"{"kind":7}"#, "strong"];

    #[test]
    fn a_record_takes_the_route_of_its_field_unchanged() {
        let config = [("route_field", "kind".into()), ("other", "weak".into())];
        let mut router = Instance::<Router>::open(config).expect("it opens");
        let outcome = router.deserialize(&RECORDS.map(TestRecord::new));
        let routed: Vec<_> =
            outcome.elements.iter().map(|element| (element.payload.as_slice(), element.route.as_deref())).collect();
        assert_eq!(routed, [(RECORDS[0].as_bytes(), Some("strong")), (RECORDS[1].as_bytes(), Some("weak"))]);
        let codes: Vec<_> = outcome.errors.iter().map(|(_, error)| error.code()).collect();
        assert_eq!(codes, ["no-route", "not-json"]);
    }

    #[test]
    fn without_another_route_the_rest_goes_everywhere_and_without_a_field_it_does_not_open() {
        let mut router = Instance::<Router>::open([("route_field", "kind".into())]).expect("it opens");
        assert_eq!(router.deserialize(&[TestRecord::new(RECORDS[1])]).elements[0].route, None);
        assert!(Instance::<Router>::open([]).is_err());
    }
}
