//! Somebody else who reads with the same consumer.

use std::time::Duration;

use host::flow::Budget;
use host::ports::{FanOutApi as _, Subscription};
use host::source::classify::SourceErrorKind;
use host::source::memory::{Call, MemoryStream};
use host_core::shard::{Position, ShardId};
use tests::overheard::Overheard;
use tests::rig::until_true;
use tests::still::still;
use tests::told::Told;
use tokio::time::Instant;

use super::{pass, paused};

/// Subscribes as another process with the same consumer would.
async fn intrude(stream: &MemoryStream, shard: &ShardId) -> Box<dyn Subscription> {
    let arn = stream.consumers()[0].arn.clone();
    let (patience, budget) = (Duration::from_secs(60), Budget::new(64 << 20));
    stream.subscribe(&arn, shard, &Position::TrimHorizon, patience, &budget).await.expect("granted")
}

/// DEL-1, ORD-1: counted and told at once, ours again later, and nothing of it shows in what is delivered.
#[tokio::test(start_paused = true)]
async fn a_subscription_that_another_reader_takes_over_is_told_at_once_and_taken_back() {
    let told = Told::listen();
    let mut rig = paused(2);
    let overheard = Overheard::over(&mut rig);
    let shard = rig.shards()[0].clone();
    rig.write(40);
    let run = rig.start().await;
    still(rig.until_all_delivered()).await;
    pass(6).await;
    let mut other = intrude(&rig.stream, &shard).await;
    still(until_true("the takeover", || run.totals.takeovers.get() == 1)).await;
    assert!(run.totals.health.struggling().is_some_and(|(_, who)| who.contains(shard.as_str())));
    assert_eq!(told.with("failed for a while").len(), 1);
    rig.write_to(&shard, 40);
    rig.until_all_delivered().await;
    // The other one is out now.
    let end = loop {
        match other.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was not the end of its time"),
            Err(error) => break error.kind,
        }
    };
    assert_eq!(end, SourceErrorKind::InUse);
    pass(120).await;
    assert_eq!(run.totals.health.struggling(), None, "after a minute in peace it is ours");
    let totals = still(run.drained()).await.expect_success();
    assert_eq!((totals.takeovers.get(), totals.records_in.get()), (1, 80));
    rig.expect_exact();
    let granted = overheard.granted(&shard);
    assert!(granted.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(5)), "{granted:?}");
}

/// DEL-1, ORD-1: two that take a shard from each other get nowhere, so one of them leaves the other more and more time.
#[tokio::test(start_paused = true)]
async fn takeovers_in_a_row_lose_nothing_and_grow_rarer() {
    let rig = paused(1);
    let shard = rig.shards()[0].clone();
    let run = rig.start().await;
    still(rig.stream.until_subscribed(1)).await;
    let mut lasted = Duration::ZERO;
    for round in 1..=10 {
        pass(6).await;
        let mut other = intrude(&rig.stream, &shard).await;
        let begun = Instant::now();
        rig.write(10);
        // Until ours takes over.
        while let Ok(Some(_)) = other.next().await {}
        lasted = begun.elapsed();
        assert_eq!(run.totals.takeovers.get(), round);
        still(rig.until_all_delivered()).await;
    }
    assert!(lasted >= Duration::from_secs(60), "{lasted:?}");
    let totals = still(run.drained()).await.expect_success();
    assert_eq!((totals.takeovers.get(), totals.records_in.get()), (10, 100));
    rig.expect_exact();
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_in_use_when_it_is_asked_for_is_waited_for() {
    let mut rig = paused(2);
    let overheard = Overheard::over(&mut rig);
    let shard = rig.shards()[0].clone();
    rig.write(40);
    rig.stream.fail_next(Call::Subscribe, Some(&shard), "ResourceInUseException", 3);
    let run = rig.start().await;
    rig.until_all_delivered().await;
    let totals = still(run.drained()).await.expect_success();
    assert_eq!((totals.health.retries.in_use.get(), totals.takeovers.get()), (3, 0));
    rig.expect_exact();
    let asked: Vec<_> = overheard.asked().into_iter().filter(|asked| asked.shard == shard).collect();
    let granted = asked.iter().position(|asked| asked.granted);
    assert_eq!(granted, Some(3));
    let pauses = asked[..4].windows(2).map(|pair| pair[1].at - pair[0].at);
    assert!(pauses.min().expect("three") >= Duration::from_secs(5), "{asked:?}");
}
