//! Emits every record unchanged: what a component costs that does nothing.

use sluicebox_guest::{Config, Elements, Error, Record, kinesis};

struct Passthrough;

impl kinesis::Deserializer for Passthrough {
    fn open(_config: &Config) -> Result<Self, Error> {
        Ok(Self)
    }

    fn deserialize(&mut self, record: &Record<'_>, out: &mut Elements) -> Result<(), Error> {
        out.write(|payload| transforms::pass(record.data(), payload));
        Ok(())
    }
}

sluicebox_guest::kinesis_deserializer!(Passthrough);
