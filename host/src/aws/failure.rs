//! Why there are no credentials, or no way: in words for people, with what to do next, and never with a secret.
//!
//! Providers of credentials fail in the SDK's words, which repeat what a program wrote to stderr, say `AssumeRoleError` where
//! STS said who may not do what, and never name a key of the manifest. So nothing of theirs passes: each failure is
//! told anew here, travels through the SDK as the source of its error, and is found again by whoever classifies that.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::config::Credentials;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFault {
    /// The settings or the permissions must change.
    Denied,
    /// Whoever hands out credentials did not answer, or asked to be asked later.
    Unavailable,
    /// The way to the service cannot be built: no request can be made.
    Unusable,
}

/// Why no credentials, or no connection, could be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct AccessFailure {
    /// What it asks for.
    pub fault: AccessFault,
    /// What happened: one clause.
    pub what: String,
    /// What to do next, naming the settings to look at.
    pub advice: String,
}

impl AccessFailure {
    pub(super) fn denied(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { fault: AccessFault::Denied, what: what.into(), advice: advice.into() }
    }

    pub(super) fn unavailable(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { fault: AccessFault::Unavailable, what: what.into(), advice: advice.into() }
    }

    pub(super) fn unusable(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { fault: AccessFault::Unusable, what: what.into(), advice: advice.into() }
    }

    /// The failure that `error` was made of, if it was.
    #[must_use]
    pub fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(cause) = next {
            if let Some(failure) = cause.downcast_ref() {
                return Some(failure);
            }
            next = cause.source();
        }
        None
    }

    /// As the SDK carries it.
    pub(super) fn into_sdk(self) -> CredentialsError {
        match self.fault {
            AccessFault::Denied | AccessFault::Unusable => CredentialsError::invalid_configuration(self),
            AccessFault::Unavailable => CredentialsError::provider_error(self),
        }
    }
}

/// Tells a failure of one of the SDK's own providers anew.
pub(super) fn retold(source: &Credentials, error: &CredentialsError) -> AccessFailure {
    if let Some(failure) = AccessFailure::within(error) {
        return failure.clone();
    }
    let name = source.describe();
    let call = StsCall {
        whose: &name,
        operation: "AssumeRoleWithWebIdentity",
        advice: "check the role's trust policy and what its caller may do",
        secret: None,
    };
    let mut next = Some(error as &(dyn Error + 'static));
    while let Some(cause) = next {
        // A profile or the default chain may take on a role.
        if let Some(refused) = cause.downcast_ref::<SdkError<AssumeRoleError, HttpResponse>>() {
            return of_sts(&StsCall { operation: "AssumeRole", ..call }, refused);
        }
        if let Some(refused) = cause.downcast_ref::<SdkError<AssumeRoleWithWebIdentityError, HttpResponse>>() {
            return of_sts(&call, refused);
        }
        next = cause.source();
    }
    let reason = reason(error);
    if reason.contains("sso") {
        let advice = "single sign-on is not built in: write credentials = \"process\" with command = [\"aws\", \"configure\", \
                      \"export-credentials\", \"--profile\", \"…\"] in [aws.process]";
        return AccessFailure::denied(format!("{name} come from single sign-on"), advice);
    }
    match error {
        CredentialsError::CredentialsNotLoaded(_) => AccessFailure::denied(none_found(&name, &reason), advice(source)),
        CredentialsError::InvalidConfiguration(_) => {
            AccessFailure::denied(format!("{name} are not set up right: {reason}"), advice(source))
        }
        // A machine whose metadata service is switched off has no credentials, now or later.
        _ if reason.contains("IMDS is disabled") => AccessFailure::denied(none_found(&name, &reason), advice(source)),
        CredentialsError::ProviderTimedOut(_) => AccessFailure::unavailable(
            format!("{name} did not come in time"),
            "raise `call` in [aws.timeouts] if it persists",
        ),
        // The SDK's enum may grow.
        CredentialsError::ProviderError(_) | CredentialsError::Unhandled(_) | _ => {
            AccessFailure::unavailable(format!("{name} could not be had: {reason}"), advice(source))
        }
    }
}

fn none_found(name: &str, reason: &str) -> String {
    if reason.is_empty() { format!("{name} found none") } else { format!("{name} found none: {reason}") }
}

fn advice(source: &Credentials) -> String {
    match source {
        Credentials::Auto => {
            "credentials = \"auto\" found none: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or another [aws] \
             credentials, or run with --local"
                .to_owned()
        }
        Credentials::Env => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN with temporary ones, or choose another \
             [aws] credentials"
                .to_owned()
        }
        Credentials::Profile { name, file: None } => {
            format!("check profile {name:?} in ~/.aws/config and ~/.aws/credentials, or name its file in [aws.profile]")
        }
        Credentials::Profile { name, file: Some(file) } => {
            format!("check profile {name:?} in {}", file.display())
        }
        Credentials::Basic { .. }
        | Credentials::AssumeRole(_)
        | Credentials::WebIdentity(_)
        | Credentials::Process(_) => format!("check {}", source.describe()),
    }
}

/// The innermost cause, without what a program wrote.
fn reason(error: &CredentialsError) -> String {
    let mut innermost = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        innermost = cause.to_string();
        next = cause.source();
    }
    let told = innermost.split("Stderr").next().unwrap_or_default().trim_end_matches(['.', ' ']);
    shown(told)
}

/// A foreign text as part of a sentence: one line, bounded.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 300;
    let first = text.trim().lines().next().unwrap_or_default();
    first.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Codes whose texts repeat what was signed, a session token among it.
const QUOTING: [&str; 7] = [
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "ExpiredToken",
    "ExpiredTokenException",
];

/// One call of STS, for the failure that it may end with.
pub(super) struct StsCall<'a> {
    /// Whose credentials were asked for.
    pub(super) whose: &'a str,
    /// The API operation, as AWS names it.
    pub(super) operation: &'static str,
    /// What to do about a refusal.
    pub(super) advice: &'a str,
    /// What was sent and must not come back in a message.
    pub(super) secret: Option<&'a str>,
}

/// Tells what STS, or the way to it, answered.
pub(super) fn of_sts<E>(call: &StsCall<'_>, error: &SdkError<E, HttpResponse>) -> AccessFailure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(failure) = AccessFailure::within(error) {
        return failure.clone();
    }
    let StsCall { whose, operation, advice, secret } = *call;
    let Some(refusal) = error.as_service_error() else {
        let what = format!("{whose} could not be had: STS could not be asked: {}", way_to_sts(error));
        return AccessFailure::unavailable(
            what,
            "check the way to STS, and `sts_endpoint` and `region` beside the role's ARN",
        );
    };
    let code = refusal.code().unwrap_or("an error without a code");
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let message = match (refusal.message(), secret) {
        (None, _) => String::new(),
        _ if QUOTING.contains(&code) => String::new(),
        (Some(message), Some(secret)) => shown(&message.replace(secret, "***")),
        (Some(message), None) => shown(message),
    };
    let said = if message.is_empty() { shown(code) } else { format!("{}: {message}", shown(code)) };
    let what = format!("STS refused {whose} ({operation}): {said}");
    let is_passing = status >= 500 || status == 429 || code.starts_with("Throttl") || code == "IDPCommunicationError";
    if is_passing {
        return AccessFailure::unavailable(
            what,
            "such calls are repeated for a while; if it persists, look at STS's own health",
        );
    }
    let advice = match code {
        "ExpiredToken" | "ExpiredTokenException" if operation == "AssumeRole" => {
            "the session token of the role's `source` has expired: renew it"
        }
        "ExpiredToken" | "ExpiredTokenException" => {
            "the token has expired: see that whoever writes its file still does"
        }
        "SignatureDoesNotMatch" | "IncompleteSignature" | "InvalidClientTokenId" | "UnrecognizedClientException" => {
            "check the keys of the role's `source`, and this machine's clock"
        }
        "RegionDisabledException" => "switch STS on for that region, or name another `region` beside the role's ARN",
        "MalformedPolicyDocument" | "PackedPolicyTooLarge" => "correct or shorten `policy` in [aws.assume_role]",
        "ValidationError" => {
            "check `duration` against what the role allows, and what else stands beside the role's ARN"
        }
        _ => advice,
    };
    AccessFailure::denied(what, advice)
}

/// The innermost cause why a call did not come through.
fn way_to_sts(error: &(dyn Error + 'static)) -> String {
    let (mut innermost, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        innermost = cause.to_string();
        next = cause.source();
    }
    shown(&innermost)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_source_of_credentials_that_fails_may_recover_and_one_that_is_switched_off_will_not() {
        let off = "request forbidden: IMDS is disabled or the caller has insufficient permissions.";
        for (error, fault) in [
            (CredentialsError::provider_error("no route"), AccessFault::Unavailable),
            (CredentialsError::provider_timed_out(Duration::from_secs(5)), AccessFault::Unavailable),
            (CredentialsError::provider_error(off), AccessFault::Denied),
            (CredentialsError::not_loaded("no variable"), AccessFault::Denied),
            (CredentialsError::invalid_configuration("a loop of profiles"), AccessFault::Denied),
        ] {
            assert_eq!(retold(&Credentials::Auto, &error).fault, fault, "{error:?}");
        }
    }

    #[test]
    fn what_a_program_wrote_to_stderr_is_not_repeated() {
        let error = CredentialsError::provider_error(
            "Error retrieving credentials: external process exited with code exit status: 3. Stderr: hush\nhush",
        );
        let failure = retold(&Credentials::Auto, &error);
        assert!(failure.what.contains("exit status: 3") && !failure.what.contains("hush"), "{failure:?}");
    }

    #[test]
    fn single_sign_on_is_told_what_to_do_instead() {
        let error =
            CredentialsError::invalid_configuration("This behavior requires following cargo feature(s) enabled: sso. ");
        let failure = retold(&Credentials::Profile { name: "dev".to_owned(), file: None }, &error);
        assert!(failure.advice.contains("export-credentials"), "{failure:?}");
    }

    #[test]
    fn a_failure_is_found_again_behind_the_errors_of_the_sdk() {
        let failure = AccessFailure::denied("no", "change");
        let wrapped = CredentialsError::provider_error(failure.clone().into_sdk());
        assert_eq!(AccessFailure::within(&wrapped), Some(&failure));
        assert_eq!(retold(&Credentials::Env, &wrapped), failure);
    }
}
