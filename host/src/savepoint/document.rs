//! What is in the file. Format 1 is this module: a field more, less or different is another format, because a release that
//! passed over what it does not know would restore less than was saved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use host_core::checkpoint::ShardRow;
use host_core::moment::EpochMillis;
use host_core::shard::{HashRange, Position, ShardId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Circumstances, SavepointError, canonical, lineage};
use crate::state::edit::{MarkLine, position};
use crate::state::stored::{StoredPipeline, StoredRow, StoredStream};
use crate::state::{
    ComponentDigest, Ending, NUMBER_MAX, Owner, PipelineId, PreviousClaim, StartPoint, StreamIdentity, rfc3339,
};

/// The format that this release writes and reads.
pub const FORMAT: &str = "sluicebox-savepoint/1";
/// What every format of ours begins with.
const FAMILY: &str = "sluicebox-savepoint/";
/// How far into a file the format is looked for where the rest cannot be read.
const HEAD_BYTES: usize = 128;

/// A savepoint, whole and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Savepoint {
    document: Document,
    pipeline: PipelineId,
    stored: StoredPipeline,
}

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    /// Of the canonical text of `content`.
    hash: String,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    tenant: String,
    pipeline: String,
    /// RFC 3339, as all times.
    pub(super) taken_at: String,
    /// Whether the pipeline ran at that moment.
    pub(super) running: bool,
    /// The release that wrote this.
    pub(super) sluicebox: String,
    pub(super) parallelism: u32,
    /// Of the newest claim.
    generation: u64,
    /// The newest claim, and those that some row was last written by.
    claims: Vec<ClaimEntry>,
    streams: Vec<StreamEntry>,
    marks: Vec<MarkLine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimEntry {
    generation: u64,
    owner: String,
    since: String,
    released: bool,
    components: Vec<ComponentDigest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamEntry {
    arn: String,
    created: String,
    start: String,
    shards: Vec<ShardEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShardEntry {
    shard: String,
    /// As `state set` takes it.
    position: String,
    complete_until: Option<String>,
    watermark: Option<String>,
    finished_at: Option<String>,
    parents: Vec<String>,
    children: Vec<String>,
    /// Decimal, wider than what JSON's readers keep of a number.
    hash_start: Option<String>,
    hash_end: Option<String>,
    counter: u64,
    generation: u64,
}

impl Savepoint {
    /// A savepoint of `stored`, closed under lineage.
    pub(super) fn new(
        pipeline: &PipelineId,
        mut stored: StoredPipeline,
        running: bool,
        circumstances: &Circumstances,
    ) -> Self {
        let rows = stored.streams.iter().flat_map(|stream| &stream.rows);
        let mut told: BTreeSet<u64> = rows.map(|row| row.generation).collect();
        told.insert(stored.generation);
        stored.claims.retain(|generation, _| told.contains(generation));
        let content = Content {
            tenant: pipeline.tenant.clone(),
            pipeline: pipeline.pipeline.clone(),
            taken_at: rfc3339(circumstances.at),
            running,
            sluicebox: env!("CARGO_PKG_VERSION").to_owned(),
            parallelism: circumstances.parallelism,
            generation: stored.generation,
            claims: stored.claims.iter().map(|(generation, claim)| ClaimEntry::of(*generation, claim)).collect(),
            streams: stored.streams.iter().map(StreamEntry::of).collect(),
            marks: stored.marks.iter().map(|(sink, mark)| MarkLine { sink: sink.clone(), mark: *mark }).collect(),
        };
        let hash = canonical::hash(&serde_json::to_value(&content).unwrap_or_default());
        Self { document: Document { format: FORMAT.to_owned(), hash, content }, pipeline: pipeline.clone(), stored }
    }

    /// Reads its own text back, before anybody has to rely on it.
    pub(super) fn check(&self) -> Result<(), SavepointError> {
        let again = Self::parse(Path::new("the new savepoint"), self.text().as_bytes());
        let what = match again {
            Ok(again) if again == *self => return Ok(()),
            Ok(_) => "it reads back as something else".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(SavepointError::Unreadable { what })
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.document).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads and verifies the bytes of the file at `path`.
    ///
    /// # Errors
    /// They are no savepoint, of another format, torn, altered, or contradict themselves.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, SavepointError> {
        let value = parse_json(path, bytes)?;
        let not_one = |why: &str| SavepointError::NotASavepoint { path: path.to_owned(), why: why.to_owned() };
        let format = value.get("format").and_then(Value::as_str).filter(|format| format.starts_with(FAMILY));
        let format = format.ok_or_else(|| not_one("JSON of something else"))?;
        if format != FORMAT {
            let (path, found) = (path.to_owned(), format.to_owned());
            return Err(SavepointError::UnknownFormat { path, found, supported: FORMAT });
        }
        let torn = |what: &str| SavepointError::Torn { path: path.to_owned(), why: format!("{what} is missing") };
        let written = value.get("hash").and_then(Value::as_str).ok_or_else(|| torn("its hash"))?;
        let found = canonical::hash(value.get("content").ok_or_else(|| torn("its content"))?);
        if written != found {
            return Err(SavepointError::Altered { path: path.to_owned(), written: written.to_owned(), found });
        }
        let contradictory = |what: String| SavepointError::Contradictory { path: path.to_owned(), what };
        let document: Document = serde_json::from_value(value).map_err(|error| contradictory(error.to_string()))?;
        let stored = document.content.decode().map_err(contradictory)?;
        let content = &document.content;
        let pipeline = PipelineId { tenant: content.tenant.clone(), pipeline: content.pipeline.clone() };
        Ok(Self { pipeline, stored, document })
    }

    /// Whose state it is.
    #[must_use]
    pub fn pipeline(&self) -> &PipelineId {
        &self.pipeline
    }

    /// `sha256:` and the digest of its content.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.document.hash
    }

    /// When it was taken, RFC 3339.
    #[must_use]
    pub fn taken_at(&self) -> &str {
        &self.document.content.taken_at
    }

    pub(super) fn content(&self) -> &Content {
        &self.document.content
    }

    pub(super) fn stored(&self) -> &StoredPipeline {
        &self.stored
    }
}

impl Serialize for Savepoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.document.serialize(serializer)
    }
}

/// JSON, or what lies there instead: what begins as a savepoint does and does not end as one is torn.
fn parse_json(path: &Path, bytes: &[u8]) -> Result<Value, SavepointError> {
    let why = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(value),
        Err(_) if bytes.is_empty() => "an empty file".to_owned(),
        Err(error) => error.to_string(),
    };
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD_BYTES)]).into_owned();
    let path = path.to_owned();
    if head.contains("\"format\"") && head.contains(FAMILY) {
        Err(SavepointError::Torn { path, why })
    } else {
        Err(SavepointError::NotASavepoint { path, why })
    }
}

impl ClaimEntry {
    fn of(generation: u64, claim: &PreviousClaim) -> Self {
        Self {
            generation,
            owner: claim.owner.name.clone(),
            since: rfc3339(claim.owner.since),
            released: claim.ending == Ending::Released,
            components: claim.components.clone(),
        }
    }

    fn decode(&self) -> Result<PreviousClaim, String> {
        Ok(PreviousClaim {
            owner: Owner { name: self.owner.clone(), since: time(&self.since)? },
            components: self.components.clone(),
            ending: if self.released { Ending::Released } else { Ending::Unreleased },
        })
    }
}

impl StreamEntry {
    fn of(stream: &StoredStream) -> Self {
        Self {
            arn: stream.identity.arn.clone(),
            created: rfc3339(stream.identity.created),
            start: position::print(&stream.start.position()),
            shards: stream.rows.iter().map(ShardEntry::of).collect(),
        }
    }

    fn decode(&self) -> Result<StoredStream, String> {
        let start = match position::parse(&self.start).map_err(|error| error.to_string())? {
            Position::TrimHorizon => StartPoint::TrimHorizon,
            Position::AtTimestamp(at) => StartPoint::AtTimestamp(at),
            Position::After { .. } | Position::ShardEnd => return Err(format!("start {:?} is no start", self.start)),
        };
        let rows: Vec<StoredRow> = self
            .shards
            .iter()
            .map(|entry| entry.decode().map_err(|why| format!("shard {}: {why}", entry.shard)))
            .collect::<Result<_, _>>()?;
        unique(rows.iter().map(|row| row.row.shard.as_str()), "shard")?;
        let identity = StreamIdentity { arn: self.arn.clone(), created: time(&self.created)? };
        Ok(StoredStream { identity, start, consumer: None, rows })
    }
}

impl ShardEntry {
    fn of(stored: &StoredRow) -> Self {
        let row = &stored.row;
        let names = |shards: &[ShardId]| shards.iter().map(|shard| shard.as_str().to_owned()).collect();
        Self {
            shard: row.shard.as_str().to_owned(),
            position: position::print(&row.position),
            complete_until: row.complete_until.map(rfc3339),
            watermark: row.watermark.map(rfc3339),
            finished_at: row.finished_at.map(rfc3339),
            parents: names(&row.parents),
            children: names(&row.children),
            hash_start: row.range.map(|range| range.start.to_string()),
            hash_end: row.range.map(|range| range.end.to_string()),
            counter: stored.counter,
            generation: stored.generation,
        }
    }

    fn decode(&self) -> Result<StoredRow, String> {
        let at = |text: &Option<String>| text.as_deref().map(time).transpose();
        let names = |names: &[String]| names.iter().map(|name| ShardId::new(name)).collect();
        let range = match (&self.hash_start, &self.hash_end) {
            (Some(start), Some(end)) => Some(HashRange { start: key(start)?, end: key(end)? }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err("half of a range of hash keys".to_owned()),
        };
        let row = ShardRow {
            shard: ShardId::new(&self.shard),
            parents: names(&self.parents),
            children: names(&self.children),
            range,
            position: position::parse(&self.position).map_err(|error| error.to_string())?,
            watermark: at(&self.watermark)?,
            complete_until: at(&self.complete_until)?,
            finished_at: at(&self.finished_at)?,
        };
        if row.position.is_end() != row.finished_at.is_some() {
            return Err("a time of its end without an end, or the other way round".to_owned());
        }
        in_bounds(self.counter)?;
        in_bounds(self.generation)?;
        Ok(StoredRow { row, counter: self.counter, generation: self.generation })
    }
}

impl Content {
    fn decode(&self) -> Result<StoredPipeline, String> {
        in_bounds(self.generation)?;
        let claims: Vec<_> =
            self.claims.iter().map(|entry| Ok((entry.generation, entry.decode()?))).collect::<Result<_, String>>()?;
        let streams: Vec<StoredStream> = self.streams.iter().map(StreamEntry::decode).collect::<Result<_, _>>()?;
        unique(streams.iter().map(|stream| &stream.identity), "stream")?;
        unique(self.marks.iter().map(|line| line.sink.as_str()), "mark")?;
        self.marks.iter().try_for_each(|line| in_bounds(line.mark))?;
        let stored = StoredPipeline {
            generation: self.generation,
            claims: BTreeMap::from_iter(claims),
            streams,
            marks: self.marks.iter().map(|line| (line.sink.clone(), line.mark)).collect(),
        };
        lineage::check(&stored)?;
        Ok(stored)
    }
}

fn time(text: &str) -> Result<EpochMillis, String> {
    let at: jiff::Timestamp = text.parse().map_err(|error: jiff::Error| format!("{text:?} is no time: {error}"))?;
    Ok(EpochMillis(at.as_millisecond()))
}

fn key(text: &str) -> Result<u128, String> {
    text.parse().map_err(|error: std::num::ParseIntError| format!("{text:?} is no hash key: {error}"))
}

/// Whether the store can keep the number.
fn in_bounds(number: u64) -> Result<(), String> {
    if number <= NUMBER_MAX { Ok(()) } else { Err(format!("{number} is more than {NUMBER_MAX}")) }
}

fn unique<T: Ord + std::fmt::Debug>(items: impl Iterator<Item = T>, what: &str) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for item in items {
        if seen.contains(&item) {
            return Err(format!("{what} {item:?} is there twice"));
        }
        seen.insert(item);
    }
    Ok(())
}
