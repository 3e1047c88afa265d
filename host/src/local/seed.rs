//! Reads a seed: a file of JSON lines, each a record with its partition key inside.

use std::fs::File;
use std::io::{BufRead, BufReader};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{LocalError, Seed};

/// The largest record that a stream takes by default, partition key included (`MaxRecordSizeInKiB`).
const RECORD_BYTES_MAX: usize = 1 << 20;
/// The longest partition key that the API takes, in characters.
const PARTITION_KEY_CHARS_MAX: usize = 256;

/// One record of a seed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SeedRecord {
    pub(super) partition_key: String,
    /// The line without its ending.
    pub(super) data: Vec<u8>,
}

/// Reads a seed from its first line to its last, and digests it on the way.
pub(super) struct SeedReader<'a> {
    seed: &'a Seed,
    file: BufReader<File>,
    digest: Sha256,
    line: u64,
}

impl<'a> SeedReader<'a> {
    /// Opens the file.
    pub(super) fn open(seed: &'a Seed) -> Result<SeedReader<'a>, LocalError> {
        let file = File::open(&seed.file).map_err(|source| LocalError::SeedFile { file: seed.file.clone(), source })?;
        Ok(SeedReader { seed, file: BufReader::new(file), digest: Sha256::new(), line: 0 })
    }

    /// The next record, `None` after the last. Blank lines are passed over.
    pub(super) fn next(&mut self) -> Result<Option<SeedRecord>, LocalError> {
        while let Some(line) = self.next_line()? {
            if !line.trim_ascii().is_empty() {
                return self.record(line).map(Some);
            }
        }
        Ok(None)
    }

    /// The digest of the whole file, in hex; checked against the listed one.
    pub(super) fn finish(mut self) -> Result<String, LocalError> {
        while self.next_line()?.is_some() {}
        let found = hex(&self.digest.finalize());
        match &self.seed.digest {
            Some(expected) if !expected.eq_ignore_ascii_case(&found) => {
                Err(LocalError::SeedDigest { file: self.seed.file.clone(), found, expected: expected.clone() })
            }
            Some(_) | None => Ok(found),
        }
    }

    fn next_line(&mut self) -> Result<Option<Vec<u8>>, LocalError> {
        let mut line = Vec::new();
        let read = self.file.read_until(b'\n', &mut line);
        read.map_err(|source| LocalError::SeedFile { file: self.seed.file.clone(), source })?;
        if line.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        self.digest.update(&line);
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    fn record(&self, data: Vec<u8>) -> Result<SeedRecord, LocalError> {
        let partition_key = partition_key(&data, &self.seed.partition_key).map_err(|fault| LocalError::SeedLine {
            file: self.seed.file.clone(),
            line: self.line,
            pointer: self.seed.partition_key.clone(),
            fault,
        })?;
        Ok(SeedRecord { partition_key, data })
    }
}

/// The partition key inside a line, or what is wrong with the line.
fn partition_key(line: &[u8], pointer: &str) -> Result<String, String> {
    let document: Value = serde_json::from_slice(line).map_err(|error| format!("is no JSON document: {error}"))?;
    let key = match document.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            return Err("has neither a string nor a number as its partition key".to_owned());
        }
        None => return Err("has nothing at its partition key".to_owned()),
    };
    if key.is_empty() || key.chars().count() > PARTITION_KEY_CHARS_MAX {
        return Err(format!("has a partition key of {} characters, not 1 to 256", key.chars().count()));
    }
    if line.len() + key.len() > RECORD_BYTES_MAX {
        return Err(format!("makes a record of {} bytes, more than {RECORD_BYTES_MAX}", line.len() + key.len()));
    }
    Ok(key)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
