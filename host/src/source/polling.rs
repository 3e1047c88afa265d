//! One shard, read by pulling: an async task of its own, so that a slow, throttled or hung shard stalls no sibling.
//!
//! What to do next is decided by [`Reading`]; this performs it, and hands records to the subtask batch by batch. A batch
//! is announced to the coordinator right before the subtask gets it, and between the two nothing can be interrupted: what
//! is announced is always delivered or the run fails. Stopping is possible at every other point and loses nothing, since
//! what was not announced was never read as far as positions are concerned.

use std::ops::ControlFlow;
use std::sync::Arc;

use host_core::coordinator::{Event, ReadReport};
use host_core::cursor::{Cursor, Finish, PageFacts};
use host_core::gap::{self, Gap, GapReason, OnGap};
use host_core::moment::EpochMillis;
use host_core::patience::Verdict;
use host_core::reading::{Action, Reading};
use host_core::shard::{Position, SequenceNumber, ShardDescription, ShardId};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::columns::{NO_ARRIVAL, RecordColumns, drop_before};
use crate::flow::{Budget, Held};
use crate::pipeline::failure::Failure;
use crate::pipeline::{Input, ReaderSettings, Stream, Totals};
use crate::ports::{Page, ShardIterator};
use crate::source::classify::{SourceError, SourceErrorKind};
use crate::source::health::Subject;
use crate::subtask::Batch;

/// The bounds of what a page is reserved room for, and what its first one is before the shard has shown what its pages
/// need. A call that hangs keeps its room until its time is over, so a shard has no claim to more than a part of the
/// budget: a quarter, and a sixty-fourth before it has shown anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PageRoom {
    least: usize,
    first: usize,
    most: usize,
}

impl PageRoom {
    /// In a budget of this many bytes.
    fn within(budget: usize) -> Self {
        let (least, mib) = (1 << 16, 1 << 20);
        Self { least, first: (budget / 64).clamp(least, mib), most: (budget / 4).clamp(least, 16 * mib) }
    }

    /// After a page of this size.
    fn after(self, size: usize) -> usize {
        size.clamp(self.least, self.most)
    }
}

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
    /// Decides pace and patience.
    pub reading: Reading,
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
enum End {
    Exhausted(Vec<ShardDescription>),
    CaughtUp,
    Closed,
    Gone,
}

/// What changes while reading.
struct Progress {
    iterator: Option<ShardIterator>,
    children: Vec<ShardDescription>,
    /// What the next page is reserved room for.
    room: usize,
    rooms: PageRoom,
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
            Ok(End::Gone) => Input::Event(Event::ShardGone { shard, session }),
            Err(failure) => Input::Failed(failure),
        };
        // A pipeline that is gone does not want to know.
        drop(self.pipeline.send(input).await);
    }

    async fn read_on(&mut self) -> Result<End, Failure> {
        let closed = self.closed.clone();
        let rooms = PageRoom::within(self.budget.size());
        let mut progress = Progress { iterator: None, children: Vec::new(), room: rooms.first, rooms };
        loop {
            self.obey_pause();
            let step = match self.reading.next(self.clock.now()) {
                Action::Finished(Finish::End) => return Ok(End::Exhausted(progress.children)),
                Action::Finished(Finish::CaughtUp) => return Ok(End::CaughtUp),
                Action::Wait(until) => {
                    if closed.run_until_cancelled(self.clock.wait_until(until)).await.is_none() {
                        return Ok(End::Closed);
                    }
                    continue;
                }
                Action::Paused => match closed.run_until_cancelled(self.pause.changed()).await {
                    Some(Ok(())) => continue,
                    // Whoever could resume it is gone.
                    Some(Err(_)) | None => return Ok(End::Closed),
                },
                Action::OpenIterator { from } => closed.run_until_cancelled(self.open(&from, &mut progress)).await,
                Action::Read => match closed.run_until_cancelled(self.budget.reserve(progress.room)).await {
                    Some(room) => match self.page(room, &mut progress).await? {
                        Some(step) => Some(step),
                        None => return Ok(End::Closed),
                    },
                    None => None,
                },
            };
            match step {
                None => return Ok(End::Closed),
                Some(Ok(())) => {}
                Some(Err(error)) => match self.bear(error).await? {
                    // Whoever fails may hang next, and then what it keeps is missed by those that do not.
                    ControlFlow::Continue(()) => progress.room = progress.rooms.least,
                    ControlFlow::Break(end) => return Ok(end),
                },
            }
        }
    }

    fn obey_pause(&mut self) {
        if *self.pause.borrow_and_update() {
            self.reading.pause();
        } else {
            self.reading.resume();
        }
    }

    async fn open(&mut self, from: &Position, progress: &mut Progress) -> Result<(), SourceError> {
        let _place = self.stream.places.take(self.has_failed()).await;
        progress.iterator = Some(self.stream.api.open(&self.shard, from).await?);
        self.reading.opened(self.clock.now());
        Ok(())
    }

    const fn has_failed(&self) -> bool {
        self.reading.consecutive_failures() > 0
    }

    /// Asks for a page and hands it over; `None` if the reader was closed meanwhile.
    async fn page(&mut self, room: Held, progress: &mut Progress) -> Result<Option<Result<(), SourceError>>, Failure> {
        let places = Arc::clone(&self.stream.places);
        let Some(place) = self.closed.run_until_cancelled(places.take(self.has_failed())).await else {
            return Ok(None);
        };
        // Where room or place was waited for, the pace counts from now.
        if self.reading.next(self.clock.now()) != Action::Read {
            return Ok(Some(Ok(())));
        }
        let asked_at = self.stream.clock.earliest(self.clock.wall());
        let iterator = progress.iterator.as_ref().expect("a page is asked for only after an iterator was opened");
        let limit = self.settings.pace.max_records;
        let call = self.stream.api.read(&self.shard, iterator, limit);
        let answer = self.closed.run_until_cancelled(call).await;
        drop(place);
        let page = match answer {
            Some(Ok(page)) => page,
            Some(Err(error)) => return Ok(Some(Err(error))),
            None => return Ok(None),
        };
        // What was trimmed while the call was under way, or may have been by the service's clock, counts too.
        let answered_at = self.stream.clock.latest(self.clock.wall());
        if self.look_for_gap(answered_at, &page).await.is_break() {
            return Ok(None);
        }
        match self.take(page, asked_at, room, progress).await {
            ControlFlow::Continue(()) => Ok(Some(Ok(()))),
            ControlFlow::Break(()) => Ok(None),
        }
    }

    /// The service passes over what it has trimmed without a word (GAP-1).
    async fn look_for_gap(&mut self, now: EpochMillis, page: &Page) -> ControlFlow<()> {
        let complete_until = self.reading.cursor().complete_until();
        let Some((since, until)) = gap::possible_loss(complete_until, now, self.stream.retention) else {
            return ControlFlow::Continue(());
        };
        let reason = if self.handed == 0 { GapReason::StalePosition } else { GapReason::Trimmed };
        let to = page.batches.first().and_then(|batch| match position_of(batch, 0) {
            Some(Position::After { sequence, .. }) => Some(sequence),
            Some(Position::TrimHorizon | Position::AtTimestamp(_) | Position::ShardEnd) | None => None,
        });
        self.pass_over(Gap { to, since: Some(since), until: Some(until), ..self.gap(reason) }).await?;
        self.reading.cursor_mut().passed_over(until);
        ControlFlow::Continue(())
    }

    fn gap(&self, reason: GapReason) -> Gap {
        let (shard, from) = (self.shard.clone(), self.reading.cursor().position().clone());
        Gap { shard, reason, from, to: None, since: self.reading.cursor().complete_until(), until: None }
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

    /// Hands a page over and tells `reading` what was in it.
    async fn take(
        &mut self,
        page: Page,
        asked_at: EpochMillis,
        mut room: Held,
        progress: &mut Progress,
    ) -> ControlFlow<()> {
        let (mut records, mut bytes, mut size_of_page, mut last, mut newest) = (0, 0, 0, None, None);
        let mut last_arrival = None;
        progress.iterator.clone_from(&page.next);
        self.totals.lags.note(&self.shard, page.millis_behind_latest);
        let stream = self.shard.stream();
        progress.children.extend(page.children.into_iter().map(|child| child.in_stream(stream)));
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
        progress.room = progress.rooms.after(size_of_page);
        let facts = PageFacts {
            records,
            bytes,
            last,
            newest_arrival: newest.map(EpochMillis),
            last_arrival: last_arrival.filter(|arrival| *arrival != NO_ARRIVAL).map(EpochMillis),
            asked_at: Some(asked_at),
            has_next: page.next.is_some(),
            millis_behind: page.millis_behind_latest,
        };
        let now = self.clock.now();
        let ended = self.reading.page(now, &facts);
        self.totals.health.succeeded(&self.subject, ended);
        if let Some(at) = self.reading.cursor_mut().tip(now) {
            let (shard, session) = (self.shard.clone(), self.session);
            drop(self.pipeline.send(Input::Event(Event::AtTip { shard, session, at })).await);
        }
        ControlFlow::Continue(())
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

    /// What can pass is waited for; what cannot ends the reader.
    async fn bear(&mut self, error: SourceError) -> Result<ControlFlow<End>, Failure> {
        if let Some(failure) = error.kind.while_reading() {
            let verdict = self.reading.failed(self.clock.now(), failure, fastrand::f64());
            self.totals.health.failed(&self.subject, &error, verdict);
            return match verdict {
                Verdict::Again { .. } => Ok(ControlFlow::Continue(())),
                Verdict::GiveUp => Err(Failure::Source(error)),
            };
        }
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
            | SourceErrorKind::Denied
            | SourceErrorKind::Invalid => return Err(Failure::Source(error)),
        };
        tracing::warn!(shard = %self.shard, %error, "the service does not have what comes next");
        if self.pass_over(self.gap(reason)).await.is_break() {
            return Ok(ControlFlow::Break(End::Closed));
        }
        // What is left begins at the horizon.
        let cursor = Cursor::new(Position::TrimHorizon, self.stream.stop_at).to_its_end(self.to_its_end);
        self.reading = Reading::new(cursor, self.settings.pace, self.clock.now()).with_retry(self.settings.retry);
        Ok(ControlFlow::Continue(()))
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
