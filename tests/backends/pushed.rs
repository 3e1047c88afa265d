//! The binary, reading by enhanced fan-out from services whose shards stay as they are.

use tests::ledger::Audit;
use tests::numbers::{FILE, Numbers, Pipeline, Reader, audit};
use tests::process::Running;
use tests::remote::{Provider, stream_name};

use crate::on;

const KEYS: u64 = 25;
const ROUNDS: u64 = 8;

/// CKP-1, ORD-1, DEL-1: what is there, what is put while it is subscribed, and what was put while it was away, after a
/// stop and after a kill.
async fn what_is_pushed_is_whole_and_in_order_over_restarts<P: Provider>() {
    let (service, _held) = P::serve().await;
    let (folder, stream) = (tempfile::tempdir().expect("a folder"), stream_name("restarted"));
    service.create(&stream, 2).await;
    let source = Reader::FanOut.all_of(&stream);
    Pipeline { endpoint: &service.endpoint, streams: &[&stream], source: &source }.write(folder.path());
    let file = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let mut numbers = Numbers::new(&service, &stream, KEYS);
    let mut lives = Vec::new();
    let mut stdout = String::new();
    for life in 0..3 {
        for _ in 0..ROUNDS {
            numbers.round().await;
        }
        lives.push(file("stdout").len());
        let mut host = Running::start(folder.path(), &["run", "pipeline.toml"]);
        // Once with what was there, then with what comes while it listens.
        for _ in 0..3 {
            let count = usize::try_from(numbers.count()).expect("few");
            host.wait_for(FILE, |text| text.lines().count() >= count);
            numbers.round().await;
        }
        match life {
            1 => host.kill(),
            _ => {
                let count = usize::try_from(numbers.count()).expect("few");
                host.wait_for(FILE, |text| text.lines().count() >= count);
                host.terminate();
                stdout = host.finish().expect_code(0).stdout;
            }
        }
    }
    audit(&file(FILE), &numbers.written()).expect_exact(FILE);
    let mut audit = Audit::default();
    for (life, &start) in lives.iter().enumerate() {
        let end = lives.get(life + 1).copied().unwrap_or(stdout.len());
        // Only what follows a kill may repeat.
        audit.life(life == 2);
        audit.text(&stdout[start..end]);
    }
    audit.close(&numbers.written()).expect_complete("stdout");
}

on! { embedded = crate::Embedded: what_is_pushed_is_whole_and_in_order_over_restarts }
on! { kinesis_local = crate::npm_server::KinesisLocal: what_is_pushed_is_whole_and_in_order_over_restarts }
on! { ministack = crate::pypi_server::Ministack: what_is_pushed_is_whole_and_in_order_over_restarts }
