//! How the host reaches AWS: one plain settings struct, one loaded configuration, whoever the client is for.
//!
//! Three decisions hold everywhere. The SDK never retries: a retry inside it hides throttles from our own pace and our
//! own metrics, so `max_attempts` is 1 and the caller owns patience. Every call ends: connecting, one call as a whole and
//! a body that stops flowing each have a limit. And nothing outside this machine is asked when it need not be: the region
//! is always given, so no lookup of it starts, and with basic credentials the instance metadata service is never called.

use std::fmt;
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, FrameworkMetadata, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// How long establishing a connection may take, unless told otherwise.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);
/// How long one call may take as a whole, its credentials and body included, unless told otherwise. A page of 10 MB at
/// the 2 MB/s of a shard takes 5 s.
pub const CALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// A response body that stays below one byte per second for this long is given up.
const STALL_GRACE: Duration = Duration::from_secs(10);
/// The instance metadata service answers within milliseconds where it exists, and never where it does not.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// Where credentials come from. Its `Debug` form shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// The field's usual chain: environment, profile, web identity, container, instance.
    Auto,
    /// These very ones.
    Basic {
        /// `aws_access_key_id`.
        access_key_id: String,
        /// `aws_secret_access_key`.
        secret_access_key: String,
        /// `aws_session_token`, for temporary credentials.
        session_token: Option<String>,
    },
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    Env,
    /// A profile of the shared configuration files.
    Profile {
        /// The profile's name.
        name: String,
    },
}

impl CredentialSource {
    /// The source in a few words, for error messages; never a secret.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Auto => "credentials = \"auto\"".to_owned(),
            Self::Basic { .. } => "credentials = \"basic\"".to_owned(),
            Self::Env => "credentials = \"env\"".to_owned(),
            Self::Profile { name } => format!("credentials of profile {name:?}"),
        }
    }
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

/// What a client needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSettings {
    /// The region, such as `us-east-1`.
    pub region: String,
    /// An endpoint instead of the region's own: a VPC endpoint or an emulator.
    pub endpoint: Option<String>,
    /// Where credentials come from.
    pub credentials: CredentialSource,
    /// Limit of establishing a connection.
    pub connect_timeout: Duration,
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
            credentials: CredentialSource::Auto,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            call_timeout: CALL_TIMEOUT_DEFAULT,
        }
    }

    /// An endpoint of this machine, which accepts any signature: fixed credentials, so that nothing is looked up.
    #[must_use]
    pub fn local(region: impl Into<String>, endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: Some(endpoint.into()),
            credentials: CredentialSource::Basic {
                access_key_id: "local".to_owned(),
                secret_access_key: "local".to_owned(),
                session_token: None,
            },
            ..Self::new(region)
        }
    }

    /// Loads the SDK's configuration. Reads the shared configuration files and the environment; opens no connection
    /// (credentials are fetched, and cached, by the first call).
    pub async fn load(&self) -> SdkConfig {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.connect_timeout)
            .operation_timeout(self.call_timeout)
            .operation_attempt_timeout(self.call_timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL_GRACE).build());
        if let Ok(metadata) = FrameworkMetadata::new("sluicebox", Some(env!("CARGO_PKG_VERSION"))) {
            loader = loader.framework_metadata(metadata);
        }
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
            if is_loopback(endpoint) {
                loader = loader.http_client(direct_http());
            }
        }
        self.with_credentials(loader).await.load().await
    }

    async fn with_credentials(&self, loader: ConfigLoader) -> ConfigLoader {
        match &self.credentials {
            CredentialSource::Auto => {
                // One attempt, one second: on a machine without the metadata service the chain ends instead of hanging.
                let provider = ProviderConfig::without_region().with_region(Some(Region::new(self.region.clone())));
                let metadata = imds::Client::builder()
                    .configure(&provider)
                    .max_attempts(1)
                    .connect_timeout(METADATA_TIMEOUT)
                    .read_timeout(METADATA_TIMEOUT)
                    .build();
                let chain = DefaultCredentialsChain::builder()
                    .region(Region::new(self.region.clone()))
                    .imds_client(metadata)
                    .build()
                    .await;
                loader.credentials_provider(chain)
            }
            CredentialSource::Basic { access_key_id, secret_access_key, session_token } => loader.credentials_provider(
                Credentials::new(access_key_id, secret_access_key, session_token.clone(), None, "manifest"),
            ),
            CredentialSource::Env => loader.credentials_provider(EnvironmentVariableCredentialsProvider::new()),
            CredentialSource::Profile { name } => loader
                .profile_name(name)
                .credentials_provider(ProfileFileCredentialsProvider::builder().profile_name(name).build()),
        }
    }

    /// A client of Kinesis Data Streams.
    pub async fn kinesis(&self) -> aws_sdk_kinesis::Client {
        aws_sdk_kinesis::Client::new(&self.load().await)
    }
}

/// Whether an endpoint is plain HTTP on this machine.
fn is_loopback(endpoint: &str) -> bool {
    let Some(rest) = endpoint.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A client for this machine only: the default one would send even loopback through `HTTP_PROXY`, and reads every root
/// certificate before its first byte.
fn direct_http() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = ConnectorBuilder::default().proxy_config(ProxyConfig::disabled());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.build_http()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::StreamApi as _;
    use crate::source::canned::{Answer, Canned};

    #[test]
    fn no_form_of_the_settings_shows_a_secret() {
        let credentials = CredentialSource::Basic {
            access_key_id: "AKIAVISIBLE".to_owned(),
            secret_access_key: "hush".to_owned(),
            session_token: Some("token-hush".to_owned()),
        };
        let settings = AwsSettings { credentials, ..AwsSettings::new("us-east-1") };
        let shown = format!("{settings:?} {}", settings.credentials.describe());
        assert!(!shown.contains("hush") && !shown.contains("AKIA"), "{shown}");
    }

    #[test]
    fn only_plain_http_on_this_machine_goes_without_a_proxy() {
        for local in ["http://127.0.0.1:4567", "http://localhost", "http://[::1]:80/", "http://127.9.9.9/x"] {
            assert!(is_loopback(local), "{local}");
        }
        for far in [
            "https://127.0.0.1",
            "http://127.0.0.1.example.com",
            "http://10.0.0.1:80",
            "kinesis",
            "http://localhost.example",
        ] {
            assert!(!is_loopback(far), "{far}");
        }
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
