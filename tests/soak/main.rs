//! A soak: the binary carries numbered records of two streams for minutes, while their shards split and merge, the service fails in every
//! way it knows, and the binary is killed and stopped at random moments. In the end every record must be there, each
//! key's in order; a crash may have repeated some on stdout, and none in the file.
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

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use tests::moments::Moments;

use crate::faults::{Injected, fail};
use crate::lives::Lives;
use crate::load::{STREAMS, reshard, write};
use crate::report::{Counts, Outcome, progress, say};

const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);

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
    let outcome = runtime.block_on(soak(Duration::from_secs(60 * arguments.minutes), seed, arguments.reader));
    report::table(&outcome, seed, arguments.minutes);
    if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn soak(duration: Duration, seed: u64, reader: Reader) -> Outcome {
    let shown = reader.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    say(&format!("seed {seed}; the same again: cargo xtask soak --reader {shown} --seed {seed}"));
    let mut moments = Moments::new(seed);
    let aws = load::service(seed).await;
    let folder = tempfile::tempdir().expect("a folder for files");
    let (counts, injected) = (Arc::new(Counts::default()), Arc::new(Injected::default()));
    let end = Instant::now() + duration;
    let writing = tokio::spawn(write(Arc::clone(&aws), end, Arc::clone(&counts)));
    let resharding =
        STREAMS.map(|stream| tokio::spawn(reshard(Arc::clone(&aws), stream, end, moments.fork(), Arc::clone(&counts))));
    let failing = tokio::spawn(fail(Arc::clone(&aws), end, moments.fork(), Arc::clone(&injected)));
    let showing = tokio::spawn(progress(Arc::clone(&counts), Arc::clone(&injected), PROGRESS_INTERVAL));
    let mut lives = Lives::new(folder.path(), Arc::clone(&aws), reader, moments.fork(), Arc::clone(&counts));
    lives.live_until(end).await;
    let written = writing.await.expect("the writer does not panic");
    for resharding in resharding {
        resharding.await.expect("the resharder does not panic");
    }
    failing.await.expect("who makes things fail does not");
    let mut outcome = lives.drain(written).await;
    outcome.faults = injected.counted().to_vec();
    showing.abort();
    if !outcome.is_good() {
        say(&format!("what it wrote is in {}", folder.keep().display()));
    }
    outcome
}
