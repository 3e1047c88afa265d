//! The server from PyPI.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use tests::deviations::BackendName;
use tests::remote::Provider;
use tests::service::Service;

use crate::server::{Server, folder};

/// `ministack`. Its shards must stay as they are: what splits or merges there is gone, records and all.
#[derive(Debug)]
pub(crate) struct Ministack;

impl Provider for Ministack {
    const NAME: BackendName = BackendName::Ministack;
    type Held = ();

    async fn serve() -> (Service, ()) {
        static SERVER: OnceLock<Server> = OnceLock::new();
        let start = || {
            let mut command = Command::new(folder().join("python/bin/python"));
            command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("backends/pypi/loopback.py"));
            Server::start("ministack", &mut command, "listening ")
        };
        (SERVER.get_or_init(start).service().await, ())
    }
}
