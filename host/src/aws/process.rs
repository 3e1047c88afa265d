//! Credentials that a program of the user's prints, as AWS's tools define it for `credential_process`.
//!
//! The SDK has a provider for this, and it is not used: it hands the command to a shell, waits for ever, and puts what the
//! program wrote to stderr, secrets included, into its error. Here a list of words is started as it is, with a time
//! limit that ends everything it started, and nothing of what it writes is ever repeated.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::{ProvideCredentials, future};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value as Json;
use tokio::io::AsyncReadExt as _;

use super::failure::AccessFailure;
use crate::config::Process;

/// What a program may print; credentials are a hundredth of it.
const PRINTED_BYTES_MAX: u64 = 64 << 10;

/// Starts the program each time credentials are asked for; whoever holds this keeps them until they expire.
#[derive(Debug)]
pub(super) struct ProcessProvider {
    pub(super) process: Process,
}

impl ProvideCredentials for ProcessProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.run().await.map_err(AccessFailure::into_sdk) })
    }
}

/// Ends a program and all that it started, unless it ended by itself.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It may have ended in this very moment, and then there is nobody to end.
            if let Err(error) = kill_process_group(leader, Signal::KILL) {
                tracing::debug!(%error, "the process for credentials was gone already");
            }
        }
    }
}

impl ProcessProvider {
    async fn run(&self) -> Result<Keys, AccessFailure> {
        let Process { program, timeout, .. } = &self.process;
        match tokio::time::timeout(*timeout, self.printed()).await {
            Ok(printed) => keys(program, &printed?),
            Err(_) => {
                let limit = crate::config::sizes::format_duration(*timeout);
                let what = format!("the process {} did not end within {limit}, and was stopped", shown(program));
                Err(AccessFailure::unavailable(
                    what,
                    "run [aws.process] command by hand: it must not ask anybody anything; or raise its `timeout`",
                ))
            }
        }
    }

    async fn printed(&self) -> Result<Vec<u8>, AccessFailure> {
        let Process { program, arguments, .. } = &self.process;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments.iter().map(crate::config::Secret::reveal));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).process_group(0);
        let mut child = command.spawn().map_err(|error| {
            let what = format!("the process {} could not be started: {error}", shown(program));
            AccessFailure::denied(
                what,
                "check [aws.process] command: a program's path, relative to the manifest, or a name in PATH",
            )
        })?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let mut group = Group(id);
        let mut printed = Vec::new();
        let stdout = child.stdout.take().expect("it was asked for");
        let broken = |error: std::io::Error| {
            let what = format!("the process {} could not be followed: {error}", shown(program));
            AccessFailure::unavailable(what, "such calls are repeated for a while")
        };
        stdout.take(PRINTED_BYTES_MAX).read_to_end(&mut printed).await.map_err(broken)?;
        if printed.len() as u64 == PRINTED_BYTES_MAX {
            return Err(unusable(program, "printed far more than credentials"));
        }
        let status = child.wait().await.map_err(broken)?;
        group.0 = None;
        if status.success() {
            return Ok(printed);
        }
        let what = format!("the process {} failed ({status})", shown(program));
        // What it wrote is withheld: programs of this kind write secrets when they fail.
        Err(AccessFailure::denied(what, "run [aws.process] command by hand to see what it says"))
    }
}

fn shown(program: &Path) -> String {
    format!("{:?}", program.display().to_string())
}

fn unusable(program: &Path, what: &str) -> AccessFailure {
    AccessFailure::denied(
        format!("the process {} {what}", shown(program)),
        "it prints {\"Version\": 1, \"AccessKeyId\": …, \"SecretAccessKey\": …, \"SessionToken\": …, \"Expiration\": …} and \
         nothing else; the last two may be missing",
    )
}

/// Reads what was printed, by hand: a library's complaints quote what they complain about.
fn keys(program: &Path, printed: &[u8]) -> Result<Keys, AccessFailure> {
    let complain = |what: &str| unusable(program, what);
    let object = match serde_json::from_slice(printed) {
        Ok(Json::Object(object)) => object,
        Ok(_) => return Err(complain("printed JSON that is no object")),
        Err(error) if printed.trim_ascii().is_empty() || error.is_eof() && printed.is_empty() => {
            return Err(complain("printed nothing"));
        }
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            return Err(complain(&format!("printed what is not JSON (line {line}, column {column})")));
        }
    };
    if object.get("Version").and_then(Json::as_i64) != Some(1) {
        return Err(complain("printed JSON without \"Version\": 1"));
    }
    let text = |key: &str| match object.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) if !text.trim().is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(complain(&format!("printed a {key:?} that is no text, or an empty one"))),
    };
    let required = |key: &str| text(key)?.ok_or_else(|| complain(&format!("printed JSON without {key:?}")));
    let (id, secret) = (required("AccessKeyId")?, required("SecretAccessKey")?);
    let (token, expiration) = (text("SessionToken")?, text("Expiration")?);
    let expiry = match expiration {
        None => None,
        Some(text) => match text.parse::<Timestamp>() {
            Ok(at) => Some(SystemTime::from(at)),
            // The library's reason would quote the text.
            Err(_) => return Err(complain("printed an \"Expiration\" that is no RFC 3339 time")),
        },
    };
    if let Some(expiry) = expiry
        && expiry <= SystemTime::now() + Duration::from_secs(1)
    {
        let what = format!("the process {} printed credentials that have expired", shown(program));
        return Err(AccessFailure::denied(what, "see that it fetches new ones, and check this machine's clock"));
    }
    Ok(Keys::new(id, secret, token, expiry, "process"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Keys, AccessFailure> {
        keys(Path::new("vault"), text.as_bytes())
    }

    #[test]
    fn what_a_program_prints_is_read_as_aws_defines_it() {
        let long = read(r#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S"}"#).expect("complete");
        assert_eq!((long.access_key_id(), long.session_token(), long.expiry()), ("A", None, None));
        let short = read(
            r#"{"Version":1,"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T","Expiration":"2999-01-01T00:00:00Z","AccountId":"1"}"#,
        )
        .expect("complete");
        assert_eq!(short.session_token(), Some("T"));
        assert!(short.expiry().expect("told") > SystemTime::now());
    }

    #[test]
    fn what_is_printed_wrong_is_told_without_being_repeated() {
        for (printed, told) in [
            ("", "printed nothing"),
            (" \n", "printed nothing"),
            ("hush", "not JSON (line 1, column 1)"),
            ("{\"Version\": 1, \"SecretAccessKey\": \"hush\"", "not JSON"),
            ("\"hush\"", "no object"),
            ("{\"AccessKeyId\": \"hush\"}", "without \"Version\": 1"),
            ("{\"Version\": 2, \"AccessKeyId\": \"hush\"}", "without \"Version\": 1"),
            ("{\"Version\": 1, \"SecretAccessKey\": \"hush\"}", "without \"AccessKeyId\""),
            ("{\"Version\": 1, \"AccessKeyId\": \"hush\"}", "without \"SecretAccessKey\""),
            (
                "{\"Version\": 1, \"AccessKeyId\": [\"hush\"], \"SecretAccessKey\": \"hush\"}",
                "\"AccessKeyId\" that is no text",
            ),
            (
                "{\"Version\": 1, \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"hush\", \"Expiration\": \"hush\"}",
                "no RFC 3339 time",
            ),
            (
                "{\"Version\": 1, \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"hush\", \"Expiration\": \"2001-01-01T00:00:00Z\"}",
                "have expired",
            ),
        ] {
            let failure = read(printed).expect_err(printed);
            assert!(failure.what.contains(told), "{printed}: {failure:?}");
            assert!(!format!("{failure:?}").contains("hush"), "{failure:?}");
        }
    }
}
