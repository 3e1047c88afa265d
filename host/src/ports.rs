//! The seams between what the host decides and the world: a stream, a sink, and (in [`crate::state`]) a store of
//! positions. Each has one contract suite, and every implementation, the in-memory fake included, passes it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use host_core::batching::{Contradiction, Outcome};
use host_core::moment::EpochMillis;
use host_core::registration::ConsumerStatus;
use host_core::shard::{Position, SequenceNumber, ShardDescription, ShardId};

use crate::columns::{Column, RecordColumns};
use crate::entry::{ItemRequest, KinesisEntry};
use crate::flow::{Budget, Held};
use crate::item::{Item, Value};
use crate::source::classify::SourceError;

/// What is known of a stream before its first read (`DescribeStreamSummary`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDescription {
    /// The stream's ARN as the service tells it.
    pub arn: String,
    /// `StreamCreationTimestamp`: with the ARN, the stream's identity. A recreated stream has another.
    pub created: EpochMillis,
    /// `RetentionPeriodHours`.
    pub retention_hours: u32,
    /// The service's time when it answered, cut off at the second (the answer's `Date` header): see
    /// [`host_core::service_time::ServiceClock`]. `None` if it did not tell.
    pub service_time: Option<EpochMillis>,
    /// `StreamStatus`.
    pub status: StreamStatus,
    /// The largest record that it takes, in bytes of data and partition key (`MaxRecordSizeInKiB`); `None` if the service
    /// does not tell.
    pub max_record_bytes: Option<u64>,
    /// Whether the partition key says which shard a record goes to; false where the service decides by itself
    /// (`RecordDistributionStrategy` `AUTO`), which keeps no order either.
    pub places_by_key: bool,
}

/// What a stream is about to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStatus {
    /// It has no shards yet.
    Creating,
    /// It is in order; so is a stream whose status nobody knows.
    Active,
    /// Its shards are being changed, and it can be used.
    Updating,
    /// It goes away.
    Deleting,
}

/// An iterator as the service gave it (`ShardIterator`): opaque, valid for five minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIterator(pub String);

/// One answer of `GetRecords`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The records in stream order, cut into batches of at most 128 KiB of data; a larger record travels alone.
    pub batches: Vec<RecordColumns>,
    /// Where to read on (`NextShardIterator`); `None` once a closed shard is exhausted, and then the records of this
    /// very page are the last ones.
    pub next: Option<ShardIterator>,
    /// `MillisBehindLatest`. A hint: emulators say 0 while they are behind.
    pub millis_behind_latest: Option<i64>,
    /// `ChildShards`, told at the end of a shard by services that do; empty otherwise.
    pub children: Vec<ShardDescription>,
}

/// A stream of shards, read by pulling. Obligations: `list_shards` returns every page or an error, never a part; calls
/// do not retry by themselves (the caller owns pace and patience); every call ends, within a limit of its own; every error is classified; dropping a returned future
/// abandons the call.
pub trait StreamApi: Send + Sync + 'static {
    /// What the stream is.
    fn describe(&self) -> BoxFuture<'_, Result<StreamDescription, SourceError>>;

    /// All shards that the service still knows, open and closed, in any order; or those whose id is greater than `after`,
    /// which need not exist (`ExclusiveStartShardId`).
    fn list_shards<'a>(
        &'a self,
        after: Option<&'a ShardId>,
    ) -> BoxFuture<'a, Result<Vec<ShardDescription>, SourceError>>;

    /// An iterator to what comes after `from`, which is never [`Position::ShardEnd`]. For [`Position::AtTimestamp`] the
    /// pages may begin too early, never too late: the caller passes batches through [`crate::columns::drop_before`].
    fn open<'a>(&'a self, shard: &'a ShardId, from: &'a Position) -> BoxFuture<'a, Result<ShardIterator, SourceError>>;

    /// Up to `limit` records; values outside 1 to 10,000 count as the nearest of them. Sequence numbers ascend strictly,
    /// within batches and from batch to batch.
    fn read<'a>(
        &'a self,
        shard: &'a ShardId,
        iterator: &'a ShardIterator,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page, SourceError>>;
}

/// A consumer as the service tells of it (`ConsumerDescription`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerDescription {
    /// `ConsumerName`.
    pub name: String,
    /// `ConsumerARN`: another one each time that a consumer of this name is registered.
    pub arn: String,
    /// `ConsumerStatus`.
    pub status: ConsumerStatus,
}

/// Which consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerKey<'a> {
    /// The stream's consumer of this name.
    Name(&'a str),
    /// The consumer with this ARN.
    Arn(&'a str),
}

/// What one event of a subscription brought (`SubscribeToShardEvent`).
#[derive(Debug)]
pub struct Pushed {
    /// The records in stream order, cut into batches as in [`Page::batches`].
    pub batches: Vec<RecordColumns>,
    /// Where to subscribe again (`ContinuationSequenceNumber`), even after an event without records; `None` if the event
    /// does not tell.
    pub continuation: Option<SequenceNumber>,
    /// The shard is closed, and the records of this very event are its last: there is no continuation, or children are told
    /// by an event that leaves nothing to come.
    pub is_last: bool,
    /// `MillisBehindLatest`. A hint: emulators say 0 while they are behind.
    pub millis_behind_latest: Option<i64>,
    /// `ChildShards`, told at the end of a shard by services that do; empty otherwise.
    pub children: Vec<ShardDescription>,
    /// The event's share of the byte budget, as large as it was on the wire.
    pub held: Held,
}

/// A subscription that the service has granted. Dropping it ends it, and with it what it occupies of a connection.
pub trait Subscription: Send {
    /// The next event; `None` once the service has ended the subscription in good order. Sequence numbers ascend strictly,
    /// within batches, from batch to batch and from event to event. An event waits for room in the budget before it is taken
    /// from the transport, and nothing is read ahead beyond what that holds: who does not ask, or has no room, closes the
    /// window. Dropping the returned future loses nothing. There is no limit of time: a subscription that dies silently
    /// stays silent.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Pushed>, SourceError>>;

    /// Whether an event has begun to arrive and waits for room: then silence says nothing of the service.
    fn awaits_room(&self) -> bool;

    /// What it is to have heard nothing for this long: an error that may pass.
    fn silence(&self, lasted: Duration) -> SourceError;
}

/// A stream of shards, read by being pushed to (enhanced fan-out). The obligations of [`StreamApi`] hold: calls do not
/// retry, end within a limit of their own, and are classified.
pub trait FanOutApi: Send + Sync + 'static {
    /// The consumer, or `None` if there is none (`DescribeStreamConsumer`).
    fn describe_consumer<'a>(
        &'a self,
        consumer: ConsumerKey<'a>,
    ) -> BoxFuture<'a, Result<Option<ConsumerDescription>, SourceError>>;

    /// All consumers of the stream (`ListStreamConsumers`, every page).
    fn list_consumers(&self) -> BoxFuture<'_, Result<Vec<ConsumerDescription>, SourceError>>;

    /// Registers a consumer (`RegisterStreamConsumer`). It is of use once its status is active.
    fn register_consumer<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<ConsumerDescription, SourceError>>;

    /// Deregisters the consumer with this ARN (`DeregisterStreamConsumer`); one that is gone already is as good.
    fn deregister_consumer<'a>(&'a self, arn: &'a str) -> BoxFuture<'a, Result<(), SourceError>>;

    /// Subscribes to what comes after `from`, which is never [`Position::ShardEnd`], and returns once the service has granted
    /// it, within `timeout` (`SubscribeToShard`). For [`Position::AtTimestamp`] events may begin too early, never too late.
    /// What arrives finds its room in `budget`.
    fn subscribe<'a>(
        &'a self,
        consumer_arn: &'a str,
        shard: &'a ShardId,
        from: &'a Position,
        timeout: Duration,
        budget: &'a Budget,
    ) -> BoxFuture<'a, Result<Box<dyn Subscription>, SourceError>>;
}

/// What one entry of a request became, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// What the service said of it.
    pub outcome: Outcome,
    /// The shard that has it (`ShardId`), if it has it and says so.
    pub shard: Option<ShardId>,
    /// The code of a refusal (`ErrorCode`), for people and counters.
    pub code: Option<String>,
}

/// A stream that is written to. Obligations: a call does not retry by itself, ends within a limit of its own, and its
/// errors are classified; there is exactly one answer for each entry, in their order; an error says that nothing was taken,
/// unless it is [`Transient`](crate::source::classify::SourceErrorKind::Transient) or the answer made no sense; dropping the
/// future abandons the call, which the service may carry out all the same.
pub trait PutApi: Send + Sync + 'static {
    /// Writes up to 500 records (`PutRecords`).
    fn put_records<'a>(&'a self, entries: &'a [Arc<KinesisEntry>]) -> BoxFuture<'a, Result<Vec<Put>, SourceError>>;
}

/// The type of a key attribute (`AttributeType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// `S`.
    Text,
    /// `N`.
    Number,
    /// `B`.
    Bytes,
}

/// An attribute of a table's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAttribute {
    /// `AttributeName`.
    pub name: String,
    /// `AttributeType`.
    pub of: KeyType,
}

/// What is known of a table before its first write (`DescribeTable`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDescription {
    /// `TableArn`.
    pub arn: String,
    /// The attribute with `KeyType` `HASH`.
    pub partition_key: KeyAttribute,
    /// The attribute with `KeyType` `RANGE`, if the table has one.
    pub sort_key: Option<KeyAttribute>,
    /// `WriteCapacityUnits`, where capacity is provisioned; `None` on demand.
    pub write_units: Option<u64>,
    /// Whether it takes writes (`TableStatus` `ACTIVE` or `UPDATING`).
    pub is_writable: bool,
}

/// How far a sink has applied a shard, in a row of the table of positions.
#[derive(Clone, Debug, PartialEq)]
pub struct PositionWrite {
    /// The row's key.
    pub key: Item,
    /// Attributes that must be equal for the transaction to happen: the writer's generation, the position before. One that
    /// must not be there at all is [`Value::Null`].
    pub expected: Vec<(String, Value)>,
    /// Attributes that are set: the position after.
    pub set: Vec<(String, Value)>,
}

/// A table that is written to. The obligations of [`PutApi`] hold.
pub trait TableApi: Send + Sync + 'static {
    /// What the table is, also where it takes no writes.
    fn describe(&self) -> BoxFuture<'_, Result<TableDescription, SourceError>>;

    /// Puts and deletes up to 25 items, none of them twice (`BatchWriteItem`). The answer has one outcome for each: what comes
    /// back unprocessed is throttled.
    fn batch_write<'a>(&'a self, requests: &'a [Arc<ItemRequest>]) -> BoxFuture<'a, Result<Vec<Outcome>, SourceError>>;
}

/// What a transaction that did not happen says.
#[derive(Clone, Debug)]
pub enum TransactError {
    /// The position's row is not as expected: somebody else has moved it.
    Fenced,
    /// One of the writes will never be taken: which of the requests, counted from 0, and why.
    Refused {
        /// Its index; `None` if the service does not say.
        at: Option<usize>,
        /// The service's message.
        message: String,
    },
    /// Whatever else.
    Failed(SourceError),
}

/// Writes that happen together with a position or not at all.
pub trait TransactApi: Send + Sync + 'static {
    /// Moves the position and carries out up to 99 requests on distinct items, in one `TransactWriteItems`. `token` makes a
    /// repetition within ten minutes the same transaction (`ClientRequestToken`, at most 36 characters).
    fn transact<'a>(
        &'a self,
        token: &'a str,
        position: &'a PositionWrite,
        requests: &'a [Arc<ItemRequest>],
    ) -> BoxFuture<'a, Result<(), TransactError>>;

    /// Makes the row of a position this writer's (`UpdateItem`): sets attributes unless a newer generation is there, and
    /// returns the row as it was before, if it was. [`TransactError::Fenced`] if there is a newer one.
    fn claim<'a>(&'a self, key: &'a Item, generation: u64) -> BoxFuture<'a, Result<Option<Item>, TransactError>>;
}

/// What went wrong in a sink. Whose fault it is follows from the variant: the manifest's or the machine's.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The sink could not be opened as the manifest describes it.
    #[error("could not open sink {sink:?} ({target}); check that the path is right and may be written to")]
    Open {
        /// The sink's name in the manifest.
        sink: String,
        /// The file, or what else it writes to.
        target: String,
        /// What the system said.
        source: io::Error,
    },
    /// The target lacks bytes that were recorded as written: somebody else changed it.
    #[error(
        "sink {sink:?}: {target} has {found} bytes, but {recorded} were written and recorded; restore the file, or delete \
         the pipeline's positions with `sluicebox state delete --all` to begin anew"
    )]
    Shrunk {
        /// The sink's name in the manifest.
        sink: String,
        /// The file.
        target: String,
        /// Its length now, in bytes.
        found: u64,
        /// Its length at the last checkpoint, in bytes.
        recorded: u64,
    },
    /// Somebody else writes to the target: each would overwrite what the other wrote.
    #[error(
        "sink {sink:?}: another sink, pipeline or process writes to {target}; give every sink a file of its own, or stop the \
         other one"
    )]
    Shared {
        /// The sink's name in the manifest.
        sink: String,
        /// The file.
        target: String,
    },
    /// The target is there, but takes no writes.
    #[error(
        "sink {sink:?}: {target} is neither active nor being updated, so it takes no writes; wait until it is created, or check \
         that nobody deletes it and, of a table, that its KMS key is enabled"
    )]
    NotWritable {
        /// The sink's name in the manifest.
        sink: String,
        /// What it is, and its ARN.
        target: String,
    },
    /// Its limits contradict what its target takes.
    #[error("sink {sink:?}: {source}; correct its [sink.batch]")]
    Limits {
        /// The sink's name in the manifest.
        sink: String,
        /// Which.
        source: Contradiction,
    },
    /// The service behind the sink did not take what it was given.
    #[error("sink {sink:?}: {source}")]
    Service {
        /// The sink's name in the manifest.
        sink: String,
        /// What it said.
        source: Box<SourceError>,
    },
    /// The service did not take something at the first attempt, and the manifest says to stop then.
    #[error(
        "sink {sink:?}: {what} was not taken at once ({said}), and fail_on_error = true says to stop then; with false it is \
         tried again, or on_error.poison decides if no attempt can help"
    )]
    NotTaken {
        /// The sink's name in the manifest.
        sink: String,
        /// The entry, or the request.
        what: String,
        /// The service's code, or its message.
        said: String,
    },
    /// A request was not answered in time, and the manifest says to stop then.
    #[error(
        "sink {sink:?}: a request was not answered within {millis} ms (request_timeout), and fail_on_timeout = true says to \
         stop then; the service may have carried it out all the same"
    )]
    TimedOut {
        /// The sink's name in the manifest.
        sink: String,
        /// `request_timeout`, in milliseconds.
        millis: u64,
    },
    /// The two tables of a transaction are not in one place.
    #[error(
        "sink {sink:?}: exactly-once cannot span regions or accounts, but the table is {table} and that of the positions is \
         {positions}; keep the positions (`store`) where the table is, or write guarantee = \"at-least-once\""
    )]
    Apart {
        /// The sink's name in the manifest.
        sink: String,
        /// The table's ARN.
        table: String,
        /// That of the table of positions.
        positions: String,
    },
    /// A newer generation writes.
    #[error(
        "sink {sink:?}: another process has taken this pipeline over and writes its table now, so this one stops; what it had \
         not written yet is the other one's to write"
    )]
    TakenOver {
        /// The sink's name in the manifest.
        sink: String,
    },
    /// The row that tells how far a shard is applied makes no sense.
    #[error(
        "sink {sink:?}: how far shard {shard} is applied cannot be told from its row in the table of positions: {why}; leave \
         rows that begin with \"applied/\" to this pipeline, and start it again"
    )]
    Applied {
        /// The sink's name in the manifest.
        sink: String,
        /// The shard.
        shard: ShardId,
        /// What is wrong with it.
        why: String,
    },
    /// A write was refused.
    #[error("could not write to sink {sink:?} ({target})")]
    Write {
        /// The sink's name in the manifest.
        sink: String,
        /// The file, or what else it writes to.
        target: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes what a sink confirmed survive a power failure; called before the checkpoint that relies on it.
pub type Settle = Box<dyn FnMut() -> io::Result<()> + Send>;

/// Where elements go. Obligations: elements appear in the order of the calls; `write` returns once they would survive
/// the death of this process; after an error nothing more is written through this sink.
pub trait Sink: Send {
    /// Takes the place that the last checkpoint recorded: what lies beyond it belongs to no position and is written
    /// again, so a sink that can forget it does. `None` if nothing was ever recorded. Returns the mark that holds now.
    ///
    /// # Errors
    /// The target cannot be opened or contradicts what was recorded.
    fn resume(&mut self, mark: Option<u64>) -> Result<Option<u64>, SinkError>;

    /// Writes the elements in order. Returns the sink's mark after them, if it has marks.
    ///
    /// # Errors
    /// The target refused.
    fn write(&mut self, payloads: &Column) -> Result<Option<u64>, SinkError>;

    /// How to settle what was confirmed, for sinks where confirmed is not yet durable.
    ///
    /// # Errors
    /// The target cannot be shared.
    fn settle(&self) -> Result<Option<Settle>, SinkError>;
}
