//! The binary with reader = "efo": killed, stopped, its reader changed between two runs, all on the same positions.

use std::path::Path;

use tempfile::TempDir;
use tests::numbers::{FILE, Pipeline, audit, record};
use tests::process::{Finished, Running, run};
use tests::simulated::{ConsumerStatus, Setup, SimulatedAws};

use super::limits;
use crate::simulated::world::STREAM;

const KEYS: u64 = 50;
const POLLED: &str = "initial_position = \"trim-horizon\"";
const PUSHED: &str = "initial_position = \"trim-horizon\"\nreader = \"efo\"\nefo = { consumer_name = \"numbers\" }";
const KEPT: &str = "initial_position = \"trim-horizon\"\nreader = \"efo\"\nefo = { consumer_name = \"numbers\", keep_consumer = true }";

/// A stream, and a folder with a pipeline that reads it.
struct Scene {
    aws: SimulatedAws,
    folder: TempDir,
    rounds: u64,
}

impl Scene {
    async fn new(source: &str) -> Self {
        let aws = SimulatedAws::start_with(Setup { limits: limits(), ..Setup::default() }).await;
        aws.kinesis().create(STREAM, 4);
        let scene = Self { aws, folder: tempfile::tempdir().expect("a folder"), rounds: 0 };
        scene.read_by(source);
        scene
    }

    fn read_by(&self, source: &str) {
        Pipeline { endpoint: &self.aws.endpoint, streams: &[STREAM], source }.write(self.folder());
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn write(&mut self, rounds: u64) {
        for _ in 0..rounds {
            for key in 0..KEYS {
                let (key, data) = record(key, self.rounds);
                self.aws.kinesis().put(STREAM, &key, data);
            }
            self.rounds += 1;
        }
    }

    fn start(&self) -> Running {
        Running::start(self.folder(), &["run", "pipeline.toml"])
    }

    /// Waits until all that was written is in the file.
    fn until_written(&self, running: &mut Running) {
        let lines = usize::try_from(self.rounds * KEYS).expect("few records");
        running.wait_for(FILE, |text| text.lines().count() >= lines);
    }

    fn stop(running: Running) -> Finished {
        running.terminate();
        running.finish().expect_code(0)
    }

    fn expect_exact(&self) {
        let written = (0..KEYS).map(|key| (record(key, 0).0, self.rounds)).collect();
        let file = std::fs::read_to_string(self.folder().join(FILE)).expect("the sink's file");
        audit(&file, &written).expect_exact("file");
    }

    fn consumers(&self) -> Vec<ConsumerStatus> {
        self.aws.kinesis().consumers(STREAM).into_iter().map(|consumer| consumer.status).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_delivers_what_was_taken_and_deregisters_the_consumer() {
    let mut scene = Scene::new(PUSHED).await;
    scene.write(20);
    let mut running = scene.start();
    scene.until_written(&mut running);
    assert_eq!(scene.consumers(), [ConsumerStatus::Active]);
    let stopped = Scene::stop(running);
    stopped.expect_stderr("reading by enhanced fan-out").expect_stderr("consumer \"numbers\" is deregistered");
    stopped.expect_stderr("1,000 records in");
    scene.aws.until_subscribed(0).await;
    assert_eq!(scene.consumers(), []);
    scene.expect_exact();
}

/// CKP-1: a kill leaves the consumer, which the next run uses again and the first graceful stop removes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_nothing_and_the_consumer_they_leave_behind_is_used_again_and_removed() {
    let mut scene = Scene::new(PUSHED).await;
    for life in 0..6 {
        scene.write(20);
        let subscriptions = scene.aws.counted(|counted| counted.subscribed().opened);
        let mut running = scene.start();
        if life % 2 == 0 {
            scene.until_written(&mut running);
        } else {
            scene.aws.until("a subscription", |counted| counted.subscribed().opened > subscriptions).await;
        }
        running.kill();
        scene.aws.until_subscribed(0).await;
        let shards = scene.aws.kinesis().open_shards(STREAM);
        scene.aws.kinesis().split(STREAM, &shards[life]);
    }
    let mut running = scene.start();
    scene.until_written(&mut running);
    drop(Scene::stop(running));
    scene.expect_exact();
    assert_eq!(scene.aws.counted(|counted| counted.calls("RegisterStreamConsumer")), 1);
    assert_eq!(scene.consumers(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reader_can_be_changed_between_runs_and_a_kept_consumer_stays() {
    let mut scene = Scene::new(KEPT).await;
    for source in [KEPT, POLLED, KEPT, POLLED, PUSHED] {
        scene.read_by(source);
        scene.write(10);
        let mut running = scene.start();
        scene.until_written(&mut running);
        drop(Scene::stop(running));
        let kept = if source == PUSHED { 0 } else { 1 };
        assert_eq!(scene.consumers().len(), kept, "{source}");
    }
    scene.expect_exact();
    assert_eq!(scene.aws.counted(|counted| counted.calls("RegisterStreamConsumer")), 1);
    let read = scene.aws.counted(|counted| (counted.calls("SubscribeToShard") >= 12, counted.calls("GetRecords") >= 8));
    assert_eq!(read, (true, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_until_caught_up_by_fan_out_ends_by_itself_and_leaves_no_consumer() {
    let mut scene = Scene::new(PUSHED).await;
    for _ in 0..2 {
        scene.write(10);
        let ended = run(scene.folder(), &["run", "--until-caught-up", "pipeline.toml"]).expect_code(0);
        ended.expect_stderr("default/numbers: caught up").expect_stderr("500 records in");
        assert_eq!(scene.consumers(), []);
    }
    scene.expect_exact();
}
