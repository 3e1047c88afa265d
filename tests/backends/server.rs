//! A server that is not ours: one process for all tests of this binary. It ends with it: what holds it is a pipe, and a
//! pipe closes however its owner dies.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tests::service::Service;

/// Where `cargo xtask test --backends` installed the packages.
const FOLDER: &str = "SLUICEBOX_TEST_BACKENDS";
/// How long a server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that listens.
#[derive(Debug)]
pub(crate) struct Server {
    endpoint: String,
    /// Its stdin is the pipe that holds it.
    _process: Child,
}

/// Where the packages are.
///
/// # Panics
/// Nobody installed them.
pub(crate) fn folder() -> PathBuf {
    let folder = std::env::var_os(FOLDER).map(PathBuf::from);
    folder.unwrap_or_else(|| panic!("{FOLDER} is not set: run `cargo xtask test --backends`"))
}

impl Server {
    /// Runs a command that tells its port in a line of stdout, behind `before`. What it writes to stderr goes to a file
    /// that is named after it.
    ///
    /// # Panics
    /// It cannot be run, or does not listen in time.
    pub(crate) fn start(name: &str, command: &mut Command, before: &'static str) -> Self {
        let folder = folder();
        let log = folder.join(name).with_extension("log");
        command.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(&log).expect("a writable folder"));
        let mut process = command.spawn().expect("`cargo xtask test --backends` has looked that it can be run");
        let stdout = process.stdout.take().expect("piped");
        let (send, ports) = mpsc::channel();
        // Reads to the end, so that the server never waits for somebody to read.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(port) = line.strip_prefix(before) {
                    send.send(port.trim().to_owned()).unwrap_or_default();
                }
            }
        });
        let port = ports.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let mut told = std::fs::read_to_string(&log).unwrap_or_default();
            write!(told, "\n(from {})", log.display()).expect("writing to a string does not fail");
            panic!("{name} does not listen; it wrote: {told}")
        });
        Self { endpoint: format!("http://127.0.0.1:{port}"), _process: process }
    }

    /// The service, once it answers.
    ///
    /// # Panics
    /// It does not answer in time.
    pub(crate) async fn service(&self) -> Service {
        let service = Service::at(&self.endpoint).await;
        let answers = async {
            while service.client.list_streams().send().await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, answers).await.unwrap_or_else(|_| panic!("{} does not answer", self.endpoint));
        service
    }
}
