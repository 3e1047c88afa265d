//! By what became of a call that no code explains.

use super::{Fault, Row, SourceErrorKind, WAIT};

/// What became of a call that no answer of the service explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Fate {
    Refused,
    UnknownHost,
    NoTls,
    Timeout,
    Network,
    TornAnswer,
    Construction,
    NoCredentials,
    CredentialsUnavailable,
}

/// An answer that contradicts the API.
pub(in super::super) const MALFORMED: Row = Row::new(
    &[],
    (SourceErrorKind::Invalid, Fault::Service),
    "was answered for in a way that the API rules out",
    "nothing of the answer was used; check that {endpoint} is {service}",
);

/// The service knows no enhanced fan-out, as some emulators do not: HTTP 501, an unknown operation, or a text that says so.
pub(in super::super) const NO_FAN_OUT: Row = Row::new(
    &[],
    (SourceErrorKind::Invalid, Fault::Settings),
    "cannot be read with enhanced fan-out: there is none",
    "read by polling (`reader = \"polling\"` in [source]), or check aws.endpoint: {endpoint} may be an incomplete emulator",
);

/// Statuses from and to, both included.
type Ranges = &'static [(u16, u16)];

/// Rows for answers without a code that the table knows, and with or without another one: the statuses, as people write them, and as ranges.
pub(in super::super) const STATUSES: &[(&str, Ranges, Row)] = &[
    (
        "429",
        &[(429, 429)],
        Row::new(
            &[],
            (SourceErrorKind::Throttled, Fault::Load),
            "is asked too often",
            "the call is repeated more slowly; if it persists, look for other callers in the account",
        ),
    ),
    (
        "401, 403",
        &[(401, 401), (403, 403)],
        Row::new(
            &[],
            (SourceErrorKind::Denied, Fault::Settings),
            "may not be {used}",
            "check {credentials} and what its identity may do on {stream}",
        ),
    ),
    (
        "413",
        &[(413, 413)],
        Row::new(
            &[],
            (SourceErrorKind::Rejected, Fault::Settings),
            "refuses a request of this size",
            "lower max_bytes in [sink.batch], or raise what {endpoint}, or a proxy on the way to it, takes",
        ),
    ),
    (
        "3xx, 404, 405",
        &[(300, 399), (404, 405)],
        Row::new(
            &[],
            (SourceErrorKind::Unreachable, Fault::Settings),
            "cannot be asked for: nothing there speaks the API of {service}",
            "check aws.endpoint: {endpoint} answers like something else",
        ),
    ),
    (
        "408, 5xx",
        &[(408, 408), (500, 599)],
        Row::new(&[], (SourceErrorKind::Transient, Fault::Service), "is not served right now", WAIT),
    ),
];

/// Any other status, with a code that the table does not know.
pub(in super::super) const NEW_CODE: Row = Row::new(
    &[],
    (SourceErrorKind::Invalid, Fault::Host),
    "cannot be {used} as asked",
    "this error is new to the host: look its code up in the API reference of {service}",
);

/// Any other status, without a code. The service names every error: this is the page of a proxy on the way, or an answer
/// that was damaged there, and says nothing of the request.
pub(in super::super) const NAMELESS: Row = Row::new(
    &[],
    (SourceErrorKind::Transient, Fault::Network),
    "was refused without a reason",
    "such calls are repeated; if it persists, check that {endpoint} is {service}, and for a proxy on the way to it",
);

/// By HTTP status, for answers without a code that the table knows; `is_named` if they have another one.
pub(in super::super) fn by_status(status: u16, is_named: bool) -> &'static Row {
    let fits = |ranges: Ranges| ranges.iter().any(|(first, last)| (*first..=*last).contains(&status));
    let found = STATUSES.iter().find(|(_, ranges, _)| fits(ranges));
    found.map_or(if is_named { &NEW_CODE } else { &NAMELESS }, |(_, _, row)| row)
}

/// Rows for calls that no answer came to, each with its fate as people tell it.
pub(in super::super) const FATES: &[(Fate, &str, Row)] = &[
    (
        Fate::Refused,
        "connection refused",
        Row::new(
            &[],
            (SourceErrorKind::Unreachable, Fault::Settings),
            "cannot be reached: nothing listens",
            "check aws.endpoint, or that what serves {endpoint} is running",
        ),
    ),
    (
        Fate::UnknownHost,
        "unknown host",
        Row::new(
            &[],
            (SourceErrorKind::Unreachable, Fault::Settings),
            "cannot be reached: the host's name is unknown",
            "check aws.region and aws.endpoint ({endpoint}), and this machine's DNS",
        ),
    ),
    (
        Fate::NoTls,
        "no TLS",
        Row::new(
            &[],
            (SourceErrorKind::Unreachable, Fault::Settings),
            "cannot be reached: no secure connection",
            "check that {endpoint} speaks TLS (http:// for an emulator), and this machine's root certificates and clock",
        ),
    ),
    (
        Fate::Timeout,
        "no answer in time",
        Row::new(&[], (SourceErrorKind::Transient, Fault::Network), "did not answer in time", WAIT),
    ),
    (
        Fate::Network,
        "connection lost",
        Row::new(&[], (SourceErrorKind::Transient, Fault::Network), "could not be asked: the connection failed", WAIT),
    ),
    (
        Fate::TornAnswer,
        "answer unreadable",
        Row::new(&[], (SourceErrorKind::Transient, Fault::Service), "answered something unreadable", WAIT),
    ),
    (
        Fate::Construction,
        "no request possible",
        Row::new(
            &[],
            (SourceErrorKind::Invalid, Fault::Settings),
            "cannot be asked for: no request can be made of the settings",
            "check {setting}, aws.region ({region}) and aws.endpoint ({endpoint})",
        ),
    ),
    (
        Fate::NoCredentials,
        "no credentials",
        Row::new(
            &[],
            (SourceErrorKind::Denied, Fault::Settings),
            "may not be {used}: there are no credentials",
            "{credentials} found none: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or another [aws] credentials, or run \
             with --local",
        ),
    ),
    (
        Fate::CredentialsUnavailable,
        "source of credentials failed",
        Row::new(
            &[],
            (SourceErrorKind::Transient, Fault::Network),
            "cannot be asked for: the source of credentials failed",
            "such calls are repeated; if it persists, check {credentials}",
        ),
    ),
];

/// By what became of the call.
pub(in super::super) fn by_fate(fate: Fate) -> &'static Row {
    let found = FATES.iter().find(|(of, _, _)| *of == fate);
    found.map(|(_, _, row)| row).expect("every fate has a row")
}
