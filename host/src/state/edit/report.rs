//! What `sluicebox state list` and `state show` print: as text for people, as JSON for everything else.

use std::fmt;

use host_core::shard::ShardId;
use serde::{Deserialize, Serialize};

use super::{EditError, Site, Snapshot, position, table};
use crate::state::stored::{StoredPipeline, StoredRow, StoredStream};
use crate::state::{ComponentDigest, Ending, PipelineId, rfc3339};

/// All that is durable of one pipeline.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The file or the table.
    pub database: Site,
    /// Whose state it is.
    #[serde(flatten)]
    pub pipeline: PipelineId,
    /// Of the newest claim.
    pub generation: u64,
    /// Whose claim is the newest.
    pub owner: Option<OwnerLine>,
    /// Streams, ordered by identity.
    pub streams: Vec<StreamLine>,
    /// How much of each sink belongs to these positions, by the sink's name.
    pub marks: Vec<MarkLine>,
}

/// Who claimed the pipeline last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OwnerLine {
    /// `host:pid`.
    pub name: String,
    /// RFC 3339.
    pub since: String,
    /// `live`, `released` or `died`.
    pub state: &'static str,
}

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamLine {
    /// Its ARN.
    pub arn: String,
    /// When it was created, RFC 3339.
    pub created: String,
    /// Where it began.
    pub start: String,
    /// Its shards, ordered by identifier.
    pub shards: Vec<ShardLine>,
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShardLine {
    /// Its identifier.
    pub shard: String,
    /// Its position, as `state set` takes it.
    pub position: String,
    /// RFC 3339.
    pub watermark: Option<String>,
    /// Every record of the shard that arrived earlier is with the sinks. RFC 3339.
    pub complete_until: Option<String>,
    /// RFC 3339.
    pub finished_at: Option<String>,
    /// Its parents.
    pub parents: Vec<String>,
    /// Its children, once known.
    pub children: Vec<String>,
    /// First hash key, decimal.
    pub hash_start: Option<String>,
    /// Last hash key, decimal.
    pub hash_end: Option<String>,
    /// How often the row was written.
    pub counter: u64,
    /// Generation of the claim that wrote it last.
    pub generation: u64,
    /// Whose claim that was.
    pub owner: Option<String>,
    /// With which components; empty after an edit.
    pub components: Vec<ComponentDigest>,
}

/// One sink's mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkLine {
    /// The sink's name.
    pub sink: String,
    /// For a file, its length in bytes.
    pub mark: u64,
}

/// The chosen shards of a report, every field of them.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Details(pub Report);

/// All shards of a pipeline.
///
/// # Errors
/// There is no file and no table, none that can be read, or the pipeline never ran with it.
pub fn list(at: impl Into<Site>, pipeline: &PipelineId) -> Result<Report, EditError> {
    Ok(report(&Snapshot::take(at, pipeline)?, |_| true))
}

/// Every field of the chosen shards; of all, if none is chosen.
///
/// # Errors
/// As [`list`]; a chosen shard has no row, or `stream` has no state.
pub fn show(
    at: impl Into<Site>,
    pipeline: &PipelineId,
    stream: Option<&str>,
    shards: &[ShardId],
) -> Result<Details, EditError> {
    let mut snapshot = Snapshot::take(at, pipeline)?;
    let chosen: Vec<StoredStream> = snapshot.streams(stream)?.into_iter().cloned().collect();
    let has = |shard: &ShardId| chosen.iter().any(|stream| stream.rows.iter().any(|row| row.row.shard == *shard));
    if let Some(unknown) = shards.iter().find(|shard| !has(shard)) {
        return Err(snapshot.unknown(unknown));
    }
    snapshot.stored.streams = chosen;
    Ok(Details(report(&snapshot, |shard| shards.is_empty() || shards.contains(shard))))
}

fn report(snapshot: &Snapshot, chosen: impl Fn(&ShardId) -> bool) -> Report {
    let stored = &snapshot.stored;
    let stream = |stream: &StoredStream| StreamLine {
        arn: stream.identity.arn.clone(),
        created: rfc3339(stream.identity.created),
        start: position::print(&stream.start.position()),
        shards: stream.rows.iter().filter(|row| chosen(&row.row.shard)).map(|row| shard_line(stored, row)).collect(),
    };
    Report {
        database: snapshot.at.clone(),
        pipeline: snapshot.pipeline.clone(),
        generation: stored.generation,
        owner: owner_line(snapshot),
        streams: stored.streams.iter().map(stream).collect(),
        marks: stored.marks.iter().map(|(sink, mark)| MarkLine { sink: sink.clone(), mark: *mark }).collect(),
    }
}

/// The table of what is stored, without its head.
pub(crate) struct Table(Report);

impl Table {
    pub(crate) fn of(stored: &StoredPipeline, pipeline: &PipelineId) -> Self {
        let (at, pipeline, stored) = (Site::File(Default::default()), pipeline.clone(), stored.clone());
        Self(report(&Snapshot { at, pipeline, live: None, stored }, |_| true))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_streams(f)?;
        self.0.write_marks(f)
    }
}

fn owner_line(snapshot: &Snapshot) -> Option<OwnerLine> {
    let claim = snapshot.stored.claims.get(&snapshot.stored.generation)?;
    let state = match (snapshot.live.is_some(), claim.ending) {
        (true, Ending::Released | Ending::Unreleased) => "live",
        (false, Ending::Released) => "released",
        (false, Ending::Unreleased) => "died",
    };
    Some(OwnerLine { name: claim.owner.name.clone(), since: rfc3339(claim.owner.since), state })
}

fn shard_line(stored: &StoredPipeline, found: &StoredRow) -> ShardLine {
    let row = &found.row;
    let names = |shards: &[ShardId]| shards.iter().map(ShardId::to_string).collect();
    let claim = stored.claims.get(&found.generation);
    ShardLine {
        shard: row.shard.to_string(),
        position: position::print(&row.position),
        watermark: row.watermark.map(rfc3339),
        complete_until: row.complete_until.map(rfc3339),
        finished_at: row.finished_at.map(rfc3339),
        parents: names(&row.parents),
        children: names(&row.children),
        hash_start: row.range.map(|range| range.start.to_string()),
        hash_end: row.range.map(|range| range.end.to_string()),
        counter: found.counter,
        generation: found.generation,
        owner: claim.map(|claim| claim.owner.name.clone()),
        components: claim.map(|claim| claim.components.clone()).unwrap_or_default(),
    }
}

impl Report {
    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pipeline {}, generation {}", self.pipeline, self.generation)?;
        if let Some(owner) = &self.owner {
            write!(f, ", {} {} since {}", owner.state, owner.name, owner.since)?;
        }
        writeln!(f)
    }

    /// The streams with a line for each shard.
    fn write_streams(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stream in &self.streams {
            stream.write_head(f)?;
            let rows: Vec<_> = stream
                .shards
                .iter()
                .map(|line| {
                    let time = |time: &Option<String>| time.clone().unwrap_or_default();
                    let (complete_until, watermark) = (time(&line.complete_until), time(&line.watermark));
                    [line.shard.clone(), line.position.clone(), complete_until, watermark, line.children.join(" ")]
                })
                .collect();
            table::write(f, ["SHARD", "POSITION", "COMPLETE UNTIL", "WATERMARK", "CHILDREN"], &rows)?;
        }
        Ok(())
    }

    fn write_marks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.marks.is_empty() {
            return Ok(());
        }
        writeln!(f)?;
        let rows: Vec<_> = self.marks.iter().map(|line| [line.sink.clone(), line.mark.to_string()]).collect();
        table::write(f, ["SINK", "MARK"], &rows)
    }
}

impl StreamLine {
    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nstream {}, created {}, started at {}", self.arn, self.created, self.start)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        self.write_streams(f)?;
        self.write_marks(f)
    }
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_head(f)?;
        for stream in self.0.streams.iter().filter(|stream| !stream.shards.is_empty()) {
            stream.write_head(f)?;
            stream.shards.iter().try_for_each(|line| write!(f, "\n{line}"))?;
        }
        self.0.write_marks(f)
    }
}

impl fmt::Display for ShardLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let all = |texts: &[String]| if texts.is_empty() { "-".to_owned() } else { texts.join(" ") };
        let owner = self.owner.as_deref().unwrap_or("unknown");
        writeln!(f, "{}", self.shard)?;
        writeln!(f, "  position        {}", self.position)?;
        writeln!(f, "  complete until  {}", or_none(&self.complete_until))?;
        writeln!(f, "  watermark       {}", or_none(&self.watermark))?;
        writeln!(f, "  finished at     {}", or_none(&self.finished_at))?;
        writeln!(f, "  parents         {}", all(&self.parents))?;
        writeln!(f, "  children        {}", all(&self.children))?;
        writeln!(f, "  hash keys       {} to {}", or_none(&self.hash_start), or_none(&self.hash_end))?;
        writeln!(f, "  written by      {owner} (generation {}, write {})", self.generation, self.counter)?;
        self.components.iter().try_for_each(|component| writeln!(f, "  {:<14}  {}", component.role, component.digest))
    }
}
