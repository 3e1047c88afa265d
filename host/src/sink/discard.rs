//! The sink that confirms and keeps nothing: for measuring, and for components that act through imports.

use crate::columns::Column;
use crate::ports::{Settle, Sink, SinkError};

/// Confirms everything.
#[derive(Debug, Default)]
pub struct Discard;

impl Sink for Discard {
    fn resume(&mut self, _mark: Option<u64>) -> Result<Option<u64>, SinkError> {
        Ok(None)
    }

    fn write(&mut self, _payloads: &Column) -> Result<Option<u64>, SinkError> {
        Ok(None)
    }

    fn settle(&self) -> Result<Option<Settle>, SinkError> {
        Ok(None)
    }
}
