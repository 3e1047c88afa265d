//! The reference of all errors of the service, `docs/errors.md`, as text: made of the table that errors are judged by.

use super::SourceErrorKind;
use super::table::{CODES, FATES, MALFORMED, NAMELESS, NEW_CODE, NO_FAN_OUT, Row, STATUSES, TABLE_CODES};

const OPENING: &str = "# Errors of the service

What Kinesis or DynamoDB, their front end, an emulator or the network may answer, what the host makes of it, and what is
left for you. This page is made of the table that the program judges errors by. An error in the log names the stream or
table, its place, the operation, the service's code and text, and the advice of this page with your own settings filled in.

- **Class** says what the error asks for; the table below tells what the host does about each.
- **Whose** says who can mend it: the *settings* (manifest, credentials, permissions, this machine's clock), the *load* (those
  who read or write together ask for more than the stream gives, or read too late), the *service*, the *network*, *sluicebox*, or
  *nobody*, because it belongs to normal operation.
- A pipeline that runs is *struggling* once a call has failed `aws.retry.max_attempts` times in a row, or for 30 seconds. The
  log says so once, progress lines count it, and the log says when it is over.

## Classes

| Class | What the host does |
|---|---|
";

/// What rows that hold of both are about.
const EITHER: &str = "the stream or table";

/// The whole page.
#[must_use]
pub fn reference() -> String {
    let mut page = OPENING.to_owned();
    for kind in SourceErrorKind::ALL {
        page.push_str(&format!("| {} | {} |\n", kind.name(), kind.what_the_host_does()));
    }
    page.push_str("\n## By code\n\nOf calls to a stream. The first row that fits holds.\n\n");
    page.push_str(&header("Code"));
    CODES.iter().for_each(|row| page.push_str(&by_code(row, "the stream")));
    page.push_str("\n## By code, of a table\n\nThe first row that fits holds.\n\n");
    page.push_str(&header("Code"));
    TABLE_CODES.iter().for_each(|row| page.push_str(&by_code(row, "the table")));
    page.push_str("\n## By HTTP status\n\nOf answers without one of the codes above.\n\n");
    page.push_str(&header("Status"));
    for (shown, _, row) in STATUSES {
        page.push_str(&line(shown, row, EITHER));
    }
    page.push_str(&line(
        "501, an unknown operation, or a text that says so, to a call of fan-out",
        &NO_FAN_OUT,
        EITHER,
    ));
    page.push_str(&line("any other, with a code", &NEW_CODE, EITHER));
    page.push_str(&line("any other, without one", &NAMELESS, EITHER));
    page.push_str("\n## Without an answer, or with one that makes no sense\n\n");
    page.push_str(&header("What became of the call"));
    for (_, shown, row) in FATES {
        page.push_str(&line(shown, row, EITHER));
    }
    page.push_str(&line("answer contradicts the API", &MALFORMED, EITHER));
    page
}

fn by_code(row: &Row, thing: &str) -> String {
    let codes: Vec<String> = row.codes.iter().map(|code| format!("`{code}`")).collect();
    line(&format!("{}{}", codes.join(", "), row.says.shown()), row, thing)
}

fn header(first: &str) -> String {
    format!("| {first} | Class | Whose | The stream, shard or table … | You |\n|---|---|---|---|---|\n")
}

fn line(first: &str, row: &Row, thing: &str) -> String {
    let told = |text: &str| {
        text.replace("{stream}", thing)
            .replace("{region}", "the region")
            .replace("{endpoint}", "the endpoint")
            .replace("{credentials}", "the credentials")
            .replace("{service}", "the service")
            .replace("{used}", "read or written to")
            .replace("{setting}", "stream_arn or the sink's table")
    };
    format!("| {first} | {} | {} | {} | {} |\n", row.kind.name(), row.fault.name(), told(row.problem), told(row.advice))
}
