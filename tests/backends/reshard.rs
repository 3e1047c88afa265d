//! The binary against a backend whose shards split and merge while records arrive.

use std::path::Path;

use host::ports::StreamApi as _;
use host_core::shard::ShardDescription;
use tests::deviations::{Difference, is_listed, judge};
use tests::ledger::Audit;
use tests::numbers::{FILE, Numbers, Pipeline, Reader, audit};
use tests::process::Running;
use tests::remote::{Provider, stream_name};
use tests::service::Service;
use tokio::sync::watch;

use crate::{on, on_every_backend_with_lineage};

const KEYS: u64 = 25;
/// Rounds of records during each change of shards.
const ROUNDS: u64 = 16;
/// What happens to the shards, one change after the other.
const CHANGES: [Change; 4] = [Change::Halve(0), Change::Merge, Change::Halve(1), Change::Merge];

/// A change of the open shards, which are counted by their place in the key space.
#[derive(Clone, Copy, Debug)]
enum Change {
    Halve(usize),
    /// Merges the first two.
    Merge,
    /// Twice as many, by `UpdateShardCount`.
    Double,
}

impl Change {
    async fn apply(self, service: &Service, stream: &str) {
        let shards = open_shards(service, stream).await;
        match self {
            Self::Halve(index) => service.halve(stream, &shards[index]).await,
            Self::Merge => service.merge(stream, shards[0].id.as_str(), shards[1].id.as_str()).await,
            Self::Double => {
                let target = i32::try_from(2 * shards.len()).expect("few");
                service.resize(stream, target).await.expect("done for services that can");
            }
        }
    }
}

async fn open_shards(service: &Service, stream: &str) -> Vec<ShardDescription> {
    let listed = service.stream(stream).await.list_shards(None).await.expect("a listing");
    let mut open: Vec<_> = listed.into_iter().filter(|shard| !shard.closed).collect();
    open.sort_by_key(|shard| shard.range.map(|range| range.start));
    open
}

/// Writes while a change goes on, and tells how many rounds are written. What was written comes back.
async fn load(
    mut numbers: Numbers,
    service: Service,
    stream: String,
    change: Change,
    told: watch::Sender<u64>,
) -> Numbers {
    let write = async {
        for round in 1..=ROUNDS {
            numbers.round().await;
            told.send_replace(round);
        }
    };
    let mut rounds = told.subscribe();
    let reshard = async {
        rounds.wait_for(|rounds| *rounds >= ROUNDS / 4).await.expect("the writer holds the sender");
        change.apply(&service, &stream).await;
    };
    tokio::join!(write, reshard);
    numbers
}

fn file(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_default()
}

/// What a service can do to its shards.
fn changes<P: Provider>() -> impl Iterator<Item = Change> {
    let cannot = [Difference::CannotUpdateShardCount, Difference::OrphansOnUpdateShardCount];
    let doubles = !cannot.iter().any(|difference| is_listed(P::NAME, *difference));
    CHANGES.into_iter().chain(doubles.then_some(Change::Double))
}

async fn change_under_load<P: Provider>(reader: Reader) {
    let (service, _held) = P::serve().await;
    let (folder, stream) = (tempfile::tempdir().expect("a folder"), stream_name("reshard"));
    service.create(&stream, 2).await;
    let source = reader.all_of(&stream);
    Pipeline { endpoint: &service.endpoint, streams: &[&stream], source: &source }.write(folder.path());
    let mut numbers = Numbers::new(&service, &stream, KEYS);
    let mut host = Running::start(folder.path(), &["run", "pipeline.toml"]);
    for change in changes::<P>() {
        let (told, _) = watch::channel(0);
        numbers = tokio::spawn(load(numbers, service.clone(), stream.clone(), change, told)).await.expect("written");
    }
    let count = usize::try_from(numbers.count()).expect("few");
    host.wait_for(FILE, |text| text.lines().count() >= count);
    host.terminate();
    let finished = host.finish().expect_code(0);
    audit(&file(folder.path(), FILE), &numbers.written()).expect_exact(FILE);
    audit(&finished.stdout, &numbers.written()).expect_exact("stdout");
}

async fn kill_while_shards_change<P: Provider>(reader: Reader) {
    let (service, _held) = P::serve().await;
    let (folder, stream) = (tempfile::tempdir().expect("a folder"), stream_name("killed"));
    service.create(&stream, 2).await;
    let source = reader.all_of(&stream);
    Pipeline { endpoint: &service.endpoint, streams: &[&stream], source: &source }.write(folder.path());
    let mut numbers = Numbers::new(&service, &stream, KEYS);
    let mut lives = Vec::new();
    for (life, change) in (1..).zip(CHANGES) {
        let before = file(folder.path(), "stdout").len();
        lives.push(before);
        let mut host = Running::start(folder.path(), &["run", "pipeline.toml"]);
        let (told, mut rounds) = watch::channel(0);
        let loading = tokio::spawn(load(numbers, service.clone(), stream.clone(), change, told));
        host.wait_for("stdout", |text| text.len() > before);
        // Before, at and after the change, which comes with the fourth round.
        rounds.wait_for(|rounds| *rounds >= ROUNDS / 4 * life - 2).await.expect("the writer tells its last round");
        assert!(host.is_running(), "the host ended by itself in life {life}");
        host.kill();
        numbers = loading.await.expect("written");
    }
    lives.push(file(folder.path(), "stdout").len());
    let mut last = Running::start(folder.path(), &["run", "pipeline.toml"]);
    let count = usize::try_from(numbers.count()).expect("few");
    last.wait_for(FILE, |text| text.lines().count() >= count);
    last.terminate();
    let stdout = last.finish().expect_code(0).stdout;
    audit(&file(folder.path(), FILE), &numbers.written()).expect_exact(FILE);
    let mut audit = Audit::default();
    for (life, &start) in lives.iter().enumerate() {
        let end = lives.get(life + 1).copied().unwrap_or(stdout.len());
        audit.life(life > 0);
        audit.text(&stdout[start..end]);
    }
    audit.close(&numbers.written()).expect_complete("stdout");
}

/// ORD-1, DEL-1, LIN-1: without a restart every record arrives once, each key's in order, across splits and merges.
async fn shards_change_under_load_and_every_key_stays_whole_and_in_order<P: Provider>() {
    change_under_load::<P>(Reader::Polling).await;
}

/// The same where the service pushes.
async fn shards_change_under_load_and_what_is_pushed_stays_whole_and_in_order<P: Provider>() {
    change_under_load::<P>(Reader::FanOut).await;
}

/// CKP-1, ORD-1, DEL-1: killed in the middle of every change, the host loses nothing, keeps the order, and puts nothing
/// into the file twice.
async fn kills_while_shards_change_lose_nothing_and_keep_the_order<P: Provider>() {
    kill_while_shards_change::<P>(Reader::Polling).await;
}

/// The same where the service pushes.
async fn kills_while_shards_change_lose_nothing_that_is_pushed_and_keep_the_order<P: Provider>() {
    kill_while_shards_change::<P>(Reader::FanOut).await;
}

/// Kinesis makes two children of every shard, whose parent is the old one.
async fn doubling_the_shards_makes_children_of_the_old_ones<P: Provider>() {
    let (service, _held) = P::serve().await;
    let stream = stream_name("doubled");
    service.create(&stream, 2).await;
    let old = open_shards(&service, &stream).await;
    let doubled = service.resize(&stream, 4).await;
    judge(P::NAME, Difference::CannotUpdateShardCount, doubled.is_err(), &doubled);
    if doubled.is_err() {
        return;
    }
    let open = open_shards(&service, &stream).await;
    assert_eq!(open.len(), 4, "{open:?}");
    let orphans = open.iter().all(|shard| shard.parents.is_empty());
    judge(P::NAME, Difference::OrphansOnUpdateShardCount, orphans, &open);
    if !orphans {
        let parents: Vec<_> = open.iter().flat_map(|shard| &shard.parents).collect();
        assert_eq!(parents, [&old[0].id, &old[0].id, &old[1].id, &old[1].id]);
    }
}

on! {
    pushed_by_embedded = crate::Embedded:
    shards_change_under_load_and_what_is_pushed_stays_whole_and_in_order,
    kills_while_shards_change_lose_nothing_that_is_pushed_and_keep_the_order,
}

on! { ministack = crate::pypi_server::Ministack: doubling_the_shards_makes_children_of_the_old_ones }

on_every_backend_with_lineage! {
    doubling_the_shards_makes_children_of_the_old_ones,
    shards_change_under_load_and_every_key_stays_whole_and_in_order,
    kills_while_shards_change_lose_nothing_and_keep_the_order,
}
