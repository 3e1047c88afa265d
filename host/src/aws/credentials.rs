//! From the manifest's `credentials` to what signs: the source itself, and what is around every source.
//!
//! Around each is the same thing: it renews a session well ahead of its end, keeps using the one at hand when a renewal
//! fails, so that an outage of STS shorter than that is felt by nobody, and tells failures in this program's words.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::failure::retold;
use super::process::ProcessProvider;
use super::sts::{AssumedRole, FederatedRole};
use crate::config::{Credentials, Secret};

/// The instance metadata service answers within milliseconds where it exists, and never where it does not.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
/// A session is renewed this long before its end, or after three quarters of its life if that is later.
const RENEWAL_LEAD: Duration = Duration::from_secs(300);
/// After a failed renewal it is tried again this much later, as long as the session at hand lasts.
const RENEWAL_PAUSE: Duration = Duration::from_secs(20);
/// The SDK renews up to this long before what it is told is the end.
pub(super) const CACHE_BUFFER: Duration = Duration::from_secs(10);

/// What signs for `source`. `base` tells the region, the way out and the time limits; nothing is asked for yet.
pub(super) fn provider<'a>(source: &'a Credentials, base: &'a SdkConfig) -> BoxFuture<'a, SharedCredentialsProvider> {
    async move {
        let whose = source.describe();
        let inner = match source {
            Credentials::Auto => SharedCredentialsProvider::new(default_chain(base).await),
            Credentials::Basic { access_key_id, secret_access_key, session_token } => {
                let token = session_token.as_ref().map(|token| token.reveal().to_owned());
                SharedCredentialsProvider::new(Keys::new(
                    access_key_id,
                    Secret::reveal(secret_access_key),
                    token,
                    None,
                    "manifest",
                ))
            }
            Credentials::Env => SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()),
            Credentials::Profile { name, file } => SharedCredentialsProvider::new(profile(base, name, file.as_deref())),
            Credentials::AssumeRole(assumed) => {
                let asking = provider(&assumed.source, base).await;
                SharedCredentialsProvider::new(AssumedRole::new(base, assumed, whose, asking))
            }
            Credentials::WebIdentity(identity) => {
                SharedCredentialsProvider::new(FederatedRole::new(base, identity, whose))
            }
            Credentials::Process(process) => {
                SharedCredentialsProvider::new(ProcessProvider { process: process.clone() })
            }
        };
        SharedCredentialsProvider::new(Renewed { source: source.clone(), inner, at_hand: Mutex::new(None) })
    }
    .boxed()
}

fn surroundings(base: &SdkConfig) -> ProviderConfig {
    let mut config = ProviderConfig::without_region().with_region(base.region().cloned());
    if let Some(client) = base.http_client() {
        config = config.with_http_client(client);
    }
    if let Some(timeouts) = base.timeout_config() {
        config = config.with_timeout_config(timeouts.clone());
    }
    config
}

/// The field's usual chain: environment, profile, web identity, container, instance.
async fn default_chain(base: &SdkConfig) -> DefaultCredentialsChain {
    let surroundings = surroundings(base);
    // One attempt, one second: on a machine without the metadata service the chain ends instead of hanging.
    let metadata = imds::Client::builder()
        .configure(&surroundings)
        .max_attempts(1)
        .connect_timeout(METADATA_TIMEOUT)
        .read_timeout(METADATA_TIMEOUT)
        .build();
    let region = base.region().cloned().unwrap_or_else(|| Region::from_static("us-east-1"));
    DefaultCredentialsChain::builder().configure(surroundings).region(region).imds_client(metadata).build().await
}

fn profile(base: &SdkConfig, name: &str, file: Option<&Path>) -> ProfileFileCredentialsProvider {
    let mut builder = ProfileFileCredentialsProvider::builder().configure(&surroundings(base)).profile_name(name);
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        builder = builder.profile_files(EnvConfigFiles::builder().with_file(kind_of(&text), file).build());
    }
    builder.build()
}

/// Which of the two kinds of files this is: they differ in how a profile's section is called.
fn kind_of(text: &str) -> EnvConfigFileKind {
    let words = |line: &str| line.trim().strip_prefix('[').map(|header| header.trim_start().starts_with("profile "));
    if text.lines().filter_map(words).any(|is_config| is_config) {
        EnvConfigFileKind::Config
    } else {
        EnvConfigFileKind::Credentials
    }
}

/// A source with what is around every source.
#[derive(Debug)]
struct Renewed {
    source: Credentials,
    inner: SharedCredentialsProvider,
    /// The last keys that the source gave, with their true end.
    at_hand: Mutex<Option<Keys>>,
}

impl ProvideCredentials for Renewed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.renew())
    }
}

impl Renewed {
    async fn renew(&self) -> Result<Keys, CredentialsError> {
        let answer = self.inner.provide_credentials().await;
        let now = SystemTime::now();
        let mut at_hand = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(keys) => {
                let lasts = keys.expiry().map(|expiry| expiry.duration_since(now).unwrap_or_default());
                tracing::debug!(source = %self.source.describe(), ?lasts, "credentials are there");
                *at_hand = Some(keys.clone());
                Ok(match lasts {
                    Some(lasts) => until(keys, now + lasts.saturating_sub(RENEWAL_LEAD.min(lasts / 4))),
                    None => keys,
                })
            }
            Err(error) => {
                let failure = retold(&self.source, &error);
                let good_until = at_hand.as_ref().and_then(Keys::expiry).filter(|end| *end > now + CACHE_BUFFER);
                match (at_hand.clone(), good_until) {
                    (Some(keys), Some(end)) => {
                        let lasts = end.duration_since(now).unwrap_or_default().as_secs();
                        tracing::warn!(
                            reason = %failure, advice = %failure.advice, lasts,
                            "credentials could not be renewed; those at hand are used as long as they last"
                        );
                        Ok(until(keys, end.min(now + RENEWAL_PAUSE)))
                    }
                    _ => Err(failure.into_sdk()),
                }
            }
        }
    }
}

/// The same keys, to be asked for again by `end`.
fn until(keys: Keys, end: SystemTime) -> Keys {
    let mut builder = Keys::builder()
        .access_key_id(keys.access_key_id())
        .secret_access_key(keys.secret_access_key())
        .provider_name("sluicebox")
        .expiry(end);
    builder.set_session_token(keys.session_token().map(str::to_owned));
    builder.build()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::aws::failure::AccessFailure;

    /// Gives prepared answers in turn, the last for ever: a life in seconds, or nothing.
    #[derive(Debug)]
    struct Scripted(Arc<Mutex<Vec<Option<u64>>>>);

    impl ProvideCredentials for Scripted {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let mut script = self.0.lock().expect("no test panics here");
            let answer = if script.len() > 1 { script.remove(0) } else { script[0] };
            let end = |life| SystemTime::now() + Duration::from_secs(life);
            let answer = answer.map(|life| Keys::new("A", "S", Some("T".to_owned()), Some(end(life)), "test"));
            let failure = || AccessFailure::unavailable("STS sleeps", "wait").into_sdk();
            future::ProvideCredentials::ready(answer.ok_or_else(failure))
        }
    }

    fn scripted(answers: &[Option<u64>]) -> Renewed {
        let inner = SharedCredentialsProvider::new(Scripted(Arc::new(Mutex::new(answers.to_vec()))));
        Renewed { source: Credentials::Env, inner, at_hand: Mutex::new(None) }
    }

    fn lasts(keys: &Keys) -> Duration {
        keys.expiry().expect("a session ends").duration_since(SystemTime::now()).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_session_is_renewed_ahead_of_its_end_and_a_short_one_is_not_renewed_at_every_call() {
        let long = scripted(&[Some(3600)]).renew().await.expect("given");
        assert!((3290..=3300).contains(&lasts(&long).as_secs()), "{:?}", lasts(&long));
        let short = scripted(&[Some(100)]).renew().await.expect("given");
        assert!((70..=75).contains(&lasts(&short).as_secs()), "{:?}", lasts(&short));
        assert_eq!(short.session_token(), Some("T"));
    }

    #[tokio::test]
    async fn a_failed_renewal_is_tried_again_while_the_session_at_hand_lasts() {
        let renewed = scripted(&[Some(3600), None]);
        renewed.renew().await.expect("given");
        let kept = renewed.renew().await.expect("those at hand are good");
        assert!(lasts(&kept) <= RENEWAL_PAUSE && lasts(&kept) > CACHE_BUFFER, "{:?}", lasts(&kept));
        let ended = scripted(&[Some(5), None]);
        ended.renew().await.expect("given");
        let error = ended.renew().await.expect_err("nothing lasts");
        assert_eq!(AccessFailure::within(&error).map(|failure| failure.what.as_str()), Some("STS sleeps"));
    }

    #[test]
    fn a_file_of_profiles_is_known_by_its_sections() {
        assert_eq!(format!("{:?}", kind_of("[default]\nx=1\n[a]\n")), "Credentials");
        assert_eq!(format!("{:?}", kind_of("# x\n [profile a]\nx=1\n")), "Config");
        assert_eq!(format!("{:?}", kind_of("")), "Credentials");
    }
}
