//! The manifest: one TOML file that describes one pipeline.
//!
//! What a user writes and what the host works with are two things. A [`Manifest`] is the second: every default is filled
//! in, every path is joined to the manifest's directory, durations and sizes are numbers, and what excludes one another
//! cannot be written down. Whoever holds one checks nothing again. The way from the text to here is one walk
//! ([`keys`]) that names each key once, with its meaning, its form and its default; the reader, the JSON Schema and the
//! reference in `docs/config.md` are three uses of that same walk, so they cannot disagree.

mod credentials;
pub mod diagnostic;
mod document;
mod forms;
mod keys;
mod names;
mod reference;
mod section;
pub mod schema;
pub mod sizes;
mod walk;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use host_core::delivery::{OnError, PoisonPolicy, TrapPolicy};
pub use host_core::gap::OnGap;
use host_core::moment::EpochMillis;

use crate::ports::KeyType;

pub use credentials::{AssumeRole, Credentials, InvalidRole, Process, RoleArn, Sts, WebIdentity};
pub use diagnostic::{Diagnostic, Diagnostics};
pub(crate) use forms::{InvalidKey, KEY_TYPES, is_json_pointer, key_attribute, point_in_time};
pub use names::{ConsumerArn, InvalidArn, InvalidConsumerArn, InvalidName, InvalidTable, Name, Secret, StreamArn};
pub(crate) use names::{is_stream_name, is_table_name};
pub use reference::reference;

/// One pipeline, complete and valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The file that it was read from; relative paths were joined to its directory.
    pub path: PathBuf,
    /// Whose pipeline this is (`tenant`, default "default").
    pub tenant: Name,
    /// What the pipeline is called (`name`). With the tenant: the identity of its positions and metrics.
    pub name: Name,
    /// Sequential lanes of the pipeline, each with component instances of its own (`parallelism`, 1 to 1,024, default 1).
    pub parallelism: u32,
    /// Time for draining and a last checkpoint after a stop was asked for (`shutdown_timeout`, default 30 s).
    pub shutdown_timeout: Duration,
    /// What is read (`[source]`).
    pub source: Source,
    /// Who spreads shards over subtasks (`[assigner]`).
    pub assigner: Assigner,
    /// What makes elements of records (`[deserializer]`).
    pub deserializer: ComponentUse,
    /// The routes that the deserializer may give elements (`deserializer.routes`); `None`: it is not said.
    pub routes: Option<Vec<String>>,
    /// Where elements go (`[[sink]]`); at least one, with distinct names.
    pub sinks: Vec<Sink>,
    /// Where positions are kept (`[checkpoint]`).
    pub checkpoint: Checkpoint,
    /// What happens to records that cannot be delivered (`[on_error]`).
    pub on_error: OnError,
    /// What happens to elements on a route that no sink takes (`on_error.unrouted`, default fail).
    pub unrouted: Unrouted,
    /// How AWS is reached (`[aws]`).
    pub aws: Aws,
    /// The embedded service (`[local]`); read by `--local` and `sluicebox local` only.
    pub local: Local,
}

impl Manifest {
    /// Reads and validates the manifest at `path`. `env` looks up the variables that it names as `${NAME}`.
    ///
    /// # Errors
    /// Every mistake in the file at once, or the one reason why the file cannot be read.
    pub fn read(path: &Path, env: impl Fn(&str) -> Option<String>) -> Result<Self, Diagnostics> {
        match std::fs::read(path) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Self::parse(&text, path, env),
                Err(error) => Err(Diagnostics::not_utf8(path, &error)),
            },
            Err(error) => Err(Diagnostics::unreadable(path, &error)),
        }
    }

    /// Validates `text` as if it had been read from `path`.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn parse(text: &str, path: &Path, env: impl Fn(&str) -> Option<String>) -> Result<Self, Diagnostics> {
        walk::read(text, path, &env)
    }
}

/// The streams and how they are read. The only `type` is `kinesis`.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The streams (`stream_arn` or `stream_arns`), at least one, each once. Their order is theirs for good: a shard is
    /// known by the index of its stream in this list while a run lasts.
    pub streams: Vec<StreamArn>,
    /// Where a pipeline without positions starts (`initial_position`, default latest).
    pub initial_position: InitialPosition,
    /// Time between two listings of the shards (`discovery_interval`, 1 s to 1 h, default 10 s).
    pub discovery_interval: Duration,
    /// Time between two listings of *all* shards, against which lineage and hash ranges are checked (`audit_interval`, 1 s
    /// to 6 h, default 2 min).
    pub audit_interval: Duration,
    /// What happens where records are gone before they were read (`on_gap`, default fail).
    pub on_gap: OnGap,
    /// A shard that brought nothing for this long holds no watermark back (`idle_after`, 100 ms to 1 d, default 30 s).
    pub idle_after: Duration,
    /// How far ahead of the slowest shard another may be read, in event time (`alignment.max_drift`, 100 ms to 365 d);
    /// `None` lets every shard run.
    pub max_drift: Option<Duration>,
    /// Whether children wait until their parents are durable (`preserve_shard_order`, default true).
    pub preserve_shard_order: bool,
    /// Bytes that may be read and not yet through the component, over all shards of the pipeline (`read_ahead`, default
    /// 64 MiB).
    pub read_ahead: u64,
    /// How records are fetched (`reader`).
    pub reader: Reader,
}

impl Source {
    /// The first stream, which is the only one of most manifests.
    #[must_use]
    pub fn stream(&self) -> &StreamArn {
        self.streams.first().expect("a manifest names at least one stream")
    }
}

/// Where a pipeline that has no positions yet starts (`ShardIteratorType`). Children found later start at the trim horizon
/// whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialPosition {
    /// With what is written from now on.
    Latest,
    /// With the oldest record that the stream keeps.
    TrimHorizon,
    /// With the first record that arrived at this time or later (`initial_timestamp`).
    AtTimestamp(EpochMillis),
}

/// How records are fetched.
#[derive(Clone, Debug, PartialEq)]
pub enum Reader {
    /// `GetRecords`, shard by shard.
    Polling(Polling),
    /// `SubscribeToShard`: enhanced fan-out.
    Efo(Efo),
    /// Enhanced fan-out for the streams where a consumer can be had, polling for the others.
    Auto(Efo, Polling),
}

/// Enhanced fan-out (`[source.efo]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Efo {
    /// Who registers the consumers, and which they are (`lifecycle`, default managed).
    pub lifecycle: Lifecycle,
    /// Time from a call of `SubscribeToShard` until it is granted (`subscription_timeout`, default 60 s).
    pub subscription_timeout: Duration,
    /// How long a consumer is waited for (`[source.efo.describe_retry]`, defaults 100, 2 s, 60 s).
    pub describe_retry: Retry,
}

/// Who registers consumers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// The pipeline does.
    Managed {
        /// What they are called, on every stream (`consumer_name`).
        name: String,
        /// Whether they stay registered when the pipeline is stopped (`keep_consumer`, default false).
        keep: bool,
        /// Time for deregistering them at a stop (`deregister_timeout`, default 10 s).
        deregister_timeout: Duration,
    },
    /// Somebody else did, and keeps them.
    SelfManaged(Consumers),
}

/// Consumers that somebody else registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consumers {
    /// One on every stream, called so (`consumer_name`).
    Named(String),
    /// By ARN, one for each stream, in the order of the streams (`consumer_arn` or `consumer_arns`).
    Arns(Vec<ConsumerArn>),
}

/// Pace of `GetRecords` (`[source.polling]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Polling {
    /// Records asked for in one call (`max_records`, 1 to 10,000, default 10,000).
    pub max_records: u32,
    /// Pause after a call that brought nothing (`empty_interval`, default 250 ms).
    pub empty_interval: Duration,
    /// Calls per shard and second (`max_calls_per_second`, above 0, default 5, which is the service's limit); `None` is
    /// "unlimited".
    pub max_calls_per_second: Option<f64>,
    /// Bytes per shard and second (`max_bytes_per_second`, default 2 MB, which is the service's limit); `None` is
    /// "unlimited".
    pub max_bytes_per_second: Option<u64>,
}

/// Who spreads shards over subtasks.
#[derive(Clone, Debug, PartialEq)]
pub enum Assigner {
    /// One that the host brings along (`builtin`).
    Builtin(BuiltinAssigner),
    /// A component (`component`).
    Component(ComponentUse),
}

/// The assigners that the host brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltinAssigner {
    /// Spreads shards evenly by their hash ranges.
    Uniform,
    /// Gives a shard to the subtask that has the fewest.
    Fewest,
}

/// A component in one of its roles.
#[derive(Clone, Debug, PartialEq)]
pub struct ComponentUse {
    /// The component's file.
    pub component: PathBuf,
    /// What the component's `open` is handed (`[….config]`), in the order of the keys.
    pub config: Vec<(String, ConfigValue)>,
    /// What it may use.
    pub limits: Limits,
    /// What it may import.
    pub grants: Grants,
}

/// One value of a component's configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigValue {
    /// Text; dates and times are handed on as their text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
}

/// What one instance of a component may use (`[….limits]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes over all of its memories (`memory`, default 64 MiB).
    pub memory: u64,
    /// CPU time for one call (`cpu_per_batch`, default 50 ms, of an assigner 1 s).
    pub cpu_per_batch: Duration,
    /// Time on the wall for one call (`wall_per_batch`, default 2 s, of an assigner 5 s).
    pub wall_per_batch: Duration,
    /// Bytes returned per byte handed in (`output_ratio`, 1 to 1,024, default 8).
    pub output_ratio: u32,
    /// Bytes of log per second (`log_rate`, default 64 KiB).
    pub log_rate: u64,
}

/// What a component may import beyond log, metrics, config and time (`[….grants]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// How much of WASI it gets (`wasi`, default inert).
    pub wasi: WasiGrant,
}

/// How much of WASI a component gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WasiGrant {
    /// What a language runtime needs to start; no file, no socket, no environment, the batch's time as the clock.
    Inert,
    /// Nothing: a component that imports WASI is refused.
    None,
}

/// What happens to elements on a route that no sink takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrouted {
    /// The pipeline stops before them.
    Fail,
    /// They are counted and dropped.
    Drop,
}

/// One place where elements go.
#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    /// What it is called (`name`, default its type), unique in the manifest.
    pub name: Name,
    /// The routes whose elements it takes (`when`), never empty; `None` takes all elements.
    pub when: Option<Vec<String>>,
    /// What it does with them (`type`).
    pub output: SinkOutput,
}

/// What a sink does with its elements.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkOutput {
    /// Writes one element a line to standard output.
    Stdout,
    /// Writes one element a line to a file.
    File {
        /// The file (`path`).
        path: PathBuf,
    },
    /// Confirms them and keeps nothing.
    Discard,
    /// Writes them to a stream.
    Kinesis(Box<KinesisSink>),
    /// Writes them to a table.
    Dynamodb(Box<DynamodbSink>),
}

/// A sink that writes to a stream (`type = "kinesis"`).
#[derive(Clone, Debug, PartialEq)]
pub struct KinesisSink {
    /// The stream (`stream_arn`).
    pub stream: StreamArn,
    /// What makes entries of elements (`[sink.converter]`).
    pub converter: Converter,
    /// Which entries may be under way together (`order`, default per-key).
    pub order: SinkOrder,
    /// Stops the pipeline at the first entry that the service does not take at once (`fail_on_error`, default false).
    pub fail_on_error: bool,
    /// Records a second and shard (`max_records_per_second`, default 1,000, which is the service's limit); `None` is
    /// "unlimited": what a shard takes is found out.
    pub max_records_per_second: Option<f64>,
    /// Bytes a second and shard (`max_bytes_per_second`, default 1 MiB, which is the service's limit); `None` is "unlimited".
    pub max_bytes_per_second: Option<u64>,
    /// Requests, and what waits for them (`[sink.batch]`).
    pub batch: SinkBatch,
}

/// A sink that writes to a table (`type = "dynamodb"`).
#[derive(Clone, Debug, PartialEq)]
pub struct DynamodbSink {
    /// The table (`table`: a name, or an ARN).
    pub table: Table,
    /// What makes requests of elements (`[sink.converter]`).
    pub converter: Converter,
    /// Which requests may be under way together (`order`, default per-key).
    pub order: SinkOrder,
    /// Stops the pipeline at the first request that the service does not take at once (`fail_on_error`, default false).
    pub fail_on_error: bool,
    /// How often a record takes effect (`guarantee`, default at-least-once).
    pub guarantee: Guarantee,
    /// Requests, and what waits for them (`[sink.batch]`).
    pub batch: SinkBatch,
}

/// A table, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, 3 to 255 characters.
    pub name: String,
    /// Its region: that of its ARN, or that of `[aws]`.
    pub region: String,
    /// The account of its ARN, if it was given by ARN; else that of the credentials.
    pub account: Option<String>,
}

/// What makes entries of elements.
#[derive(Clone, Debug, PartialEq)]
pub enum Converter {
    /// One that the host brings along (`builtin`).
    Builtin(BuiltinConverter),
    /// A component (`component`).
    Component(ComponentUse),
}

/// The converters that the host brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltinConverter {
    /// For streams: the element's bytes under the element's key.
    Passthrough,
    /// For tables: an element that is a JSON object becomes an item.
    JsonToItem,
}

/// Which entries may be under way together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkOrder {
    /// One of each key.
    PerKey,
    /// Any.
    None,
}

/// How often a record takes effect in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Once, and maybe again after a crash.
    AtLeastOnce,
    /// Once: what a record writes and its position are one transaction.
    ExactlyOnce,
}

/// Requests of a sink, and what waits for them (`[sink.batch]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkBatch {
    /// Entries in a request (`max_count`, default and most 500 for a stream and 25 for a table; 99 with exactly-once).
    pub max_count: usize,
    /// Bytes in a request (`max_bytes`, default 5 MiB for a stream, 16 MB for a table; 4 MB with exactly-once).
    pub max_bytes: u64,
    /// Bytes of an entry (`max_record_bytes`, never above `max_bytes`); `None`, the default: what the stream or table takes.
    /// It is never `None` with a `max_bytes` below what every stream or table takes (1 MiB, 400 KiB).
    pub max_record_bytes: Option<u64>,
    /// How long an entry waits for company (`max_age`, default 5 s).
    pub max_age: Duration,
    /// Requests under way (`max_in_flight`, default 50).
    pub max_in_flight: usize,
    /// Entries held (`max_buffered`, default 10,000).
    pub max_buffered: usize,
    /// What the entries held may take of this machine's memory, in bytes (`max_buffered_bytes`, default 64 MiB).
    pub max_buffered_bytes: u64,
    /// Time for one request, after which it is cancelled (`request_timeout`, default that of `[aws.timeouts]`).
    pub request_timeout: Duration,
    /// Whether a request that takes longer stops the pipeline (`fail_on_timeout`, default false: it is repeated).
    pub fail_on_timeout: bool,
    /// Attempts at an entry before it is given up (`max_attempts`); `None`, the default: no end.
    pub max_attempts: Option<u32>,
    /// Age beyond which a failed attempt is an entry's last (`max_entry_age`); `None`, the default: no end.
    pub max_entry_age: Option<Duration>,
}

/// Where positions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The store (`store`, default `sqlite:.sluicebox/state.db`).
    pub store: StateStore,
    /// Time between two checkpoints (`interval`, 100 ms to 1 h, default 10 s).
    pub interval: Duration,
}

/// A store of positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateStore {
    /// An SQLite database in this file.
    Sqlite(PathBuf),
    /// A DynamoDB table of this pipeline's own, in its account.
    Dynamodb(Table),
}

/// How AWS is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aws {
    /// The region of calls that belong to no stream: that of the first stream. Each stream is reached in the region of its
    /// own ARN.
    pub region: String,
    /// Another endpoint than the region's own (`endpoint`): an `http` or `https` URL without a trailing slash.
    pub endpoint: Option<String>,
    /// Whose credentials sign the calls (`credentials`).
    pub credentials: Credentials,
    /// How failed calls are repeated (`[aws.retry]`).
    pub retry: Retry,
    /// Time for establishing a connection (`timeouts.connect`, default 3 s), never above `call_timeout`.
    pub connect_timeout: Duration,
    /// Time until an answer begins (`timeouts.read`, default 10 s), never above `call_timeout`.
    pub read_timeout: Duration,
    /// Time for one call, its answer included (`timeouts.call`, default 10 s).
    pub call_timeout: Duration,
}

/// How what failed is tried again: every call (`[aws.retry]`), and the wait for a consumer
/// (`[source.efo.describe_retry]`, whose defaults differ).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Failures in a row after which a call counts as failing (`max_attempts`, 1 to 1,000, default 50): a start then gives
    /// up, a running pipeline says so and goes on trying.
    pub max_attempts: u32,
    /// Bound of the pause after the first failure (`min_delay`, default 300 ms); it doubles from there. Each pause is drawn
    /// at random from zero to its bound.
    pub min_delay: Duration,
    /// The highest bound (`max_delay`, default 1 s), never below `min_delay`.
    pub max_delay: Duration,
}

/// The embedded service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Whether streams and positions outlive the process, together (`durable`, default true).
    pub durable: bool,
    /// Streams that are created at the start, with distinct names.
    pub streams: Vec<LocalStream>,
    /// Tables that are created at the start, with distinct names.
    pub tables: Vec<LocalTable>,
}

/// A table of the embedded service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTable {
    /// Its name.
    pub name: String,
    /// The partition key (`partition_key`: `"id"` for text, `"id:N"` for a number, `"id:B"` for bytes).
    pub partition_key: LocalKey,
    /// The sort key, written the same way (`sort_key`).
    pub sort_key: Option<LocalKey>,
}

/// An attribute of the key of a table of the embedded service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalKey {
    /// `AttributeName`.
    pub name: String,
    /// `AttributeType`.
    pub of: KeyType,
}

/// A stream of the embedded service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalStream {
    /// Its name.
    pub name: String,
    /// Its shards (`shards`, 1 to 1,000, default 1).
    pub shards: u32,
    /// Records that it gets when it is created.
    pub seed: Option<Seed>,
}

/// Records for a new stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// A file with one JSON value a line; each line is one record (`seed`).
    pub path: PathBuf,
    /// JSON pointer (RFC 6901) to the partition key inside a line (`partition_key`).
    pub partition_key: String,
}
