//! Rows as items, and back. A row that does not read back is damage, and is named.
//!
//! A shard's row has the attributes of a lease of AWS's Kinesis Client Library 3, under their names, so that its tools can
//! tell where a pipeline is; what KCL has no attribute for is added under names of ours, which it leaves alone. What is no
//! lease is in a table beside it: older releases of KCL take every row of a lease table for a lease.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use host_core::checkpoint::ShardRow;
use host_core::moment::EpochMillis;
use host_core::shard::{HashRange, Position, SequenceNumber, ShardId};

use crate::state::model::{Pipeline, Stream};
use crate::state::{
    ComponentDigest, Ending, Owner, PipelineId, PreviousClaim, RegisteredConsumer, StartPoint, StreamIdentity,
};

/// An item as the SDK has it.
pub(super) type Attributes = HashMap<String, AttributeValue>;

/// The key of a lease.
pub(super) const LEASE_KEY: &str = "leaseKey";
/// The key of whatever is no lease.
pub(in crate::state) const ID: &str = "id";
/// The item that says whose the table is, and who owns it.
pub(super) const CLAIM: &str = "claim";
/// How the item of a mark begins.
const MARK: &str = "mark/";
/// How the item of a stream begins.
const STREAM: &str = "stream/";

/// How the item of a sink that keeps positions itself begins.
const APPLIED: &str = "applied/";

/// The text of a number that fits no type of ours.
#[derive(Debug)]
pub(super) struct Damaged(pub(super) String);

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The lease key of a shard as KCL makes it for a consumer of several streams: account, stream, when the stream was created
/// in seconds, shard.
pub(super) fn lease_key(stream: &StreamIdentity, shard: &str) -> String {
    let mut parts = stream.arn.split(':');
    let account = parts.nth(4).unwrap_or_default();
    let name = stream.arn.rsplit_once('/').map_or("", |(_, name)| name);
    let (seconds, millis) = (stream.created.0.div_euclid(1000), stream.created.0.rem_euclid(1000));
    // KCL knows seconds; a service that tells less is none of its own.
    let epoch = if millis == 0 { seconds.to_string() } else { format!("{seconds}.{millis:03}") };
    format!("{account}:{name}:{epoch}:{shard}")
}

pub(super) fn stream_id(stream: &StreamIdentity) -> String {
    format!("{STREAM}{}/{}", stream.created.0, stream.arn)
}

pub(super) fn mark_id(sink: &str) -> String {
    format!("{MARK}{sink}")
}

/// How far a sink has applied a shard itself.
pub(super) fn applied_id(sink: &str, stream: &StreamIdentity, shard: &str) -> String {
    format!("{APPLIED}{sink}/{}/{}/{shard}", stream.created.0, stream.arn)
}

/// `checkpoint`, and the attributes beside it that a position needs.
pub(super) fn checkpoint(position: &Position) -> (String, u64, Option<i64>) {
    match position {
        Position::TrimHorizon => ("TRIM_HORIZON".to_owned(), 0, None),
        Position::AtTimestamp(at) => ("AT_TIMESTAMP".to_owned(), 0, Some(at.0)),
        Position::After { sequence, sub_sequence } => (sequence.as_str().to_owned(), *sub_sequence, None),
        Position::ShardEnd => ("SHARD_END".to_owned(), 0, None),
    }
}

/// A shard's row as a lease of `owner`.
pub(super) fn lease(stream: &StreamIdentity, row: &ShardRow, owner: &str, counter: u64) -> Attributes {
    let (checkpoint, sub_sequence, at) = checkpoint(&row.position);
    let name = stream.arn.rsplit_once('/').map_or("", |(_, name)| name);
    let mut item = Attributes::from([
        (LEASE_KEY.to_owned(), text(lease_key(stream, row.shard.as_str()))),
        ("leaseOwner".to_owned(), text(owner)),
        ("leaseCounter".to_owned(), number(counter)),
        ("checkpoint".to_owned(), text(checkpoint)),
        ("checkpointSubSequenceNumber".to_owned(), number(sub_sequence)),
        ("ownerSwitchesSinceCheckpoint".to_owned(), number(0)),
        ("streamName".to_owned(), text(name)),
        ("shardId".to_owned(), text(row.shard.as_str())),
        ("streamArn".to_owned(), text(&stream.arn)),
        ("streamCreated".to_owned(), number(stream.created.0)),
    ]);
    let mut put = |name: &str, value: Option<AttributeValue>| {
        if let Some(value) = value {
            item.insert(name.to_owned(), value);
        }
    };
    put("parentShardId", names(&row.parents));
    put("childShardIds", names(&row.children));
    put("parentOrder", order(&row.parents));
    put("childOrder", order(&row.children));
    put("startingHashKey", row.range.map(|range| text(range.start.to_string())));
    put("endingHashKey", row.range.map(|range| text(range.end.to_string())));
    put("checkpointTimestamp", at.map(number));
    put("watermark", row.watermark.map(|at| number(at.0)));
    put("completeUntil", row.complete_until.map(|at| number(at.0)));
    put("finishedAt", row.finished_at.map(|at| number(at.0)));
    item
}

fn names(shards: &[ShardId]) -> Option<AttributeValue> {
    let names: Vec<String> = shards.iter().map(|shard| shard.as_str().to_owned()).collect();
    (!names.is_empty()).then_some(AttributeValue::Ss(names))
}

/// A set forgets the order of its members, in which the first is `ParentShardId`; kept where it is not the alphabet's.
fn order(shards: &[ShardId]) -> Option<AttributeValue> {
    let names = || shards.iter().map(|shard| text(shard.as_str())).collect();
    (!shards.is_sorted_by(|a, b| a.as_str() < b.as_str())).then(|| AttributeValue::L(names()))
}

/// The stream, the row and the counter of a lease; `None` if it is no lease of ours.
pub(super) fn read_lease(item: &Attributes) -> Result<Option<(StreamIdentity, ShardRow, u64)>, Damaged> {
    let read =
        Reader { item, what: item.get(LEASE_KEY).and_then(|key| key.as_s().ok()).map_or("a lease", String::as_str) };
    let (Some(arn), Some(created)) = (read.text("streamArn")?, read.number("streamCreated")?) else { return Ok(None) };
    let position = match (read.some_text("checkpoint")?.as_str(), read.number("checkpointTimestamp")?) {
        ("TRIM_HORIZON", None) => Position::TrimHorizon,
        ("AT_TIMESTAMP", Some(at)) => Position::AtTimestamp(EpochMillis(at)),
        ("SHARD_END", None) => Position::ShardEnd,
        (digits, None) => Position::After {
            sequence: SequenceNumber::parse(digits).map_err(|error| read.damaged(&error.to_string()))?,
            sub_sequence: read.number("checkpointSubSequenceNumber")?.unwrap_or(0),
        },
        (other, Some(at)) => return Err(read.damaged(&format!("checkpoint {other:?} with a timestamp {at}"))),
    };
    let key = |name: &str| match read.text(name)? {
        Some(key) => key.parse().map(Some).map_err(|_| read.damaged(&format!("{name} {key:?}"))),
        None => Ok(None),
    };
    let range = match (key("startingHashKey")?, key("endingHashKey")?) {
        (Some(start), Some(end)) => Some(HashRange { start, end }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(read.damaged("half a hash range")),
    };
    let row = ShardRow {
        shard: ShardId::new(&read.some_text("shardId")?),
        parents: read.shards("parentShardId", "parentOrder")?,
        children: read.shards("childShardIds", "childOrder")?,
        range,
        position,
        watermark: read.number("watermark")?.map(EpochMillis),
        complete_until: read.number("completeUntil")?.map(EpochMillis),
        finished_at: read.number("finishedAt")?.map(EpochMillis),
    };
    Ok(Some((StreamIdentity { arn, created: EpochMillis(created) }, row, read.number("leaseCounter")?.unwrap_or(0))))
}

/// What is known of a stream beside its rows.
pub(super) fn stream(identity: &StreamIdentity, stream: &Stream) -> Attributes {
    let mut item = Attributes::from([
        (ID.to_owned(), text(stream_id(identity))),
        ("streamArn".to_owned(), text(&identity.arn)),
        ("streamCreated".to_owned(), number(identity.created.0)),
    ]);
    if let StartPoint::AtTimestamp(at) = stream.start {
        item.insert("startTimestamp".to_owned(), number(at.0));
    }
    if let Some(consumer) = &stream.consumer {
        item.insert("consumerName".to_owned(), text(&consumer.name));
        if let Some(arn) = &consumer.arn {
            item.insert("consumerArn".to_owned(), text(arn));
        }
    }
    item
}

/// The newest claim, and how often its owner has said that it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredClaim {
    pub(super) pipeline: PipelineId,
    pub(super) generation: u64,
    pub(super) claim: PreviousClaim,
    pub(super) beat: u64,
    /// Which call made the claim: a claim whose answer was lost is known again by it.
    pub(super) nonce: String,
}

impl StoredClaim {
    pub(super) fn item(&self) -> Attributes {
        let component = |component: &ComponentDigest| {
            AttributeValue::M(HashMap::from([
                ("role".to_owned(), text(&component.role)),
                ("digest".to_owned(), text(&component.digest)),
            ]))
        };
        Attributes::from([
            (ID.to_owned(), text(CLAIM)),
            ("tenant".to_owned(), text(&self.pipeline.tenant)),
            ("pipeline".to_owned(), text(&self.pipeline.pipeline)),
            ("generation".to_owned(), number(self.generation)),
            ("owner".to_owned(), text(&self.claim.owner.name)),
            ("ownerSince".to_owned(), number(self.claim.owner.since.0)),
            ("components".to_owned(), AttributeValue::L(self.claim.components.iter().map(component).collect())),
            ("released".to_owned(), AttributeValue::Bool(self.claim.ending == Ending::Released)),
            ("beat".to_owned(), number(self.beat)),
            ("nonce".to_owned(), text(&self.nonce)),
        ])
    }

    pub(super) fn read(item: &Attributes) -> Result<Self, Damaged> {
        let read = Reader { item, what: CLAIM };
        let components =
            item.get("components").and_then(|components| components.as_l().ok()).map_or(&[][..], Vec::as_slice);
        let component = |component: &AttributeValue| {
            let fields = component.as_m().map_err(|_| read.damaged("components"))?;
            let read = Reader { item: fields, what: "a component of the claim" };
            Ok(ComponentDigest { role: read.some_text("role")?, digest: read.some_text("digest")? })
        };
        let released = matches!(item.get("released"), Some(AttributeValue::Bool(true)));
        let owner = Owner {
            name: read.some_text("owner")?,
            since: EpochMillis(read.number("ownerSince")?.unwrap_or_default()),
        };
        Ok(Self {
            pipeline: PipelineId { tenant: read.some_text("tenant")?, pipeline: read.some_text("pipeline")? },
            generation: read.number("generation")?.ok_or_else(|| read.damaged("no generation"))?,
            claim: PreviousClaim {
                owner,
                components: components.iter().map(component).collect::<Result<_, Damaged>>()?,
                ending: if released { Ending::Released } else { Ending::Unreleased },
            },
            beat: read.number("beat")?.unwrap_or(0),
            nonce: read.text("nonce")?.unwrap_or_default(),
        })
    }
}

/// All of a pipeline, and its claim. Rows of a stream that has no start are what a crash left of one that was starting, or
/// being forgotten: they are as good as not there.
pub(super) fn read(
    leases: &[Attributes],
    others: &[Attributes],
) -> Result<(Pipeline, Option<StoredClaim>, HashMap<String, u64>), Damaged> {
    let (mut pipeline, mut claim, mut counters) = (Pipeline::default(), None, HashMap::new());
    for item in others {
        let read = Reader { item, what: "an item of the host's" };
        let id = read.some_text(ID)?;
        let read = Reader { item, what: &id };
        if id == CLAIM {
            let found = StoredClaim::read(item)?;
            pipeline.generation = found.generation;
            pipeline.claim = Some(found.claim.clone());
            claim = Some(found);
        } else if let Some(sink) = id.strip_prefix(MARK) {
            let mark = read.number("mark")?.ok_or_else(|| read.damaged("no mark"))?;
            pipeline.marks.insert(sink.to_owned(), mark);
        } else if id.starts_with(STREAM) {
            let created = read.number("streamCreated")?.ok_or_else(|| read.damaged("no time of creation"))?;
            let identity = StreamIdentity { arn: read.some_text("streamArn")?, created: EpochMillis(created) };
            let start = match read.number("startTimestamp")? {
                Some(at) => StartPoint::AtTimestamp(EpochMillis(at)),
                None => StartPoint::TrimHorizon,
            };
            let arn = read.text("consumerArn")?;
            let consumer = read.text("consumerName")?.map(|name| RegisteredConsumer { name, arn });
            pipeline.streams.insert(identity, Stream { start, consumer, rows: Default::default() });
        }
    }
    for item in leases {
        let Some((identity, row, counter)) = read_lease(item)? else { continue };
        if let Some(stream) = pipeline.streams.get_mut(&identity) {
            counters.insert(lease_key(&identity, row.shard.as_str()), counter);
            stream.rows.insert(row.shard.as_str().to_owned(), row);
        }
    }
    Ok((pipeline, claim, counters))
}

struct Reader<'a> {
    item: &'a Attributes,
    what: &'a str,
}

impl Reader<'_> {
    fn damaged(&self, why: &str) -> Damaged {
        Damaged(format!("{}: {why}", self.what))
    }

    fn text(&self, name: &str) -> Result<Option<String>, Damaged> {
        match self.item.get(name) {
            None => Ok(None),
            Some(value) => value.as_s().map(|text| Some(text.clone())).map_err(|_| self.damaged(name)),
        }
    }

    fn some_text(&self, name: &str) -> Result<String, Damaged> {
        self.text(name)?.ok_or_else(|| self.damaged(&format!("no {name}")))
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Damaged> {
        match self.item.get(name) {
            None => Ok(None),
            Some(AttributeValue::N(digits)) => digits.parse().map(Some).map_err(|_| self.damaged(name)),
            Some(_) => Err(self.damaged(name)),
        }
    }

    fn shards(&self, set: &str, order: &str) -> Result<Vec<ShardId>, Damaged> {
        if let Some(list) = self.item.get(order) {
            let list = list.as_l().map_err(|_| self.damaged(order))?;
            let shard = |value: &AttributeValue| value.as_s().ok().map(|text| ShardId::new(text));
            return list.iter().map(shard).collect::<Option<_>>().ok_or_else(|| self.damaged(order));
        }
        let Some(names) = self.item.get(set) else { return Ok(Vec::new()) };
        let mut names = names.as_ss().map_err(|_| self.damaged(set))?.clone();
        names.sort_unstable();
        Ok(names.iter().map(|name| ShardId::new(name)).collect())
    }
}
