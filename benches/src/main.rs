//! Ratios measured in one run: ours against a native baseline that does the same work with the same code.
//!
//! Absolute numbers belong to the machine that they were measured on; what carries over is how two variants compare that
//! took turns on it. So every variant of a comparison runs in every round, a variant's number is the median of its rounds,
//! and cost is CPU time, which neighbours on the machine disturb less than they do the clock on the wall. Nothing here
//! passes or fails.

mod boundary;
mod events;
mod fan_out;
mod measure;
mod pipeline;
mod process;
mod report;
mod shards;
mod sinks;
mod system;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};

#[derive(Parser)]
#[command(about = "Prints ratios of one run: ours against native code")]
struct Arguments {
    /// What to measure; all of it when left out
    which: Option<Which>,
    /// Also put the tables into docs/benchmarks.md
    #[arg(long)]
    write: bool,
    /// Measure only this of the fan-out bench
    #[arg(long, hide = true, conflicts_with = "write")]
    part: Option<fan_out::Part>,
    /// Measure only this of the sinks' bench
    #[arg(long, hide = true, conflicts_with = "write")]
    sinks_part: Option<sinks::Part>,
    /// Be the services of the sinks' bench
    #[arg(long, hide = true, exclusive = true)]
    serve_sinks: bool,
    /// Be one writer of the sinks' bench: its job as JSON
    #[arg(long, hide = true, exclusive = true)]
    write_sink: Option<String>,
    /// Be the Kinesis endpoint of a pipeline bench
    #[arg(long, hide = true, exclusive = true)]
    serve: bool,
    /// Be one reader of a pipeline bench: its job as JSON
    #[arg(long, hide = true, exclusive = true)]
    read: Option<String>,
    /// Be one reader of a fan-out bench that has but the SDK: its job as JSON
    #[arg(long, hide = true, exclusive = true)]
    bare: Option<String>,
    /// Be one reader of a fan-out bench that reads to the end: its job as JSON
    #[arg(long, hide = true, exclusive = true)]
    drain: Option<String>,
    /// Run one case of the boundary over and over, for a profiler: component, bytes of a record, records, calls
    #[arg(long, hide = true, num_args = 4, exclusive = true)]
    spin: Option<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Handing records to a component and taking elements back
    Boundary,
    /// From the stream to the sink
    Pipeline,
    /// Ten thousand shards, and one that hangs
    Shards,
    /// Being pushed to instead of polling
    #[value(name = "fanout")]
    FanOut,
    /// Writing to streams and tables
    Sinks,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.serve {
        return pipeline::server::serve();
    }
    if let Some(job) = &arguments.read {
        return pipeline::reader::read(&serde_json::from_str(job)?);
    }
    if let Some(job) = &arguments.bare {
        return fan_out::bare::read(&serde_json::from_str(job)?);
    }
    if let Some(job) = &arguments.drain {
        return fan_out::drain::read(&serde_json::from_str(job)?);
    }
    if arguments.serve_sinks {
        return sinks::server::serve();
    }
    if let Some(job) = &arguments.write_sink {
        return sinks::writer::write(job);
    }
    if let Some([component, size, records, calls]) = arguments.spin.as_deref() {
        return boundary::spin(component, size.parse()?, records.parse()?, calls.parse()?);
    }
    let wanted = |which| arguments.which.is_none_or(|only| only == which);
    let mut sections = Vec::new();
    if wanted(Which::Boundary) {
        sections.push(boundary::run()?);
    }
    if wanted(Which::Pipeline) {
        sections.push(pipeline::run()?);
    }
    if wanted(Which::Shards) {
        sections.push(shards::run()?);
    }
    if wanted(Which::FanOut) {
        sections.push(fan_out::run(arguments.part)?);
    }
    if wanted(Which::Sinks) {
        sections.push(sinks::run(arguments.sinks_part)?);
    }
    for section in &sections {
        report::print(section);
    }
    if arguments.write {
        report::write(&root().join("docs/benchmarks.md"), &sections)?;
    }
    Ok(())
}

/// The checkout that the bench was built in.
fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// A component that `cargo xtask components` built.
fn component(name: &str) -> PathBuf {
    root().join(format!("guest-examples/components/{name}.wasm"))
}
