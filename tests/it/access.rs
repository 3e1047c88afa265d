//! Every kind of credentials, with the real SDK against a simulated STS and a service that only looks who calls. What
//! depends on the environment runs in a process of its own, with an environment of its own.

mod kinds;
mod roles;
mod process;
mod environment;
mod outward;
mod secrets;

use std::path::{Path, PathBuf};

use host::aws::{Access, AwsSettings};
use host::config::{AssumeRole, Credentials, Process, RoleArn, Secret, StreamArn, Sts as Where, WebIdentity};
use host::ports::StreamApi as _;
use host::source::classify::SourceError;
use host::source::kinesis::KinesisStream;
use std::time::Duration;
use tests::sts::Sts;
use tests::witness::Witness;

const ROLE: &str = "arn:aws:iam::210987654321:role/stream-reader";

fn arn() -> StreamArn {
    StreamArn::parse("arn:aws:kinesis:eu-west-1:123456789012:stream/orders").expect("well formed")
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// Keys of the manifest's own: `AKIABASIC` and no token.
fn basic() -> Credentials {
    Credentials::Basic {
        access_key_id: "AKIABASIC".to_owned(),
        secret_access_key: secret("basic-secret"),
        session_token: None,
    }
}

/// The role, taken on at `sts` with `source`.
fn role(sts: &Sts, source: Credentials) -> AssumeRole {
    AssumeRole {
        role: RoleArn::parse(ROLE).expect("well formed"),
        session_name: None,
        external_id: None,
        duration: Duration::from_secs(3600),
        policy: None,
        sts: at(sts),
        source,
    }
}

fn assumed(sts: &Sts, source: Credentials) -> Credentials {
    Credentials::AssumeRole(Box::new(role(sts, source)))
}

/// The role, taken on at `sts` with the token in `file`.
fn federated(sts: &Sts, file: &Path) -> Credentials {
    Credentials::WebIdentity(WebIdentity {
        token_file: file.to_owned(),
        role: RoleArn::parse(ROLE).expect("well formed"),
        session_name: None,
        sts: at(sts),
    })
}

fn at(sts: &Sts) -> Where {
    Where { endpoint: Some(sts.endpoint.clone()), region: None }
}

/// What `sh` does with `script` and these arguments.
fn script(script: &str, arguments: &[&str]) -> Process {
    let words = ["-c", script, "sh"].into_iter().chain(arguments.iter().copied());
    Process { program: PathBuf::from("sh"), arguments: words.map(secret).collect(), timeout: Duration::from_secs(60) }
}

/// The way to `witness` with these credentials.
async fn access(witness: &Witness, credentials: Credentials) -> Access {
    settings(witness, credentials).access().await
}

fn settings(witness: &Witness, credentials: Credentials) -> AwsSettings {
    let call_timeout = Duration::from_secs(60);
    AwsSettings { endpoint: Some(witness.endpoint.clone()), credentials, call_timeout, ..AwsSettings::new("eu-west-1") }
}

/// Makes one call, as the host makes it.
async fn call(access: &Access) -> Result<(), SourceError> {
    let stream = KinesisStream::new(access.kinesis(), arn(), access.settings());
    stream.list_shards(None).await.map(|_| ())
}

/// Makes one call that must fail before anything reaches the service.
async fn refused(witness: &Witness, credentials: Credentials) -> SourceError {
    let error = call(&access(witness, credentials).await).await.expect_err("there are no credentials");
    assert_eq!(witness.seen(), [], "nothing is sent without credentials: {error}");
    error
}
