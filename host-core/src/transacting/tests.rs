use std::collections::BTreeSet;

use super::*;

const OPTIONS: Options = Options {
    max_count: 4,
    max_bytes: 100,
    max_age: Duration::from_secs(5),
    retry: RetryLimits { max_attempts: 50, min_delay: Duration::from_millis(10), max_delay: Duration::from_millis(80) },
};

fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

fn request(ticket: u32, key: &str, replaces: bool) -> Request<u32> {
    Request { ticket, key: key.into(), bytes: 10, replaces }
}

fn record(position: u64, requests: Vec<Request<u32>>) -> Record<u32, u64> {
    Record { position, requests, arrived: at(0) }
}

/// Records 1, 2, … of one put each, on the items that are named.
fn session(keys: &[&str]) -> Transactions<u32, u64> {
    let mut shard = Transactions::new(OPTIONS, None);
    for (place, key) in (1..).zip(keys) {
        shard.push(record(u64::from(place), vec![request(place, key, true)]));
    }
    shard
}

#[track_caller]
fn sent(shard: &mut Transactions<u32, u64>, now: Moment) -> (u64, Option<u64>, u64, Vec<u32>) {
    match shard.next(now) {
        Action::Send { token, from, to, tickets } => (token, from, to, tickets),
        other @ (Action::Look | Action::Wait(_) | Action::Idle) => panic!("{other:?} at {now:?}"),
    }
}

fn settled(shard: &mut Transactions<u32, u64>) -> Vec<Settled<u32>> {
    shard.settled().collect()
}

#[test]
fn whole_records_go_together_and_move_the_position_behind_the_last() {
    let mut shard = session(&["a", "b"]);
    shard.push(record(3, vec![request(3, "c", true), request(4, "d", true), request(5, "e", true)]));
    assert_eq!(sent(&mut shard, at(0)), (0, None, 2, vec![1, 2]), "the third record does not fit as a whole");
    assert_eq!(shard.next(at(9_999)), Action::Idle, "one at a time");
    shard.done(at(1));
    assert_eq!(settled(&mut shard), [Settled::Applied(1), Settled::Applied(2)]);
    assert_eq!(shard.next(at(1)), Action::Wait(at(5_000)), "there is room, so it waits for company");
    assert_eq!(sent(&mut shard, at(5_000)), (1, Some(2), 3, vec![3, 4, 5]));
    shard.done(at(5_001));
    shard.hurry(true);
    assert_eq!(shard.next(at(5_001)), Action::Idle);
    assert_eq!(settled(&mut shard).len(), 3);
    assert!(shard.is_empty());
}

#[test]
fn a_newer_put_takes_the_place_of_an_older_one_and_settles_both() {
    let mut shard = session(&["a", "b", "a", "a"]);
    shard.hurry(true);
    assert_eq!(sent(&mut shard, at(0)), (0, None, 4, vec![4, 2]));
    shard.done(at(1));
    assert_eq!(settled(&mut shard), [1, 2, 3, 4].map(Settled::Applied));
}

#[test]
fn an_addition_to_an_item_that_is_written_already_begins_another_transaction() {
    let mut shard = session(&["a", "b"]);
    shard.push(record(3, vec![request(3, "a", false)]));
    assert_eq!(sent(&mut shard, at(0)), (0, None, 2, vec![1, 2]), "at once: it cannot grow");
}

#[test]
fn bytes_cut_a_transaction_too() {
    let mut shard = session(&[]);
    for place in 1..=3 {
        let large = Request { bytes: 40, ..request(place, &place.to_string(), true) };
        shard.push(record(u64::from(place), vec![large]));
    }
    assert_eq!(sent(&mut shard, at(0)), (0, None, 2, vec![1, 2]));
}

#[test]
fn a_record_that_fits_into_no_transaction_is_a_dead_letter_as_a_whole() {
    let mut shard = session(&["a"]);
    shard.push(record(2, (2..7).map(|ticket| request(ticket, &ticket.to_string(), true)).collect()));
    shard.push(record(3, vec![request(7, "b", true), request(8, "b", false)]));
    shard.push(record(4, vec![request(9, "b", false), request(10, "b", true)]));
    let dead: Vec<u32> = settled(&mut shard)
        .into_iter()
        .map(|settled| match settled {
            Settled::DeadLetter(ticket, _) => ticket,
            Settled::Applied(ticket) | Settled::AppliedBefore(ticket) => panic!("{ticket} is none"),
        })
        .collect();
    assert_eq!(dead, [2, 3, 4, 5, 6, 7, 8]);
    shard.hurry(true);
    assert_eq!(sent(&mut shard, at(0)), (0, None, 4, vec![1, 10]));
}

#[test]
fn what_took_effect_before_the_session_is_settled_without_writing() {
    let mut shard = Transactions::new(OPTIONS, Some(2));
    for place in 1..=3_u32 {
        shard.push(record(u64::from(place), vec![request(place, "a", false)]));
    }
    assert_eq!(settled(&mut shard), [Settled::AppliedBefore(1), Settled::AppliedBefore(2)]);
    shard.hurry(true);
    assert_eq!(sent(&mut shard, at(0)), (0, Some(2), 3, vec![3]));
}

#[test]
fn what_failed_is_sent_again_as_it_was_under_the_same_token_whatever_came_meanwhile() {
    let mut shard = session(&["a", "b", "c", "d"]);
    let first = sent(&mut shard, at(0));
    shard.push(record(5, vec![request(5, "a", true)]));
    for trouble in [Trouble::Transient, Trouble::Throttled, Trouble::Contended] {
        assert!(matches!(shard.failed(at(10), trouble, 1.0), Verdict::Again { .. }));
        let Action::Wait(until) = shard.next(at(10)) else { panic!("no pause") };
        assert_eq!(sent(&mut shard, until), first);
    }
    shard.done(at(60_000));
    assert_eq!(settled(&mut shard).len(), 4);
}

#[test]
fn who_is_fenced_looks_whether_it_was_itself() {
    let mut shard = session(&["a", "b", "c", "d"]);
    assert_eq!(sent(&mut shard, at(0)).2, 4);
    shard.fenced();
    assert_eq!(shard.next(at(1)), Action::Look);
    assert_eq!(shard.clone().found(at(2), Some(&9)), Err(Fenced), "somebody else");
    let mut not_yet = shard.clone();
    assert_eq!(not_yet.found(at(2), None), Ok(()));
    assert_eq!(sent(&mut not_yet, at(2)), (1, None, 4, vec![1, 2, 3, 4]), "under another token");
    assert_eq!(shard.found(at(2), Some(&4)), Ok(()));
    assert_eq!(settled(&mut shard).len(), 4, "it was this one");
}

#[test]
fn a_request_that_is_refused_leaves_and_the_others_go_on() {
    let mut shard = session(&["a", "b", "c", "d"]);
    assert_eq!(sent(&mut shard, at(0)).3, [1, 2, 3, 4]);
    shard.refused(at(1), Some(2), "no");
    assert_eq!(settled(&mut shard), [Settled::DeadLetter(3, "no".to_owned())]);
    shard.hurry(true);
    assert_eq!(sent(&mut shard, at(1)), (1, None, 4, vec![1, 2, 4]), "another transaction, another token");
}

#[test]
fn a_refusal_that_names_none_is_halved_until_the_culprit_is_alone() {
    let mut shard = session(&["a", "b", "c", "d"]);
    shard.hurry(true);
    let mut transactions = 0;
    while let Action::Send { tickets, .. } = shard.next(at(0)) {
        transactions += 1;
        if tickets.contains(&3) { shard.refused(at(0), None, "no") } else { shard.done(at(0)) }
    }
    assert!(transactions <= 6, "{transactions}");
    let became: BTreeSet<String> = settled(&mut shard).iter().map(|settled| format!("{settled:?}")).collect();
    let wanted = ["Applied(1)", "Applied(2)", "Applied(4)", "DeadLetter(3, \"no\")"].map(str::to_owned);
    assert_eq!(became, BTreeSet::from(wanted));
}

/// Numbers that a seed produces for ever.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[derive(Clone, Copy, Debug)]
struct Write {
    key: u64,
    is_put: bool,
    amount: u64,
}

/// The service: what is in the table, where the position is, which tokens it knows.
#[derive(Default)]
struct Table {
    items: BTreeMap<u64, u64>,
    position: Option<u64>,
    tokens: BTreeSet<(u64, u64)>,
}

impl Table {
    fn write(&mut self, write: Write) {
        let item = self.items.entry(write.key).or_default();
        *item = if write.is_put { write.amount } else { *item + write.amount };
    }

    /// Whether it happened, now or before; `None` if the position is not as expected.
    fn transact(&mut self, token: (u64, u64), from: Option<u64>, to: u64, writes: &[Write]) -> Option<()> {
        if self.tokens.contains(&token) {
            return Some(());
        }
        if self.position != from {
            return None;
        }
        writes.iter().for_each(|write| self.write(*write));
        self.position = Some(to);
        self.tokens.insert(token);
        Some(())
    }
}

/// One history: records of random requests, a service that fails in every way, crashes. Returns what is in the table and
/// what should be.
fn history(seed: u64) -> (BTreeMap<u64, u64>, BTreeMap<u64, u64>) {
    let mut random = Seeded(seed);
    let records: Vec<Vec<Write>> = (0..30)
        .map(|_| {
            let keys: BTreeSet<u64> = (0..=random.below(3)).map(|_| random.below(6)).collect();
            keys.into_iter()
                .map(|key| Write { key, is_put: random.below(3) == 0, amount: random.below(9) + 1 })
                .collect()
        })
        .collect();
    let mut wanted = Table::default();
    records.iter().flatten().for_each(|write| wanted.write(*write));
    let mut table = Table::default();
    for epoch in 0.. {
        if run(&mut random, &records, &mut table, epoch) {
            break;
        }
    }
    (table.items, wanted.items)
}

/// One session, from a place that is not after what took effect. Whether it came to the end; else it crashed.
fn run(random: &mut Seeded, records: &[Vec<Write>], table: &mut Table, epoch: u64) -> bool {
    let mut shard: Transactions<(usize, usize), u64> = Transactions::new(OPTIONS, table.position);
    let mut next = usize::try_from(random.below(table.position.map_or(0, |position| position + 1) + 1)).expect("small");
    let (mut now, mut count) = (0, 0);
    let pushed_from = next;
    loop {
        now += random.below(100);
        if next < records.len() && random.below(2) == 0 {
            let of = |(place, write): (usize, &Write)| Request {
                ticket: (next, place),
                key: vec![u8::try_from(write.key).expect("small")],
                bytes: 10,
                replaces: write.is_put,
            };
            let requests = records[next].iter().enumerate().map(of).collect();
            shard.push(Record { position: next as u64, requests, arrived: at(now) });
            next += 1;
        } else if next == records.len() {
            shard.hurry(true);
        }
        if random.below(60) == 0 && epoch < 20 {
            return false;
        }
        match shard.next(at(now)) {
            Action::Send { token, from, to, tickets } => {
                let writes: Vec<Write> = tickets.iter().map(|(record, place)| records[*record][*place]).collect();
                answer(random, &mut shard, table, at(now), ((epoch, token), from, to, &writes));
            }
            Action::Look => shard.found(at(now), table.position.as_ref()).expect("nobody else writes"),
            Action::Wait(until) if next == records.len() => {
                now = now.max(u64::try_from(until.0.as_millis()).expect("small") + 1)
            }
            Action::Wait(_) | Action::Idle => {}
        }
        count += shard.settled().count();
        if next == records.len() && shard.is_empty() {
            let all: usize = records[pushed_from..].iter().map(Vec::len).sum();
            assert_eq!(count, all, "each request is settled once");
            return true;
        }
    }
}

type Asked<'a> = ((u64, u64), Option<u64>, u64, &'a [Write]);

fn answer(
    random: &mut Seeded,
    shard: &mut Transactions<(usize, usize), u64>,
    table: &mut Table,
    now: Moment,
    (token, from, to, writes): Asked<'_>,
) {
    if random.below(10) == 0 {
        table.tokens.clear();
    }
    let fate = random.below(5);
    let trouble = match fate {
        0 => Some(Trouble::Throttled),
        1 => Some(Trouble::Transient),
        _ => None,
    };
    if let Some(trouble) = trouble {
        let _pause = shard.failed(now, trouble, 0.5);
        return;
    }
    match table.transact(token, from, to, writes) {
        None => shard.fenced(),
        // It happened, and nobody heard of it.
        Some(()) if fate == 2 => {
            let _pause = shard.failed(now, Trouble::Transient, 0.5);
        }
        Some(()) => shard.done(now),
    }
}

#[test]
fn every_record_takes_effect_exactly_once_whatever_is_lost_forgotten_or_crashes() {
    for seed in 0..2_000 {
        let (table, wanted) = history(seed);
        assert_eq!(table, wanted, "seed {seed}");
    }
}
