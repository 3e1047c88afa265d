//! Sinks that write to services in the rig: fakes that take entries, and what makes an entry of every record.

use std::str;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use host::columns::{ElementBatch, RecordColumns};
use host::entry::{Entries, KinesisEntry};
use host::flow::Budget;
use host::pipeline::Pipeline;
use host::sink::memory_target::MemoryTarget;
use host::sink::queue::{self, Settings};
use host::sink::service::Stations;
use host::sink::thread::{Delivery, Outgoing, Output, RoutedSink, ToSinks};
use host::subtask::{Batch, Intake};
use host_core::batching::{Options, Quota};
use host_core::coordinator::Receipt;
use host_core::shard::{Position, SequenceNumber};
use tokio::sync::mpsc;

/// A sink that writes to a fake.
#[derive(Clone)]
pub struct Served {
    /// The fake.
    pub target: MemoryTarget,
    /// How it is written to.
    pub settings: Settings,
}

impl Default for Served {
    /// Small requests, and pauses that nobody notices.
    fn default() -> Self {
        let pause = Duration::from_millis(1);
        let options = Options {
            max_count: 10,
            max_age: Duration::from_millis(5),
            quota: Some(Quota { records_per_second: 1e9, bytes_per_second: 1e12 }),
            late_after: Duration::ZERO,
            retry: host_core::patience::RetryLimits { max_attempts: 50, min_delay: pause, max_delay: 2 * pause },
            ..Options::default()
        };
        let request_timeout = Duration::from_secs(60);
        let settings = Settings { options, request_timeout, fail_on_timeout: false, fail_on_error: false };
        Self { target: MemoryTarget::default(), settings }
    }
}

impl Served {
    pub(crate) fn sink(&self, name: String) -> RoutedSink {
        let service = queue::service(Arc::new(self.target.clone()), self.settings.clone());
        let output = Output::Service(service.expect("the settings do not contradict each other"));
        RoutedSink { name, when: Vec::new(), output }
    }

    /// What the fake has, as text.
    #[must_use]
    pub fn taken(&self) -> Vec<String> {
        let text = |(_, data): (String, Vec<u8>)| String::from_utf8(data).expect("text");
        self.target.taken().into_iter().map(text).collect()
    }
}

/// Has every record become an element and, for each of the sinks with these indexes, an entry with its key and data.
pub(crate) fn convert(pipeline: &mut Pipeline, sinks: &[u32]) {
    for intake in &mut pipeline.subtasks {
        let (queue, mut batches) = mpsc::channel::<Batch>(64);
        *intake = Intake { queue, room: Budget::new(1 << 20) };
        let (to_sinks, sinks) = (pipeline.lanes.sinks.clone(), sinks.to_vec());
        let abandoned: Arc<AtomicBool> = Arc::clone(&pipeline.abandoned);
        thread::spawn(move || {
            while let Some(batch) = batches.blocking_recv() {
                if !abandoned.load(Ordering::Relaxed) {
                    // Sinks that are gone have failed and said so.
                    drop(to_sinks.blocking_send(ToSinks::Deliver(Box::new(delivery(batch, &sinks)))));
                }
            }
        });
    }
}

fn delivery(batch: Batch, sinks: &[u32]) -> Delivery {
    let Batch { shard, session, first, records, held, .. } = batch;
    let receipt = Receipt {
        shard,
        session,
        first,
        count: records.len() as u64,
        last: position(&records, records.len() - 1),
        event_time: None,
        arrived: None,
        marks: Vec::new(),
    };
    let outgoing = |sink: &u32| {
        let record: Vec<u32> = (0..).take(records.len()).collect();
        Outgoing {
            sink: *sink,
            entries: Entries::Kinesis((0..records.len()).map(|index| entry(&records, index)).collect()),
            stations: Stations::of(&records, &record),
            record,
        }
    };
    let outgoing = sinks.iter().map(outgoing).collect();
    let elements = ElementBatch { payload: records.data, ..ElementBatch::default() };
    Delivery { receipt, elements, outgoing, made: None, held: Some(held) }
}

fn position(records: &RecordColumns, index: usize) -> Position {
    let text = str::from_utf8(records.sequence_number.get(index)).expect("text");
    Position::After { sequence: SequenceNumber::parse(text).expect("decimal"), sub_sequence: 0 }
}

fn entry(records: &RecordColumns, index: usize) -> KinesisEntry {
    let partition_key = String::from_utf8(records.partition_key.get(index).to_vec()).expect("text");
    KinesisEntry { partition_key, explicit_hash_key: None, data: records.data.get(index).to_vec() }
}
