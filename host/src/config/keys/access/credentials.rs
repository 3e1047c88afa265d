//! Keys about who signs the calls: `credentials` in `[aws]` and the tables that belong to its words.
//!
//! Each kind has one table, directly in `[aws]`, whoever uses it: `credentials` itself, or the `source` of
//! `[aws.assume_role]`. So a kind is described once, a manifest that moves behind a role keeps its table and gains one, and
//! "which key signs this?" is answered by one table of that name, not by one of two places.

use std::time::Duration;

use super::super::super::forms::{
    Choice, Command, EXTERNAL_ID, FilePath, Lasting, Policy, Region, Role, SESSION_NAME, SecretText, Text, Url,
};
use super::super::super::sizes::format_duration;
use super::super::super::walk::Table;
use super::super::super::{AssumeRole, Credentials, Process, RoleArn, Secret, StreamArn, Sts, WebIdentity};

/// Words of `credentials`, and but for one of `source`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Auto,
    Basic,
    Env,
    Profile,
    AssumeRole,
    WebIdentity,
    Process,
}

/// The kinds with a table: its name, whose it is, the word for it.
const TABLES: [(&str, Kind, &str); 5] = [
    ("basic", Kind::Basic, "basic"),
    ("profile", Kind::Profile, "profile"),
    ("assume_role", Kind::AssumeRole, "assume-role"),
    ("web_identity", Kind::WebIdentity, "web-identity"),
    ("process", Kind::Process, "process"),
];

/// What the tables say; `None` where one does not stand.
struct Tables {
    basic: Option<Credentials>,
    profile: Option<Credentials>,
    assume_role: Option<AssumedWith>,
    web_identity: Option<WebIdentity>,
    process: Option<Process>,
}

/// What `[aws.assume_role]` says.
struct AssumedWith {
    source: Kind,
    /// Its source is to be filled in.
    role: AssumeRole,
}

pub(super) fn credentials(table: &mut Table<'_, '_>, stream: Option<&StreamArn>) -> Option<Credentials> {
    let kind = table.default(
        "credentials",
        Choice(&[
            ("auto", Kind::Auto),
            ("basic", Kind::Basic),
            ("env", Kind::Env),
            ("profile", Kind::Profile),
            ("assume-role", Kind::AssumeRole),
            ("web-identity", Kind::WebIdentity),
            ("process", Kind::Process),
        ]),
        "auto",
        "Whose credentials sign the calls: the AWS SDK's default chain; the variables `AWS_ACCESS_KEY_ID` and so on and no \
         others; or what the table of that name tells. `docs/access.md` compares them.",
    );
    let basic = table.optional_section(
        "basic",
        "Credentials themselves, only with `\"basic\"` as `credentials` or as the `source` of `[aws.assume_role]`.",
        basic,
    );
    let profile = table.optional_section(
        "profile",
        "A profile of the AWS configuration files, only with `\"profile\"` as `credentials` or as the `source` of \
         `[aws.assume_role]`.",
        profile,
    );
    let assume_role = table.optional_section(
        "assume_role",
        "A role that is taken on, in this or another account, only with `credentials = \"assume-role\"`.",
        |table| assume_role(table, stream),
    );
    let web_identity = table.optional_section(
        "web_identity",
        "A role that is taken on with a token from a file (OpenID Connect), only with `\"web-identity\"` as `credentials` \
         or as the `source` of `[aws.assume_role]`.",
        |table| web_identity(table, stream),
    );
    let process = table.optional_section(
        "process",
        "A program that prints credentials, only with `\"process\"` as `credentials` or as the `source` of \
         `[aws.assume_role]`.",
        process,
    );
    let kind = kind?;
    // A role whose table has a mistake may have any source: then only the tables of other kinds can be judged.
    let source = match &assume_role {
        Some(Some(assumed)) => Some(assumed.source),
        Some(None) | None => None,
    };
    let known = kind != Kind::AssumeRole || source.is_some() || table.at("assume_role").is_none();
    let agreed = known && agree(table, kind, source);
    let tables = Tables {
        basic: basic?,
        profile: profile?,
        assume_role: assume_role?,
        web_identity: web_identity?,
        process: process?,
    };
    if agreed { tables.of(kind) } else { None }
}

/// Complains unless the tables that stand are those that are asked for.
fn agree(table: &mut Table<'_, '_>, kind: Kind, source: Option<Kind>) -> bool {
    let mut agreed = true;
    let source = source.filter(|_| kind == Kind::AssumeRole);
    for (name, owner, word) in TABLES {
        let at = table.at(name);
        if kind == owner && at.is_none() {
            let message = format!("credentials = {word:?} needs the table [aws.{name}]");
            table.complain(table.at("credentials"), message, format!("add the header [aws.{name}] and its keys"));
            agreed = false;
        } else if source == Some(owner) && at.is_none() {
            let message = format!("source = {word:?} in [aws.assume_role] needs the table [aws.{name}]");
            let help = format!("add the header [aws.{name}] and its keys");
            table.complain(table.at("assume_role"), message, help);
            agreed = false;
        } else if kind != owner && source != Some(owner) && at.is_some() {
            let message = format!("[aws.{name}] has a meaning only with credentials = {word:?}");
            let message = if owner == Kind::AssumeRole {
                message
            } else {
                format!("{message}, or as the `source` of [aws.assume_role]")
            };
            let help = if kind == Kind::AssumeRole {
                format!("write source = {word:?} in [aws.assume_role], or remove this table")
            } else {
                format!("write credentials = {word:?} in [aws], or remove this table")
            };
            table.complain(at, message, help);
            agreed = false;
        }
    }
    agreed
}

impl Tables {
    fn of(mut self, kind: Kind) -> Option<Credentials> {
        match kind {
            Kind::Auto => Some(Credentials::Auto),
            Kind::Env => Some(Credentials::Env),
            Kind::Basic => self.basic,
            Kind::Profile => self.profile,
            Kind::WebIdentity => self.web_identity.map(Credentials::WebIdentity),
            Kind::Process => self.process.map(Credentials::Process),
            Kind::AssumeRole => {
                let AssumedWith { source, mut role } = self.assume_role.take()?;
                role.source = self.of(source)?;
                Some(Credentials::AssumeRole(Box::new(role)))
            }
        }
    }
}

fn basic(table: &mut Table<'_, '_>) -> Option<Credentials> {
    let access_key_id = table.required("access_key_id", Text("${AWS_ACCESS_KEY_ID}"), "The access key's ID.");
    let secret_access_key: Option<Secret> = table.required("secret_access_key", SecretText, "The access key itself.");
    let session_token = table.optional(
        "session_token",
        SecretText,
        "with temporary credentials",
        "The token that belongs to them. Nothing renews it: when it expires, the pipeline stops.",
    );
    Some(Credentials::Basic {
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
        session_token: session_token?,
    })
}

fn profile(table: &mut Table<'_, '_>) -> Option<Credentials> {
    let name = table.required("name", Text("analytics"), "The profile's name.");
    let file = table.optional(
        "file",
        FilePath("aws/credentials"),
        "",
        "The one file to read it from: a config file (`[profile NAME]`) or a credentials file (`[NAME]`). Default: the \
         files in `~/.aws`, or those that `AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE` name.",
    );
    Some(Credentials::Profile { name: name?, file: file? })
}

fn assume_role(table: &mut Table<'_, '_>, stream: Option<&StreamArn>) -> Option<AssumedWith> {
    let role = role(table, stream);
    let source = table.default(
        "source",
        Choice(&[
            ("auto", Kind::Auto),
            ("basic", Kind::Basic),
            ("env", Kind::Env),
            ("profile", Kind::Profile),
            ("web-identity", Kind::WebIdentity),
            ("process", Kind::Process),
        ]),
        "auto",
        "Whose credentials ask for the role; its table stands in `[aws]`, as if it were `credentials`.",
    );
    let external_id = table.optional(
        "external_id",
        EXTERNAL_ID,
        "",
        "What the role's owner, in another account, asks for. Not a secret.",
    );
    let session_name = session_name(table);
    let duration = table.default(
        "duration",
        Lasting("15m", "12h"),
        "1h",
        "Life of a session. More than 1h must be allowed by the role, and cannot be had where the source is a role, too.",
    );
    let policy = table.optional(
        "policy",
        Policy,
        "",
        "An IAM policy that narrows the session down: it may do what the role and the policy both allow.",
    );
    let sts = sts(table);
    Some(AssumedWith {
        source: source?,
        role: AssumeRole {
            role: role?,
            session_name: session_name?,
            external_id: external_id?,
            duration: duration?,
            policy: policy?,
            sts: sts?,
            source: Credentials::Auto,
        },
    })
}

fn web_identity(table: &mut Table<'_, '_>, stream: Option<&StreamArn>) -> Option<WebIdentity> {
    let role = role(table, stream);
    let token_file = table.required(
        "token_file",
        FilePath("${AWS_WEB_IDENTITY_TOKEN_FILE}"),
        "The file that holds the token. It is read anew for each session, so whoever keeps it fresh just overwrites it.",
    );
    let session_name = session_name(table);
    let sts = sts(table);
    Some(WebIdentity { token_file: token_file?, role: role?, session_name: session_name?, sts: sts? })
}

/// A role of the partition that the stream is in: no other can be allowed to read it.
fn role(table: &mut Table<'_, '_>, stream: Option<&StreamArn>) -> Option<RoleArn> {
    let role = table.required("role_arn", Role, "The role.")?;
    match stream {
        Some(stream) if stream.partition() != role.partition() => {
            let message = format!(
                "the role is in the partition {}, but the stream is in {}",
                role.partition(),
                stream.partition()
            );
            let help = format!("name a role of the stream's partition: arn:{}:iam::…", stream.partition());
            table.complain(table.at("role_arn"), message, help);
            None
        }
        Some(_) | None => Some(role),
    }
}

fn session_name(table: &mut Table<'_, '_>) -> Option<Option<String>> {
    table.optional(
        "session_name",
        SESSION_NAME,
        "",
        "How the session is called in the account's logs. Default: `sluicebox-` and the pipeline's name.",
    )
}

fn sts(table: &mut Table<'_, '_>) -> Option<Sts> {
    let endpoint =
        table.optional("sts_endpoint", Url, "", "Another endpoint of STS than the region's own: that of a VPC.");
    let region = table.optional("region", Region, "", "The region whose STS is asked. Default: the stream's.");
    Some(Sts { endpoint: endpoint?, region: region? })
}

fn process(table: &mut Table<'_, '_>) -> Option<Process> {
    let command = table.required(
        "command",
        Command,
        "The program and its arguments, each a text; no shell is involved. It prints one JSON object as AWS's \
         `credential_process` defines it, and ends with 0.",
    );
    let timeout =
        table.default("timeout", Lasting("100ms", "10m"), "5s", "Time for it. It counts towards that of the call.");
    let (program, arguments) = command?;
    Some(Process { program, arguments, timeout: timeout? })
}

/// Complains if a process may run for longer than the call that waits for it: its own time limit would never be told.
pub(super) fn fits_a_call(table: &mut Table<'_, '_>, credentials: &Credentials, call: Duration) -> bool {
    let process = match credentials {
        Credentials::Process(process) => process,
        Credentials::AssumeRole(assumed) => return fits_a_call(table, &assumed.source, call),
        Credentials::Auto
        | Credentials::Basic { .. }
        | Credentials::Env
        | Credentials::Profile { .. }
        | Credentials::WebIdentity(_) => return true,
    };
    if process.timeout < call {
        return true;
    }
    let (process, call) = (format_duration(process.timeout), format_duration(call));
    let message = format!("a call ends after {call}, and the process may take {process}");
    let help = format!("raise `call` in [aws.timeouts] above {process}, or lower `timeout` in [aws.process]");
    table.complain(table.at("process"), message, help);
    false
}
