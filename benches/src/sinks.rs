//! Sinks that write to services: what a pipeline into them costs against a bare loop, how soon they are at full speed, and
//! what they hold while nobody answers.
//!
//! The services are in a process of their own, and behind a [front](front) that takes the place of some of their streams and
//! tables: it takes everything at once, so that what is left is the writer's own cost; or as much as a shard takes; or
//! nothing.

mod bare;
mod batcher;
mod cost;
mod front;
pub(crate) mod server;
mod running;
mod settings;
mod speed;
mod stall;
pub(crate) mod writer;

use std::fmt::Write as _;

use anyhow::Result;
use clap::ValueEnum;

use crate::report::{Section, origin};

/// Appending to a string does not fail.
const STRING: &str = "writing to a string does not fail";

/// What can be measured alone, to look at it closely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Cost,
    Alone,
    Batcher,
    Speed,
    Stall,
}

/// Measures all of it, or one part.
pub(crate) fn run(only: Option<Part>) -> Result<Section> {
    let mut body = origin("sinks");
    let server = server::Server::start()?;
    let wanted = |part| only.is_none_or(|only| only == part);
    let mut parts = Vec::new();
    if wanted(Part::Cost) {
        parts.push(cost::pipelines(&server)?);
    }
    if wanted(Part::Alone) {
        parts.push(cost::alone(&server)?);
    }
    if wanted(Part::Batcher) {
        parts.push(batcher::run());
    }
    // Both wait most of their time, and for different things.
    let (speed, stall) = std::thread::scope(|scope| {
        let stall = scope.spawn(|| wanted(Part::Stall).then(|| stall::run(&server)));
        (wanted(Part::Speed).then(|| speed::run(&server)), stall.join())
    });
    let stall = stall.map_err(|_panic| anyhow::anyhow!("the measurement of memory panicked"))?;
    parts.extend([speed, stall].into_iter().flatten().collect::<Result<Vec<_>>>()?);
    for part in parts {
        write!(body, "\n{part}").expect(STRING);
    }
    Ok(Section { title: "Sinks", body })
}
