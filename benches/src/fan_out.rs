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
mod throughput;

use std::fmt::Write as _;

use anyhow::Result;

use crate::report::{Section, origin};

/// The stream, where there is one.
const STREAM: &str = "bench";
/// Appending to a string does not fail.
const STRING: &str = "writing to a string does not fail";

/// Measures all three.
#[tokio::main(flavor = "multi_thread")]
pub(crate) async fn run() -> Result<Section> {
    let latency = latency::run().await?;
    let idle = idle::run().await?;
    let throughput = throughput::run().await?;
    let mut body = String::new();
    write!(body, "{}\n{latency}\n{idle}\n{throughput}", origin("fanout")).expect(STRING);
    Ok(Section { title: "Enhanced fan-out", body })
}
