//! Numbered records, and a pipeline that only carries them: what is delivered can be compared with what was written.

use std::fmt::Write as _;
use std::path::Path;

use crate::ledger::{Audit, Ledger, Written};
use crate::service::Service;

/// Where elements go exactly once.
pub const FILE: &str = "out.txt";

/// Sinks on this machine: [`FILE`] and stdout.
pub const LOCAL_SINKS: &str = r#"[[sink]]
name = "file"
type = "file"
path = "out.txt"
[[sink]]
name = "lines"
type = "stdout"
"#;

/// Writes rounds of one record a key, and remembers what it wrote. A call holds a key once, because `PutRecords` promises
/// no order within a call.
#[derive(Debug)]
pub struct Numbers {
    service: Service,
    stream: String,
    keys: u64,
    rounds: u64,
}

impl Numbers {
    /// A writer to a stream. `keys` is at most 500, one call's worth.
    #[must_use]
    pub fn new(service: &Service, stream: &str, keys: u64) -> Self {
        Self { service: service.clone(), stream: stream.to_owned(), keys, rounds: 0 }
    }

    /// Writes the next number of every key.
    pub async fn round(&mut self) {
        let number = self.rounds;
        let records: Vec<_> = (0..self.keys).map(|key| record(key, number)).collect();
        self.service.put(&self.stream, None, &records).await;
        self.rounds += 1;
    }

    /// What was written.
    #[must_use]
    pub fn written(&self) -> Written {
        (0..self.keys).map(|key| (name(key), self.rounds)).collect()
    }

    /// How many records were written.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.keys * self.rounds
    }
}

fn name(key: u64) -> String {
    format!("key-{key}")
}

/// Number `number` of key `key`: partition key and data.
#[must_use]
pub fn record(key: u64, number: u64) -> (String, Vec<u8>) {
    let key = name(key);
    let data = format!("{key} {number} {:-<60}", "");
    (key, data.into_bytes())
}

/// How a pipeline reads.
#[derive(Clone, Copy, Debug)]
pub enum Reader {
    /// It asks again and again.
    Polling,
    /// It subscribes, as a consumer that is called as the stream.
    FanOut,
}

impl Reader {
    /// Lines of the table `source`: all of a stream. Some services take consumers of the same name, though of two streams,
    /// for the same one.
    #[must_use]
    pub fn all_of(self, stream: &str) -> String {
        let reader = match self {
            Self::Polling => String::new(),
            Self::FanOut => format!("reader = \"efo\"\n[source.efo]\nconsumer_name = {stream:?}"),
        };
        format!("initial_position = \"trim-horizon\"\n{reader}")
    }
}

/// What differs between these pipelines.
#[derive(Clone, Copy, Debug)]
pub struct Pipeline<'a> {
    /// Where the service is.
    pub endpoint: &'a str,
    /// The names of the streams it reads as one.
    pub streams: &'a [&'a str],
    /// `initial_position`, and what belongs to it: lines of the table `source`.
    pub source: &'a str,
}

impl Pipeline<'_> {
    /// Writes `pipeline.toml` into a folder: two subtasks; elements go to [`FILE`] and to stdout.
    ///
    /// # Panics
    /// The folder cannot be written to.
    pub fn write(&self, folder: &Path) {
        self.write_with(LOCAL_SINKS, folder);
    }

    /// The same with these sinks: tables `sink` of the manifest.
    ///
    /// # Panics
    /// The folder cannot be written to.
    pub fn write_with(&self, sinks: &str, folder: &Path) {
        std::fs::write(folder.join("pipeline.toml"), self.text(sinks)).expect("a writable folder");
    }

    fn text(&self, sinks: &str) -> String {
        let Self { endpoint, streams, source } = self;
        let mut text = String::new();
        let arns: Vec<String> = streams.iter().map(|stream| crate::service::arn(stream).as_str().to_owned()).collect();
        let stream = match arns.as_slice() {
            [arn] => format!("stream_arn = {arn:?}"),
            arns => format!("stream_arns = {arns:?}"),
        };
        let component = crate::component("passthrough");
        write!(
            text,
            r#"version = 1
name = "numbers"
parallelism = 2
[source]
type = "kinesis"
{stream}
discovery_interval = "1s"
{source}
[source.polling]
max_records = 500
max_calls_per_second = "unlimited"
max_bytes_per_second = "unlimited"
empty_interval = "20ms"
[deserializer]
component = {component:?}
# The machine is busy with other tests: what is tested here is not the budget.
[deserializer.limits]
cpu_per_batch = "5s"
wall_per_batch = "60s"
{sinks}[checkpoint]
interval = "100ms"
[aws]
endpoint = {endpoint:?}
credentials = "basic"
[aws.basic]
access_key_id = "test"
secret_access_key = "test"
[aws.retry]
min_delay = "10ms"
max_delay = "200ms"
"#
        )
        .expect("writing to a string does not fail");
        text
    }
}

/// Compares a text that one life of the host wrote, or a sink that a crash repeats nothing in, with what was written.
#[must_use]
pub fn audit(text: &str, written: &Written) -> Ledger {
    let mut audit = Audit::default();
    audit.life(false);
    audit.text(text);
    audit.close(written)
}
