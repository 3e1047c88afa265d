//! One shard, read for one session: an async task of its own, so that a slow, throttled or hung shard stalls no sibling.
//!
//! Records are fetched in one of two ways, [`super::polling`] or [`super::efo`]; what becomes of them is the same and is
//! here: they are looked at for gaps and handed to the subtask batch by batch. A batch is announced to the coordinator
//! right before the subtask gets it, and between the two nothing can be interrupted: what is announced is always delivered
//! or the run fails. Stopping is possible at every other point and loses nothing, since what was not announced was never
//! read as far as positions are concerned.

use std::ops::ControlFlow;
use std::sync::Arc;

use host_core::coordinator::{Event, ReadReport};
use host_core::cursor::{Cursor, Finish, PageFacts};
use host_core::gap::{self, Gap, GapReason, OnGap};
use host_core::moment::{EpochMillis, Moment};
use host_core::shard::{Position, SequenceNumber, ShardDescription, ShardId};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::columns::{Column, NO_ARRIVAL, RecordColumns, drop_before};
use crate::flow::{Budget, Held};
use crate::pipeline::failure::Failure;
use crate::pipeline::{Input, ReaderSettings, Retrieval, Stream, Totals};
use crate::source::classify::{SourceError, SourceErrorKind};
use crate::source::health::Subject;
use crate::source::{efo, polling};
use crate::subtask::Batch;

/// The reader of one shard for one session.
pub struct ShardReader {
    /// The stream.
    pub stream: Stream,
    /// The shard.
    pub shard: ShardId,
    /// The session that the coordinator gave.
    pub session: u64,
    /// Records that arrived earlier are not part of what was asked for. Set when the shard starts at a timestamp: some
    /// emulators answer with more.
    pub floor: Option<EpochMillis>,
    /// It was closed when the run began, and is read to its end whatever its stamps say.
    pub to_its_end: bool,
    /// What its calls are called where their health is told.
    pub subject: Subject,
    /// What holds for every reader of the run.
    pub settings: ReaderSettings,
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
    /// Whether the coordinator has this reader wait for slower shards.
    pub pause: watch::Receiver<bool>,
    /// What the run counts.
    pub totals: Arc<Totals>,
    /// Records handed over so far: the ordinal of the next one.
    pub handed: u64,
}

/// How a reader ends when nothing went wrong.
pub(super) enum End {
    /// The shard's end was read; these are its children, as far as the service told.
    Exhausted(Vec<ShardDescription>),
    /// The end that was fixed when the run began.
    CaughtUp,
    /// The coordinator closed it.
    Closed,
    /// The service denies the shard.
    Gone,
}

impl End {
    /// What a finished cursor means.
    pub(super) fn of(finish: Finish, children: Vec<ShardDescription>) -> Self {
        match finish {
            Finish::End => Self::Exhausted(children),
            Finish::CaughtUp => Self::CaughtUp,
        }
    }
}

/// What a page or an event held.
#[derive(Debug, Default)]
pub(super) struct Content {
    records: u64,
    bytes: u64,
    /// As columns, in bytes.
    pub(super) size: usize,
    last: Option<Position>,
    newest_arrival: Option<i64>,
    last_arrival: Option<i64>,
}

impl Content {
    fn note(&mut self, batch: &RecordColumns) {
        self.size += batch.size();
        self.records += batch.len() as u64;
        self.bytes += batch.data.bytes.len() as u64;
        self.newest_arrival = self.newest_arrival.max(batch.arrival.iter().max().copied());
        self.last = last_position(batch).or(self.last.take());
        self.last_arrival = batch.arrival.last().copied().or(self.last_arrival);
    }

    /// With what the answer said beside its records.
    pub(super) fn facts(self, asked_at: EpochMillis, has_next: bool, millis_behind: Option<i64>) -> PageFacts {
        PageFacts {
            records: self.records,
            bytes: self.bytes,
            last: self.last,
            newest_arrival: self.newest_arrival.map(EpochMillis),
            last_arrival: self.last_arrival.filter(|arrival| *arrival != NO_ARRIVAL).map(EpochMillis),
            asked_at: Some(asked_at),
            has_next,
            millis_behind,
        }
    }
}

impl ShardReader {
    /// Reads from where `cursor` is, not before `start`, until the shard's end, the fixed end of the run, a failure, or until
    /// closed; then tells the pipeline.
    pub async fn run(mut self, cursor: Cursor, start: Moment) {
        let (shard, session) = (self.shard.clone(), self.session);
        let end = match self.stream.retrieval.clone() {
            Retrieval::Polling(pace) => polling::read(&mut self, pace, cursor, start).await,
            Retrieval::FanOut(fan_out) => efo::read(&mut self, fan_out, cursor, start).await,
        };
        self.totals.health.gone(&self.subject);
        let input = match end {
            Ok(End::Exhausted(children)) => Input::Event(Event::ReadToEnd { shard, session, children }),
            Ok(End::CaughtUp) => Input::Event(Event::CaughtUp { shard, session }),
            Ok(End::Closed) => Input::Event(Event::Closed { shard, session }),
            Ok(End::Gone) => Input::Event(Event::ShardGone { shard, session }),
            Err(failure) => Input::Failed(failure),
        };
        // A pipeline that is gone does not want to know.
        drop(self.pipeline.send(input).await);
    }

    /// The service passes over what it has trimmed without a word (GAP-1). `now` is its time at which it answered, or any
    /// later one.
    pub(super) async fn look_for_gap(
        &self,
        cursor: &mut Cursor,
        now: EpochMillis,
        first: Option<&RecordColumns>,
    ) -> ControlFlow<()> {
        let Some((since, until)) = gap::possible_loss(cursor.complete_until(), now, self.stream.retention) else {
            return ControlFlow::Continue(());
        };
        let reason = if self.handed == 0 { GapReason::StalePosition } else { GapReason::Trimmed };
        let to = first.and_then(|batch| match position_of(batch, 0) {
            Some(Position::After { sequence, .. }) => Some(sequence),
            Some(Position::TrimHorizon | Position::AtTimestamp(_) | Position::ShardEnd) | None => None,
        });
        self.pass_over(Gap { to, since: Some(since), until: Some(until), ..self.gap(cursor, reason) }).await?;
        cursor.passed_over(until);
        ControlFlow::Continue(())
    }

    fn gap(&self, cursor: &Cursor, reason: GapReason) -> Gap {
        let (shard, from) = (self.shard.clone(), cursor.position().clone());
        Gap { shard, reason, from, to: None, since: cursor.complete_until(), until: None }
    }

    /// Reports a gap, and goes no further if it stops the run: the coordinator will have what was read delivered, and close
    /// this reader.
    async fn pass_over(&self, gap: Gap) -> ControlFlow<()> {
        drop(self.pipeline.send(Input::Event(Event::Gap(gap))).await);
        match self.settings.on_gap {
            OnGap::Continue => ControlFlow::Continue(()),
            OnGap::Fail => {
                self.closed.cancelled().await;
                ControlFlow::Break(())
            }
        }
    }

    /// Hands batches over, each with its share of `room`.
    pub(super) async fn hand_over_all(
        &mut self,
        batches: Vec<RecordColumns>,
        mut room: Held,
        behind: Option<i64>,
    ) -> ControlFlow<(), Content> {
        let mut content = Content::default();
        self.totals.lags.note(&self.shard, behind);
        for batch in batches {
            let size = batch.size();
            content.note(&batch);
            let batch = match self.floor {
                Some(floor) => drop_before(batch, floor),
                None => batch,
            };
            if !batch.is_empty()
                && let ControlFlow::Break(()) = self.hand_over(batch, room.take(size), behind).await
            {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(content)
    }

    async fn hand_over(&mut self, records: RecordColumns, held: Held, behind: Option<i64>) -> ControlFlow<()> {
        let Some(last) = last_position(&records) else { return ControlFlow::Continue(()) };
        let slot = match self.closed.run_until_cancelled(self.subtask.reserve()).await {
            Some(Ok(slot)) => slot,
            // The subtask is lost. The coordinator will hear of it, close this reader and open another.
            Some(Err(_)) => {
                self.closed.cancelled().await;
                return ControlFlow::Break(());
            }
            None => return ControlFlow::Break(()),
        };
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

    /// Tells the coordinator of the shard's tip, if that is where it is.
    pub(super) async fn tell_tip(&self, cursor: &mut Cursor) {
        if let Some(at) = cursor.tip(self.clock.now()) {
            let (shard, session) = (self.shard.clone(), self.session);
            drop(self.pipeline.send(Input::Event(Event::AtTip { shard, session, at })).await);
        }
    }

    /// What an error means that waiting does not mend: another cursor to read on from, or the end.
    pub(super) async fn settle(
        &self,
        cursor: &Cursor,
        error: SourceError,
    ) -> Result<ControlFlow<End, Cursor>, Failure> {
        let reason = match error.kind {
            // A full listing tells whether it is the shard, or the stream.
            SourceErrorKind::ShardGone | SourceErrorKind::NotFound => {
                tracing::warn!(shard = %self.shard, %error, "the service denies a shard that it listed; listings decide what becomes of it");
                return Ok(ControlFlow::Break(End::Gone));
            }
            SourceErrorKind::Trimmed => GapReason::Trimmed,
            SourceErrorKind::StalePosition => GapReason::StalePosition,
            SourceErrorKind::Throttled
            | SourceErrorKind::Transient
            | SourceErrorKind::Unreachable
            | SourceErrorKind::InUse
            | SourceErrorKind::ExpiredIterator
            | SourceErrorKind::TooEarly
            | SourceErrorKind::ConsumerGone
            | SourceErrorKind::StreamGone
            | SourceErrorKind::TableGone
            | SourceErrorKind::Denied
            | SourceErrorKind::Rejected
            | SourceErrorKind::Invalid => return Err(Failure::Source(error)),
        };
        tracing::warn!(shard = %self.shard, %error, "the service does not have what comes next");
        if self.pass_over(self.gap(cursor, reason)).await.is_break() {
            return Ok(ControlFlow::Break(End::Closed));
        }
        // What is left begins at the horizon.
        let cursor = Cursor::new(Position::TrimHorizon, self.stream.stop_at).to_its_end(self.to_its_end);
        Ok(ControlFlow::Continue(cursor))
    }
}

/// The position after the batch's last record; `None` for an empty batch.
pub(crate) fn last_position(records: &RecordColumns) -> Option<Position> {
    position_of(records, records.len().checked_sub(1)?)
}

/// The position after record `index`. The source has checked every sequence number.
pub(crate) fn position_of(records: &RecordColumns, index: usize) -> Option<Position> {
    position_at(&records.sequence_number, &records.sub_sequence, index)
}

/// The same, of columns by themselves; without sub-sequences if nothing is aggregated.
pub(crate) fn position_at(sequence_number: &Column, sub_sequence: &[u64], index: usize) -> Option<Position> {
    let text = std::str::from_utf8(sequence_number.get(index)).ok()?;
    let sequence = SequenceNumber::parse(text).ok()?;
    Some(Position::After { sequence, sub_sequence: sub_sequence.get(index).copied().unwrap_or(0) })
}
