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
mod outside;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use host_core::checkpoint::{Commit, ShardRow};
use host_core::patience::RetryLimits;

use self::diff::{Author, Write, diff, sweep};
use self::remote::{Before, Remote, Tables, Trial, in_words};
use self::rows::{Attributes, Damaged, Guard, Held, StoredClaim, applied_to};
use super::error::{Outcome, age_of};
use super::model::Pipeline;
use super::{
    Claimed, ComponentDigest, Ending, LeaseStore, Owner, PipelineId, PreviousClaim, RegisteredConsumer, StartPoint,
    StoreError, StreamIdentity, rules,
};
use crate::aws::AwsSettings;
use crate::config::{Manifest, Table};

use crate::item::{Item, Value};
pub(super) use outside::{intervene, look};
pub(crate) use rows::applied_id;

/// How a store is reached, and how long its owner may be silent.
#[derive(Clone, Debug)]
pub struct Options {
    /// The account, and the endpoint if it is not AWS's; the region is the table's.
    pub aws: AwsSettings,
    /// The table. Beside it there is another, `NAME-sluicebox`; both are created if they are not there.
    pub table: Table,
    /// Patience with its calls.
    pub retry: RetryLimits,
    /// How long an owner may say nothing before it counts as dead.
    pub lease: Duration,
}

impl Options {
    /// What a manifest says of the store in `table`; at `local`, the embedded endpoint, if it is to be kept there.
    #[must_use]
    pub fn of(manifest: &Manifest, table: &Table, local: Option<&str>) -> Self {
        let aws = AwsSettings::of(manifest);
        let (aws, account) = match local {
            // Whose it is means nothing there.
            Some(endpoint) => (AwsSettings::local(&manifest.aws.region, endpoint), None),
            None => (aws, table.account.clone()),
        };
        let table = Table { account, ..table.clone() };
        Self { aws, table, retry: RetryLimits::from(&manifest.aws.retry), lease: LEASE_DEFAULT }
    }
}

/// The tables of a store by this name, and the attribute that is the key of each.
#[must_use]
pub fn tables_of(table: &str) -> [(String, &'static str); 2] {
    [(table.to_owned(), rows::LEASE_KEY), (beside(table), rows::ID)]
}

/// The silence after which an owner counts as dead, unless told otherwise (KCL's `failoverTimeMillis`).
pub const LEASE_DEFAULT: Duration = Duration::from_secs(10);
/// The table beside that of the leases, for a name or an ARN.
#[must_use]
pub fn beside(table: &str) -> String {
    format!("{table}{}", remote::BESIDE)
}

/// The key of the row that tells, in the table [`beside`], how far a sink has applied a shard.
#[must_use]
pub fn applied_key(sink: &str, stream: &StreamIdentity, shard: &str) -> Item {
    Item(vec![(rows::ID.to_owned(), Value::Text(applied_id(sink, stream, shard)))])
}

/// How often an owner speaks within a lease.
const BEATS: u32 = 4;
/// How often a watcher looks within a lease: more often than it is spoken, so that who lives is known soon.
const LOOKS: u32 = 20;

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
    /// Of leases, by key.
    guards: HashMap<String, Guard>,
    /// What sinks had applied when the pipeline was claimed.
    applied: BTreeMap<String, Vec<String>>,
    /// A write has failed in a way that leaves open what the tables hold.
    is_in_doubt: bool,
}

/// What watching an owner has shown.
enum Watched {
    /// The claim may be taken: it ended, or its owner is dead.
    Over(StoredClaim, Before),
    /// It lives.
    Lives(Owner),
}

impl std::fmt::Debug for DynamoStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { options, pipeline, .. } = self;
        f.debug_struct("DynamoStore")
            .field("table", &options.table.name)
            .field("pipeline", pipeline)
            .finish_non_exhaustive()
    }
}

impl DynamoStore {
    /// A handle for `pipeline`. Nothing is called yet.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn open(options: Options, pipeline: &PipelineId) -> Result<Self, StoreError> {
        let remote = Remote::start(&options).map_err(|source| StoreError::Table {
            doing: "reach",
            table: options.table.name.clone(),
            message: format!("no thread: {source}; look at this machine's limits"),
            outcome: Outcome::NothingChanged,
        });
        Ok(Self { remote: remote?, options, pipeline: pipeline.clone(), ours: None })
    }

    fn failed(&self, doing: &'static str, trial: &Trial) -> StoreError {
        let (message, outcome) = match trial {
            Trial::Failed { error, may_be_written: true } => (in_words(error), Outcome::Unknown),
            Trial::Failed { error, may_be_written: false } => (in_words(error), Outcome::NothingChanged),
            Trial::NoTable(error) => (
                format!("{}: {}; put it back, or start again to begin anew", error.problem, error.message),
                Outcome::NothingChanged,
            ),
            Trial::Unmet(_) => ("somebody else was faster; try again".to_owned(), Outcome::NothingChanged),
        };
        StoreError::Table { doing, table: self.options.table.name.clone(), message, outcome }
    }

    fn read_raw(&self) -> Result<(Vec<Attributes>, Vec<Attributes>), StoreError> {
        let found = self.remote.ask(|tables| Box::pin(async move { tables.read().await }));
        found.map_err(|trial| self.failed("read", &trial))
    }

    fn read(&self) -> Result<Held, StoreError> {
        let (leases, others) = self.read_raw()?;
        self.understand(&leases, &others)
    }

    fn understand(&self, leases: &[Attributes], others: &[Attributes]) -> Result<Held, StoreError> {
        let damaged = |Damaged(detail)| StoreError::DamagedTable { table: self.options.table.name.clone(), detail };
        let held = rows::read(leases, others).map_err(damaged)?;
        match &held.claim {
            Some(claim) if claim.pipeline != self.pipeline => Err(StoreError::OtherPipeline {
                table: self.options.table.name.clone(),
                found: Box::new(claim.pipeline.clone()),
                pipeline: Box::new(self.pipeline.clone()),
            }),
            Some(_) | None => Ok(held),
        }
    }

    /// Whether the owner of `found` lives: watches it for as long as it takes to know.
    fn watch(&self, found: StoredClaim, us: &str) -> Result<Watched, StoreError> {
        let over = |found: StoredClaim, beat| {
            let before = Before { generation: found.generation, beat };
            Watched::Over(found, before)
        };
        let is_ours = self.ours.as_ref().is_some_and(|ours| ours.state.generation == found.generation);
        if is_ours || found.claim.ending == Ending::Released || is_gone(&found.claim.owner.name, us) {
            return Ok(over(found, None));
        }
        tracing::info!(
            owner = found.claim.owner.name,
            lease = ?self.options.lease,
            "another process had the positions; waiting to see whether it lives"
        );
        let (lease, seen) = (self.options.lease, found.clone());
        let answer = self.remote.ask(move |tables| Box::pin(async move { outlast(&tables, &seen, lease).await }));
        let now = answer.map_err(|trial| self.failed("watch", &trial))?;
        let Some(item) = now else {
            let beat = Some(found.beat);
            return Ok(over(found, beat));
        };
        let now = StoredClaim::read(&item)
            .map_err(|Damaged(detail)| StoreError::DamagedTable { table: self.options.table.name.clone(), detail })?;
        Ok(match now.claim.ending {
            Ending::Released => over(now, None),
            Ending::Unreleased => Watched::Lives(now.claim.owner),
        })
    }

    /// Takes the pipeline over; what it was before, and what it holds.
    fn take_over(
        &mut self,
        owner: &Owner,
        components: &[ComponentDigest],
    ) -> Result<(Option<PreviousClaim>, Held), StoreError> {
        if self.ours.is_some() {
            self.remote.ask(|tables| Box::pin(async move { tables.still() }));
        }
        let mut held = self.read()?;
        let history = rows::history(&held.history_next());
        let before = match held.claim.take().map(|found| self.watch(found, &owner.name)).transpose()? {
            None => None,
            Some(Watched::Over(claim, before)) => Some((claim, before)),
            Some(Watched::Lives(living)) => {
                let (pipeline, age) = (self.pipeline.clone(), age_of(&living, owner.since));
                return Err(StoreError::OwnedByAnother { pipeline, owner: Some(living), age });
            }
        };
        let claim = StoredClaim {
            pipeline: self.pipeline.clone(),
            generation: before.as_ref().map_or(0, |(before, _)| before.generation) + 1,
            claim: PreviousClaim { owner: owner.clone(), components: components.to_vec(), ending: Ending::Unreleased },
            beat: 0,
            commits: 0,
            nonce: std::iter::repeat_with(fastrand::alphanumeric).take(16).collect(),
        };
        self.ours = None;
        let (ours, guard) = (claim.clone(), before.as_ref().map(|(_, guard)| *guard));
        let taken = self.remote.ask(move |tables| Box::pin(async move { tables.take(&ours, guard, &history).await }));
        if !taken.map_err(|trial| self.failed("claim", &trial))? {
            let now = self.read()?.claim.map(|now| now.claim.owner);
            return Err(StoreError::OwnedByAnother { pipeline: self.pipeline.clone(), owner: now, age: None });
        }
        let (generation, interval) = (claim.generation, self.options.lease / BEATS);
        self.remote.ask(move |tables| {
            Box::pin(async move {
                tables.beat(generation, interval);
            })
        });
        // Behind the claim: what is read now nobody else changes any more.
        let held = self.read()?;
        self.ours = Some(Ours {
            owner: owner.name.clone(),
            state: held.pipeline.clone(),
            guards: held.guards.clone(),
            applied: held.applied.clone(),
            is_in_doubt: false,
        });
        let mut is_first = true;
        for writes in sweep(&held.orphans) {
            self.transact("write", generation, writes, is_first)?;
            is_first = false;
        }
        Ok((before.map(|(before, _)| before.claim), held))
    }

    /// Makes `change` on the copy, and in the tables what it changed, and lets go of what is `applied` to changed rows.
    fn write(
        &mut self,
        doing: &'static str,
        applied: &BTreeMap<String, Vec<String>>,
        change: impl FnOnce(&mut Pipeline) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(ours) = &self.ours else { return Err(StoreError::NotClaimed { pipeline: self.pipeline.clone() }) };
        if ours.is_in_doubt {
            let message =
                "an earlier write may or may not have happened; start the pipeline again, which reads what did";
            let (table, outcome) = (self.options.table.name.clone(), Outcome::NothingChanged);
            return Err(StoreError::Table { doing, table, message: message.to_owned(), outcome });
        }
        let mut wanted = ours.state.clone();
        change(&mut wanted)?;
        let generation = ours.state.generation;
        let author = Author { owner: &ours.owner, generation, guards: &ours.guards, applied };
        let mut transactions = diff(&ours.state, &wanted, author);
        if transactions.is_empty() {
            // Even nothing is refused to an older owner.
            transactions.push(Vec::new());
        }
        let mut is_first = true;
        for writes in transactions {
            let guards: Vec<_> = writes.iter().filter_map(|write| write.guard.clone()).collect();
            self.transact(doing, generation, writes, is_first)?;
            is_first = false;
            if let Some(ours) = &mut self.ours {
                ours.guards.extend(guards);
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
        let refused = match &trial {
            Trial::Unmet(unmet) => self.refused(generation, &writes, unmet),
            Trial::NoTable(_) | Trial::Failed { .. } => Err(self.failed(doing, &trial)),
        };
        let Err(error) = refused else { return Ok(()) };
        let is_in_doubt = !is_first || error.outcome() == Outcome::Unknown;
        if let Some(ours) = &mut self.ours {
            ours.is_in_doubt |= is_in_doubt;
        }
        let mut error = error;
        if let (StoreError::Table { outcome, .. }, true) = (&mut error, is_in_doubt) {
            *outcome = Outcome::Unknown;
        }
        Err(error)
    }

    /// Why a transaction's conditions did not hold; all is well if it is because an earlier attempt at it was made, and its
    /// answer lost for so long that the service did not know the call again.
    fn refused(&self, generation: u64, writes: &[Write], unmet: &[bool]) -> Result<(), StoreError> {
        let (leases, others) = self.read_raw()?;
        let held = self.understand(&leases, &others)?;
        if held.pipeline.generation != generation {
            let by = held.claim.map(|claim| claim.claim.owner);
            let (pipeline, newer) = (self.pipeline.clone(), held.pipeline.generation);
            return Err(StoreError::Fenced { pipeline, by, newer, ours: generation });
        }
        if writes.iter().all(|write| write.is_made(&leases, &others)) {
            return Ok(());
        }
        let refused = writes.iter().zip(unmet.iter().skip(1)).find(|(_, is_unmet)| **is_unmet);
        let Some((identity, shard)) = refused.and_then(|(write, _)| write.of.clone()) else {
            return Err(self.failed("write", &Trial::Unmet(Vec::new())));
        };
        let position = |state: &Pipeline| {
            let row = state.streams.get(&identity).and_then(|stream| stream.rows.get(&shard));
            row.map_or("no row".to_owned(), |row| row.position.to_string())
        };
        let expected = self.ours.as_ref().map(|ours| position(&ours.state)).unwrap_or_default();
        let shard = host_core::shard::ShardId::new(&shard);
        Err(StoreError::Conflict { shard, expected, found: position(&held.pipeline) })
    }
}

/// Looks again and again whether the owner has spoken since; `None` once it has not for a whole lease.
async fn outlast(tables: &Tables, seen: &StoredClaim, lease: Duration) -> Result<Option<Attributes>, Trial> {
    for _ in 0..LOOKS {
        tokio::time::sleep(lease / LOOKS).await;
        let found = tables.claim().await?;
        let is_same = |item: &Attributes| {
            StoredClaim::read(item).is_ok_and(|now| {
                (now.generation, now.beat, now.commits, now.claim.ending)
                    == (seen.generation, seen.beat, seen.commits, seen.claim.ending)
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

/// Whether `owner`, which ends with `host:pid`, was a process of this machine that is no more.
fn is_gone(owner: &str, us: &str) -> bool {
    // Whoever edits puts what it is before it.
    let process = |name: &str| {
        let name = name.rsplit(' ').next().unwrap_or_default();
        name.rsplit_once(':').map(|(host, pid)| (host.to_owned(), pid.to_owned()))
    };
    let (Some((host, pid)), Some((here, own))) = (process(owner), process(us)) else { return false };
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
        ensured.map_err(|trial| self.failed("create", &trial))?;
        let (previous, mut held) = self.take_over(owner, components)?;
        held.pipeline.claim = None;
        Ok(held.pipeline.claimed(previous))
    }

    fn start_stream(
        &mut self,
        stream: &StreamIdentity,
        start: StartPoint,
        rows: &[ShardRow],
    ) -> Result<(), StoreError> {
        self.write("write", &BTreeMap::new(), |pipeline| pipeline.start_stream(stream, start, rows))
    }

    fn forget_stream(&mut self, stream: &StreamIdentity) -> Result<(), StoreError> {
        let applied = self.ours.as_ref().map(|ours| ours.applied.clone()).unwrap_or_default();
        self.write("write", &applied, |pipeline| pipeline.forget_stream(stream))
    }

    fn note_consumer(
        &mut self,
        stream: &StreamIdentity,
        consumer: Option<&RegisteredConsumer>,
    ) -> Result<(), StoreError> {
        self.write("write", &BTreeMap::new(), |pipeline| pipeline.note_consumer(stream, consumer))
    }

    fn commit(&mut self, streams: &[StreamIdentity], commit: &Commit, sinks: &[String]) -> Result<(), StoreError> {
        let mut applied = BTreeMap::new();
        for shard in &commit.forget {
            let stream = rules::stream_of(shard, streams)?;
            let ids = sinks.iter().map(|sink| applied_id(sink, stream, shard.as_str()));
            applied.insert(applied_to(stream, shard.as_str()), ids.collect());
        }
        self.write("write", &applied, |pipeline| pipeline.commit(streams, commit, sinks))
    }

    fn release(&mut self) -> Result<(), StoreError> {
        let Some(ours) = self.ours.take() else {
            return Err(StoreError::NotClaimed { pipeline: self.pipeline.clone() });
        };
        let generation = ours.state.generation;
        let released = self.remote.ask(move |tables| Box::pin(async move { tables.release(generation).await }));
        if released.map_err(|trial| self.failed("release", &trial))? {
            return Ok(());
        }
        let held = self.read()?;
        let by = held.claim.map(|claim| claim.claim.owner);
        let (pipeline, newer) = (self.pipeline.clone(), held.pipeline.generation);
        Err(StoreError::Fenced { pipeline, by, newer, ours: generation })
    }
}
