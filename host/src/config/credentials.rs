//! Whose credentials sign the calls, as the manifest tells it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;

/// Whose credentials sign the calls (`credentials`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The SDK's default chain.
    Auto,
    /// What the manifest says (`[aws.basic]`).
    Basic {
        /// `access_key_id`.
        access_key_id: String,
        /// `secret_access_key`.
        secret_access_key: Secret,
        /// `session_token`, for temporary credentials.
        session_token: Option<Secret>,
    },
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` of the environment, nothing else.
    Env,
    /// A profile of the shared configuration files (`[aws.profile]`).
    Profile {
        /// The profile's `name`.
        name: String,
        /// The only file that is read for it (`file`), a config file or a credentials file; `None` reads those of `~/.aws`.
        file: Option<PathBuf>,
    },
    /// A role, taken on with other credentials (`[aws.assume_role]`).
    AssumeRole(Box<AssumeRole>),
    /// A role, taken on with a token that somebody keeps fresh in a file (`[aws.web_identity]`).
    WebIdentity(WebIdentity),
    /// What a program of the user's prints (`[aws.process]`).
    Process(Process),
}

impl Credentials {
    /// The source in a few words, for error messages; never a secret.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Auto => "credentials = \"auto\"".to_owned(),
            Self::Basic { .. } => "credentials = \"basic\"".to_owned(),
            Self::Env => "credentials = \"env\"".to_owned(),
            Self::Profile { name, .. } => format!("credentials of profile {name:?}"),
            Self::AssumeRole(assumed) => format!("credentials of the role {}", assumed.role),
            Self::WebIdentity(identity) => format!("credentials of the role {} (web identity)", identity.role),
            Self::Process(process) => format!("credentials of the process {:?}", process.program.display().to_string()),
        }
    }
}

/// How a role is taken on (`AssumeRole` of STS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumeRole {
    /// The role (`role_arn`).
    pub role: RoleArn,
    /// How the session is called in the account's logs (`session_name`, 2 to 64 of `A-Z a-z 0-9 _ + = , . @ -`); `None`: after the pipeline.
    pub session_name: Option<String>,
    /// What the role's owner asks for (`external_id`, 2 to 1,224 of `A-Z a-z 0-9 _ + = , . @ : / -`).
    pub external_id: Option<String>,
    /// Life of a session (`duration`, 15 min to 12 h, default 1 h, which is the service's default and the most that a
    /// session's credentials can ask for).
    pub duration: Duration,
    /// A JSON document that narrows the session down (`policy`, at most 2,048 characters).
    pub policy: Option<String>,
    /// Where STS is.
    pub sts: Sts,
    /// Whose credentials ask for the role (`source`).
    pub source: Credentials,
}

/// How a role is taken on with a token (`AssumeRoleWithWebIdentity` of STS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebIdentity {
    /// The file that holds the token (`token_file`); read anew each time.
    pub token_file: PathBuf,
    /// The role (`role_arn`).
    pub role: RoleArn,
    /// As in [`AssumeRole::session_name`].
    pub session_name: Option<String>,
    /// Where STS is.
    pub sts: Sts,
}

/// Where STS is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sts {
    /// Another endpoint than the region's own (`sts_endpoint`): an `http` or `https` URL without a trailing slash.
    pub endpoint: Option<String>,
    /// The region (`region`); `None`: the stream's.
    pub region: Option<String>,
}

/// A program that prints credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// What is started: a path, or a name that is looked up in `PATH`. No shell is involved.
    pub program: PathBuf,
    /// Its arguments; they may hold secrets.
    pub arguments: Vec<Secret>,
    /// Time until it must have ended (`timeout`, default 5 s), never above the time for one call.
    pub timeout: Duration,
}

/// Why a text is not the ARN of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRole {
    /// It is no ARN of IAM.
    #[error("is not the ARN of a role")]
    Shape,
    /// It names a session, not the role behind it.
    #[error("names a session of a role, not the role")]
    Session,
    /// It names something else of IAM.
    #[error("does not name a role: \"role/\" is missing")]
    Resource,
    /// Its account is no account.
    #[error("has no account of 12 digits")]
    Account,
    /// The role's name or path is none.
    #[error("has no role's name: 1 to 64 of letters, digits and `+=,.@_-`")]
    Name,
}

/// The ARN of a role: `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`, at most 2,048 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct RoleArn(String);

impl RoleArn {
    /// Checks the rule.
    ///
    /// # Errors
    /// What about `text` is not the ARN of a role.
    pub fn parse(text: &str) -> Result<Self, InvalidRole> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let &["arn", partition, service, "", account, resource] = parts.as_slice() else {
            return Err(InvalidRole::Shape);
        };
        if service == "sts" && resource.starts_with("assumed-role/") {
            return Err(InvalidRole::Session);
        }
        if !(partition == "aws" || partition.starts_with("aws-")) || service != "iam" || text.len() > 2048 {
            return Err(InvalidRole::Shape);
        }
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidRole::Account);
        }
        let path = resource.strip_prefix("role/").ok_or(InvalidRole::Resource)?;
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(is_name_byte);
        if !is_name || path.bytes().any(|byte| !(0x21..=0x7e).contains(&byte)) {
            return Err(InvalidRole::Name);
        }
        Ok(Self(text.to_owned()))
    }

    /// The ARN as it was written (`RoleArn`).
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `aws`, `aws-cn`, `aws-us-gov` and their like.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }
}

/// Whether a byte may stand in the name of a role or a session: `[\w+=,.@-]`.
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_called_by_its_arn() {
        for good in [
            "arn:aws:iam::123456789012:role/reader",
            "arn:aws-cn:iam::123456789012:role/team/a/reader+x=1,2.3@4_5-6",
            "arn:aws-us-gov:iam::000000000000:role/aws-service-role/x.amazonaws.com/AWSServiceRole",
        ] {
            assert_eq!(RoleArn::parse(good).map(|role| role.to_string()), Ok(good.to_owned()));
        }
        let refused = |text: &str| RoleArn::parse(text).expect_err(text);
        assert_eq!(refused("reader"), InvalidRole::Shape);
        assert_eq!(refused("arn:aws:s3:::bucket"), InvalidRole::Shape);
        assert_eq!(refused("arn:aws:iam:us-east-1:123456789012:role/x"), InvalidRole::Shape);
        assert_eq!(refused("arn:aws:sts::123456789012:assumed-role/reader/session"), InvalidRole::Session);
        assert_eq!(refused("arn:aws:iam::123456789012:user/x"), InvalidRole::Resource);
        assert_eq!(refused("arn:aws:iam::1234:role/x"), InvalidRole::Account);
        assert_eq!(refused("arn:aws:iam::123456789012:role/"), InvalidRole::Name);
        assert_eq!(refused("arn:aws:iam::123456789012:role/a b"), InvalidRole::Name);
        assert_eq!(refused(&format!("arn:aws:iam::123456789012:role/{}", "a".repeat(65))), InvalidRole::Name);
    }

    #[test]
    fn no_form_of_credentials_shows_a_secret() {
        let hush = || Secret::new("hush".to_owned());
        let basic = Credentials::Basic {
            access_key_id: "AKID".to_owned(),
            secret_access_key: hush(),
            session_token: Some(hush()),
        };
        let process = Credentials::Process(Process {
            program: PathBuf::from("vault"),
            arguments: vec![hush()],
            timeout: Duration::from_secs(5),
        });
        for credentials in [basic, process] {
            let shown = format!("{credentials:?} {}", credentials.describe());
            assert!(!shown.contains("hush"), "{shown}");
        }
    }
}
