//! The servers from npm, one process each for all tests of this binary. They end with it: what holds them is a pipe, and
//! a pipe closes however its owner dies.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use tests::deviations::BackendName;
use tests::remote::Provider;
use tests::service::Service;

/// Where `cargo xtask test --backends` installed the packages.
const FOLDER: &str = "SLUICEBOX_TEST_BACKENDS";
/// The port that the servers are told to listen on; `loopback.cjs` gives them a free one.
const ASKED: &str = "4567";
/// How long a server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that listens.
#[derive(Debug)]
struct Server {
    endpoint: String,
    /// Its stdin is the pipe that holds it.
    _process: Child,
}

impl Server {
    /// Starts `node SCRIPT`, a path in `node_modules`.
    fn start(script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = std::env::var_os(FOLDER).map(PathBuf::from);
        let folder = folder.unwrap_or_else(|| panic!("{FOLDER} is not set: run `cargo xtask test --backends`"));
        let modules = folder.join("node_modules");
        let log = folder.join(script.replace('/', "-")).with_extension("log");
        let loopback = Path::new(env!("CARGO_MANIFEST_DIR")).join("backends/npm/loopback.cjs");
        let mut command = Command::new("node");
        command.arg("--require").arg(loopback).arg(modules.join(script)).args(arguments);
        command.current_dir(&folder).envs(environment.iter().copied());
        // What a server reads beside its files: its package's own certificate.
        command.env("KINESIS_MOCK_CERT_PATH", modules.join("kinesis-local/server.json"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log).expect("a writable folder"));
        let mut process = command.spawn().expect("node is there: `cargo xtask test --backends` has looked");
        let stdout = process.stdout.take().expect("piped");
        let (send, ports) = mpsc::channel();
        // Reads to the end, so that the server never waits for somebody to read.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(port) = line.strip_prefix("listening ").and_then(|rest| rest.strip_prefix(ASKED)) {
                    send.send(port.trim().to_owned()).unwrap_or_default();
                }
            }
        });
        let port = ports.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let mut told = std::fs::read_to_string(&log).unwrap_or_default();
            write!(told, "\n(from {})", log.display()).expect("writing to a string does not fail");
            panic!("{script} does not listen; it wrote: {told}")
        });
        Self { endpoint: format!("http://127.0.0.1:{port}"), _process: process }
    }

    /// The service, once it answers.
    async fn service(&self) -> Service {
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

/// `kinesis-local`.
#[derive(Debug)]
pub(crate) struct KinesisLocal;

impl Provider for KinesisLocal {
    const NAME: BackendName = BackendName::KinesisLocal;
    type Held = ();

    async fn serve() -> (Service, ()) {
        static SERVER: OnceLock<Server> = OnceLock::new();
        let environment = [
            ("KINESIS_MOCK_PLAIN_PORT", ASKED),
            ("KINESIS_MOCK_TLS_PORT", "4568"),
            ("SHARD_LIMIT", "10000"),
            ("LOG_LEVEL", "ERROR"),
            ("CREATE_STREAM_DURATION", "5ms"),
            ("SPLIT_SHARD_DURATION", "5ms"),
            ("MERGE_SHARDS_DURATION", "5ms"),
            ("UPDATE_SHARD_COUNT_DURATION", "5ms"),
        ];
        (SERVER.get_or_init(|| Server::start("kinesis-local/main.js", &[], &environment)).service().await, ())
    }
}

/// `kinesalite`.
#[derive(Debug)]
pub(crate) struct Kinesalite;

impl Provider for Kinesalite {
    const NAME: BackendName = BackendName::Kinesalite;
    type Held = ();

    async fn serve() -> (Service, ()) {
        static SERVER: OnceLock<Server> = OnceLock::new();
        let arguments = ["--port", ASKED, "--shardLimit", "10000", "--createStreamMs", "5", "--updateStreamMs", "5"];
        (SERVER.get_or_init(|| Server::start("kinesalite/cli.js", &arguments, &[])).service().await, ())
    }
}
