use host_core::shard::Position;

use super::*;
use crate::ports::{Page, StreamApi as _};
use crate::source::classify::SourceErrorKind;

fn only(stream: &MemoryStream) -> ShardId {
    stream.shards()[0].id.clone()
}

async fn read_all(stream: &MemoryStream, shard: &ShardId) -> Page {
    let iterator = stream.open(shard, &Position::TrimHorizon).await.expect("an iterator");
    stream.read(shard, &iterator, 10_000).await.expect("a page")
}

fn count(page: &Page) -> usize {
    page.batches.iter().map(crate::columns::RecordColumns::len).sum()
}

#[tokio::test]
async fn keys_go_to_the_shard_that_owns_them_and_the_truth_keeps_their_order() {
    let stream = MemoryStream::new("quakes", 4);
    for round in 0..25_u8 {
        for key in 0..40 {
            stream.put(&key.to_string(), &[round]);
        }
    }
    let shards: std::collections::BTreeSet<_> = stream.written().into_iter().map(|record| record.shard).collect();
    assert_eq!(shards.len(), 4);
    let keys = stream.written_by_key();
    assert_eq!(keys.len(), 40);
    assert!(keys.values().all(|data| data.iter().map(|data| data[0]).eq(0..25)));
    let mut read = 0;
    for shard in stream.shards() {
        read += count(&read_all(&stream, &shard.id).await);
    }
    assert_eq!(read, 1000);
}

#[tokio::test]
async fn a_scripted_failure_happens_as_often_as_told_and_only_where_told() {
    let stream = MemoryStream::new("quakes", 2);
    let [a, b] = [0, 1].map(|index| stream.shards()[index].id.clone());
    stream.fail_next(Call::Read, Some(&a), "ProvisionedThroughputExceededException", 2);
    let iterator = stream.open(&a, &Position::TrimHorizon).await.expect("an iterator");
    for _ in 0..2 {
        let error = stream.read(&a, &iterator, 1).await.expect_err("scripted");
        assert_eq!(error.kind, SourceErrorKind::Throttled);
        read_all(&stream, &b).await;
    }
    stream.read(&a, &iterator, 1).await.expect("the script is over");
    assert_eq!(stream.calls(Call::Read), 5);
}

#[tokio::test]
async fn a_hung_shard_waits_for_its_release_and_its_siblings_do_not() {
    let stream = MemoryStream::new("quakes", 2);
    let [a, b] = [0, 1].map(|index| stream.shards()[index].id.clone());
    stream.hang(&a);
    let waiting = tokio::spawn({
        let (stream, a) = (stream.clone(), a.clone());
        async move { read_all(&stream, &a).await }
    });
    stream.until_calls(Call::Read, 1).await;
    read_all(&stream, &b).await;
    assert!(!waiting.is_finished());
    stream.put_to(&a, "k", b"late");
    stream.release(&a);
    assert_eq!(count(&waiting.await.expect("released")), 1);
}

#[tokio::test]
async fn listings_are_partial_and_reordered_as_told_and_lie_about_nothing_else() {
    let stream = MemoryStream::new("quakes", 1);
    let [low, high] = stream.split(&only(&stream));
    let merged = stream.merge(&low, &high);
    stream.list_in(ListingOrder::Reverse);
    let ids: Vec<_> = stream.list_shards(None).await.expect("listed").into_iter().map(|shard| shard.id).collect();
    assert_eq!(ids, [merged, high.clone(), low.clone(), only(&stream)]);
    stream.leave_unlisted([high.clone()]);
    let listed = stream.list_shards(None).await.expect("listed");
    assert!(listed.len() == 3 && listed.iter().all(|shard| shard.id != high));
    assert!(read_all(&stream, &high).await.next.is_none());
    stream.leave_unlisted([]);
    for seed in 0..9 {
        stream.list_in(ListingOrder::Shuffled(seed));
        let mut shuffled = stream.list_shards(None).await.expect("listed");
        shuffled.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(shuffled, stream.shards());
    }
}

#[tokio::test]
async fn the_end_of_a_shard_is_told_as_scripted() {
    let stream = MemoryStream::new("quakes", 1);
    let shard = only(&stream);
    stream.put("k", b"1");
    let children = stream.split(&shard);
    let page = read_all(&stream, &shard).await;
    assert_eq!((count(&page), &page.next, page.millis_behind_latest), (1, &None, Some(0)));
    assert_eq!(page.children.into_iter().map(|child| child.id).collect::<Vec<_>>(), children);

    stream.end_with(LastPage::Empty);
    stream.tell_children(Children::Omitted);
    stream.tell_lag(Lag::Omitted);
    let page = read_all(&stream, &shard).await;
    let next = page.next.clone().expect("one more page");
    assert_eq!((count(&page), page.millis_behind_latest), (1, None));
    let last = stream.read(&shard, &next, 10).await.expect("the last page");
    assert_eq!((count(&last), &last.next, last.children.len()), (0, &None, 0));
}

#[tokio::test]
async fn what_is_trimmed_is_gone_from_the_stream_and_not_from_the_truth() {
    let stream = MemoryStream::new("quakes", 1);
    let shard = only(&stream);
    for data in [b"1", b"2", b"3"] {
        stream.put("k", data);
    }
    stream.trim(&shard, 2);
    let page = read_all(&stream, &shard).await;
    assert_eq!(page.batches[0].data.iter().collect::<Vec<_>>(), [b"3"]);
    assert_eq!(stream.written().len(), 3);
    stream.expire_shard(&shard);
    let error = stream.open(&shard, &Position::TrimHorizon).await.expect_err("gone");
    assert_eq!(error.kind, SourceErrorKind::ShardGone);
}

#[tokio::test]
async fn a_recreated_stream_has_the_old_names_and_another_creation_time() {
    let stream = MemoryStream::new("quakes", 1);
    let before = stream.describe().await.expect("described");
    stream.put("k", b"old");
    stream.split(&only(&stream));
    stream.recreate();
    let after = stream.describe().await.expect("described");
    assert!(after.created > before.created && after.arn == before.arn);
    assert_eq!(stream.shards().len(), 1);
    assert_eq!(count(&read_all(&stream, &only(&stream)).await), 0);
}
