//! How the host reaches AWS: one plain settings struct, and what is opened with it, whoever the client is for.
//!
//! Three decisions hold everywhere. The SDK never retries: a retry inside it hides throttles from our own pace and our
//! own metrics, so `max_attempts` is 1 and the caller owns patience. Every call ends: connecting, the wait for an answer, one
//! call as a whole and a body that stops flowing each have a limit. And nothing outside this machine is asked when it need
//! not be: the region is always given, so no lookup of it starts, and with basic credentials the instance metadata service
//! is never called.
//!
//! A pipeline opens its [`Access`] once. Every stream and region it reads gets a client of its own from that, and all of
//! them share one set of connections and one cache of credentials: a role is assumed once, not once per client.

mod credentials;
mod failure;
mod http;
mod process;
mod sts;

use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, FrameworkMetadata, Region, SdkConfig};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

pub use self::failure::{AccessFailure, AccessFault};
pub(crate) use self::http::Connections;
use crate::config::{Credentials, Manifest, Secret};

/// How long establishing a connection may take, unless told otherwise.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);
/// How long one call may take as a whole, its credentials and body included, unless told otherwise. A page of 10 MB at
/// the 2 MB/s of a shard takes 5 s.
pub const CALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// A response body that stays below one byte per second for this long is given up.
const STALL_GRACE: Duration = Duration::from_secs(10);
/// Names of sessions are cut to this.
const SESSION_NAME_CHARS_MAX: usize = 64;

/// What a client needs to know. Its `Debug` form shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSettings {
    /// The region, such as `us-east-1`.
    pub region: String,
    /// An endpoint instead of the region's own: a VPC endpoint or an emulator.
    pub endpoint: Option<String>,
    /// Where credentials come from.
    pub credentials: Credentials,
    /// Limit of establishing a connection.
    pub connect_timeout: Duration,
    /// Limit of the wait for an answer to begin.
    pub read_timeout: Duration,
    /// Limit of one call as a whole.
    pub call_timeout: Duration,
}

impl AwsSettings {
    /// The region's own endpoint, the usual credentials chain, the default limits.
    #[must_use]
    pub fn new(region: impl Into<String>) -> Self {
        Self {
            region: region.into(),
            endpoint: None,
            credentials: Credentials::Auto,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            read_timeout: CALL_TIMEOUT_DEFAULT,
            call_timeout: CALL_TIMEOUT_DEFAULT,
        }
    }

    /// An endpoint of this machine, which accepts any signature: fixed credentials, so that nothing is looked up.
    #[must_use]
    pub fn local(region: impl Into<String>, endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: Some(endpoint.into()),
            credentials: Credentials::Basic {
                access_key_id: "local".to_owned(),
                secret_access_key: Secret::new("local".to_owned()),
                session_token: None,
            },
            ..Self::new(region)
        }
    }

    /// What a manifest says about AWS. Sessions that it does not name are called after the pipeline.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let aws = &manifest.aws;
        let mut credentials = aws.credentials.clone();
        let mut session: String = format!("sluicebox-{}", manifest.name);
        session.truncate(SESSION_NAME_CHARS_MAX);
        name_sessions(&mut credentials, &session);
        Self {
            region: aws.region.clone(),
            endpoint: aws.endpoint.clone(),
            credentials,
            connect_timeout: aws.connect_timeout,
            read_timeout: aws.read_timeout,
            call_timeout: aws.call_timeout,
        }
    }

    /// Opens the way: reads the environment, the configuration files and the certificates that they name; makes no
    /// connection (credentials are fetched, and cached, by the first call).
    pub async fn access(&self) -> Access {
        // The wait for credentials is part of the call, which ends it.
        let cache =
            IdentityCache::lazy().load_timeout(self.call_timeout).buffer_time(credentials::CACHE_BUFFER).build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(self.timeouts())
            .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL_GRACE).build())
            .identity_cache(cache)
            .http_client(http::client())
            .no_credentials();
        if let Ok(metadata) = FrameworkMetadata::new("sluicebox", Some(env!("CARGO_PKG_VERSION"))) {
            loader = loader.framework_metadata(metadata);
        }
        // Without the streams' endpoint: what hands out credentials is elsewhere. And without any that the environment or
        // a profile names: where a pipeline reads stands in its manifest.
        let mut base = loader.load().await.into_builder();
        base.set_endpoint_url(None);
        let base = base.service_config(NoEndpoints).build();
        let provider = credentials::provider(&self.credentials, &base).await;
        let mut config = base.into_builder().credentials_provider(provider);
        config.set_endpoint_url(self.endpoint.clone());
        Access { settings: self.clone(), config: config.build() }
    }

    fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.read_timeout)
            .operation_timeout(self.call_timeout)
            .operation_attempt_timeout(self.call_timeout)
            .build()
    }

    /// The SDK's configuration, for a client that shares nothing.
    pub async fn load(&self) -> SdkConfig {
        self.access().await.config
    }

    /// A client of Kinesis Data Streams that shares nothing.
    pub async fn kinesis(&self) -> aws_sdk_kinesis::Client {
        self.access().await.kinesis()
    }
}

/// Answers the SDK's question for a service's own endpoint in the environment or in a profile.
#[derive(Debug)]
struct NoEndpoints;

impl LoadServiceConfig for NoEndpoints {
    fn load_config(&self, _key: ServiceConfigKey<'_>) -> Option<String> {
        None
    }
}

/// Gives every session without a name this one.
fn name_sessions(credentials: &mut Credentials, session: &str) {
    match credentials {
        Credentials::AssumeRole(assumed) => {
            assumed.session_name.get_or_insert_with(|| session.to_owned());
            name_sessions(&mut assumed.source, session);
        }
        Credentials::WebIdentity(identity) => {
            identity.session_name.get_or_insert_with(|| session.to_owned());
        }
        Credentials::Auto
        | Credentials::Basic { .. }
        | Credentials::Env
        | Credentials::Profile { .. }
        | Credentials::Process(_) => {}
    }
}

/// Clients that share connections and credentials, for one region; [`Access::in_region`] has those of another. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct Access {
    settings: AwsSettings,
    config: SdkConfig,
}

impl Access {
    /// The same in another region: its clients call there, with the same credentials and connections. An endpoint of the
    /// manifest's own stays.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Self {
        Self {
            settings: AwsSettings { region: region.to_owned(), ..self.settings.clone() },
            config: self.config.to_builder().region(Region::new(region.to_owned())).build(),
        }
    }

    /// The same with another limit of a call as a whole, and of the wait for its answer.
    #[must_use]
    pub fn within(&self, call: Duration) -> Self {
        let connect = self.settings.connect_timeout.min(call);
        let settings =
            AwsSettings { connect_timeout: connect, read_timeout: call, call_timeout: call, ..self.settings.clone() };
        let config = self.config.to_builder().timeout_config(settings.timeouts()).build();
        Self { settings, config }
    }

    /// What it was opened with, the region being its own.
    #[must_use]
    pub const fn settings(&self) -> &AwsSettings {
        &self.settings
    }

    /// The SDK's configuration, for clients of any service.
    #[must_use]
    pub const fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// A client of Kinesis Data Streams.
    #[must_use]
    pub fn kinesis(&self) -> aws_sdk_kinesis::Client {
        aws_sdk_kinesis::Client::new(&self.config)
    }

    /// A client of DynamoDB.
    #[must_use]
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::StreamApi as _;
    use crate::source::canned::{Answer, Canned};

    #[test]
    fn sessions_without_a_name_are_called_after_the_pipeline() {
        let text = |name: &str, session: &str| {
            format!(
                "version = 1\nname = {name:?}\n[source]\ntype = \"kinesis\"\nstream_arn = \"arn:aws:kinesis:us-east-1:123456789012:stream/s\"\n\
                 [deserializer]\ncomponent = \"c.wasm\"\n[[sink]]\ntype = \"stdout\"\n[aws]\ncredentials = \"assume-role\"\n\
                 [aws.assume_role]\nrole_arn = \"arn:aws:iam::123456789012:role/r\"\n{session}\n"
            )
        };
        let session = |text: &str| {
            let manifest = Manifest::parse(text, std::path::Path::new("m.toml"), |_| None).expect("valid");
            let Credentials::AssumeRole(assumed) = AwsSettings::of(&manifest).credentials else {
                unreachable!("as written")
            };
            assumed.session_name.expect("filled in")
        };
        assert_eq!(session(&text("orders", "")), "sluicebox-orders");
        assert_eq!(session(&text("orders", "session_name = \"audit\"")), "audit");
        assert_eq!(session(&text(&"o".repeat(128), "")).len(), SESSION_NAME_CHARS_MAX);
    }

    #[tokio::test]
    async fn another_region_is_another_client_of_the_same_credentials_and_connections() {
        let here = AwsSettings::local("eu-west-1", "http://127.0.0.1:1").access().await;
        let there = here.in_region("us-west-2");
        assert_eq!(there.settings().region, "us-west-2");
        assert_eq!(there.config().region().expect("set").as_ref(), "us-west-2");
        assert_eq!(here.config().region().expect("set").as_ref(), "eu-west-1");
        assert_eq!(there.config().endpoint_url(), here.config().endpoint_url());
    }

    /// The environment is the process's own, so the claim is tested in one made for it: this same test, run again.
    #[tokio::test]
    async fn a_proxy_of_the_environment_is_not_asked_for_this_machine() {
        const INNER: &str = "SLUICEBOX_TEST_INNER";
        if std::env::var_os(INNER).is_none() {
            let nothing_listens = "http://127.0.0.1:1";
            let inner = std::process::Command::new(std::env::current_exe().expect("a test binary"))
                .args(["--exact", "aws::tests::a_proxy_of_the_environment_is_not_asked_for_this_machine"])
                .envs([("HTTP_PROXY", nothing_listens), ("http_proxy", nothing_listens), (INNER, "1")])
                .env_remove("NO_PROXY")
                .env_remove("no_proxy")
                .output()
                .expect("started");
            assert!(inner.status.success(), "{}", String::from_utf8_lossy(&inner.stdout));
            return;
        }
        let listing = Answer::Json(200, "{\"Shards\":[]}".to_owned());
        let server = Canned::serve(vec![listing]).await;
        server.stream().await.list_shards(None).await.expect("an answer from loopback");
    }

    #[tokio::test]
    async fn a_sink_may_give_its_calls_another_limit() {
        let settings = AwsSettings { call_timeout: Duration::from_secs(5), ..AwsSettings::new("eu-west-1") };
        let short = settings.access().await.within(Duration::from_secs(1));
        let timeouts = short.config().timeout_config().expect("set");
        assert_eq!(timeouts.operation_timeout(), Some(Duration::from_secs(1)));
        assert_eq!(timeouts.operation_attempt_timeout(), Some(Duration::from_secs(1)));
        assert_eq!(timeouts.read_timeout(), Some(Duration::from_secs(1)));
        assert_eq!(timeouts.connect_timeout(), Some(Duration::from_secs(1)), "a part is no longer than the whole");
        assert_eq!(short.config().retry_config().expect("set").max_attempts(), 1);
    }

    #[tokio::test]
    async fn the_sdk_makes_one_attempt_within_limits_and_asks_nobody_for_the_region() {
        let config = AwsSettings::local("eu-west-1", "http://127.0.0.1:1").load().await;
        assert_eq!(config.retry_config().expect("set").max_attempts(), 1);
        assert_eq!(config.region().expect("set").as_ref(), "eu-west-1");
        assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:1"));
        let timeouts = config.timeout_config().expect("set");
        assert_eq!(timeouts.connect_timeout(), Some(CONNECT_TIMEOUT_DEFAULT));
        assert_eq!(timeouts.operation_timeout(), Some(CALL_TIMEOUT_DEFAULT));
    }
}
