//! The embedded service: an AWS endpoint inside the process, so that a first run needs no account and no container.
//!
//! `ferrokinesis` answers the API. What it keeps, it keeps in memory; its own state directory rewrites everything it
//! has at every write. So the store runs in memory here, and a journal of ours (`streams.db`, SQLite) takes what each
//! request changed. The rules:
//!
//! - **One mutation at a time.** The store hands out sequence numbers before it stores records, so with two writers
//!   at once a reader can pass a number whose record appears a moment later, and never see it. Requests that change
//!   anything take turns; their bodies are received before their turn, so a slow client holds up nobody.
//! - **Nothing leaves before it is durable.** A mutation is answered when its change is committed and synced. An
//!   answer to a read, and every event of a `SubscribeToShard`, waits for the turn that is going on: a reader can
//!   never hold a position, or know a shard, that a kill would unmake.
//! - **The journal learns by looking.** After a turn the store is compared with what is journaled already: per shard
//!   the next sequence index and the records behind the last known one, per stream one document. So a mutation costs
//!   its own size, an operation nobody thought of is kept as well, and the request's encoding does not matter.
//! - **A turn is finished or never begun.** It runs as a task of its own: a client that hangs up in the middle leaves
//!   no change behind that the journal has not seen. If the journal cannot be written, the changes stay pending, and
//!   reads and writes are refused until they are in.
//! - **A stream is created, seeded and marked as seeded in one transaction.** A kill in the middle of a seed leaves
//!   nothing of it, and the next start does it as a whole; what is marked is never seeded again. That needs no
//!   bookkeeping per line, and no reader sees a part, because the endpoint answers only after its seeds are in.
//!
//! DynamoDB's requests go on to `dynoxide` (`tables.rs`), which keeps its tables in a database of its own beside the journal
//! and answers after they are synced.
//!
//! Retention is swept at the start and every ten minutes, from the store and from the journal; freed pages are used
//! again, so the file stops growing, though it does not shrink. What is inside retention is in memory as a whole.
//!
//! What the store gets wrong about `AT_TIMESTAMP` and `StreamARN` is mended on the way in (`mended.rs`), and what is
//! subscribed to is pushed from here (`subscription.rs`). What else it does otherwise than AWS, and a reader must live
//! with: `GetRecords` never returns `ChildShards`, and its `MillisBehindLatest` is 0 while behind; arrival times are whole
//! seconds; `ListShards` cannot be continued by its `NextToken` and ignores `ShardFilter`; children of `UpdateShardCount`
//! name no parent (those of `SplitShard` and `MergeShards` do). Streams are created, changed and deleted at once: no
//! `CREATING` is ever seen.

mod endpoint;
mod setup;
mod tables;
mod seed;
mod gate;
mod mended;
mod subscription;
mod ledger;
mod journal;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub use endpoint::Endpoint;

pub use crate::config::{LocalKey, LocalTable};

/// What to serve, and where to keep it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen: a loopback address; port 0 takes a free one. Default `127.0.0.1:0`.
    pub bind: SocketAddr,
    /// Where streams are kept over restarts; `None` keeps them in memory only.
    pub directory: Option<PathBuf>,
    /// The region in the ARNs.
    pub region: String,
    /// The account in the ARNs: twelve digits.
    pub account: String,
    /// Streams to create when they are missing.
    pub streams: Vec<LocalStream>,
    /// Tables to create when they are missing.
    pub tables: Vec<LocalTable>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            directory: None,
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            streams: Vec::new(),
            tables: Vec::new(),
        }
    }
}

/// A stream that exists once the endpoint runs.
#[derive(Clone, Debug)]
pub struct LocalStream {
    /// Its name (1 to 128 of `a-zA-Z0-9_.-`).
    pub name: String,
    /// How many shards it is created with, at least 1. Changes nothing on a stream that exists.
    pub shards: u32,
    /// What it holds at first.
    pub seed: Option<Seed>,
}

/// Records to put into a new stream, once: a file with one JSON document a line.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The file. A record is a line without its line ending; blank lines are no records.
    pub file: PathBuf,
    /// A JSON pointer (RFC 6901) to the string or number in each line that becomes the partition key.
    pub partition_key: String,
    /// SHA-256 that the file must have (64 hex digits); `None` takes the file as it is.
    pub digest: Option<String>,
}

/// Where a pipeline that reads the embedded streams keeps its positions: beside the streams, because the two live and
/// die together.
#[must_use]
pub fn state_path(directory: &Path) -> PathBuf {
    directory.join("state.db")
}

/// Where the embedded tables are kept, positions among them if a pipeline keeps its own in a table.
#[must_use]
pub fn tables_path(directory: &Path) -> PathBuf {
    directory.join(tables::FILE)
}

/// What differs between the streams that were listed and those that exist; the endpoint runs all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A stream exists with another number of shards than is listed. Not an error: the shards that exist hold records
    /// and positions, and resharding is an operation with a lineage, not a setting.
    OtherShardCount {
        /// The stream.
        stream: String,
        /// How many are listed.
        listed: u32,
        /// How many are open.
        open: usize,
    },
    /// A table exists with another key than is listed.
    OtherKey {
        /// The table.
        table: String,
    },
    /// The seed file is not the one that the stream was seeded from.
    OtherSeed {
        /// The stream.
        stream: String,
        /// The file as it is listed.
        file: PathBuf,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::OtherShardCount { stream, listed, open } => write!(
                f,
                "stream {stream} keeps its {open} open shards though {listed} are listed: reshard it (UpdateShardCount), \
                 or delete it to have it created anew"
            ),
            Notice::OtherKey { table } => write!(
                f,
                "table {table} keeps the key that it was created with though another is listed: delete the table to have it \
                 created anew"
            ),
            Notice::OtherSeed { stream, file } => write!(
                f,
                "stream {stream} was seeded from other data than {} holds now, and is not seeded again: delete the \
                 stream to have it created and seeded anew",
                file.display()
            ),
        }
    }
}

/// What an endpoint serves, to print.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Where it listens.
    pub url: String,
    /// The region in the ARNs.
    pub region: String,
    /// Where streams are kept, or nowhere.
    pub directory: Option<PathBuf>,
    /// The streams, by name.
    pub streams: Vec<StreamSummary>,
    /// The tables, by name, and how many items each has.
    pub tables: Vec<(String, u64)>,
    /// What differs from what was listed.
    pub notices: Vec<Notice>,
}

/// One stream of a [`Summary`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// Its name.
    pub name: String,
    /// How many of its shards are open.
    pub open_shards: usize,
    /// How many records were ever put, those that retention has taken included.
    pub records: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "endpoint   {}", self.url)?;
        match &self.directory {
            Some(directory) => writeln!(f, "kept in    {}", directory.display())?,
            None => writeln!(f, "kept in    memory only")?,
        }
        for stream in &self.streams {
            let StreamSummary { name, open_shards, records } = stream;
            writeln!(f, "stream     {name}: {open_shards} open shards, {records} records")?;
        }
        for (name, items) in &self.tables {
            writeln!(f, "table      {name}: {items} items")?;
        }
        for notice in &self.notices {
            writeln!(f, "notice     {notice}")?;
        }
        writeln!(f, "to point a client at it:")?;
        writeln!(f, "  export AWS_ENDPOINT_URL_KINESIS={0} AWS_ENDPOINT_URL_DYNAMODB={0}", self.url)?;
        write!(f, "  export AWS_REGION={} AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local", self.region)
    }
}

/// Why the embedded service does not start or stopped.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// It would be reachable from elsewhere.
    #[error(
        "the embedded endpoint does not listen on {bind}: it knows no permissions; use a loopback address such as 127.0.0.1"
    )]
    NotLoopback {
        /// The address.
        bind: SocketAddr,
    },
    /// Somebody else listens there.
    #[error("port {} of {} is in use by another program: choose another port, or 0 for a free one", bind.port(), bind.ip())]
    PortInUse {
        /// The address.
        bind: SocketAddr,
    },
    /// It cannot listen there.
    #[error("cannot listen on {bind}: check the address, or choose a port above 1023")]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// The accept loop ended by itself.
    #[error("the embedded endpoint on {bind} stopped answering: start it again")]
    Stopped {
        /// The address.
        bind: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// The directory cannot be written.
    #[error("cannot write to {}: make the directory writable, or choose another", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Another process serves the same streams.
    #[error(
        "{} is served by {}: stop that process, or choose another directory",
        directory.display(),
        owner.map_or("another process".to_owned(), |owner| format!("process {owner}"))
    )]
    Owned {
        /// The directory.
        directory: PathBuf,
        /// The owner's process id, when it could be read.
        owner: Option<u32>,
    },
    /// A journal of a later version.
    #[error("{} has format {found}, and this version reads up to {known}: run the version that wrote it, or choose another directory", path.display())]
    Newer {
        /// The journal.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Not a journal, or one with damage.
    #[error("{} is damaged or no journal of streams ({what}): restore it from a copy, or delete its directory, streams and positions both", path.display())]
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// The streams in the directory have other ARNs.
    #[error(
        "{} holds streams of region {found_region}, account {found_account}, and {region}, {account} was asked for: \
         ask for those, or choose another directory",
        path.display()
    )]
    OtherAccount {
        /// The journal.
        path: PathBuf,
        /// The region it was made for.
        found_region: String,
        /// The account it was made for.
        found_account: String,
        /// The region asked for.
        region: String,
        /// The account asked for.
        account: String,
    },
    /// The journal could not be read or written.
    #[error("cannot {attempt} {}: check the disk's space and health, then start again", path.display())]
    Journal {
        /// The journal.
        path: PathBuf,
        /// What was attempted.
        attempt: &'static str,
        /// The database's word.
        source: rusqlite::Error,
    },
    /// A listed stream was refused.
    #[error(
        "stream {stream} cannot be set up, {operation} was refused: {message}; correct its entry in the list of local streams"
    )]
    Refused {
        /// The stream.
        stream: String,
        /// The API operation.
        operation: String,
        /// The service's code and message.
        message: String,
    },
    /// The tables could not be opened, or one of them not be created.
    #[error(
        "cannot {attempt} the embedded tables: {message}; check the list of local tables and the disk, then start again"
    )]
    Tables {
        /// What was attempted.
        attempt: String,
        /// The database's word.
        message: String,
    },
    /// A change to a stream did not complete.
    #[error("stream {stream} did not become active: start the endpoint again")]
    Unsettled {
        /// The stream.
        stream: String,
    },
    /// The seed cannot be read.
    #[error("cannot read seed {}: check its path in the list of local streams", file.display())]
    SeedFile {
        /// The file.
        file: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A line of the seed is no record.
    #[error("line {line} of seed {} {fault} (partition key pointer {pointer:?}): correct the line or the pointer", file.display())]
    SeedLine {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The JSON pointer to the partition key.
        pointer: String,
        /// What is wrong with the line.
        fault: String,
    },
    /// The seed is not the expected file.
    #[error("seed {} has SHA-256 {found}, expected {expected}: fetch the right file, or correct the digest", file.display())]
    SeedDigest {
        /// The file.
        file: PathBuf,
        /// Of the file.
        found: String,
        /// As listed.
        expected: String,
    },
}
