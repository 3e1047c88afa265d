//! The binary in a process of its own, and what it delivers.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tests::simulated::SimulatedAws;

use super::STREAM;

/// What the binary runs with.
pub(crate) struct Job<'a> {
    pub(crate) empty_interval: &'a str,
    pub(crate) max_records: u32,
    pub(crate) read_ahead: &'a str,
    pub(crate) initial_position: &'a str,
}

/// Records on their way, by the number that is their data, and how long others took.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    delivered: AtomicU64,
    under_way: Mutex<HashMap<u64, Instant>>,
    took: Mutex<Vec<Duration>>,
}

impl Arrivals {
    /// Elements so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// A record is about to be written.
    pub(crate) fn sent(&self, number: u64) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Instant::now());
    }

    /// How long records took that arrived since this was last asked.
    pub(crate) fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.took.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn arrived(&self, line: &str) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        let Ok(number) = line.parse() else { return };
        let sent = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let Some(sent) = sent {
            self.took.lock().unwrap_or_else(PoisonError::into_inner).push(sent.elapsed());
        }
    }
}

/// The binary at work; killed with this value.
pub(crate) struct Pipeline {
    child: Child,
    folder: TempDir,
    pub(crate) arrivals: Arc<Arrivals>,
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Nothing of it is to be kept. Where it cannot be killed it is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Pipeline {
    /// Starts `sluicebox run` with `passthrough` and standard output as its sink, which is how deliveries are counted.
    pub(crate) fn start(aws: &SimulatedAws, job: &Job<'_>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("bench.toml"), manifest(aws, job))?;
        let mut child = Command::new(tests::process::sluicebox())
            .args(["run", "bench.toml"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.path().join("stderr"))?)
            .env_remove("RUST_LOG")
            .spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let arrivals = Arc::new(Arrivals::default());
        let counted = Arc::clone(&arrivals);
        thread::spawn(move || {
            BufReader::with_capacity(1 << 16, stdout)
                .lines()
                .map_while(Result::ok)
                .for_each(|line| counted.arrived(&line));
        });
        Ok(Self { child, folder, arrivals })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its positions are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Fails if it has ended, with what it said last.
    pub(crate) fn check(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the pipeline ended\n{}", self.said()?);
        Ok(())
    }

    /// Lines of the log that are no mere information.
    pub(crate) fn complaints(&self) -> Result<usize> {
        Ok(self.said()?.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR")).count())
    }

    fn said(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder().join("stderr"))?)
    }
}

fn manifest(aws: &SimulatedAws, job: &Job<'_>) -> String {
    let Job { empty_interval, max_records, read_ahead, initial_position } = job;
    format!(
        "version = 1\nname = \"bench\"\n\
         [source]\ntype = \"kinesis\"\nstream_arn = \"{}\"\ninitial_position = \"{initial_position}\"\n\
         read_ahead = \"{read_ahead}\"\n\
         [source.polling]\nempty_interval = \"{empty_interval}\"\nmax_records = {max_records}\n\
         [deserializer]\ncomponent = {:?}\n\
         [[sink]]\ntype = \"stdout\"\n\
         [checkpoint]\nstore = \"sqlite:state.db\"\n\
         [aws]\nendpoint = \"{}\"\ncredentials = \"basic\"\n\
         [aws.basic]\naccess_key_id = \"local\"\nsecret_access_key = \"local\"\n",
        aws.kinesis().arn(STREAM),
        crate::component("passthrough"),
        aws.endpoint,
    )
}
