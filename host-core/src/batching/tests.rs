use std::time::Duration;

use super::*;
use crate::patience::{Health, Trouble, Verdict};

mod requests;
mod orders;
mod attempts;
mod speeds;
mod costs;

fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

/// Small requests, and a quota that nothing here exhausts.
fn options() -> Options {
    Options {
        max_count: 10,
        max_bytes: 1_000,
        max_record_bytes: 100,
        max_in_flight: 4,
        max_buffered: 100,
        max_buffered_bytes: 5_000,
        quota: Some(Quota { records_per_second: 1e9, bytes_per_second: 1e9 }),
        ..Options::default()
    }
}

fn batcher(options: Options) -> Batcher<u32> {
    Batcher::new(options).expect("no contradiction")
}

fn entry(ticket: u32, key: &str, now: Moment) -> Entry<u32> {
    Entry { ticket, key: key.into(), destination: Destination(0), bytes: 4, arrived: now }
}

/// Tickets of a range, each with a key of its own.
fn push_all(batcher: &mut Batcher<u32>, now: Moment, tickets: std::ops::Range<u32>) {
    for ticket in tickets {
        batcher.push(now, entry(ticket, &ticket.to_string(), now)).expect("room");
    }
}

fn push(batcher: &mut Batcher<u32>, now: Moment, ticket: u32, key: &str) {
    batcher.push(now, entry(ticket, key, now)).expect("room");
}

fn sent(batcher: &mut Batcher<u32>, now: Moment) -> (RequestId, Vec<u32>) {
    match batcher.next(now) {
        Action::Send { request, entries, .. } => (request, entries),
        other @ (Action::Wait(_) | Action::Idle) => panic!("{other:?} at {now:?}"),
    }
}

fn settled(batcher: &mut Batcher<u32>) -> Vec<Settled<u32>> {
    batcher.settled().collect()
}

fn confirmed(tickets: impl IntoIterator<Item = u32>) -> Vec<Settled<u32>> {
    tickets.into_iter().map(Settled::Confirmed).collect()
}

fn all(outcome: Outcome) -> impl Iterator<Item = Outcome> {
    std::iter::repeat_n(outcome, 1_000)
}

fn throttled() -> Outcome {
    Outcome::Retry(Setback::Throttled)
}

fn again(verdict: Verdict) {
    assert!(matches!(verdict, Verdict::Again { .. }), "given up");
}
