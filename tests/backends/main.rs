//! Proof on services that are not the project's own: the crate under the embedded endpoint, and three
//! independent ones from npm and PyPI. `cargo xtask test --backends` installs those and runs this; docs/backends.md tells what came out.

// The servers, started once for all tests.
mod server;
mod npm_server;
mod pypi_server;
// Every backend keeps the contracts of what it has, but for the listed deviations.
mod contract;
// What of enhanced fan-out its contract does not show.
mod fan_out;
// Reshards under load, kills among them, and the three places to begin at: the binary against every backend.
mod reshard;
mod start;
// What is pushed, over restarts.
mod pushed;
// What is written: whole pipelines, from a stream into streams and tables.
mod written;

use host::local::{Endpoint, Options};
use tests::deviations::BackendName;
use tests::remote::Provider;
use tests::service::Service;

/// What `sluicebox local` serves.
#[derive(Debug)]
struct Embedded;

impl Provider for Embedded {
    const NAME: BackendName = BackendName::Embedded;
    type Held = Endpoint;

    async fn serve() -> (Service, Endpoint) {
        let endpoint = Endpoint::start(Options::default()).await.expect("loopback has a free port");
        (Service::at(endpoint.url()).await, endpoint)
    }
}

/// A test of each claim on a backend. A claim is a function that is generic over its backend.
macro_rules! on {
    ($module:ident = $backend:ty: $($claim:ident),+ $(,)?) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                super::$claim::<$backend>().await;
            })+
        }
    };
}
use on;

/// The same on each backend whose shards keep their records when they split and merge.
macro_rules! on_every_backend_with_lineage {
    ($($claim:ident),+ $(,)?) => {
        crate::on! { embedded = crate::Embedded: $($claim),+ }
        crate::on! { kinesis_local = crate::npm_server::KinesisLocal: $($claim),+ }
        crate::on! { kinesalite = crate::npm_server::Kinesalite: $($claim),+ }
    };
}
use on_every_backend_with_lineage;

/// The same on each backend.
macro_rules! on_every_backend {
    ($($claim:ident),+ $(,)?) => {
        crate::on_every_backend_with_lineage! { $($claim),+ }
        crate::on! { ministack = crate::pypi_server::Ministack: $($claim),+ }
    };
}
use on_every_backend;
