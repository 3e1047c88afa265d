//! One shard, read by pulling: an async task of its own, so that a slow, throttled or hung shard stalls no sibling.
//!
//! What to do next is decided by [`Reading`]; this performs it, and hands records to the subtask batch by batch. A batch
//! is announced to the coordinator right before the subtask gets it, and between the two nothing can be interrupted: what
//! is announced is always delivered or the run fails. Stopping is possible at every other point and loses nothing, since
//! what was not announced was never read as far as positions are concerned.

use std::ops::ControlFlow;
use std::sync::Arc;

use host_core::coordinator::{Event, ReadReport};
use host_core::moment::EpochMillis;
use host_core::patience::Verdict;
use host_core::reading::{self, Action, PageFacts, Reading};
use host_core::shard::{Position, SequenceNumber, ShardDescription, ShardId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::columns::{NO_ARRIVAL, RecordColumns, drop_before};
use crate::flow::{Budget, Held};
use crate::pipeline::failure::Failure;
use crate::pipeline::{Input, Totals};
use crate::ports::{Page, ShardIterator, StreamApi};
use crate::source::classify::SourceError;
use crate::source::health::Subject;
use crate::subtask::Batch;

/// What a page is reserved room for before the shard has shown what its pages need.
const FIRST_PAGE: usize = 1 << 20;

/// The reader of one shard for one session.
pub struct ShardReader {
    /// The stream.
    pub stream: Arc<dyn StreamApi>,
    /// The shard.
    pub shard: ShardId,
    /// The session that the coordinator gave.
    pub session: u64,
    /// Records that arrived earlier are not part of what was asked for. Set when the shard starts at a timestamp: some
    /// emulators answer with more.
    pub floor: Option<EpochMillis>,
    /// Decides pace and patience.
    pub reading: Reading,
    /// What its calls are called where their health is told.
    pub subject: Subject,
    /// Records asked for in one call.
    pub limit: u32,
    /// The subtask that the shard is assigned to.
    pub subtask: mpsc::Sender<Batch>,
    /// The pipeline.
    pub pipeline: mpsc::Sender<Input>,
    /// Room for what is read ahead.
    pub budget: Budget,
    /// Time.
    pub clock: Clock,
    /// Set when the coordinator closes this reader.
    pub closed: CancellationToken,
    /// What the run counts.
    pub totals: Arc<Totals>,
    /// Records handed over so far: the ordinal of the next one.
    pub handed: u64,
}

/// How a reader ends when nothing went wrong.
enum End {
    Exhausted(Vec<ShardDescription>),
    CaughtUp,
    Closed,
}

/// What changes while reading.
struct Progress {
    iterator: Option<ShardIterator>,
    children: Vec<ShardDescription>,
    page_room: usize,
}

impl ShardReader {
    /// Reads until the shard's end, the fixed end of the run, a failure, or until closed; then tells the pipeline.
    pub async fn run(mut self) {
        let (shard, session) = (self.shard.clone(), self.session);
        let end = self.read_on().await;
        self.totals.health.gone(&self.subject);
        let input = match end {
            Ok(End::Exhausted(children)) => Input::Event(Event::ReadToEnd { shard, session, children }),
            Ok(End::CaughtUp) => Input::Event(Event::CaughtUp { shard, session }),
            Ok(End::Closed) => Input::Event(Event::Closed { shard, session }),
            Err(failure) => Input::Failed(failure),
        };
        // A pipeline that is gone does not want to know.
        drop(self.pipeline.send(input).await);
    }

    async fn read_on(&mut self) -> Result<End, Failure> {
        let closed = self.closed.clone();
        let mut progress = Progress { iterator: None, children: Vec::new(), page_room: FIRST_PAGE };
        loop {
            let step = match self.reading.next(self.clock.now()) {
                Action::Finished(reading::Finish::End) => return Ok(End::Exhausted(progress.children)),
                Action::Finished(reading::Finish::CaughtUp) => return Ok(End::CaughtUp),
                Action::Wait(until) => {
                    if closed.run_until_cancelled(self.clock.wait_until(until)).await.is_none() {
                        return Ok(End::Closed);
                    }
                    continue;
                }
                Action::Paused => {
                    closed.cancelled().await;
                    return Ok(End::Closed);
                }
                Action::OpenIterator { from } => closed.run_until_cancelled(self.open(&from, &mut progress)).await,
                Action::Read => {
                    let Some(room) = closed.run_until_cancelled(self.budget.reserve(progress.page_room)).await else {
                        return Ok(End::Closed);
                    };
                    match closed.run_until_cancelled(self.page(&progress)).await {
                        Some(Ok(page)) => Some(match self.take(page, room, &mut progress).await {
                            ControlFlow::Continue(()) => Ok(()),
                            ControlFlow::Break(()) => return Ok(End::Closed),
                        }),
                        Some(Err(error)) => Some(Err(error)),
                        None => None,
                    }
                }
            };
            match step {
                None => return Ok(End::Closed),
                Some(Ok(())) => {}
                Some(Err(error)) => self.bear(error)?,
            }
        }
    }

    async fn open(&mut self, from: &Position, progress: &mut Progress) -> Result<(), SourceError> {
        progress.iterator = Some(self.stream.open(&self.shard, from).await?);
        self.reading.opened(self.clock.now());
        Ok(())
    }

    async fn page(&self, progress: &Progress) -> Result<Page, SourceError> {
        let iterator = progress.iterator.as_ref().expect("a page is asked for only after an iterator was opened");
        self.stream.read(&self.shard, iterator, self.limit).await
    }

    /// Hands a page over and tells `reading` what was in it.
    async fn take(&mut self, page: Page, mut room: Held, progress: &mut Progress) -> ControlFlow<()> {
        let (mut records, mut bytes, mut size_of_page, mut last, mut newest) = (0, 0, 0, None, None);
        let mut last_arrival = None;
        progress.iterator.clone_from(&page.next);
        self.totals.lags.note(&self.shard, page.millis_behind_latest);
        progress.children.extend(page.children);
        for batch in page.batches {
            let size = batch.size();
            size_of_page += size;
            records += batch.len() as u64;
            bytes += batch.data.bytes.len() as u64;
            newest = newest.max(batch.arrival.iter().max().copied());
            last = last_position(&batch).or(last);
            last_arrival = batch.arrival.last().copied().or(last_arrival);
            let batch = match self.floor {
                Some(floor) => drop_before(batch, floor),
                None => batch,
            };
            if !batch.is_empty() {
                self.hand_over(batch, room.take(size), page.millis_behind_latest).await?;
            }
        }
        progress.page_room = size_of_page.clamp(FIRST_PAGE / 16, 16 * FIRST_PAGE);
        let facts = PageFacts {
            records,
            bytes,
            last,
            newest_arrival: newest.map(EpochMillis),
            last_arrival: last_arrival.filter(|arrival| *arrival != NO_ARRIVAL).map(EpochMillis),
            asked_at: None,
            has_next: page.next.is_some(),
            millis_behind: page.millis_behind_latest,
        };
        let ended = self.reading.page(self.clock.now(), facts);
        self.totals.health.succeeded(&self.subject, ended);
        ControlFlow::Continue(())
    }

    async fn hand_over(&mut self, records: RecordColumns, held: Held, behind: Option<i64>) -> ControlFlow<()> {
        let Some(Ok(slot)) = self.closed.run_until_cancelled(self.subtask.reserve()).await else {
            return ControlFlow::Break(());
        };
        let Some(last) = last_position(&records) else { return ControlFlow::Continue(()) };
        let report = ReadReport {
            shard: self.shard.clone(),
            session: self.session,
            records: records.len() as u64,
            last,
            earliest: records.arrival.iter().copied().filter(|arrival| *arrival != NO_ARRIVAL).min().map(EpochMillis),
        };
        self.totals.records_in.add(records.len() as u64);
        self.totals.bytes_in.add(records.data.bytes.len() as u64);
        if self.pipeline.send(Input::Event(Event::Read(report))).await.is_err() {
            return ControlFlow::Break(());
        }
        let shard = self.shard.clone();
        let first = self.handed;
        self.handed += records.len() as u64;
        slot.send(Batch { shard, session: self.session, first, records, millis_behind_latest: behind, held });
        ControlFlow::Continue(())
    }

    /// What can pass is waited for; what cannot stops the run.
    fn bear(&mut self, error: SourceError) -> Result<(), Failure> {
        let Some(failure) = error.kind.while_reading() else { return Err(Failure::Source(error)) };
        let verdict = self.reading.failed(self.clock.now(), failure, fastrand::f64());
        self.totals.health.failed(&self.subject, &error, verdict);
        match verdict {
            Verdict::Again { .. } => Ok(()),
            Verdict::GiveUp => Err(Failure::Source(error)),
        }
    }
}

/// The position after the batch's last record; `None` for an empty batch.
pub(crate) fn last_position(records: &RecordColumns) -> Option<Position> {
    position_of(records, records.len().checked_sub(1)?)
}

/// The position after record `index`. The source has checked every sequence number.
pub(crate) fn position_of(records: &RecordColumns, index: usize) -> Option<Position> {
    let text = std::str::from_utf8(records.sequence_number.get(index)).ok()?;
    let sequence = SequenceNumber::parse(text).ok()?;
    Some(Position::After { sequence, sub_sequence: records.sub_sequence.get(index).copied().unwrap_or(0) })
}
