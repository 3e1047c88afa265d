use super::*;
use crate::columns::RecordColumns;
use crate::ports::Pushed;
use crate::source::classify::SourceErrorKind;

const PATIENCE: Duration = Duration::from_secs(30);

async fn stream() -> (MemoryStream, ShardId, String) {
    let stream = MemoryStream::new("quakes", 1);
    let shard = stream.shards()[0].id.clone();
    let consumer = stream.register_consumer("app").await.expect("registered").arn;
    (stream, shard, consumer)
}

async fn subscribed() -> (MemoryStream, ShardId, Box<dyn Subscription>) {
    let (stream, shard, consumer) = stream().await;
    let sent = stream.subscribe(&consumer, &shard, &Position::TrimHorizon, PATIENCE, &Budget::new(64 << 20)).await;
    (stream, shard, sent.expect("granted"))
}

fn count(pushed: &Pushed) -> usize {
    pushed.batches.iter().map(RecordColumns::len).sum()
}

#[tokio::test(start_paused = true)]
async fn a_silent_subscription_beats_every_five_seconds_and_ends_after_five_minutes() {
    let (stream, _, mut subscription) = subscribed().await;
    let begun = Instant::now();
    let mut beats = Vec::new();
    while let Some(pushed) = subscription.next().await.expect("no error") {
        assert!(count(&pushed) == 0 && pushed.continuation.is_some() && !pushed.is_last);
        beats.push(begun.elapsed().as_secs());
    }
    assert_eq!(beats, (0..60).map(|beat| 5 * beat).collect::<Vec<_>>());
    assert_eq!(begun.elapsed().as_secs(), 300);
    assert_eq!(stream.subscriptions(), Subscriptions { open: 0, opened: 1, peak: 1 });
    assert!(subscription.next().await.expect("over").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_write_wakes_at_once_and_events_are_as_large_as_told() {
    let (stream, shard, mut subscription) = subscribed().await;
    subscription.next().await.expect("no error").expect("the first");
    stream.push_at_most(2);
    let begun = Instant::now();
    let (pushed, ()) = tokio::join!(subscription.next(), async {
        (0..3).for_each(|_| drop(stream.put_to(&shard, "k", b"x")));
    });
    assert_eq!((count(&pushed.expect("no error").expect("an event")), begun.elapsed()), (2, Duration::ZERO));
    let pushed = subscription.next().await.expect("no error").expect("the rest");
    assert_eq!((count(&pushed), pushed.millis_behind_latest), (1, Some(0)));
}

#[tokio::test(start_paused = true)]
async fn what_is_scripted_ends_a_subscription_that_waits() {
    for (kind, happens) in [
        (Some(SourceErrorKind::Transient), act(&|stream, shard| stream.cut(shard))),
        (None, act(&|stream, shard| stream.end_subscriptions(shard))),
        (Some(SourceErrorKind::ConsumerGone), act(&|stream, _| stream.remove_consumer("app"))),
        (Some(SourceErrorKind::StreamGone), act(&|stream, _| stream.delete())),
        (Some(SourceErrorKind::ShardGone), act(&|stream, shard| stream.expire_shard(shard))),
        (
            Some(SourceErrorKind::InUse),
            act(&|stream, shard| {
                stream.fail_next(Call::Event, Some(shard), "ResourceInUseException", 1);
            }),
        ),
    ] {
        let (stream, shard, mut subscription) = subscribed().await;
        subscription.next().await.expect("no error").expect("the first");
        let begun = Instant::now();
        let (told, ()) = tokio::join!(subscription.next(), async { happens(&stream, &shard) });
        assert_eq!(told.map_err(|error| error.kind).err(), kind);
        assert_eq!((begun.elapsed(), stream.subscriptions().open), (Duration::ZERO, 0));
    }
}

type Act = &'static dyn Fn(&MemoryStream, &ShardId);

/// Lets the compiler see what kind of closure it is.
fn act(act: Act) -> Act {
    act
}

#[tokio::test(start_paused = true)]
async fn a_stalled_subscription_says_nothing_until_released_and_a_hung_one_is_not_granted() {
    let (stream, shard, mut subscription) = subscribed().await;
    stream.stall(&shard);
    stream.put_to(&shard, "k", b"x");
    let told = tokio::time::timeout(Duration::from_secs(1_000), subscription.next()).await;
    assert!(told.is_err(), "{told:?}");
    stream.release(&shard);
    drop(subscription);
    stream.hang(&shard);
    let consumer = stream.consumers()[0].arn.clone();
    let refused = stream.subscribe(&consumer, &shard, &Position::TrimHorizon, PATIENCE, &Budget::new(64 << 20)).await;
    assert_eq!(refused.err().expect("hung").kind, SourceErrorKind::Transient);
    stream.release(&shard);
    let granted = stream.subscribe(&consumer, &shard, &Position::TrimHorizon, PATIENCE, &Budget::new(64 << 20)).await;
    let pushed = granted.expect("granted").next().await.expect("no error").expect("an event");
    assert_eq!(count(&pushed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_not_active_subscribes_to_nothing() {
    let (stream, shard, consumer) = stream().await;
    for status in [ConsumerStatus::Creating, ConsumerStatus::Deleting] {
        stream.set_consumer_status("app", status);
        let refused =
            stream.subscribe(&consumer, &shard, &Position::TrimHorizon, PATIENCE, &Budget::new(64 << 20)).await;
        assert_eq!(refused.err().expect("refused").kind, SourceErrorKind::InUse);
    }
}
