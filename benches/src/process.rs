//! A reader in a process of its own, and what it delivers: the binary, or a loop around the SDK.

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

use crate::fan_out::bare::Bare;

/// How the binary fetches records.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way<'a> {
    Polling { empty_interval: &'a str, max_records: u32 },
    FanOut { consumer: &'a str },
}

/// What the binary runs with.
pub(crate) struct Job<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) stream_arn: &'a str,
    pub(crate) way: Way<'a>,
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

/// The reader at work; killed with this value.
pub(crate) struct Process {
    child: Child,
    folder: TempDir,
    pub(crate) arrivals: Arc<Arrivals>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing of it is to be kept. Where it cannot be killed it is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Process {
    /// Starts `sluicebox run` with `passthrough` and standard output as its sink, which is how deliveries are counted.
    pub(crate) fn start(job: &Job<'_>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("bench.toml"), manifest(job))?;
        let mut command = Command::new(tests::process::sluicebox());
        command.args(["run", "bench.toml"]);
        Self::spawn(&mut command, folder)
    }

    /// Starts a loop around the SDK, which prints what it reads.
    pub(crate) fn bare(job: &Bare) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--bare").arg(serde_json::to_string(job)?);
        Self::spawn(&mut command, tempfile::tempdir()?)
    }

    fn spawn(command: &mut Command, folder: TempDir) -> Result<Self> {
        let mut child = command
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
        ensure!(ended.is_none(), "a reader ended\n{}", self.said()?);
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

/// The text of a manifest.
fn manifest(job: &Job<'_>) -> String {
    let Job { endpoint, stream_arn, way, read_ahead, initial_position } = job;
    let way = match way {
        Way::Polling { empty_interval, max_records } => {
            format!("[source.polling]\nempty_interval = \"{empty_interval}\"\nmax_records = {max_records}\n")
        }
        Way::FanOut { consumer } => format!("reader = \"efo\"\n[source.efo]\nconsumer_name = \"{consumer}\"\n"),
    };
    format!(
        "version = 1\nname = \"bench\"\n\
         [source]\ntype = \"kinesis\"\nstream_arn = \"{stream_arn}\"\ninitial_position = \"{initial_position}\"\n\
         read_ahead = \"{read_ahead}\"\n{way}\
         [deserializer]\ncomponent = {:?}\n\
         [[sink]]\ntype = \"stdout\"\n\
         [checkpoint]\nstore = \"sqlite:state.db\"\n\
         [aws]\nendpoint = \"{endpoint}\"\ncredentials = \"basic\"\n\
         [aws.basic]\naccess_key_id = \"local\"\nsecret_access_key = \"local\"\n",
        crate::component("passthrough"),
    )
}
