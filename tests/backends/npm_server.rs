//! The servers from npm.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use tests::deviations::BackendName;
use tests::remote::Provider;
use tests::service::Service;

use crate::server::{Server, folder};

/// The port that the servers are told to listen on; `loopback.cjs` gives them a free one.
const ASKED: &str = "4567";
/// What `loopback.cjs` says before that one.
const TOLD: &str = "listening 4567 ";

/// Starts `node SCRIPT`, a path in `node_modules`.
fn start(script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
    let modules = folder().join("node_modules");
    let loopback = Path::new(env!("CARGO_MANIFEST_DIR")).join("backends/npm/loopback.cjs");
    let mut command = Command::new("node");
    command.arg("--require").arg(loopback).arg(modules.join(script)).args(arguments);
    command.envs(environment.iter().copied());
    // What a server reads beside its files: its package's own certificate.
    command.env("KINESIS_MOCK_CERT_PATH", modules.join("kinesis-local/server.json"));
    Server::start(&script.replace('/', "-"), &mut command, TOLD)
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
        (SERVER.get_or_init(|| start("kinesis-local/main.js", &[], &environment)).service().await, ())
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
        (SERVER.get_or_init(|| start("kinesalite/cli.js", &arguments, &[])).service().await, ())
    }
}
