//! Elements as lines on standard output, which carries data and nothing else.

use std::io::{self, Write};

use crate::columns::Column;
use crate::ports::{Settle, Sink, SinkError};

/// One element a line; flushed after each batch, so that a receipt means that the other side of the pipe can have it.
#[derive(Debug)]
pub struct Stdout {
    name: String,
    lines: Vec<u8>,
}

impl Stdout {
    /// The sink that the manifest calls `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), lines: Vec::new() }
    }
}

impl Sink for Stdout {
    fn resume(&mut self, _mark: Option<u64>) -> Result<Option<u64>, SinkError> {
        Ok(None)
    }

    fn write(&mut self, payloads: &Column) -> Result<Option<u64>, SinkError> {
        self.lines.clear();
        append_lines(&mut self.lines, payloads);
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(&self.lines).and_then(|()| stdout.flush());
        written.map(|()| None).map_err(|source| SinkError::Write {
            sink: self.name.clone(),
            target: "standard output".to_owned(),
            source,
        })
    }

    fn settle(&self) -> Result<Option<Settle>, SinkError> {
        Ok(None)
    }
}

/// One element a line. Payloads are the component's bytes as they are: one that holds a line feed spans lines.
pub(super) fn append_lines(lines: &mut Vec<u8>, payloads: &Column) {
    lines.reserve(payloads.bytes.len() + payloads.len());
    for payload in payloads.iter() {
        lines.extend_from_slice(payload);
        lines.push(b'\n');
    }
}
