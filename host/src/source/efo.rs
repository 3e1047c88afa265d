//! Reading by being pushed to: enhanced fan-out. What to do next is decided by [`Subscription`]; this performs it.
//!
//! An event wakes its shard's task, and there is no interval anywhere on its way. What is not asked for stays with the
//! service: a task that hands records on to a slow subtask does not listen, an event for which the byte budget has no room
//! is left in the transport, and either closes the window. Nobody reads ahead.
//!
//! Dropping a subscription is always safe: the next one begins after the last event that was handed on.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use host_core::cursor::Cursor;
use host_core::moment::{EpochMillis, Moment};
use host_core::patience::{Trouble, Verdict};
use host_core::shard::{Position, ShardDescription};
use host_core::subscription::{Action, Failure as Failed, SILENCE_MAX, Subscription, Why};
use tokio::task::coop::unconstrained;

use super::consumer::Found;
use super::reader::{End, ShardReader};
use crate::pipeline::FanOut;
use crate::pipeline::failure::Failure;
use crate::ports::{self, Pushed};
use crate::source::classify::{SourceError, SourceErrorKind};

/// A subscription at hand.
struct Line {
    subscription: Box<dyn ports::Subscription>,
    /// The service's time before which the next event was not made.
    asked_at: EpochMillis,
}

/// What listening came to.
enum Heard {
    Event(Pushed),
    /// The service ended the subscription.
    End,
    Broken(SourceError),
    /// Nothing; somebody paused or resumed the reader, or the time is over.
    Nothing,
    /// Whoever could close the reader is gone.
    NobodyAsks,
}

struct Listener<'a> {
    reader: &'a mut ShardReader,
    fan_out: FanOut,
    state: Subscription,
    line: Option<Line>,
    /// The consumer of the last call.
    asked_with: Arc<str>,
    children: Vec<ShardDescription>,
}

/// Reads until the shard's end, the fixed end of the run, a failure, or until closed.
pub(super) async fn read(
    reader: &mut ShardReader,
    fan_out: FanOut,
    cursor: Cursor,
    start: Moment,
) -> Result<End, Failure> {
    let state = Subscription::new(cursor, reader.settings.retry, reader.clock.now()).starting_at(start);
    Listener { reader, fan_out, state, line: None, asked_with: Arc::default(), children: Vec::new() }.read_on().await
}

impl Listener<'_> {
    async fn read_on(&mut self) -> Result<End, Failure> {
        let closed = self.reader.closed.clone();
        loop {
            self.obey_pause();
            let action = self.state.next(self.reader.clock.now());
            let is_open = match action {
                Action::Finished(finish) => return Ok(End::of(finish, std::mem::take(&mut self.children))),
                Action::Wait(until) | Action::Paused(Some(until)) => {
                    closed.run_until_cancelled(self.changed_before(until)).await.unwrap_or(false)
                }
                Action::Paused(None) => {
                    closed.run_until_cancelled(self.reader.pause.changed()).await.is_some_and(|changed| changed.is_ok())
                }
                Action::LetGo(why) => {
                    self.let_go(why);
                    true
                }
                Action::Subscribe { from } => match closed.run_until_cancelled(self.subscribe(&from)).await {
                    Some(Ok(())) => true,
                    Some(Err(error)) => match self.bear(error).await? {
                        ControlFlow::Continue(()) => true,
                        ControlFlow::Break(end) => return Ok(end),
                    },
                    None => false,
                },
                Action::Receive => match closed.run_until_cancelled(self.listen()).await {
                    Some(heard) => match self.take(heard).await? {
                        ControlFlow::Continue(()) => true,
                        ControlFlow::Break(end) => return Ok(end),
                    },
                    None => false,
                },
            };
            if !is_open {
                return Ok(End::Closed);
            }
        }
    }

    fn obey_pause(&mut self) {
        if *self.reader.pause.borrow_and_update() {
            self.state.pause(self.reader.clock.now());
        } else {
            self.state.resume();
        }
    }

    /// Waits until then, or until somebody pauses or resumes the reader; false if whoever could is gone.
    async fn changed_before(&mut self, until: Moment) -> bool {
        tokio::select! {
            () = self.reader.clock.wait_until(until) => true,
            changed = self.reader.pause.changed() => changed.is_ok(),
        }
    }

    async fn subscribe(&mut self, from: &Position) -> Result<(), SourceError> {
        let stream = &self.reader.stream;
        let _place = stream.places.take(self.state.consecutive_failures() > 0).await;
        let asked_at = stream.clock.earliest(self.reader.clock.wall());
        self.asked_with = self.fan_out.consumer.arn();
        let timeout = self.fan_out.subscription_timeout;
        let call = self.fan_out.api.subscribe(&self.asked_with, &self.reader.shard, from, timeout, &self.reader.budget);
        let subscription = call.await?;
        self.line = Some(Line { subscription, asked_at });
        self.state.subscribed(self.reader.clock.now(), fastrand::f64());
        self.reader.totals.subscriptions.add(1);
        Ok(())
    }

    async fn listen(&mut self) -> Heard {
        let until = self.state.listen(self.reader.clock.now());
        let line = self.line.as_mut().expect("who listens is subscribed");
        let at_hand = unconstrained(line.subscription.next()).now_or_never();
        if at_hand.is_none() && !line.subscription.awaits_room() {
            // What comes now was made not long ago: silence would have ended the subscription. What was at hand may have
            // been there for as long as the last event was being handed on.
            let lately = self.reader.stream.clock.earliest(self.reader.clock.wall());
            line.asked_at = line.asked_at.max(before(lately, SILENCE_MAX));
        }
        let heard = tokio::select! {
            biased;
            heard = async {
                match at_hand {
                    Some(heard) => heard,
                    None => line.subscription.next().await,
                }
            } => heard,
            changed = self.reader.pause.changed() => {
                return if changed.is_ok() { Heard::Nothing } else { Heard::NobodyAsks };
            }
            () = self.reader.clock.wait_until(until) => {
                if line.subscription.awaits_room() {
                    self.state.heard();
                }
                return Heard::Nothing;
            }
        };
        match heard {
            Ok(Some(event)) => Heard::Event(event),
            Ok(None) => Heard::End,
            Err(error) => Heard::Broken(error),
        }
    }

    async fn take(&mut self, heard: Heard) -> Result<ControlFlow<End>, Failure> {
        match heard {
            Heard::Nothing => Ok(ControlFlow::Continue(())),
            Heard::NobodyAsks => Ok(ControlFlow::Break(End::Closed)),
            Heard::Event(event) => Ok(match self.event(event).await {
                ControlFlow::Continue(()) => ControlFlow::Continue(()),
                ControlFlow::Break(()) => ControlFlow::Break(End::Closed),
            }),
            Heard::End => {
                self.line = None;
                let verdict = self.state.ended(self.reader.clock.now(), fastrand::f64());
                tracing::debug!(shard = %self.reader.shard, ?verdict, "the service ended the subscription");
                Ok(ControlFlow::Continue(()))
            }
            Heard::Broken(error) => self.bear(error).await,
        }
    }

    /// Hands an event over; broken off if the reader was closed meanwhile.
    async fn event(&mut self, event: Pushed) -> ControlFlow<()> {
        let Pushed { batches, continuation, is_last, millis_behind_latest, children, held } = event;
        let line = self.line.as_ref().expect("events come over it");
        let (clock, asked_at) = (self.reader.clock, line.asked_at);
        let now = self.reader.stream.clock.latest(clock.wall());
        self.reader.look_for_gap(self.state.cursor_mut(), now, batches.first()).await?;
        let index = self.reader.shard.stream();
        self.children.extend(children.into_iter().map(|child| child.in_stream(index)));
        let content = self.reader.hand_over_all(batches, held, millis_behind_latest).await?;
        let facts = content.facts(asked_at, !is_last, millis_behind_latest);
        let ended = self.state.event(clock.now(), &facts, continuation);
        self.reader.totals.health.succeeded(&self.reader.subject, ended);
        self.reader.tell_tip(self.state.cursor_mut()).await;
        ControlFlow::Continue(())
    }

    fn let_go(&mut self, why: Why) {
        let verdict = self.state.let_go(self.reader.clock.now(), why, fastrand::f64());
        tracing::debug!(shard = %self.reader.shard, ?why, "the subscription is let go");
        if let (Some(line), Why::Silent) = (self.line.take(), why) {
            self.reader.totals.silences.add(1);
            let error = line.subscription.silence(SILENCE_MAX);
            self.reader.totals.health.failed(&self.reader.subject, &error, verdict);
        }
    }

    /// What can pass is waited for; what cannot ends the reader, or begins at the horizon.
    async fn bear(&mut self, error: SourceError) -> Result<ControlFlow<End>, Failure> {
        let was_subscribed = self.line.take().is_some();
        let (reader, now) = (&self.reader, self.reader.clock.now());
        if let Some(failure) = error.kind.while_subscribing() {
            if was_subscribed && error.kind == SourceErrorKind::InUse {
                reader.totals.takeovers.add(1);
            }
            let verdict = self.state.failed(now, failure, fastrand::f64());
            reader.totals.health.failed(&reader.subject, &error, verdict);
            return match verdict {
                Verdict::Again { .. } => Ok(ControlFlow::Continue(())),
                Verdict::GiveUp => Err(Failure::Source(error)),
            };
        }
        let is_missing = matches!(
            error.kind,
            SourceErrorKind::ConsumerGone | SourceErrorKind::ShardGone | SourceErrorKind::NotFound
        );
        // The text may tell which of both is missing; looking is better.
        if is_missing {
            let closed = reader.closed.clone();
            let looking = self.fan_out.consumer.missing(&self.asked_with);
            match (closed.run_until_cancelled(looking).await.transpose()?, error.kind) {
                (None, _) => return Ok(ControlFlow::Break(End::Closed)),
                (Some(Found::Another), _) => {
                    self.state = self.state.clone().anew(self.state.cursor().clone(), reader.clock.now());
                    return Ok(ControlFlow::Continue(()));
                }
                (Some(Found::Same), SourceErrorKind::ConsumerGone) => {
                    // Word of it has not come round yet.
                    let failure = Failed::Trouble(Trouble::Transient);
                    let verdict = self.state.failed(reader.clock.now(), failure, fastrand::f64());
                    reader.totals.health.failed(&reader.subject, &error, verdict);
                    return Ok(ControlFlow::Continue(()));
                }
                (Some(Found::Same), _) => {}
            }
        }
        Ok(match reader.settle(self.state.cursor(), error).await? {
            ControlFlow::Continue(cursor) => {
                self.state = self.state.clone().anew(cursor, reader.clock.now());
                ControlFlow::Continue(())
            }
            ControlFlow::Break(end) => ControlFlow::Break(end),
        })
    }
}

fn before(at: EpochMillis, span: Duration) -> EpochMillis {
    EpochMillis(at.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}
