//! The real binary: start it, stop it, kill it, read what it wrote. A failure prints all that one would ask for next.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it: far beyond what it needs on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the binary is: beside this executable, or beside its folder `deps`, where `cargo xtask test` built it.
#[must_use]
pub fn sluicebox() -> PathBuf {
    let this = std::env::current_exe().expect("a test has an executable");
    let folder = this.parent().expect("an executable lies in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let binary = folder.join(format!("sluicebox{}", std::env::consts::EXE_SUFFIX));
    assert!(binary.is_file(), "{} is missing: run `cargo xtask test`, or `cargo build` first", binary.display());
    binary
}

/// A finished run of the binary.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Finished {
    /// The exit code; `None` if a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Panics with everything the run wrote unless it exited with `code`.
    #[track_caller]
    #[must_use]
    pub fn expect_code(self, code: i32) -> Self {
        assert!(self.code() == Some(code), "expected exit code {code}\n{}", self.everything());
        self
    }

    /// Panics with everything the run wrote unless stderr has `text` in it.
    #[track_caller]
    pub fn expect_stderr(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "expected {text:?} on stderr\n{}", self.everything());
        self
    }

    fn everything(&self) -> String {
        format!("{}\n--- stdout\n{}\n--- stderr\n{}", self.status, self.stdout, self.stderr)
    }
}

/// The binary at work, its streams going to files.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A test that fails leaves no process behind.
impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

impl Running {
    /// Starts `sluicebox` in `folder`. What it writes is appended to `stdout` and `stderr` there, so that the output of
    /// several runs adds up as it would in a shell's redirection.
    #[must_use]
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_with(folder, arguments, &[])
    }

    /// The same, with these variables in its environment.
    #[must_use]
    pub fn start_with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let (stdout, stderr) = (folder.join("stdout"), folder.join("stderr"));
        let append = |path: &Path| OpenOptions::new().create(true).append(true).open(path).expect("a writable folder");
        let child = Command::new(sluicebox())
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(append(&stdout))
            .stderr(append(&stderr))
            .env_remove("RUST_LOG")
            .env_remove("RUST_BACKTRACE")
            .envs(variables.iter().copied())
            .spawn()
            .expect("the binary starts");
        Self { child, stdout, stderr }
    }

    /// Waits until a file in the folder satisfies `ready`, which sees its text; fails if the binary ends before.
    pub fn wait_for(&mut self, file: &str, ready: impl Fn(&str) -> bool) {
        let path = self.stdout.with_file_name(file);
        let started = Instant::now();
        loop {
            if ready(&std::fs::read_to_string(&path).unwrap_or_default()) {
                return;
            }
            let ended = self.child.try_wait().expect("the binary can be asked");
            assert!(ended.is_none(), "the binary ended while a test waited for {file}\n{}", self.everything());
            assert!(started.elapsed() < PATIENCE, "{file} never became what a test waits for\n{}", self.everything());
            // No event tells that another process wrote to a file; the condition is checked, not the time.
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the binary can be asked").is_none()
    }

    /// SIGKILL: no warning, no last word.
    pub fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child can be waited for");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// SIGSTOP: it stands still wherever it is, its connections stay.
    pub fn suspend(&self) {
        self.signal("STOP");
    }

    /// SIGCONT: it goes on as if nothing had been.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill is there");
        assert!(status.success(), "SIG{name} could not be sent");
    }

    /// Waits for the end, and fails when it does not come.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the binary can be asked") {
                break status;
            }
            if started.elapsed() > PATIENCE {
                let everything = self.everything();
                drop(self.child.kill());
                panic!("the binary does not end\n{everything}");
            }
            std::thread::park_timeout(Duration::from_millis(5));
        };
        let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        Finished { status, stdout: text(&self.stdout), stderr: text(&self.stderr) }
    }

    fn everything(&self) -> String {
        let mut text = String::new();
        for path in [&self.stdout, &self.stderr] {
            let lines: Vec<String> = File::open(path)
                .map(|file| BufReader::new(file).lines().map_while(Result::ok).collect())
                .unwrap_or_default();
            let shown = lines.len().saturating_sub(60);
            writeln!(text, "--- {} (last of {} lines)\n{}", path.display(), lines.len(), lines[shown..].join("\n"))
                .expect("writing to a string does not fail");
        }
        text
    }
}

/// Runs `sluicebox` in `folder` to its end.
#[must_use]
pub fn run(folder: &Path, arguments: &[&str]) -> Finished {
    for stream in ["stdout", "stderr"] {
        drop(std::fs::remove_file(folder.join(stream)));
    }
    Running::start(folder, arguments).finish()
}
