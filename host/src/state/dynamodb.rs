//! Positions in DynamoDB: a table of the pipeline's own, shaped like the lease table of AWS's Kinesis Client Library, and one
//! beside it for what is no lease.
//!
//! There is no lock that dies with its process here. So an owner says every few seconds that it lives, and who wants the
//! pipeline watches: an owner that has said nothing for [`Options::lease`] is dead, by the watcher's own clock, and nobody
//! else's matters. An owner that released its claim is followed at once, and so is one of this very machine whose process
//! is gone. All that is only courtesy: what keeps an owner from writing that was thought dead is the generation, which
//! is proven inside every transaction.
//!
//! The handle knows all rows: nobody else writes them. A write is made on that copy by the rules of every store, and what
//! differs then goes into a transaction, on condition that the items are as the copy has them. DynamoDB takes a hundred
//! parts in one; a commit that needs more is made in several, in an order that loses nothing (`diff`).

mod diff;
mod remote;
mod rows;

use std::collections::HashMap;
use std::time::Duration;

use host_core::checkpoint::{Commit, ShardRow};
use host_core::patience::RetryLimits;

use self::diff::{Write, diff};
use self::remote::{Remote, Tables, Trial};
use self::rows::{Damaged, StoredClaim};
use super::error::{Outcome, age_of};
use super::model::Pipeline;
use super::{
    Claimed, ComponentDigest, Ending, LeaseStore, Owner, PipelineId, PreviousClaim, RegisteredConsumer, StartPoint,
    StoreError, StreamIdentity,
};
use crate::aws::AwsSettings;
use crate::item::{Item, Value};

/// How a store is reached, and how long its owner may be silent.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the table is.
    pub aws: AwsSettings,
    /// Its name. Beside it there is another, `NAME-sluicebox`; both are created if they are not there.
    pub table: String,
    /// Patience with its calls.
    pub retry: RetryLimits,
    /// How long an owner may say nothing before it counts as dead.
    pub lease: Duration,
}

/// The silence after which an owner counts as dead, unless told otherwise (KCL's `failoverTimeMillis`).
pub const LEASE_DEFAULT: Duration = Duration::from_secs(10);
/// The table beside that of the leases, for a name or an ARN.
#[must_use]
pub fn beside(table: &str) -> String {
    format!("{table}-sluicebox")
}

/// The key of the row that tells, in the table [`beside`], how far a sink has applied a shard.
#[must_use]
pub fn applied_key(sink: &str, stream: &StreamIdentity, shard: &str) -> Item {
    Item(vec![(rows::ID.to_owned(), Value::Text(rows::applied_id(sink, stream, shard)))])
}

/// How often an owner speaks, and a watcher looks, within a lease.
const BEATS: u32 = 4;

/// One handle. Dropping it is the death of its process.
pub struct DynamoStore {
    remote: Remote,
    options: Options,
    pipeline: PipelineId,
    ours: Option<Ours>,
}

/// What is known while the claim is held.
struct Ours {
    owner: String,
    state: Pipeline,
    /// Counters of leases, by key.
    counters: HashMap<String, u64>,
    /// A write has failed in a way that leaves open what the tables hold.
    is_in_doubt: bool,
}

impl std::fmt::Debug for DynamoStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { options, pipeline, .. } = self;
        f.debug_struct("DynamoStore").field("table", &options.table).field("pipeline", pipeline).finish_non_exhaustive()
    }
}

impl DynamoStore {
    /// A handle for `pipeline`. Nothing is called yet.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn open(options: Options, pipeline: &PipelineId) -> Result<Self, StoreError> {
        let remote = Remote::start(options.aws.clone(), &options.table, options.retry);
        let failed = |source: std::io::Error| StoreError::Table {
            doing: "reach",
            table: options.table.clone(),
            message: format!("no thread: {source}"),
            outcome: Outcome::NothingChanged,
        };
        Ok(Self { remote: remote.map_err(failed)?, options, pipeline: pipeline.clone(), ours: None })
    }

    fn failed(&self, doing: &'static str, trial: Trial) -> StoreError {
        let (message, outcome) = match trial {
            Trial::Failed { message, may_be_written: true } => (message, Outcome::Unknown),
            Trial::Failed { message, may_be_written: false } => (message, Outcome::NothingChanged),
            Trial::NoTable => ("it is gone".to_owned(), Outcome::NothingChanged),
            Trial::Unmet(_) => ("somebody else was faster".to_owned(), Outcome::NothingChanged),
        };
        StoreError::Table { doing, table: self.options.table.clone(), message, outcome }
    }

    fn damaged(&self, Damaged(detail): Damaged) -> StoreError {
        StoreError::DamagedTable { table: self.options.table.clone(), detail }
    }

    fn read(&self) -> Result<(Pipeline, Option<StoredClaim>, HashMap<String, u64>), StoreError> {
        let found = self.remote.ask(|tables| Box::pin(async move { tables.read().await }));
        let (leases, others) = found.map_err(|trial| self.failed("read", trial))?;
        let read = rows::read(&leases, &others).map_err(|error| self.damaged(error))?;
        match &read.1 {
            Some(claim) if claim.pipeline != self.pipeline => Err(StoreError::OtherPipeline {
                table: self.options.table.clone(),
                found: claim.pipeline.clone(),
                pipeline: self.pipeline.clone(),
            }),
            Some(_) | None => Ok(read),
        }
    }

    /// Whether the owner of `found` lives: watches it for as long as it takes to know. The claim as it is then.
    fn watch(&self, found: StoredClaim, owner: &Owner) -> Result<StoredClaim, StoreError> {
        let is_ours = self.ours.as_ref().is_some_and(|ours| ours.state.generation == found.generation);
        let is_over = found.claim.ending == Ending::Released || is_gone(&found.claim.owner.name, &owner.name);
        if is_ours || is_over {
            return Ok(found);
        }
        tracing::info!(
            owner = found.claim.owner.name,
            lease = ?self.options.lease,
            "another process had the positions; waiting to see whether it lives"
        );
        let (interval, seen) = (self.options.lease / BEATS, found.clone());
        let answer = self.remote.ask(move |tables| Box::pin(async move { outlast(&tables, &seen, interval).await }));
        let now = answer.map_err(|trial| self.failed("watch", trial))?;
        match now.map(|item| StoredClaim::read(&item).map_err(|error| self.damaged(error))).transpose()? {
            None => Ok(found),
            Some(now) if now.claim.ending == Ending::Released && now.generation == found.generation => Ok(now),
            Some(now) => Err(StoreError::OwnedByAnother {
                pipeline: self.pipeline.clone(),
                age: age_of(&now.claim.owner, owner.since),
                owner: Some(now.claim.owner),
            }),
        }
    }

    /// Makes `change` on the copy, and in the tables what it changed.
    fn write(
        &mut self,
        doing: &'static str,
        change: impl FnOnce(&mut Pipeline) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(ours) = &self.ours else { return Err(StoreError::NotClaimed { pipeline: self.pipeline.clone() }) };
        if ours.is_in_doubt {
            let message = "an earlier write may or may not have happened: the positions must be claimed again";
            let (table, outcome) = (self.options.table.clone(), Outcome::NothingChanged);
            return Err(StoreError::Table { doing, table, message: message.to_owned(), outcome });
        }
        let mut wanted = ours.state.clone();
        change(&mut wanted)?;
        let transactions = diff(&ours.state, &wanted, &ours.counters, &ours.owner);
        let generation = ours.state.generation;
        if transactions.is_empty() {
            // Even nothing is refused to an older owner.
            return self.transact(doing, generation, Vec::new(), true);
        }
        let mut is_first = true;
        for writes in transactions {
            let counters: Vec<_> = writes.iter().filter_map(|write| write.counter.clone()).collect();
            self.transact(doing, generation, writes, is_first)?;
            is_first = false;
            if let Some(ours) = &mut self.ours {
                ours.counters.extend(counters);
            }
        }
        if let Some(ours) = &mut self.ours {
            ours.state = wanted;
        }
        Ok(())
    }

    /// One transaction. A later one of several that fails leaves a part of the change done.
    fn transact(
        &mut self,
        doing: &'static str,
        generation: u64,
        writes: Vec<Write>,
        is_first: bool,
    ) -> Result<(), StoreError> {
        let sent = writes.clone();
        let answer = self.remote.ask(move |tables| Box::pin(async move { tables.write(generation, &sent).await }));
        let Err(trial) = answer else { return Ok(()) };
        let error = match trial {
            Trial::Unmet(unmet) => self.refused(generation, &writes, &unmet)?,
            trial @ (Trial::NoTable | Trial::Failed { .. }) => self.failed(doing, trial),
        };
        let is_in_doubt = !is_first || error.outcome() == Outcome::Unknown;
        if let Some(ours) = &mut self.ours {
            ours.is_in_doubt |= is_in_doubt;
        }
        Err(match error {
            StoreError::Table { doing, table, message, .. } if is_in_doubt => {
                StoreError::Table { doing, table, message, outcome: Outcome::Unknown }
            }
            error => error,
        })
    }

    /// Why a transaction's conditions did not hold.
    fn refused(&self, generation: u64, writes: &[Write], unmet: &[bool]) -> Result<StoreError, StoreError> {
        let (state, claim, _) = self.read()?;
        if state.generation != generation {
            let by = claim.map(|claim| claim.claim.owner);
            let (pipeline, newer) = (self.pipeline.clone(), state.generation);
            return Ok(StoreError::Fenced { pipeline, by, newer, ours: generation });
        }
        let refused = writes.iter().zip(unmet.iter().skip(1)).find(|(_, is_unmet)| **is_unmet);
        let Some((identity, shard)) = refused.and_then(|(write, _)| write.of.clone()) else {
            return Ok(self.failed("write", Trial::Unmet(Vec::new())));
        };
        let position = |state: &Pipeline| {
            let row = state.streams.get(&identity).and_then(|stream| stream.rows.get(&shard));
            row.map_or("no row".to_owned(), |row| row.position.to_string())
        };
        let expected = self.ours.as_ref().map(|ours| position(&ours.state)).unwrap_or_default();
        let shard = host_core::shard::ShardId::new(&shard);
        Ok(StoreError::Conflict { shard, expected, found: position(&state) })
    }
}

/// Looks every `interval` whether the owner has spoken since; `None` once it has not for a whole lease.
async fn outlast(tables: &Tables, seen: &StoredClaim, interval: Duration) -> Result<Option<rows::Attributes>, Trial> {
    for _ in 0..BEATS {
        tokio::time::sleep(interval).await;
        let found = tables.claim().await?;
        let is_same = |item: &rows::Attributes| {
            StoredClaim::read(item).is_ok_and(|now| {
                (now.generation, now.beat, now.claim.ending) == (seen.generation, seen.beat, seen.claim.ending)
            })
        };
        if let Some(item) = found
            && !is_same(&item)
        {
            return Ok(Some(item));
        }
    }
    Ok(None)
}

/// Whether `owner`, a `host:pid`, was a process of this machine that is no more.
fn is_gone(owner: &str, us: &str) -> bool {
    let (Some((host, pid)), Some((here, own))) = (owner.rsplit_once(':'), us.rsplit_once(':')) else { return false };
    // The same number is this process, or one of another container of this name.
    if host != here || pid == own {
        return false;
    }
    let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

impl LeaseStore for DynamoStore {
    fn claim(&mut self, owner: &Owner, components: &[ComponentDigest]) -> Result<Claimed, StoreError> {
        let ensured = self.remote.ask(|tables| Box::pin(async move { tables.ensure().await }));
        ensured.map_err(|trial| self.failed("create", trial))?;
        let (_, found, _) = self.read()?;
        let before = found.map(|found| self.watch(found, owner)).transpose()?;
        let claim = StoredClaim {
            pipeline: self.pipeline.clone(),
            generation: before.as_ref().map_or(0, |before| before.generation) + 1,
            claim: PreviousClaim { owner: owner.clone(), components: components.to_vec(), ending: Ending::Unreleased },
            beat: 0,
            nonce: std::iter::repeat_with(fastrand::alphanumeric).take(16).collect(),
        };
        self.ours = None;
        let previous = before.as_ref().map(|before| before.claim.clone());
        let (ours, there) = (claim.clone(), before);
        let taken = self.remote.ask(move |tables| Box::pin(async move { tables.take(&ours, there.as_ref()).await }));
        if !taken.map_err(|trial| self.failed("claim", trial))? {
            let (_, now, _) = self.read()?;
            let owner = now.map(|now| now.claim.owner);
            return Err(StoreError::OwnedByAnother { pipeline: self.pipeline.clone(), owner, age: None });
        }
        let (generation, interval) = (claim.generation, self.options.lease / BEATS);
        self.remote.ask(move |tables| {
            Box::pin(async move {
                tables.beat(generation, interval);
            })
        });
        // Behind the claim: what is read now nobody else changes any more.
        let (mut state, _, counters) = self.read()?;
        state.claim = Some(claim.claim);
        let claimed = state.claimed(previous);
        self.ours = Some(Ours { owner: owner.name.clone(), state, counters, is_in_doubt: false });
        Ok(claimed)
    }

    fn start_stream(
        &mut self,
        stream: &StreamIdentity,
        start: StartPoint,
        rows: &[ShardRow],
    ) -> Result<(), StoreError> {
        self.write("write", |pipeline| pipeline.start_stream(stream, start, rows))
    }

    fn forget_stream(&mut self, stream: &StreamIdentity) -> Result<(), StoreError> {
        self.write("write", |pipeline| pipeline.forget_stream(stream))
    }

    fn note_consumer(
        &mut self,
        stream: &StreamIdentity,
        consumer: Option<&RegisteredConsumer>,
    ) -> Result<(), StoreError> {
        self.write("write", |pipeline| pipeline.note_consumer(stream, consumer))
    }

    fn commit(&mut self, streams: &[StreamIdentity], commit: &Commit, sinks: &[String]) -> Result<(), StoreError> {
        self.write("write", |pipeline| pipeline.commit(streams, commit, sinks))
    }

    fn release(&mut self) -> Result<(), StoreError> {
        let Some(ours) = self.ours.take() else {
            return Err(StoreError::NotClaimed { pipeline: self.pipeline.clone() });
        };
        let generation = ours.state.generation;
        let released = self.remote.ask(move |tables| Box::pin(async move { tables.release(generation).await }));
        if released.map_err(|trial| self.failed("release", trial))? {
            return Ok(());
        }
        let (state, claim, _) = self.read()?;
        let by = claim.map(|claim| claim.claim.owner);
        Err(StoreError::Fenced { pipeline: self.pipeline.clone(), by, newer: state.generation, ours: generation })
    }
}
