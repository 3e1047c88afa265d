//! Enhanced fan-out: how soon a record is there, what silence costs, and what much traffic costs.
//!
//! Three readers of the same streams: the pipeline that is pushed to, the pipeline that polls, and a bare loop around the
//! SDK's subscriptions, which does nothing with what it gets. What the bare loop takes is the service's and the SDK's; the
//! rest is ours. The services run in this process and every reader is a process of its own, so neither's cost is in the
//! other's.

pub(crate) mod bare;
pub(crate) mod drain;
mod idle;
mod latency;
mod replay;
mod throughput;

use std::fmt::Write as _;

use anyhow::Result;
use clap::ValueEnum;

use crate::report::{Section, origin};

/// The stream, where there is one.
const STREAM: &str = "bench";
/// Appending to a string does not fail.
const STRING: &str = "writing to a string does not fail";

/// What can be measured alone, to look at it closely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Latency,
    Idle,
    Throughput,
}

/// Measures all three, or one.
#[tokio::main(flavor = "multi_thread")]
pub(crate) async fn run(only: Option<Part>) -> Result<Section> {
    let mut body = origin("fanout");
    for part in [Part::Latency, Part::Idle, Part::Throughput] {
        if only.is_some_and(|only| only != part) {
            continue;
        }
        let text = match part {
            Part::Latency => latency::run().await?,
            Part::Idle => idle::run().await?,
            Part::Throughput => throughput::run().await?,
        };
        write!(body, "\n{text}").expect(STRING);
    }
    Ok(Section { title: "Enhanced fan-out", body })
}
