//! How soon a sink writes as fast as the service takes it, behind real token buckets and an answer's way of 40 ms.

use std::collections::BTreeMap;
use std::time::Duration;

use host_core::batching::{Action, Batcher, Destination, Entry, Options, Order, Outcome, Quota, RequestId};
use host_core::moment::Moment;

use crate::service::{Record, Service};

const SHARD: Quota = Quota { records_per_second: 1_000.0, bytes_per_second: 1_000_000.0 };
const LATENCY: u64 = 40;

/// What shards took, in quarters of a second, with as much to write as they take.
struct Load {
    shards: u32,
    bytes: u64,
    quota: Option<Quota>,
    order: Order,
    /// What is left of the quota from 20 s to 40 s.
    crowded: f64,
}

impl Load {
    fn taken(&self, seconds: u64) -> Vec<u64> {
        let options =
            Options { quota: self.quota, order: self.order, max_buffered_bytes: 1 << 30, ..Options::default() };
        let mut batcher = Batcher::new(options).expect("limits in order");
        let mut service = Service::new(SHARD);
        let mut answers: BTreeMap<(u64, RequestId), Vec<Outcome>> = BTreeMap::new();
        let (mut ticket, mut dealt, mut taken) = (0_u32, BTreeMap::new(), Vec::new());
        for millis in 0..seconds * 1_000 {
            let now = Moment::from_millis(millis);
            service.part = if (20_000..40_000).contains(&millis) { self.crowded } else { 1.0 };
            while batcher.has_room(self.bytes) {
                let destination = Destination(ticket % self.shards);
                let record = Record { ticket, key: ticket % 5_000, destination, bytes: self.bytes };
                let key = record.key.to_be_bytes().to_vec();
                let entry = Entry { ticket, key, destination, bytes: self.bytes, arrived: now };
                batcher.push(now, entry).expect("room");
                dealt.insert(ticket, record);
                ticket += 1;
            }
            while let Some(((_, request), outcomes)) = answers.first_key_value().filter(|((at, _), _)| *at <= millis) {
                let (request, outcomes) = (*request, outcomes.clone());
                answers.pop_first();
                batcher.answered(now, request, outcomes, 0.5);
                batcher.settled().for_each(drop);
            }
            while let Action::Send { request, entries, .. } = batcher.next(now) {
                let outcomes = entries.iter().map(|ticket| service.write(millis, &dealt[ticket])).collect();
                answers.insert((millis + LATENCY, request), outcomes);
            }
            if (millis + 1) % 250 == 0 {
                taken.push(std::mem::take(&mut service.accepted));
            }
        }
        let waste = service.throttled;
        eprintln!(
            "{} shards, {} B, {:?}, {:?}: {waste} throttled",
            self.shards,
            self.bytes,
            self.order,
            self.quota.is_some()
        );
        taken
    }

    /// The first quarter from which on, for a second, 90 % of what the shards take is written; in milliseconds after `from`.
    fn full_after(&self, taken: &[u64], from: u64) -> u64 {
        let first = usize::try_from(from / 250).expect("small");
        let records = (1_000_000 / self.bytes).min(1_000) * u64::from(self.shards);
        let is_full = |second: &[u64]| second.iter().sum::<u64>() * 10 >= records * 9;
        let quarter = taken[first..].windows(4).position(is_full).expect("never at full speed");
        u64::try_from(quarter).expect("small") * 250
    }
}

fn loads() -> Vec<Load> {
    let load = Load { shards: 1, bytes: 100, quota: Some(SHARD), order: Order::PerKey, crowded: 0.1 };
    vec![
        Load { crowded: 0.0, ..load },
        Load { shards: 4, order: Order::Free, ..load },
        Load { bytes: 20_000, ..load },
        Load { quota: None, ..load },
        Load { shards: 8, crowded: 0.02, ..load },
    ]
}

#[test]
fn full_speed_is_reached_within_five_seconds_of_a_start_and_of_the_end_of_a_throttle() {
    for load in loads() {
        let taken = load.taken(60);
        let (start, throttle) = (load.full_after(&taken, 0), load.full_after(&taken, 40_000));
        eprintln!("full speed {start} ms after the start, {throttle} ms after the throttle");
        assert!(start <= 5_000 && throttle <= 5_000, "{start} ms, {throttle} ms: {taken:?}");
        // It stays there.
        let second = &taken[taken.len() - 20..];
        let full = (1_000_000 / load.bytes).min(1_000) * u64::from(load.shards) * 5;
        assert!(second.iter().sum::<u64>() * 10 >= full * 9, "{second:?}");
    }
}

#[test]
fn a_throttle_is_lived_with_and_not_run_against() {
    let load = Load { shards: 1, bytes: 100, quota: Some(SHARD), order: Order::PerKey, crowded: 0.1 };
    let taken: u64 = load.taken(40)[100..160].iter().sum();
    // Fifteen seconds at a tenth of the quota.
    assert!(taken >= 1_200, "{taken} of 1,500 in fifteen seconds");
}

#[test]
fn an_age_limit_holds_with_little_to_write() {
    let mut batcher = Batcher::new(Options { quota: Some(SHARD), ..Options::default() }).expect("limits in order");
    for ticket in 0..3_u32 {
        let arrived = Moment::from_millis(u64::from(ticket) * 100);
        let entry = Entry { ticket, key: vec![0], destination: Destination(ticket), bytes: 9, arrived };
        batcher.push(arrived, entry).expect("room");
    }
    assert_eq!(batcher.next(Moment::from_millis(300)), Action::Wait(Moment(Duration::from_secs(5))));
}
