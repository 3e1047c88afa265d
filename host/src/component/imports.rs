//! What the contract lets every component import: `log`, `metrics`, `config` and `time`. Nothing else is linked, so a
//! component that asks for more is refused when it is loaded, not when it first calls.
//!
//! Everything a component hands over here is bounded: lengths are cut, rates are limited, handles are counted. None of
//! these functions waits.

pub(crate) mod log;
pub(crate) mod metrics;

use wasmtime::component::{HasSelf, Linker};

use crate::component::bindings::sluicebox::pipeline::{config, time};
use crate::component::deserializer::ConfigValue;
use crate::component::state::State;

/// The interfaces of the contract that components may import and the host provides.
pub(super) const PROVIDED: [&str; 4] = ["log", "metrics", "config", "time"];

/// Adds the contract's imports to `linker`.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    use crate::component::bindings::sluicebox::pipeline::{log, metrics};
    log::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    metrics::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    config::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    time::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl time::Host for State {
    fn now(&mut self) -> wasmtime::Result<i64> {
        Ok(self.time.0)
    }
}

impl config::Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, config::LookupError>> {
        let entry = self.config.iter().find(|(name, _)| *name == key);
        Ok(Ok(entry.map(|(_, value)| as_text(value))))
    }

    fn secret(&mut self, _name: String) -> wasmtime::Result<Result<Vec<u8>, config::LookupError>> {
        Ok(Err(config::LookupError::NotGranted))
    }
}

/// A configured value as text, as TOML would spell it without quotes; octets in hexadecimal.
fn as_text(value: &ConfigValue) -> String {
    match value {
        ConfigValue::Text(text) => text.clone(),
        ConfigValue::Integer(number) => number.to_string(),
        ConfigValue::Float(number) => number.to_string(),
        ConfigValue::Boolean(truth) => truth.to_string(),
        ConfigValue::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
