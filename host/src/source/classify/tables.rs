//! Errors of calls to a table: the same way down to a code, a status or a fate, other rows, other words.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::table::{Fate, MALFORMED, Row, TABLE_CODES, by_fate, by_status};
use super::{Heard, Role, SourceError, fate_of, one_line, quote, without_user_information};
use crate::aws::AwsSettings;
use crate::config::Table;

/// Where a table is, in the words of an error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePlace {
    /// The table's name.
    pub table: String,
    /// The region.
    pub region: String,
    /// The account of the table's ARN; `None` if it is that of the credentials.
    pub account: Option<String>,
    /// The endpoint that replaces the region's own, without user information.
    pub endpoint: Option<String>,
    /// The kind of credentials, as [`crate::config::Credentials::describe`] tells it.
    pub credentials: String,
}

impl TablePlace {
    /// The place of `table`, reached by `settings`.
    #[must_use]
    pub fn of(table: &Table, settings: &AwsSettings) -> Self {
        Self {
            table: table.name.clone(),
            region: settings.region.clone(),
            account: table.account.clone(),
            endpoint: settings.endpoint.as_deref().map(without_user_information),
            credentials: settings.credentials.describe(),
        }
    }

    /// Puts the facts into a sentence of the table of errors.
    fn fill(&self, sentence: &str) -> String {
        let endpoint = self.endpoint.clone().unwrap_or_else(|| format!("the DynamoDB endpoint of {}", self.region));
        sentence
            .replace("{stream}", &self.table)
            .replace("{region}", &self.region)
            .replace("{endpoint}", &endpoint)
            .replace("{credentials}", &self.credentials)
            .replace("{service}", "DynamoDB")
            .replace("{used}", "used")
            .replace("{setting}", "the sink's table")
    }
}

/// One call to a table, for the error that it may end with.
#[derive(Clone, Copy, Debug)]
pub struct TableSite<'a> {
    /// Where the table is.
    pub place: &'a TablePlace,
    /// The API operation, as AWS names it.
    pub operation: &'static str,
}

impl TableSite<'_> {
    /// Classifies what the SDK returned.
    #[must_use]
    pub fn sdk_error<E>(&self, error: &SdkError<E, HttpResponse>) -> SourceError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match Heard::of(error) {
            Heard::NoAccess(failure) => {
                SourceError { advice: failure.advice.clone(), ..self.fated(fate_of(failure), &failure.what) }
            }
            Heard::Answer { code, status, message } => self.answered(code, status, message),
            Heard::Fate(fate, message) => self.fated(fate, &message),
        }
    }

    /// Classifies an answer with an error in it: its code where there is one, else its HTTP status.
    #[must_use]
    pub fn answered(&self, code: Option<&str>, status: u16, message: &str) -> SourceError {
        let subject =
            super::Subject { operation: self.operation, stream: &self.place.table, shard: None, role: Role::Target };
        let code = code.filter(|code| !code.trim().is_empty());
        let fits = |row: &&Row, code: &str| row.codes.contains(&code) && row.says.holds(message, subject);
        let row = code.and_then(|code| TABLE_CODES.iter().find(|row| fits(row, code)));
        self.error(row.unwrap_or_else(|| by_status(status, code.is_some())), quote(row, code, status, message))
    }

    /// Classifies a call that was given up.
    #[must_use]
    pub fn unanswered(&self) -> SourceError {
        self.fated(Fate::Timeout, super::NO_ANSWER)
    }

    /// Classifies an answer that contradicts the API's own documentation.
    #[must_use]
    pub fn malformed(&self, what: &str) -> SourceError {
        self.error(&MALFORMED, one_line(what))
    }

    fn fated(&self, fate: Fate, message: &str) -> SourceError {
        self.error(by_fate(fate), one_line(message))
    }

    fn error(&self, row: &Row, message: String) -> SourceError {
        let place = self.place;
        let told = place.fill(row.problem);
        let (clause, reason) = told.split_once(": ").unwrap_or((&told, ""));
        let mut problem = format!("table {:?} {clause} in {}", place.table, place.region);
        if let Some(account) = &place.account {
            problem.push_str(&format!(" (account {account})"));
        }
        if let Some(endpoint) = &place.endpoint {
            problem.push_str(&format!(" at {endpoint}"));
        }
        if !reason.is_empty() {
            problem.push_str(&format!(": {reason}"));
        }
        SourceError {
            kind: row.kind,
            fault: row.fault,
            operation: self.operation,
            problem,
            message,
            advice: place.fill(row.advice),
            is_unsupported: false,
            may_be_of_an_entry: row.blames_entries,
        }
    }
}

#[cfg(test)]
mod tests;
