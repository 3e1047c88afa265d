//! What many shards cost, and what one that hangs costs the others.
//!
//! The binary reads a simulated AWS that runs in this process, over loopback; what the binary uses is what the system says
//! of its process. Streams of two sizes tell what grows with the number of shards and what with the number of calls.

mod idle;
mod stuck;

use std::fmt::Write as _;

use anyhow::Result;

use crate::report::{Section, origin};

/// The stream.
const STREAM: &str = "bench";
/// Appending to a string does not fail.
const STRING: &str = "writing to a string does not fail";

/// Measures both.
#[tokio::main(flavor = "multi_thread")]
pub(crate) async fn run() -> Result<Section> {
    let idle = idle::run().await?;
    let stuck = stuck::run().await?;
    let mut body = String::new();
    write!(body, "{}\n{idle}\n{stuck}", origin("shards")).expect(STRING);
    Ok(Section { title: "Shards", body })
}
