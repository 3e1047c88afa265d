//! Reading by pulling: `GetRecords`, one page after the other. What to do next is decided by [`Reading`]; this performs it.

use std::ops::ControlFlow;
use std::sync::Arc;

use host_core::cursor::Cursor;
use host_core::moment::Moment;
use host_core::patience::Verdict;
use host_core::reading::{Action, Pace, Reading};
use host_core::shard::{Position, ShardDescription};

use super::reader::{End, ShardReader};
use crate::pipeline::failure::Failure;
use crate::ports::ShardIterator;
use crate::source::classify::SourceError;

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

/// What changes while reading.
struct Poller<'a> {
    reader: &'a mut ShardReader,
    reading: Reading,
    iterator: Option<ShardIterator>,
    children: Vec<ShardDescription>,
    /// What the next page is reserved room for.
    room: usize,
    rooms: PageRoom,
}

/// Reads until the shard's end, the fixed end of the run, a failure, or until closed.
pub(super) async fn read(reader: &mut ShardReader, pace: Pace, cursor: Cursor, start: Moment) -> Result<End, Failure> {
    let rooms = PageRoom::within(reader.budget.size());
    let reading = Reading::new(cursor, pace, reader.clock.now()).with_retry(reader.settings.retry).starting_at(start);
    Poller { reader, reading, iterator: None, children: Vec::new(), room: rooms.first, rooms }.read_on().await
}

impl Poller<'_> {
    async fn read_on(&mut self) -> Result<End, Failure> {
        let closed = self.reader.closed.clone();
        loop {
            self.obey_pause();
            let step = match self.reading.next(self.reader.clock.now()) {
                Action::Finished(finish) => return Ok(End::of(finish, std::mem::take(&mut self.children))),
                Action::Wait(until) => {
                    if closed.run_until_cancelled(self.reader.clock.wait_until(until)).await.is_none() {
                        return Ok(End::Closed);
                    }
                    continue;
                }
                Action::Paused => match closed.run_until_cancelled(self.reader.pause.changed()).await {
                    Some(Ok(())) => continue,
                    // Whoever could resume it is gone.
                    Some(Err(_)) | None => return Ok(End::Closed),
                },
                Action::OpenIterator { from } => match closed.run_until_cancelled(self.open(&from)).await {
                    Some(opened) => opened,
                    None => return Ok(End::Closed),
                },
                Action::Read => match self.page().await {
                    ControlFlow::Continue(read) => read,
                    ControlFlow::Break(()) => return Ok(End::Closed),
                },
            };
            if let Err(error) = step {
                // Whoever fails may hang next, and then what it keeps is missed by those that do not.
                self.room = self.rooms.least;
                if let ControlFlow::Break(end) = self.bear(error).await? {
                    return Ok(end);
                }
            }
        }
    }

    fn obey_pause(&mut self) {
        if *self.reader.pause.borrow_and_update() {
            self.reading.pause();
        } else {
            self.reading.resume();
        }
    }

    async fn open(&mut self, from: &Position) -> Result<(), SourceError> {
        let stream = &self.reader.stream;
        let _place = stream.places.take(self.has_failed()).await;
        self.iterator = Some(stream.api.open(&self.reader.shard, from).await?);
        self.reading.opened(self.reader.clock.now());
        Ok(())
    }

    const fn has_failed(&self) -> bool {
        self.reading.consecutive_failures() > 0
    }

    /// Asks for a page and hands it over; broken off if the reader was closed meanwhile.
    async fn page(&mut self) -> ControlFlow<(), Result<(), SourceError>> {
        let closed = self.reader.closed.clone();
        let Some(room) = closed.run_until_cancelled(self.reader.budget.reserve(self.room)).await else {
            return ControlFlow::Break(());
        };
        let stream = self.reader.stream.clone();
        let places = Arc::clone(&stream.places);
        let Some(place) = closed.run_until_cancelled(places.take(self.has_failed())).await else {
            return ControlFlow::Break(());
        };
        // Where room or place was waited for, the pace counts from now.
        if self.reading.next(self.reader.clock.now()) != Action::Read {
            return ControlFlow::Continue(Ok(()));
        }
        let asked_at = stream.clock.earliest(self.reader.clock.wall());
        let iterator = self.iterator.as_ref().expect("a page is asked for only after an iterator was opened");
        let call = stream.api.read(&self.reader.shard, iterator, self.reading.max_records());
        let answer = closed.run_until_cancelled(call).await;
        drop(place);
        let page = match answer {
            Some(Ok(page)) => page,
            Some(Err(error)) => return ControlFlow::Continue(Err(error)),
            None => return ControlFlow::Break(()),
        };
        // What was trimmed while the call was under way, or may have been by the service's clock, counts too.
        let answered_at = stream.clock.latest(self.reader.clock.wall());
        self.reader.look_for_gap(self.reading.cursor_mut(), answered_at, page.batches.first()).await?;
        self.iterator = page.next;
        let index = self.reader.shard.stream();
        self.children.extend(page.children.into_iter().map(|child| child.in_stream(index)));
        let content = self.reader.hand_over_all(page.batches, room, page.millis_behind_latest).await?;
        self.room = self.rooms.after(content.size);
        let facts = content.facts(asked_at, self.iterator.is_some(), page.millis_behind_latest);
        let ended = self.reading.page(self.reader.clock.now(), &facts);
        self.reader.totals.health.succeeded(&self.reader.subject, ended);
        self.reader.tell_tip(self.reading.cursor_mut()).await;
        ControlFlow::Continue(Ok(()))
    }

    /// What can pass is waited for; what cannot ends the reader, or begins at the horizon.
    async fn bear(&mut self, error: SourceError) -> Result<ControlFlow<End>, Failure> {
        let reader = &self.reader;
        let Some(failure) = error.kind.while_reading() else {
            return Ok(match reader.settle(self.reading.cursor(), error).await? {
                ControlFlow::Continue(cursor) => {
                    self.reading = self.reading.clone().anew(cursor, reader.clock.now());
                    ControlFlow::Continue(())
                }
                ControlFlow::Break(end) => ControlFlow::Break(end),
            });
        };
        let verdict = self.reading.failed(reader.clock.now(), failure, fastrand::f64());
        reader.totals.health.failed(&reader.subject, &error, verdict);
        match verdict {
            Verdict::Again { .. } => Ok(ControlFlow::Continue(())),
            Verdict::GiveUp => Err(Failure::Source(error)),
        }
    }
}
