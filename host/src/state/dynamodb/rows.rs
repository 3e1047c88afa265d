//! Rows as items, and back. A row that does not read back is damage, and is named.
//!
//! A shard's row has the attributes of a lease of AWS's Kinesis Client Library 3, under their names, so that its tools can
//! tell where a pipeline is; what KCL has no attribute for is added under names of ours, which it leaves alone. What is no
//! lease is in a table beside it: older releases of KCL take every row of a lease table for a lease.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use host_core::checkpoint::ShardRow;
use host_core::moment::EpochMillis;
use host_core::shard::{HashRange, Position, SequenceNumber, ShardId};

use crate::state::model::{Pipeline, Stream};
use crate::state::stored::{StoredPipeline, StoredRow, StoredStream};
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
/// The item that keeps earlier claims, so that rows can tell who wrote them.
pub(super) const HISTORY: &str = "history";
/// The most claims in it: an item has its limit, and nobody asks who wrote long ago.
const HISTORY_MAX: usize = 32;
/// How the item of what a sink has applied begins.
const APPLIED: &str = "applied/";
/// How the item of a mark begins.
const MARK: &str = "mark/";
/// How the item of a stream begins.
const STREAM: &str = "stream/";

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

/// The item that says how far an exactly-once sink has applied a shard; written by the sink, together with what it
/// applied, and removed with the position that it goes with.
pub(crate) fn applied_id(sink: &str, stream: &StreamIdentity, shard: &str) -> String {
    format!("{APPLIED}{sink}/{}", applied_to(stream, shard))
}

/// What [`applied_id`] has behind the sink's name.
pub(super) fn applied_to(stream: &StreamIdentity, shard: &str) -> String {
    format!("{}/{}/{shard}", stream.created.0, stream.arn)
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

/// What guards a lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Guard {
    /// `leaseCounter`.
    pub(super) counter: u64,
    /// Of the claim that wrote it last.
    pub(super) generation: u64,
}

/// A shard's row as a lease of `owner`.
pub(super) fn lease(stream: &StreamIdentity, row: &ShardRow, owner: &str, guard: Guard) -> Attributes {
    let (checkpoint, sub_sequence, at) = checkpoint(&row.position);
    let name = stream.arn.rsplit_once('/').map_or("", |(_, name)| name);
    let mut item = Attributes::from([
        (LEASE_KEY.to_owned(), text(lease_key(stream, row.shard.as_str()))),
        ("leaseOwner".to_owned(), text(owner)),
        ("leaseCounter".to_owned(), number(guard.counter)),
        ("checkpoint".to_owned(), text(checkpoint)),
        ("checkpointSubSequenceNumber".to_owned(), number(sub_sequence)),
        ("ownerSwitchesSinceCheckpoint".to_owned(), number(0)),
        ("streamName".to_owned(), text(name)),
        ("shardId".to_owned(), text(row.shard.as_str())),
        ("streamArn".to_owned(), text(&stream.arn)),
        ("streamCreated".to_owned(), number(stream.created.0)),
        ("generation".to_owned(), number(guard.generation)),
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

/// The stream, the row and what guards it; `None` if it is no lease of ours.
pub(super) fn read_lease(item: &Attributes) -> Result<Option<(StreamIdentity, ShardRow, Guard)>, Damaged> {
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
        Some(key) => key.parse().map(Some).map_err(|_found| read.damaged(&format!("{name} {key:?}"))),
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
    let guard = Guard {
        counter: read.number("leaseCounter")?.unwrap_or(0),
        generation: read.number("generation")?.unwrap_or(0),
    };
    Ok(Some((StreamIdentity { arn, created: EpochMillis(created) }, row, guard)))
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
    /// How many transactions were made under it.
    pub(super) commits: u64,
    /// Which call made the claim: a claim whose answer was lost is known again by it.
    pub(super) nonce: String,
}

impl StoredClaim {
    pub(super) fn item(&self) -> Attributes {
        let mut item = claim_fields(self.generation, &self.claim);
        item.extend([
            (ID.to_owned(), text(CLAIM)),
            ("tenant".to_owned(), text(&self.pipeline.tenant)),
            ("pipeline".to_owned(), text(&self.pipeline.pipeline)),
            ("beat".to_owned(), number(self.beat)),
            ("commits".to_owned(), number(self.commits)),
            ("nonce".to_owned(), text(&self.nonce)),
        ]);
        item
    }

    pub(super) fn read(item: &Attributes) -> Result<Self, Damaged> {
        let read = Reader { item, what: CLAIM };
        let (generation, claim) = read.claim()?;
        Ok(Self {
            pipeline: PipelineId { tenant: read.some_text("tenant")?, pipeline: read.some_text("pipeline")? },
            generation,
            claim,
            beat: read.number("beat")?.unwrap_or(0),
            commits: read.number("commits")?.unwrap_or(0),
            nonce: read.text("nonce")?.unwrap_or_default(),
        })
    }
}

fn claim_fields(generation: u64, claim: &PreviousClaim) -> Attributes {
    let component = |component: &ComponentDigest| {
        AttributeValue::M(HashMap::from([
            ("role".to_owned(), text(&component.role)),
            ("digest".to_owned(), text(&component.digest)),
        ]))
    };
    Attributes::from([
        ("generation".to_owned(), number(generation)),
        ("owner".to_owned(), text(&claim.owner.name)),
        ("ownerSince".to_owned(), number(claim.owner.since.0)),
        ("components".to_owned(), AttributeValue::L(claim.components.iter().map(component).collect())),
        ("released".to_owned(), AttributeValue::Bool(claim.ending == Ending::Released)),
    ])
}

/// Earlier claims, by generation.
pub(super) fn history(claims: &BTreeMap<u64, PreviousClaim>) -> Attributes {
    let claims = claims.iter().map(|(generation, claim)| AttributeValue::M(claim_fields(*generation, claim)));
    Attributes::from([(ID.to_owned(), text(HISTORY)), ("claims".to_owned(), AttributeValue::L(claims.collect()))])
}

fn read_history(item: &Attributes) -> Result<BTreeMap<u64, PreviousClaim>, Damaged> {
    let damaged = || Damaged(format!("{HISTORY}: claims"));
    let claims = item.get("claims").and_then(|claims| claims.as_l().ok()).ok_or_else(damaged)?;
    let claim =
        |claim: &AttributeValue| Reader { item: claim.as_m().map_err(|_found| damaged())?, what: HISTORY }.claim();
    claims.iter().map(claim).collect()
}

/// All that the two tables hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    pub(super) pipeline: Pipeline,
    pub(super) claim: Option<StoredClaim>,
    /// Of leases, by key.
    pub(super) guards: HashMap<String, Guard>,
    /// Leases of streams that have no start, which is what a crash left of one that was starting or being forgotten: they
    /// are as good as not there. By key.
    pub(super) orphans: Vec<String>,
    /// Claims before the newest one.
    pub(super) history: BTreeMap<u64, PreviousClaim>,
    /// The items of what sinks have applied, by what they are [`applied_to`].
    pub(super) applied: BTreeMap<String, Vec<String>>,
}

/// Reads all that the two tables hold.
pub(super) fn read(leases: &[Attributes], others: &[Attributes]) -> Result<Held, Damaged> {
    let mut held = Held::default();
    for item in others {
        held.add(item)?;
    }
    for item in leases {
        let Some((identity, row, guard)) = read_lease(item)? else { continue };
        let key = lease_key(&identity, row.shard.as_str());
        match held.pipeline.streams.get_mut(&identity) {
            Some(stream) => {
                held.guards.insert(key, guard);
                stream.rows.insert(row.shard.as_str().to_owned(), row);
            }
            None => held.orphans.push(key),
        }
    }
    Ok(held)
}

impl Held {
    /// Adds what is no lease.
    fn add(&mut self, item: &Attributes) -> Result<(), Damaged> {
        let id = Reader { item, what: "an item of the host's" }.some_text(ID)?;
        let read = Reader { item, what: &id };
        if id == CLAIM {
            let found = StoredClaim::read(item)?;
            self.pipeline.generation = found.generation;
            self.pipeline.claim = Some(found.claim.clone());
            self.claim = Some(found);
        } else if id == HISTORY {
            self.history = read_history(item)?;
        } else if let Some((_, to)) = id.strip_prefix(APPLIED).and_then(|applied| applied.split_once('/')) {
            self.applied.entry(to.to_owned()).or_default().push(id);
        } else if let Some(sink) = id.strip_prefix(MARK) {
            let mark = read.number("mark")?.ok_or_else(|| read.damaged("no mark"))?;
            self.pipeline.marks.insert(sink.to_owned(), mark);
        } else if id.starts_with(STREAM) {
            let created = read.number("streamCreated")?.ok_or_else(|| read.damaged("no time of creation"))?;
            let identity = StreamIdentity { arn: read.some_text("streamArn")?, created: EpochMillis(created) };
            let start = match read.number("startTimestamp")? {
                Some(at) => StartPoint::AtTimestamp(EpochMillis(at)),
                None => StartPoint::TrimHorizon,
            };
            let arn = read.text("consumerArn")?;
            let consumer = read.text("consumerName")?.map(|name| RegisteredConsumer { name, arn });
            self.pipeline.streams.insert(identity, Stream { start, consumer, rows: BTreeMap::new() });
        }
        Ok(())
    }

    /// As whoever looks from outside sees it.
    pub(super) fn stored(&self) -> Option<StoredPipeline> {
        let newest = self.claim.as_ref()?;
        let stored = |identity: &StreamIdentity, row: &ShardRow| {
            let guard = self.guards.get(&lease_key(identity, row.shard.as_str())).copied().unwrap_or_default();
            StoredRow { row: row.clone(), counter: guard.counter, generation: guard.generation }
        };
        let stream = |(identity, stream): (&StreamIdentity, &Stream)| StoredStream {
            identity: identity.clone(),
            start: stream.start,
            consumer: stream.consumer.clone(),
            rows: stream.rows.values().map(|row| stored(identity, row)).collect(),
        };
        let mut claims = self.history.clone();
        claims.insert(newest.generation, newest.claim.clone());
        Some(StoredPipeline {
            generation: newest.generation,
            claims,
            streams: self.pipeline.streams.iter().map(stream).collect(),
            marks: self.pipeline.marks.iter().map(|(sink, mark)| (sink.clone(), *mark)).collect(),
        })
    }

    /// The claims to be kept beside the one that follows: those that rows tell of, and the newest.
    pub(super) fn history_next(&self) -> BTreeMap<u64, PreviousClaim> {
        let told: BTreeSet<u64> = self.guards.values().map(|guard| guard.generation).collect();
        let mut claims = self.history.clone();
        claims.retain(|generation, _| told.contains(generation));
        claims.extend(self.claim.iter().map(|claim| (claim.generation, claim.claim.clone())));
        while claims.len() > HISTORY_MAX {
            claims.pop_first();
        }
        claims
    }
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
            Some(value) => value.as_s().map(|text| Some(text.clone())).map_err(|_found| self.damaged(name)),
        }
    }

    fn some_text(&self, name: &str) -> Result<String, Damaged> {
        self.text(name)?.ok_or_else(|| self.damaged(&format!("no {name}")))
    }

    fn claim(&self) -> Result<(u64, PreviousClaim), Damaged> {
        let components = self.item.get("components").and_then(|components| components.as_l().ok());
        let component = |component: &AttributeValue| {
            let fields = component.as_m().map_err(|_found| self.damaged("components"))?;
            let read = Reader { item: fields, what: "a component of a claim" };
            Ok(ComponentDigest { role: read.some_text("role")?, digest: read.some_text("digest")? })
        };
        let released = matches!(self.item.get("released"), Some(AttributeValue::Bool(true)));
        let claim = PreviousClaim {
            owner: Owner {
                name: self.some_text("owner")?,
                since: EpochMillis(self.number("ownerSince")?.unwrap_or_default()),
            },
            components: components.into_iter().flatten().map(component).collect::<Result<_, Damaged>>()?,
            ending: if released { Ending::Released } else { Ending::Unreleased },
        };
        Ok((self.number("generation")?.ok_or_else(|| self.damaged("no generation"))?, claim))
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Damaged> {
        match self.item.get(name) {
            None => Ok(None),
            Some(AttributeValue::N(digits)) => digits.parse().map(Some).map_err(|_found| self.damaged(name)),
            Some(_) => Err(self.damaged(name)),
        }
    }

    fn shards(&self, set: &str, order: &str) -> Result<Vec<ShardId>, Damaged> {
        if let Some(list) = self.item.get(order) {
            let list = list.as_l().map_err(|_found| self.damaged(order))?;
            let shard = |value: &AttributeValue| value.as_s().ok().map(|text| ShardId::new(text));
            return list.iter().map(shard).collect::<Option<_>>().ok_or_else(|| self.damaged(order));
        }
        let Some(names) = self.item.get(set) else { return Ok(Vec::new()) };
        let mut names = names.as_ss().map_err(|_found| self.damaged(set))?.clone();
        names.sort_unstable();
        Ok(names.iter().map(|name| ShardId::new(name)).collect())
    }
}
