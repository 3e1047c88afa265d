//! Sinks that write to services, as parts of a whole pipeline: what is confirmed is kept, what is not comes again.

use std::time::Duration;

use host::columns::Column;
use host::pipeline::failure::Failure;
use host::ports::{Settle, Sink, SinkError};
use host::sink::memory::MemorySink;
use host::sink::memory_target::{Answer, Reply};
use host::sink::thread::{Output, RoutedSink};
use host_core::batching::{Outcome, Setback};
use host_core::shard::{Position, ShardId};
use tests::rig::{Gate, Rig, soon};
use tests::served::Served;

/// A pipeline that writes to one service, beside its sink.
fn served(shards: u32) -> (Rig, Served) {
    let mut rig = Rig::new(shards);
    let served = Served::default();
    rig.services.push(served.clone());
    (rig, served)
}

/// What was written, sorted.
fn written(rig: &Rig) -> Vec<String> {
    sorted(rig.stream.written().into_iter().map(|record| String::from_utf8(record.data).expect("text")).collect())
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}

fn without_repetitions(texts: Vec<String>) -> Vec<String> {
    let mut texts = sorted(texts);
    texts.dedup();
    texts
}

/// The position after the last record that was written to a shard.
fn end_of(rig: &Rig, shard: &ShardId) -> Position {
    let last = rig.stream.written().into_iter().rfind(|record| record.shard == *shard).expect("it has records");
    Position::After { sequence: last.sequence, sub_sequence: 0 }
}

/// DEL-1, CKP-1: beside a sink with marks, which must fit the positions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_reaches_the_service_and_the_sink_beside_it_once_over_many_lives() {
    let (mut rig, served) = served(3);
    rig.manifest.parallelism = 2;
    served.target.does(|asked| match asked.number % 7 {
        3 => Reply::throttled(),
        5 => Reply::done().after(Duration::from_millis(3)),
        _ => Reply::done(),
    });
    for _ in 0..10 {
        rig.write(100);
        let run = rig.start().await;
        let requests = served.target.requests().len();
        soon("some requests", served.target.until(|target| target.requests().len() > requests + 2)).await;
        let totals = run.drained().await.expect_success();
        assert_eq!(totals.records_in.get(), totals.elements_out.get(), "what is read is delivered");
    }
    rig.catch_up().await.expect_success();
    rig.expect_exact();
    assert_eq!(sorted(served.taken()), written(&rig), "nothing missing, nothing twice");
}

/// A run until caught up ends as soon as its receipts are there, however long entries may wait for company.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_until_caught_up_does_not_wait_for_company() {
    let (mut rig, mut served) = served(2);
    served.settings.options.max_age = Duration::from_secs(24 * 3_600);
    rig.services = vec![served.clone()];
    rig.write(25);
    rig.catch_up().await.expect_success();
    assert_eq!(sorted(served.taken()), written(&rig));
}

/// CKP-1: a checkpoint never waits for a service; a stop that takes too long says what is left, and the next run has it.
#[tokio::test(start_paused = true)]
async fn ten_minutes_of_throttles_hold_up_one_shard_and_no_checkpoint() {
    let (mut rig, mut served) = served(2);
    served.settings.options.retry.max_delay = Duration::from_millis(500);
    rig.services = vec![served.clone()];
    rig.manifest.source.discovery_interval = Duration::from_secs(10);
    rig.polling().empty_interval = Duration::from_millis(250);
    rig.manifest.checkpoint.interval = Duration::from_secs(1);
    rig.manifest.shutdown_timeout = Duration::from_secs(20);
    // Receipts of all shards leave in one order where a sink has marks: here there is none.
    rig.has_sink = false;
    let [stuck, free] = [0, 1].map(|index: usize| rig.shards()[index].clone());
    let key = stuck.to_string();
    let outcome = move |of: &String| if *of == key { Outcome::Retry(Setback::Throttled) } else { Outcome::Done };
    served.target.does(move |asked| Answer::Each(asked.keys.iter().map(&outcome).collect()).into());
    rig.write_to(&stuck, 30);
    let run = rig.start().await;
    for _minute in 0..10 {
        rig.write_to(&free, 7);
        let end = end_of(&rig, &free);
        rig.until_durable("a checkpoint", |positions| positions.get(&free) == Some(&end)).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert!(!matches!(rig.durable().get(&stuck), Some(Position::After { .. })), "nothing of it is confirmed");
    let totals = std::sync::Arc::clone(&run.totals);
    let failure = run.drained().await.expect_failure();
    let Failure::DrainTimedOut { undelivered } = failure else { panic!("{failure}") };
    assert_eq!((undelivered, totals.elements_out.get()), (30, 70));
    assert!(totals.sink("service-0").repeated.get() > 20, "it was tried on");
    let requests = served.target.requests().len();
    served.target.does(|_| Reply::done());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(served.target.requests().len(), requests, "nothing is written behind a run that is over");
    rig.catch_up().await.expect_success();
    assert_eq!(sorted(served.taken()), written(&rig), "each once: no request was under way");
    assert_eq!(rig.durable().get(&stuck), Some(&end_of(&rig, &stuck)));
}

/// DEL-1: one service that fails for good takes nothing with it: what the other one had is confirmed to nobody and comes
/// again, and the sink with marks is put back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_fails_ends_the_run_and_the_next_one_delivers_the_rest_to_all() {
    let (mut rig, first) = served(2);
    let second = Served::default();
    rig.services.push(second.clone());
    second.target.does(|asked| if asked.number < 3 { Reply::done() } else { Reply::denied() });
    rig.write(200);
    let failure = rig.catch_up().await.expect_failure();
    assert!(failure.to_string().starts_with("sink \"service-1\": "), "{failure}");
    second.target.does(|_| Reply::done());
    rig.catch_up().await.expect_success();
    rig.expect_exact();
    assert_eq!(without_repetitions(first.taken()), written(&rig));
    assert_eq!(without_repetitions(second.taken()), written(&rig));
}

/// LIM-1: a service that never answers holds what it may and no more, however long that takes and however much there is to
/// read; what was read for it meanwhile stands still.
#[tokio::test(start_paused = true)]
async fn a_service_that_never_answers_holds_no_more_than_its_buffer() {
    let (mut rig, mut silent) = served(2);
    silent.settings.options.max_buffered = 40;
    silent.settings.options.max_in_flight = 2;
    rig.services = vec![silent.clone()];
    rig.has_sink = false;
    silent.target.does(|_| Reply::done().never());
    rig.write(20_000);
    let run = rig.start().await;
    let sink = run.totals.sink("service-0");
    soon("requests", silent.target.until(|target| target.requests().len() == 2)).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (held, read) = (sink.load(), run.totals.records_in.get());
    for _minute in 0..10 {
        rig.write(1_000);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let now = sink.load();
        assert!(now.buffered <= 40 && now.in_flight <= 2, "{now:?}");
        assert_eq!((now.buffered, now.bytes), (held.buffered, held.bytes));
        assert_eq!(run.totals.records_in.get(), read, "reading goes on though nothing is taken");
    }
    drop(run.drained().await.expect_failure());
    silent.target.does(|_| Reply::done());
    rig.catch_up().await.expect_success();
    assert_eq!(without_repetitions(silent.taken()), written(&rig));
}

/// A service that does not answer at all cannot keep a run that failed.
#[tokio::test(start_paused = true)]
async fn a_service_that_never_answers_is_cut_off_when_patience_is_over() {
    let (mut rig, silent) = served(1);
    let failing = Served::default();
    rig.services.push(failing.clone());
    silent.target.does(|_| Reply::done().never());
    failing.target.does(|_| Reply::denied());
    rig.write(50);
    let failure = rig.start().await.ended().await.expect_failure();
    assert!(failure.to_string().starts_with("sink \"service-1\": "), "{failure}");
    silent.target.until(|target| target.dropped() == target.requests().len()).await;
    silent.target.does(|_| Reply::done());
    failing.target.does(|_| Reply::done());
    rig.catch_up().await.expect_success();
    assert_eq!(sorted(silent.taken()), written(&rig));
    assert_eq!(sorted(failing.taken()), written(&rig));
}

/// A sink whose second write waits at a gate.
struct Gated {
    inner: MemorySink,
    writes: usize,
    gate: Gate,
}

impl Sink for Gated {
    fn resume(&mut self, mark: Option<u64>) -> Result<Option<u64>, SinkError> {
        self.inner.resume(mark)
    }

    fn write(&mut self, payloads: &Column) -> Result<Option<u64>, SinkError> {
        self.writes += 1;
        if self.writes == 2 {
            self.gate.pass();
        }
        self.inner.write(payloads)
    }

    fn settle(&self) -> Result<Option<Settle>, SinkError> {
        self.inner.settle()
    }
}

/// CKP-1: or it would land behind the mark that the next run resumes at.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_cut_off_ends_behind_a_write_that_is_under_way() {
    let (mut rig, served) = served(1);
    let (gate, sink) = (Gate::default(), rig.sink.clone());
    let ours = gate.clone();
    rig.has_sink = false;
    rig.more_sinks.push(Box::new(move || {
        let gated = Gated { inner: sink.clone(), writes: 0, gate: ours.clone() };
        RoutedSink { name: "gated".to_owned(), when: Vec::new(), output: Output::Local(Box::new(gated)) }
    }));
    rig.polling().max_records = 5;
    served.target.does(|_| Reply::done().never());
    rig.write(10);
    let run = rig.start().await;
    gate.until_waiting().await;
    run.stop();
    let mut ended = std::pin::pin!(run.ended());
    let cut = async {
        served.target.until(|target| target.dropped() > 0).await;
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = &mut ended => panic!("the run is over, and its write is not"),
        () = cut => {}
    }
    gate.open();
    assert!(matches!(ended.await.expect_failure(), Failure::DrainTimedOut { .. }));
    served.target.does(|_| Reply::done());
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}
