use std::fmt::Display;

use crate::Error;
use crate::bindings::sluicebox::pipeline::{config, log, time};
use crate::log::Level;

pub(crate) use crate::bindings::sluicebox::pipeline::metrics::{Counter, Gauge, Histogram};

pub(crate) fn now() -> i64 {
    time::now()
}

pub(crate) fn max_level() -> Level {
    match log::max_level() {
        log::Level::Trace => Level::Trace,
        log::Level::Debug => Level::Debug,
        log::Level::Info => Level::Info,
        log::Level::Warn => Level::Warn,
        log::Level::Error => Level::Error,
    }
}

pub(crate) fn emit(level: Level, message: &str, fields: &[(&str, &dyn Display)]) {
    let level = match level {
        Level::Trace => log::Level::Trace,
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error => log::Level::Error,
    };
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
    log::emit(level, message, &fields);
}

pub(crate) fn config_get(key: &str) -> Result<Option<String>, Error> {
    config::get(key).map_err(|error| lookup(key, error))
}

pub(crate) fn config_secret(name: &str) -> Result<Vec<u8>, Error> {
    config::secret(name).map_err(|error| lookup(name, error))
}

fn lookup(name: &str, error: config::LookupError) -> Error {
    match error {
        config::LookupError::NotGranted => {
            Error::poison("not-granted", format_args!("`{name}` is not among the component's grants"))
        }
        config::LookupError::Unavailable(reason) => {
            Error::retryable("unavailable", format_args!("`{name}` cannot be looked up: {reason}"))
        }
    }
}
