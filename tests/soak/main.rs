//! A soak: the binary carries numbered records of two streams for minutes, while their shards split and merge, the service fails in every
//! way it knows, and the binary is killed and stopped at random moments. In the end every record must be there, each
//! key's in order; a crash may have repeated some on stdout, in the stream and the tables that are written to, and none in
//! the file.
//!
//! Time is real here: what is looked for is what nobody thought of. All chance follows from the seed, though the machine
//! decides which moment a kill meets.

// What goes wrong on the way to the service.
mod faults;
// Records and changes of shards.
mod load;
// Lives of the host.
mod lives;
// What is counted and shown.
mod report;
// A stream and tables that are written to.
mod services;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use tests::moments::Moments;

use crate::faults::{Injected, fail};
use crate::lives::Lives;
use crate::load::{STREAMS, reshard, write};
use crate::report::{Counts, Outcome, progress, say};
use crate::services::{Sinks, TARGET};

const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);
/// How long the service takes to carry out what it held back: far beyond what it needs on a slow machine.
const BELATED: Duration = Duration::from_secs(1);

#[derive(Parser)]
#[command(name = "soak", about = "Faults, reshards and kills at random; every record must arrive, each key's in order")]
struct Arguments {
    /// How long records are written
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// What all chance follows from
    #[arg(long)]
    seed: Option<u64>,
    /// How records are read
    #[arg(long, value_enum, default_value_t = Reader::Mixed)]
    reader: Reader,
    /// What is written to
    #[arg(long, value_enum, default_value_t = Sinks::All)]
    sinks: Sinks,
}

/// How the host reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reader {
    /// By polling
    Polling,
    /// By enhanced fan-out
    Efo,
    /// Each life of the host draws one of both
    Mixed,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::from(now.subsec_nanos()) ^ now.as_secs()
    });
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let duration = Duration::from_secs(60 * arguments.minutes);
    let outcome = runtime.block_on(soak(duration, seed, (arguments.reader, arguments.sinks)));
    report::table(&outcome, seed, arguments.minutes);
    if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The word for a choice on the command line.
fn shown(choice: &impl ValueEnum) -> String {
    choice.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

async fn soak(duration: Duration, seed: u64, (reader, sinks): (Reader, Sinks)) -> Outcome {
    let choices = format!("--reader {} --sinks {} --seed {seed}", shown(&reader), shown(&sinks));
    say(&format!("seed {seed}; the same again: cargo xtask soak {choices}"));
    let mut moments = Moments::new(seed);
    let aws = load::service(seed, sinks).await;
    let folder = tempfile::tempdir().expect("a folder for files");
    let (counts, injected) = (Arc::new(Counts::default()), Arc::new(Injected::default()));
    let end = Instant::now() + duration;
    let writing = tokio::spawn(write(Arc::clone(&aws), end, sinks, Arc::clone(&counts)));
    let streams = STREAMS.into_iter().chain(sinks.are_services().then_some(TARGET));
    let resharding = streams.map(|stream| {
        let resharding = reshard(Arc::clone(&aws), stream, end, moments.fork(), Arc::clone(&counts));
        tokio::spawn(resharding)
    });
    let resharding: Vec<_> = resharding.collect();
    let failing = tokio::spawn(fail(Arc::clone(&aws), end, sinks, moments.fork(), Arc::clone(&injected)));
    let showing = tokio::spawn(progress(Arc::clone(&counts), Arc::clone(&injected), PROGRESS_INTERVAL));
    let mut lives = Lives::new(folder.path(), Arc::clone(&aws), (reader, sinks), moments.fork(), Arc::clone(&counts));
    lives.live_until(end).await;
    let mut written = writing.await.expect("the writer does not panic");
    for resharding in resharding {
        resharding.await.expect("the resharder does not panic");
    }
    failing.await.expect("who makes things fail does not");
    // What the service had not carried out yet it carries out now.
    tokio::time::sleep(BELATED).await;
    load::write_last(&aws, &mut written);
    let mut outcome = lives.drain(written).await;
    outcome.faults = injected.counted().to_vec();
    showing.abort();
    if !outcome.is_good() {
        say(&format!("what it wrote is in {}", folder.keep().display()));
    }
    outcome
}
