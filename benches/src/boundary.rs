//! What it costs to hand records to a component and to take elements back: [`KinesisDeserializer::deserialize`] against
//! the same transformation called natively, which reads the same columns and writes into one reused column.
//!
//! The difference of both is the price of the sandbox: copying in and out, validation, the bookkeeping of a call, and
//! slower code inside. With `passthrough`, where the component only copies, it is the boundary's own cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host::columns::{BATCH_DATA_BYTES_MAX, Column, RecordColumns, RecordView, cut};
use host::component::{
    ComponentMetrics, Delivery, Engine, Grants, KinesisDeserializer, Limits, OpenContext, Role, ShardContext, load,
};
use host_core::moment::EpochMillis;

use crate::events::{event, partition_key};
use crate::measure::{Quartiles, thread_cpu};
use crate::report::{Section, Table, origin, tell};

/// Rounds in which all variants of a case take turns.
const ROUNDS: usize = 11;
/// CPU time of one sample, at least.
const SAMPLE: Duration = Duration::from_millis(10);
/// Bytes of a record.
const SIZES: [usize; 3] = [256, 1024, 10 * 1024];
/// Records of a page.
const COUNTS: [usize; 3] = [100, 500, 5_000];
/// A time for everything.
const TIME: EpochMillis = EpochMillis(1_700_000_000_000);

/// A transformation, both ways.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Transform {
    Passthrough,
    Projection,
}

impl Transform {
    const ALL: [Self; 2] = [Self::Passthrough, Self::Projection];

    const fn name(self) -> &'static str {
        match self {
            Self::Passthrough => "passthrough",
            Self::Projection => "projection",
        }
    }

    /// Natively: appends what it makes of every record.
    fn natively(self, records: &RecordColumns, out: &mut Column) -> Result<()> {
        for record in records.data.iter() {
            match self {
                Self::Passthrough => transforms::pass(record, &mut out.bytes),
                Self::Projection => transforms::project(record, &mut out.bytes)?,
            }
            out.ends.push(u32::try_from(out.bytes.len())?);
        }
        Ok(())
    }
}

/// One row of the table.
struct Case {
    transform: Transform,
    size: usize,
    records: usize,
    /// The page, in one batch or as the host cuts it.
    batches: Vec<RecordColumns>,
}

/// Both ways of doing one case.
struct Lanes<'a> {
    case: &'a Case,
    component: KinesisDeserializer,
    out: Column,
}

impl Lanes<'_> {
    fn natively(&mut self) -> Result<()> {
        for batch in &self.case.batches {
            self.out.ends.clear();
            self.out.bytes.clear();
            self.case.transform.natively(batch, &mut self.out)?;
            std::hint::black_box(&self.out);
        }
        Ok(())
    }

    fn sandboxed(&mut self) -> Result<()> {
        let (shard, delivery) = (shard(), Delivery { attempt: 1, time: TIME });
        for batch in &self.case.batches {
            std::hint::black_box(self.component.deserialize(&shard, batch, delivery)?);
        }
        Ok(())
    }

    /// Both ways must make the same elements, or there is nothing to compare.
    fn check(&mut self) -> Result<()> {
        for batch in &self.case.batches {
            self.out = Column::default();
            self.case.transform.natively(batch, &mut self.out)?;
            let made = self.component.deserialize(&shard(), batch, Delivery { attempt: 1, time: TIME })?;
            ensure!(made.elements.payload == self.out, "{} differs natively", self.case.transform.name());
        }
        Ok(())
    }

    /// Nanoseconds of CPU time per record, one sample.
    fn sample(&mut self, iterations: usize, work: fn(&mut Self) -> Result<()>) -> Result<f64> {
        let before = thread_cpu();
        for _ in 0..iterations {
            work(self)?;
        }
        let spent = thread_cpu().saturating_sub(before);
        Ok(spent.as_nanos() as f64 / (iterations * self.case.records) as f64)
    }

    /// How often `work` fits a sample.
    fn iterations(&mut self, work: fn(&mut Self) -> Result<()>) -> Result<usize> {
        // Once to warm up, then once to look at.
        work(self)?;
        let nanos = self.sample(1, work)? * self.case.records as f64;
        Ok((SAMPLE.as_nanos() as f64 / nanos.max(1.0)).ceil() as usize)
    }
}

/// Measures all cases.
pub(crate) fn run() -> Result<Section> {
    let engine = Engine::new()?;
    let mut cases = Vec::new();
    for transform in Transform::ALL {
        for size in SIZES {
            for records in COUNTS {
                cases.push(Case {
                    transform,
                    size,
                    records,
                    batches: cut(&records_of(records, size), usize::MAX, view),
                });
                if records * size > BATCH_DATA_BYTES_MAX {
                    let batches = cut(&records_of(records, size), BATCH_DATA_BYTES_MAX, view);
                    cases.push(Case { transform, size, records, batches });
                }
            }
        }
    }
    let mut loaded = BTreeMap::new();
    for transform in Transform::ALL {
        loaded.insert(transform, load_component(&engine, transform.name())?);
    }
    let header =
        ["component", "record", "page", "batches", "native", "sandboxed", "±%", "ratio", "sandbox's own", "records/s"];
    let mut table = Table::new(1, &header);
    for case in &cases {
        tell(&format!("{} {} B x {}, {} batches", case.transform.name(), case.size, case.records, case.batches.len()));
        let component = open(&loaded[&case.transform])?;
        let mut lanes = Lanes { case, component, out: Column::default() };
        lanes.check()?;
        let (native, sandboxed, difference) = measure(&mut lanes)?;
        table.row(vec![
            case.transform.name().to_owned(),
            if case.size < 1024 { format!("{} B", case.size) } else { format!("{} KiB", case.size / 1024) },
            case.records.to_string(),
            case.batches.len().to_string(),
            format!("{:.1}", native.median),
            format!("{:.1}", sandboxed.median),
            format!("{:.0}", sandboxed.spread().max(native.spread())),
            format!("{:.2}", sandboxed.median / native.median),
            format!("{:.1}", difference.median),
            format!("{:.2} M", 1e3 / sandboxed.median),
        ]);
    }
    let body = format!(
        "Nanoseconds of CPU time per record, medians of {ROUNDS} rounds; ± is half the distance of the quartiles, of the \
         noisier of both.\n`sandboxed` is `KinesisDeserializer::deserialize`: columns in, validated columns out. `native` \
         is the same Rust code on the\nsame columns. Their difference is the sandbox's own cost: copies, checks and calls, \
         and with `projection` the slower\ncode inside, half of which are the checks by which a loop can be stopped. A page in one batch shows the boundary; a \
         page in\nseveral is what the host does, which cuts batches at {} KiB because larger ones fall out of the processor's \
         cache.\n\n{}\n{}",
        BATCH_DATA_BYTES_MAX / 1024,
        origin("boundary"),
        table.text()
    );
    Ok(Section { title: "Boundary", body })
}

fn measure(lanes: &mut Lanes<'_>) -> Result<(Quartiles, Quartiles, Quartiles)> {
    let natively = lanes.iterations(Lanes::natively)?;
    let sandboxed = lanes.iterations(Lanes::sandboxed)?;
    let (mut native, mut sandbox, mut difference) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let one = lanes.sample(natively, Lanes::natively)?;
        let other = lanes.sample(sandboxed, Lanes::sandboxed)?;
        native.push(one);
        sandbox.push(other);
        difference.push(other - one);
    }
    Ok((Quartiles::of(native), Quartiles::of(sandbox), Quartiles::of(difference)))
}

/// Calls a component over and over and prints nothing.
pub(crate) fn spin(component: &str, size: usize, records: usize, calls: usize) -> Result<()> {
    let engine = Engine::new()?;
    let transform = Transform::ALL.into_iter().find(|transform| transform.name() == component);
    let transform = transform.with_context(|| format!("no transformation is called {component}"))?;
    let batches = cut(&records_of(records, size), usize::MAX, view);
    let case = Case { transform, size, records, batches };
    let component = open(&load_component(&engine, component)?)?;
    let mut lanes = Lanes { case: &case, component, out: Column::default() };
    let nanos = lanes.sample(calls, Lanes::sandboxed)?;
    tell(&format!("{nanos:.1} ns per record"));
    Ok(())
}

fn load_component(engine: &Engine, name: &str) -> Result<host::component::Loaded> {
    let path = crate::component(name);
    load(engine, None, &path, &Grants::default(), Role::KinesisDeserializer)
        .with_context(|| format!("could not load {}; `cargo xtask components` builds it", path.display()))
}

fn open(loaded: &host::component::Loaded) -> Result<KinesisDeserializer> {
    let context = OpenContext {
        tenant: "bench".to_owned(),
        pipeline: "boundary".to_owned(),
        stage: "deserializer".to_owned(),
        subtask: 0,
        parallelism: 1,
        config: Vec::new(),
        shadow: false,
    };
    // The largest page is beyond what a pipeline would ever hand over at once.
    let limits = Limits {
        memory: 1 << 30,
        output_cap: 1 << 30,
        cpu_per_batch: Duration::from_secs(60),
        wall_per_batch: Duration::from_secs(600),
        ..Limits::default()
    };
    Ok(KinesisDeserializer::open(loaded, context, limits, Arc::new(ComponentMetrics::default()), TIME)?)
}

fn shard() -> ShardContext {
    ShardContext {
        stream_arn: "arn:aws:kinesis:us-east-1:000000000000:stream/bench".to_owned(),
        shard_id: "shardId-000000000000".to_owned(),
        millis_behind_latest: Some(0),
    }
}

/// A record as a source has it.
struct Record {
    sequence_number: String,
    partition_key: String,
    data: Vec<u8>,
}

fn records_of(records: usize, size: usize) -> Vec<Record> {
    let record = |number: u64| Record {
        sequence_number: format!("495903382714902566085596925383615{:023}", number),
        partition_key: partition_key(number),
        data: event(number, size),
    };
    (0..records as u64).map(record).collect()
}

fn view(record: &Record) -> RecordView<'_> {
    RecordView {
        sequence_number: &record.sequence_number,
        arrival: TIME.0,
        partition_key: &record.partition_key,
        kms: false,
        data: &record.data,
    }
}
