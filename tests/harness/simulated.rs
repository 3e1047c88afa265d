//! A simulated AWS: services that speak the real protocol to the real SDK over loopback, with a clock of their own, a
//! script of faults, and the truth about what was written.
//!
//! No emulator misbehaves on demand, none has a clock that can be moved, and none gets all of resharding right. This one
//! answers as AWS documents (limits, wording of errors, silent trimming), differs only where a test says so, and does the
//! same thing for the same calls in the same order.
//!
//! The parts know as little of each other as they can: [`kinesis`] and [`dynamodb`] are a model and a service each, [`wire`] a transport, and
//! [`service`] is all that they share, so that another service is another module. What a test needs is on
//! [`SimulatedAws`], [`Kinesis`], [`Faults`], [`Clock`], [`Truth`] and [`Tallies`].

mod service;
mod clock;
mod kinesis;
mod dynamodb;
mod truth;
mod faults;
mod counts;
mod wire;
mod h2c;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::SharedHttpClient;
use host::aws::AwsSettings;
use host::config::StreamArn;
use host::source::kinesis::KinesisStream;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub use self::clock::{Clock, Millis, Wait};
pub use self::counts::{Protocol, Request, Subscribed, Tallies, Tally};
pub use self::dynamodb::{Attribute, Dynamodb, Item, KeyType, Number, Write};
pub use self::faults::{Fault, Faults, Mishap, NewRule, RuleId};
pub use self::kinesis::{
    ACCOUNT, Children, ConsumerStatus, ConsumerView, Encryption, Filters, Habits, KeyRange, Kinesis, Lag, LastPage,
    Limits, REGION, Record, Sequence, ShardView, TakeOver,
};
pub use self::service::{Answer, Event, Events, Oddity, Refusal, Service, Subject};
pub use self::truth::{Truth, Verdict};

/// How a simulation begins.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The service's time.
    pub clock: Clock,
    /// What the service gives.
    pub limits: Limits,
    /// For chance in scripts, and for request ids.
    pub seed: u64,
}

impl Default for Setup {
    /// The machine's time and AWS's limits.
    fn default() -> Self {
        Self { clock: Clock::wall(), limits: Limits::aws(), seed: 0 }
    }
}

/// A running simulation. When it is dropped, nothing listens any more and every connection is cut.
pub struct SimulatedAws {
    /// Such as `http://127.0.0.1:40123`.
    pub endpoint: String,
    shared: Arc<wire::Shared>,
    kinesis: Arc<Kinesis>,
    dynamodb: Arc<Dynamodb>,
    server: JoinHandle<()>,
}

impl Drop for SimulatedAws {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl SimulatedAws {
    /// Starts on a free port, with the machine's time and AWS's limits.
    pub async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    /// Starts on a free port, with the machine's time, and gives at any rate.
    pub async fn start_generous() -> Self {
        Self::start_with(Setup { limits: Limits::any_rate(), ..Setup::default() }).await
    }

    /// Starts on a free port.
    ///
    /// # Panics
    /// Loopback has no free port.
    pub async fn start_with(setup: Setup) -> Self {
        let Setup { clock, limits, seed } = setup;
        let kinesis = Arc::new(Kinesis::new(clock.clone(), limits));
        let dynamodb = Arc::new(Dynamodb::new(clock.clone()));
        let services: Vec<Arc<dyn Service>> =
            vec![Arc::clone(&kinesis) as Arc<dyn Service>, Arc::clone(&dynamodb) as Arc<dyn Service>];
        let operations = services.iter().flat_map(|service| service.operations()).copied().collect();
        let faults = Faults::new(seed, operations);
        let shared = wire::Shared {
            services,
            clock,
            faults,
            counts: counts::Counts::default(),
            seed,
            answers: AtomicU64::new(0),
            cut: Notify::new(),
        };
        let shared = Arc::new(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let server = tokio::spawn(wire::serve(listener, Arc::clone(&shared)));
        Self { endpoint, shared, kinesis, dynamodb, server }
    }

    /// The service behind, for the hand of the test.
    #[must_use]
    pub fn kinesis(&self) -> &Kinesis {
        &self.kinesis
    }

    /// The tables behind, for the hand of the test.
    #[must_use]
    pub fn dynamodb(&self) -> &Dynamodb {
        &self.dynamodb
    }

    /// The script.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The service's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Cuts every connection that is open, now. New ones are taken.
    pub fn cut_connections(&self) {
        self.shared.cut.notify_waiters();
    }

    /// Looks at what was asked for so far.
    pub fn counted<T>(&self, look: impl FnOnce(&Tallies) -> T) -> T {
        look(&self.shared.counts.read())
    }

    /// Waits until the counts are as told; panics with `what` if they never are.
    pub async fn until(&self, what: &str, holds: impl Fn(&Tallies) -> bool) {
        self.shared.counts.until(what, holds).await;
    }

    /// Waits until an operation was called that often, altogether.
    pub async fn until_called(&self, operation: &str, calls: u64) {
        self.until(&format!("{calls} calls of {operation}"), |counted| counted.calls(operation) >= calls).await;
    }

    /// Waits until an operation was called `more` times from now on.
    pub async fn until_called_again(&self, operation: &str, more: u64) {
        self.until_called(operation, self.counted(|counted| counted.calls(operation)) + more).await;
    }

    /// Waits until that many calls hang.
    pub async fn until_hung(&self, calls: usize) {
        self.until(&format!("{calls} calls to hang"), |counted| counted.hung >= calls).await;
    }

    /// Waits until that many subscriptions are open.
    pub async fn until_subscribed(&self, open: usize) {
        self.until(&format!("{open} subscriptions"), |counted| counted.subscribed().open == open).await;
    }

    /// Waits until `more` subscriptions were opened from now on.
    pub async fn until_subscribed_again(&self, more: u64) {
        let opened = self.counted(|counted| counted.subscribed().opened) + more;
        self.until(&format!("{more} more subscriptions"), |counted| counted.subscribed().opened >= opened).await;
    }

    /// Waits until that many event streams are stalled.
    pub async fn until_stalled(&self, streams: usize) {
        self.until(&format!("{streams} streams to stall"), |counted| counted.stalled >= streams).await;
    }

    /// How to reach it.
    #[must_use]
    pub fn settings(&self) -> AwsSettings {
        AwsSettings::local(REGION, &self.endpoint)
    }

    /// The SDK's own client, which does not retry.
    pub async fn client(&self) -> Client {
        self.settings().kinesis().await
    }

    /// The SDK's own client of tables, which does not retry.
    pub async fn dynamodb_client(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.settings().load().await)
    }

    /// The SDK over HTTP/2 without TLS. All calls of the client share one connection.
    pub async fn h2c_client(&self) -> Client {
        self.h2c(None).await
    }

    /// The same, with room for so many bytes that nobody has read yet: on one stream, and on the connection.
    pub async fn h2c_client_of_window(&self, bytes: u32) -> Client {
        self.h2c(Some(bytes)).await
    }

    async fn h2c(&self, window: Option<u32>) -> Client {
        let address = self.endpoint.trim_start_matches("http://");
        let config = self.client().await.config().to_builder().http_client(h2c::H2c::new(address, window)).build();
        Client::from_conf(config)
    }

    /// The host's own view of a stream.
    ///
    /// # Panics
    /// No stream can have that name.
    pub async fn stream(&self, name: &str) -> KinesisStream {
        let arn = StreamArn::parse(&self.kinesis.arn(name)).expect("a stream's name");
        KinesisStream::connect(arn, &self.settings()).await
    }

    /// The same over HTTP/2 without TLS: one connection for all calls but subscriptions, and one for as many of these as
    /// share a connection of the host's.
    ///
    /// # Panics
    /// No stream can have that name.
    pub async fn h2c_stream(&self, name: &str) -> KinesisStream {
        let arn = StreamArn::parse(&self.kinesis.arn(name)).expect("a stream's name");
        let address = self.endpoint.trim_start_matches("http://").to_owned();
        let connect = move || SharedHttpClient::new(h2c::H2c::new(&address, None));
        KinesisStream::connected_by(self.h2c_client().await, arn, &self.settings(), connect)
    }
}
