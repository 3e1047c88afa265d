//! Roles that are taken on at STS.
//!
//! `aws-config` has providers for both calls, and they are not used: neither can be told of an endpoint of STS's own next to
//! one of Kinesis', both log refusals in the SDK's words, and both hide the code that a user needs. One call each
//! is all there is to it. The SDK never retries here either: a failed call is repeated with the call that it was for.

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::Client;
use aws_sdk_sts::types::Credentials as Session;

use super::failure::{AccessFailure, StsCall, of_sts};
use crate::config::{AssumeRole, Sts, WebIdentity};

/// A client of STS: like the clients of the streams, but for where it is.
fn client(base: &SdkConfig, sts: &Sts, source: Option<SharedCredentialsProvider>) -> Client {
    let mut builder = base.to_builder();
    builder.set_credentials_provider(source);
    if let Some(region) = &sts.region {
        builder.set_region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &sts.endpoint {
        builder.set_endpoint_url(Some(endpoint.clone()));
    }
    Client::new(&builder.build())
}

/// Keys of a session as the SDK signs with them.
fn keys(whose: &str, session: Option<Session>) -> Result<Keys, AccessFailure> {
    let torn =
        |what: &str| AccessFailure::unavailable(format!("STS answered for {whose} {what}"), "check `sts_endpoint`");
    let session = session.ok_or_else(|| torn("without credentials"))?;
    let Ok(expiry) = session.expiration.try_into() else { return Err(torn("with an expiry out of range")) };
    Ok(Keys::new(session.access_key_id, session.secret_access_key, Some(session.session_token), Some(expiry), "sts"))
}

/// The default for how a session is called; callers know the pipeline's name and use it.
const SESSION_NAME: &str = "sluicebox";

/// `AssumeRole`.
#[derive(Debug)]
pub(super) struct AssumedRole {
    client: Client,
    settings: AssumeRole,
    whose: String,
}

impl AssumedRole {
    pub(super) fn new(
        base: &SdkConfig,
        settings: &AssumeRole,
        whose: String,
        source: SharedCredentialsProvider,
    ) -> Self {
        Self { client: client(base, &settings.sts, Some(source)), settings: settings.clone(), whose }
    }

    async fn assume(&self) -> Result<Keys, AccessFailure> {
        let AssumeRole { role, session_name, external_id, duration, policy, source, .. } = &self.settings;
        let seconds = i32::try_from(duration.as_secs()).unwrap_or(i32::MAX);
        let request = self
            .client
            .assume_role()
            .role_arn(role.as_str())
            .role_session_name(session_name.as_deref().unwrap_or(SESSION_NAME))
            .set_external_id(external_id.clone())
            .set_policy(policy.clone())
            .duration_seconds(seconds);
        let answer = request.send().await.map_err(|error| {
            let advice = format!(
                "allow sts:AssumeRole on {role} to {}, let the role's trust policy name that identity, and check external_id",
                source.describe()
            );
            of_sts(&StsCall { whose: &self.whose, operation: "AssumeRole", advice: &advice, secret: None }, &error)
        })?;
        keys(&self.whose, answer.credentials)
    }
}

impl ProvideCredentials for AssumedRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.assume().await.map_err(AccessFailure::into_sdk) })
    }
}

/// `AssumeRoleWithWebIdentity`: the token is the proof, nothing is signed.
#[derive(Debug)]
pub(super) struct FederatedRole {
    client: Client,
    settings: WebIdentity,
    whose: String,
}

impl FederatedRole {
    pub(super) fn new(base: &SdkConfig, settings: &WebIdentity, whose: String) -> Self {
        Self { client: client(base, &settings.sts, None), settings: settings.clone(), whose }
    }

    async fn assume(&self) -> Result<Keys, AccessFailure> {
        let WebIdentity { token_file, role, session_name, .. } = &self.settings;
        let token = tokio::fs::read(token_file).await.map_err(|error| {
            let what = format!("the token of {} cannot be read from {}: {error}", self.whose, token_file.display());
            AccessFailure::denied(what, "check token_file in [aws.web_identity], and that this user may read the file")
        })?;
        let token = String::from_utf8(token).unwrap_or_default();
        let token = token.trim();
        if token.is_empty() {
            let what = format!("the token file {} of {} is empty, or no text", token_file.display(), self.whose);
            return Err(AccessFailure::denied(what, "see that whoever writes the file puts a token into it"));
        }
        let request = self
            .client
            .assume_role_with_web_identity()
            .role_arn(role.as_str())
            .role_session_name(session_name.as_deref().unwrap_or(SESSION_NAME))
            .web_identity_token(token);
        let answer = request.send().await.map_err(|error| {
            let advice = format!("let the trust policy of {role} name the issuer, audience and subject of the token");
            let operation = "AssumeRoleWithWebIdentity";
            of_sts(&StsCall { whose: &self.whose, operation, advice: &advice, secret: Some(token) }, &error)
        })?;
        keys(&self.whose, answer.credentials)
    }
}

impl ProvideCredentials for FederatedRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.assume().await.map_err(AccessFailure::into_sdk) })
    }
}
