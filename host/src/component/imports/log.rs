//! A component's lines in the host's log: cut, escaped, tagged with who said it, and limited in bytes a second. A line
//! over the limit is dropped and counted, and the next line that fits says how many were.

use std::fmt::Write as _;
use std::time::Instant;

use tracing::{Level, debug, error, info, trace, warn};

use crate::component::bindings::sluicebox::pipeline::log;
use crate::component::state::State;

/// Bytes of a message that are kept.
const MESSAGE_BYTES: usize = 4_096;
/// Fields of a line that are kept.
const FIELDS: usize = 16;
/// Bytes of a field's name that are kept.
const NAME_BYTES: usize = 64;
/// Bytes of a field's value that are kept.
const VALUE_BYTES: usize = 1_024;
/// Bytes of standard error that are kept to explain a trap.
const LAST_WORDS_BYTES: usize = 512;

/// Who writes a line.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    /// The manifest's `tenant`.
    pub(crate) tenant: String,
    /// The manifest's `name`.
    pub(crate) pipeline: String,
    /// Where the manifest names the component.
    pub(crate) stage: String,
    /// The subtask that owns the instance.
    pub(crate) subtask: u32,
}

/// The log of one instance.
#[derive(Debug)]
pub(crate) struct GuestLog {
    author: Author,
    bucket: Bucket,
    dropped: u64,
    last_words: String,
}

impl GuestLog {
    /// A log that takes `bytes_per_second`.
    pub(crate) fn new(author: Author, bytes_per_second: u32, now: Instant) -> Self {
        Self { author, bucket: Bucket::new(bytes_per_second, now), dropped: 0, last_words: String::new() }
    }

    /// Forgets what was said before: a call begins.
    pub(crate) fn begin(&mut self) {
        self.last_words.clear();
    }

    /// The end of what was written to standard error since [`GuestLog::begin`], in one line.
    pub(crate) fn last_words(&self) -> Option<String> {
        (!self.last_words.is_empty()).then(|| self.last_words.clone())
    }

    /// Where the manifest names the component.
    pub(crate) fn stage(&self) -> String {
        self.author.stage.clone()
    }

    /// Lines dropped since the last one that passed.
    #[cfg(test)]
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// One line of standard output or standard error.
    pub(crate) fn line(&mut self, stream: Stream, line: &[u8], now: Instant) {
        let line = escape(&String::from_utf8_lossy(&line[..line.len().min(MESSAGE_BYTES)]), MESSAGE_BYTES);
        // Rust's advice about its own environment variable helps nobody here.
        if line.is_empty() || line.starts_with("note: run with `RUST_BACKTRACE") {
            return;
        }
        if stream == Stream::Error {
            self.remember(&line);
        }
        let level = if stream == Stream::Error { log::Level::Warn } else { log::Level::Info };
        self.emit(level, &line, "", now);
    }

    fn remember(&mut self, line: &str) {
        if !self.last_words.is_empty() {
            self.last_words.push_str(" | ");
        }
        self.last_words.push_str(line);
        if let Some(excess) = self.last_words.len().checked_sub(LAST_WORDS_BYTES) {
            let cut = self.last_words.ceil_char_boundary(excess);
            self.last_words.drain(..cut);
        }
    }

    /// Writes a line whose parts are already cut and escaped.
    fn emit(&mut self, level: log::Level, line: &str, fields: &str, now: Instant) {
        if !self.bucket.take(line.len() + fields.len() + 1, now) {
            self.dropped += 1;
            return;
        }
        let Author { tenant, pipeline, stage, subtask } = &self.author;
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            warn!(target: "component", tenant, pipeline, stage, subtask, dropped, "log lines dropped over the rate limit");
        }
        // A line without fields shows none.
        let shown = (!fields.is_empty()).then_some(fields);
        match level {
            log::Level::Trace => {
                trace!(target: "component", tenant, pipeline, stage, subtask, line, fields = shown, "says")
            }
            log::Level::Debug => {
                debug!(target: "component", tenant, pipeline, stage, subtask, line, fields = shown, "says")
            }
            log::Level::Info => {
                info!(target: "component", tenant, pipeline, stage, subtask, line, fields = shown, "says")
            }
            log::Level::Warn => {
                warn!(target: "component", tenant, pipeline, stage, subtask, line, fields = shown, "says")
            }
            log::Level::Error => {
                error!(target: "component", tenant, pipeline, stage, subtask, line, fields = shown, "says")
            }
        }
    }
}

/// Which of the standard streams a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// A token bucket that holds one second's worth.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second: f64::from(per_second), tokens: f64::from(per_second), filled: now }
    }

    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = elapsed.mul_add(self.per_second, self.tokens).min(self.per_second);
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        let fits = bytes <= self.tokens;
        if fits {
            self.tokens -= bytes;
        }
        fits
    }
}

/// At most `max` bytes of `text`, with control characters (line breaks and terminal sequences among them) written out.
pub(crate) fn escape(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for char in text.chars() {
        let before = out.len();
        if char.is_control()
            || matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
        if out.len() > max {
            out.truncate(before);
            break;
        }
    }
    out
}

impl log::Host for State {
    fn max_level(&mut self) -> wasmtime::Result<log::Level> {
        let enabled = [
            (tracing::enabled!(target: "component", Level::TRACE), log::Level::Trace),
            (tracing::enabled!(target: "component", Level::DEBUG), log::Level::Debug),
            (tracing::enabled!(target: "component", Level::INFO), log::Level::Info),
            (tracing::enabled!(target: "component", Level::WARN), log::Level::Warn),
        ];
        Ok(enabled.into_iter().find(|(on, _)| *on).map_or(log::Level::Error, |(_, level)| level))
    }

    fn emit(&mut self, level: log::Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        let line = escape(&message, MESSAGE_BYTES);
        let mut rendered = String::new();
        for (name, value) in fields.iter().take(FIELDS) {
            let separator = if rendered.is_empty() { "" } else { " " };
            let (name, value) = (escape(name, NAME_BYTES), escape(value, VALUE_BYTES));
            write!(rendered, "{separator}{name}={value:?}").expect("a String takes what is written to it");
        }
        self.log().emit(level, &line, &rendered, Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn log(bytes_per_second: u32, now: Instant) -> GuestLog {
        let author = Author { tenant: "t".into(), pipeline: "p".into(), stage: "deserializer".into(), subtask: 0 };
        GuestLog::new(author, bytes_per_second, now)
    }

    #[test]
    fn lines_over_the_rate_are_dropped_and_counted_until_time_passes() {
        let start = Instant::now();
        let mut log = log(100, start);
        for _ in 0..5 {
            log.line(Stream::Output, &[b'x'; 49], start);
        }
        assert_eq!(log.dropped(), 3, "100 bytes hold two lines of 50");
        log.line(Stream::Output, b"after a second", start + Duration::from_secs(1));
        assert_eq!(log.dropped(), 0, "the drop was told");
    }

    #[test]
    fn control_characters_are_written_out_and_text_is_cut_between_characters() {
        assert_eq!(escape("a\nb\u{1b}[31m", 100), "a\\nb\\u{1b}[31m");
        assert_eq!(escape("äöü", 5), "äö");
        assert_eq!(escape("ab\n", 3), "ab", "an escape is whole or absent");
    }

    #[test]
    fn the_last_words_are_the_end_of_standard_error_in_this_call() {
        let now = Instant::now();
        let mut log = log(1 << 20, now);
        log.line(Stream::Error, b"thread '<unnamed>' panicked at src/lib.rs:1:1:", now);
        log.line(Stream::Error, b"no such field", now);
        log.line(Stream::Error, b"note: run with `RUST_BACKTRACE=1` environment variable", now);
        log.line(Stream::Output, b"hello", now);
        let words = log.last_words().expect("something was said");
        assert_eq!(words, "thread '<unnamed>' panicked at src/lib.rs:1:1: | no such field");
        for _ in 0..100 {
            log.line(Stream::Error, "ä".repeat(100).as_bytes(), now);
        }
        assert!(log.last_words().expect("something was said").len() <= LAST_WORDS_BYTES);
        log.begin();
        assert_eq!(log.last_words(), None);
    }
}
