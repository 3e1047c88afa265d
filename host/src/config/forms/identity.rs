//! Forms of what tells who asks: roles, sessions, programs that know.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::super::credentials::{InvalidRole, RoleArn, is_name_byte};
use super::super::document::Value;
use super::super::names::Secret;
use super::texts::empty;
use super::{Complaint, Context, Form, text, text_schema};

/// The ARN of a role.
pub(in super::super) struct Role;

impl Form for Role {
    type Value = RoleArn;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<RoleArn, Complaint> {
        let (text, quote) = text(value)?;
        RoleArn::parse(text).map_err(|error| {
            let help = match error {
                InvalidRole::Session => "write arn:aws:iam::ACCOUNT:role/NAME, without the session".to_owned(),
                InvalidRole::Shape | InvalidRole::Resource | InvalidRole::Account | InvalidRole::Name => {
                    format!("it looks like {}", self.example())
                }
            };
            Complaint::content(format!("{quote} {error}"), help)
        })
    }

    fn takes(&self) -> String {
        "the ARN of a role".to_owned()
    }

    fn example(&self) -> String {
        "\"arn:aws:iam::123456789012:role/stream-reader\"".to_owned()
    }

    fn schema(&self) -> Json {
        text_schema("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[!-~]+$")
    }
}

/// A text of which STS takes some characters and lengths only.
pub(in super::super) struct StsText {
    pub(in super::super) noun: &'static str,
    pub(in super::super) longest: usize,
    /// Beside letters, digits and `_+=,.@-`.
    pub(in super::super) more: &'static str,
    pub(in super::super) example: &'static str,
}

/// How a session is called.
pub(in super::super) const SESSION_NAME: StsText =
    StsText { noun: "session name", longest: 64, more: "", example: "sluicebox-orders" };
/// What the owner of a role in another account asks for.
pub(in super::super) const EXTERNAL_ID: StsText =
    StsText { noun: "external id", longest: 1224, more: ":/", example: "12345" };

impl Form for StsText {
    type Value = String;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<String, Complaint> {
        let (text, quote) = text(value)?;
        let Self { noun, longest, more, example } = self;
        let rule = || format!("2 to {longest} letters, digits and any of `_+=,.@-{more}`, as in {example:?}");
        if !(2..=*longest).contains(&text.len()) {
            let fault = if text.len() < 2 { "too short" } else { "too long" };
            return Err(Complaint::content(format!("{quote} is {fault}"), format!("it takes {}", rule())));
        }
        if !text.bytes().all(|byte| is_name_byte(byte) || more.as_bytes().contains(&byte)) {
            return Err(Complaint::content(format!("{quote} is no {noun}"), format!("it takes {}", rule())));
        }
        Ok(text.to_owned())
    }

    fn takes(&self) -> String {
        format!(
            "{} {} of 2 to {} characters",
            if self.noun.starts_with('e') { "an" } else { "a" },
            self.noun,
            self.longest
        )
    }

    fn example(&self) -> String {
        format!("{:?}", self.example)
    }

    fn schema(&self) -> Json {
        text_schema(&format!("^[A-Za-z0-9_+=,.@{}-]{{2,{}}}$", self.more, self.longest))
    }
}

/// A session policy: JSON in a text.
pub(in super::super) struct Policy;

/// `Policy` of STS, in characters.
const POLICY_CHARS_MAX: usize = 2048;

impl Form for Policy {
    type Value = String;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<String, Complaint> {
        let (text, _) = text(value)?;
        let count = text.chars().count();
        if count > POLICY_CHARS_MAX {
            let message = format!("it has {count} characters, and STS takes at most {POLICY_CHARS_MAX}");
            return Err(Complaint::content(message, "attach the policy to the role instead"));
        }
        match serde_json::from_str::<Json>(text) {
            Ok(Json::Object(_)) => Ok(text.to_owned()),
            Ok(_) => Err(Complaint::content("it is no policy: a policy is a JSON object", self.help())),
            Err(error) => Err(Complaint::content(format!("it is no policy: {error}"), self.help())),
        }
    }

    fn takes(&self) -> String {
        "an IAM policy as JSON".to_owned()
    }

    fn example(&self) -> String {
        "'{\"Version\": \"2012-10-17\", \"Statement\": []}'".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 2, "maxLength": POLICY_CHARS_MAX })
    }
}

impl Policy {
    fn help(&self) -> String {
        format!("write an IAM policy between single quotes, as in {}", self.example())
    }
}

/// A program and its arguments, each a text of its own.
pub(in super::super) struct Command;

impl Form for Command {
    type Value = (PathBuf, Vec<Secret>);

    fn parse(&self, value: &Value, context: &Context<'_>) -> Result<Self::Value, Complaint> {
        if matches!(value, Value::Text { .. }) {
            let help = format!("no shell takes it apart: write {}", self.example());
            return Err(Complaint::content("it is one text, but takes a list: the program and each argument", help));
        }
        let Value::List(items) = value else { return Err(value.wrong_type()) };
        let mut words = Vec::new();
        for item in items {
            let word = text(&item.value).map_err(|complaint| match complaint {
                Complaint::Type => {
                    let message = format!("it holds {}, but takes texts only", item.value.kind());
                    Complaint::content(message, format!("write {}", self.example()))
                }
                told @ (Complaint::Told | Complaint::Content { .. } | Complaint::Inside { .. }) => told,
            });
            words.push(word?.0);
        }
        let Some((program, arguments)) = words.split_first().filter(|(program, _)| !program.trim().is_empty()) else {
            return Err(empty(&self.example()));
        };
        if program.starts_with("~/") {
            return Err(Complaint::content("`~` has no meaning here", "write ${HOME} instead"));
        }
        // A name alone is looked up in PATH, as everywhere; a path is relative to the manifest, as everywhere here.
        let program = if program.contains('/') { context.dir.join(program) } else { PathBuf::from(program) };
        Ok((program, arguments.iter().map(|argument| Secret::new((*argument).to_owned())).collect()))
    }

    fn takes(&self) -> String {
        "a list: a program and its arguments".to_owned()
    }

    fn example(&self) -> String {
        "[\"aws\", \"configure\", \"export-credentials\"]".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "minItems": 1, "items": { "type": "string" } })
    }
}
