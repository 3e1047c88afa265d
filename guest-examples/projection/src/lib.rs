//! Keeps `event_id`, `user_id` and `amount` of JSON records.

use sluicebox_guest::kinesis::{self, ElementFormat, ElementSchema};
use sluicebox_guest::{Config, Elements, Error, Record};

struct Projection;

impl kinesis::Deserializer for Projection {
    fn open(_config: &Config) -> Result<Self, Error> {
        Ok(Self)
    }

    fn deserialize(&mut self, record: &Record<'_>, out: &mut Elements) -> Result<(), Error> {
        out.try_write(|payload| transforms::project(record.data(), payload))
            .map_err(|error| Error::poison("no-projection", error))
    }

    fn schema(&self) -> ElementSchema {
        ElementSchema { format: ElementFormat::Json, fingerprint: 0 }
    }
}

sluicebox_guest::kinesis_deserializer!(Projection);
