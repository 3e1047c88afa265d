//! What is passed over because it was applied, across sessions and runs.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_applied_is_settled_without_a_write() {
    let mut first = Bench::new(settings());
    first.deliver(&[(1, vec![add("a")]), (2, vec![add("b")])]).await;
    assert_eq!(first.rest().await, [0]);
    let mut second = Bench::on(first.table.clone(), settings(), PoisonPolicy::Fail, 2);
    second.deliver(&[(1, vec![add("a")]), (2, vec![add("b")]), (3, vec![add("a")])]).await;
    assert_eq!(second.rest().await, [0]);
    assert_eq!(second.counts(), counts(&[("a", "2"), ("b", "1")]));
    assert_eq!(second.transactions().len(), 2, "one of each run");
}

#[tokio::test(start_paused = true)]
async fn a_session_waits_for_the_one_before_it_and_applies_nothing_again() {
    let mut bench = Bench::new(settings());
    bench.table.seen(|seen| seen.always = 5 * SECOND);
    bench.deliver_of("shard-0", 1, &[(1, vec![add("a")]), (2, vec![add("a")])]).await;
    sleep(SECOND).await;
    // Read again from the start while both are under way.
    bench.deliver_of("shard-0", 2, &[(1, vec![add("a")])]).await;
    bench.deliver_of("shard-0", 2, &[(2, vec![add("a")]), (3, vec![add("a")])]).await;
    assert_eq!(bench.rest().await.len(), 3);
    assert_eq!(bench.counts(), counts(&[("a", "3")]));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_comes_twice_in_a_session_is_applied_once() {
    let mut bench = Bench::new(settings());
    bench.deliver(&[(1, vec![add("a")]), (2, vec![add("b")])]).await;
    bench.deliver(&[(2, vec![add("b")]), (3, vec![add("c")])]).await;
    assert_eq!(bench.rest().await, [0, 1]);
    assert_eq!(bench.counts(), counts(&[("a", "1"), ("b", "1"), ("c", "1")]));
}

#[tokio::test(start_paused = true)]
async fn shards_that_are_idle_are_forgotten_and_asked_for_again() {
    let mut bench = Bench::new(settings());
    for sequence in 1..=2 {
        for shard in 0..LANES_KEPT + 100 {
            bench.deliver_of(&format!("shard-{shard}"), 1, &[(sequence, vec![add(&format!("{shard}"))])]).await;
        }
        sleep(10 * SECOND).await;
    }
    assert_eq!(bench.rest().await.len(), 2 * (LANES_KEPT + 100));
    assert!(bench.counts().values().all(|count| count == "2"));
    assert!(bench.table.seen(|seen| seen.claims) > LANES_KEPT + 100, "some were claimed again");
}

type Records = Vec<(u64, Vec<ItemRequest>)>;

/// Records that count a few keys, and what comes of them.
fn plan(dice: &mut fastrand::Rng) -> (Records, BTreeMap<String, String>) {
    let mut expected = BTreeMap::<String, u64>::new();
    let records: Records = (1..=40)
        .map(|sequence| {
            let keys = (0..=dice.u64(0..3)).map(|n| format!("k{}", 3 * n + dice.u64(0..3)));
            (sequence, keys.map(|key| add(&key)).collect())
        })
        .collect();
    for request in records.iter().flat_map(|(_, requests)| requests) {
        *expected.entry(key_of(&request.item)).or_default() += 1;
    }
    (records, expected.into_iter().map(|(key, count)| (key, count.to_string())).collect())
}

/// Hands over what a run reads from `durable` on, maybe not to the end; says whether it came there.
async fn read(bench: &mut Bench, dice: &mut fastrand::Rng, records: &Records, durable: usize) -> bool {
    let (mut at, mut session) = (durable, 1);
    while at < records.len() {
        if dice.u8(0..15) == 0 {
            return false;
        }
        let end = records.len().min(at + dice.usize(1..6));
        bench.deliver_of("shard-0", session, &records[at..end]).await;
        at = end;
        sleep(Duration::from_millis(dice.u64(0..3_000))).await;
        if dice.u8(0..12) == 0 {
            // The reader begins anew where the checkpoint is.
            (session, at) = (session + 1, durable);
        }
    }
    true
}

/// Seeded histories of a shard that is read again and again, over a table that fails at random. A run that ends early is
/// killed, or goes on beside the next one.
#[tokio::test(start_paused = true)]
async fn every_count_is_exact_whatever_fails_and_whenever_a_run_ends() {
    let mut runs = 0;
    for seed in 0..60 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let (table, (records, expected)) = (table(), plan(&mut dice));
        let mut durable = 0;
        for generation in 1.. {
            runs += 1;
            table.table.script((0..dice.usize(0..30)).map(|_| match dice.u8(0..4) {
                0 => Fault::Unanswered,
                1 => Fault::Code("InternalServerError"),
                2 => Fault::Cancelled("TransactionConflict", 0),
                _ => Fault::Code("ThrottlingException"),
            }));
            table.seen(|seen| seen.before = (0..20).map(|_| SECOND * dice.u32(0..15)).collect());
            let mut bench = Bench::on(table.clone(), settings(), PoisonPolicy::Fail, generation);
            if read(&mut bench, &mut dice, &records, durable).await && dice.bool() {
                bench.rest().await;
                assert_eq!(bench.counts(), expected, "seed {seed}, generation {generation}");
                break;
            }
            if dice.bool() {
                bench.cut.cancel();
            }
            // The checkpoint has come as far as the table, or not.
            if let Some(Value::Text(sequence)) = bench.row("shard-0").as_ref().and_then(|row| row.get("sequence")) {
                let applied: usize = sequence.parse().expect("ours");
                durable = durable.max(dice.usize(0..=applied));
            }
        }
    }
    assert!(runs > 100, "only {runs} runs: nothing was interrupted");
}
