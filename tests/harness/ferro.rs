//! The embedded service without the host's mending, served on loopback inside the test process.

use std::ops::Deref;

use axum::extract::DefaultBodyLimit;
use ferrokinesis::create_app;
use ferrokinesis::store::StoreOptions;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::service::Service;
pub use crate::service::arn;

/// What one request may hold: the largest `PutRecords`, base64 and framing included.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A service of its own, gone with this value.
#[derive(Debug)]
pub struct Ferro {
    service: Service,
    server: JoinHandle<()>,
}

impl Deref for Ferro {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl Drop for Ferro {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Ferro {
    /// Starts an endpoint whose streams change without delay.
    ///
    /// # Panics
    /// Loopback has no free port.
    pub async fn start() -> Self {
        Self::start_with(StoreOptions::default()).await
    }

    /// Starts an endpoint with options, except that its streams change without delay and may have any number of shards.
    ///
    /// # Panics
    /// Loopback has no free port.
    pub async fn start_with(options: StoreOptions) -> Self {
        let options = StoreOptions {
            create_stream_ms: 0,
            delete_stream_ms: 0,
            update_stream_ms: 0,
            shard_limit: 100_000,
            ..options
        };
        let (app, _store) = create_app(options);
        let app = app.layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("the listener stays open") });
        Self { service: Service::at(endpoint).await, server }
    }
}
