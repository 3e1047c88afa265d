//! Logs: constant messages, facts as fields, on stderr.
//!
//! What is logged is the user's choice, but for one thing: crates that see secrets on their way log them, too, at the
//! levels that somebody looks at when something does not work: requests before they are signed, lines of profile
//! files, what a program wrote to stderr. Those events are dropped whatever the filter says. What they would tell about
//! credentials, [`crate::aws`] logs without the secrets.

use std::io::{self, Write};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, filter};

use crate::cli::LogFormat;
use crate::progress::Screen;

/// Starts logging to stderr.
///
/// # Errors
/// `filter` is no filter.
pub fn start(filter: &str, format: LogFormat, screen: &Screen) -> Result<(), filter::ParseError> {
    // The embedded endpoint logs every refusal and every stream; what comes of it is told by whoever asked. A filter
    // that names it itself comes later and wins.
    let filter = EnvFilter::builder().parse(format!("ferrokinesis=warn,{filter}"))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(Lines(screen.clone()));
    let harmless = filter::filter_fn(|metadata| !may_hold_secrets(metadata));
    let lines = match format {
        LogFormat::Human => {
            let color = io::IsTerminal::is_terminal(&io::stderr());
            lines.with_ansi(color).with_target(false).compact().with_filter(harmless).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).with_filter(harmless).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    Ok(())
}

/// Whether an event of this place may hold a secret: the SDK's parts that read and use credentials at any level, its
/// other parts and the transport below what is no detail.
fn may_hold_secrets(metadata: &Metadata<'_>) -> bool {
    const NEVER: [&str; 3] = ["aws_config", "aws_runtime", "aws_sigv4"];
    const NO_DETAILS: [&str; 5] = ["aws_", "hyper", "h2", "rustls", "tower"];
    let from = |crates: &[&str]| crates.iter().any(|name| metadata.target().starts_with(name));
    from(&NEVER) || (from(&NO_DETAILS) && *metadata.level() > Level::WARN)
}

/// Writes whole lines around what is live on the screen.
#[derive(Clone)]
struct Lines(Screen);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { screen: &self.0, text: Vec::new() }
    }
}

/// One event's text, written when it is complete.
struct Line<'a> {
    screen: &'a Screen,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        // A log line that cannot be written cannot be complained about either.
        drop(self.screen.write(&self.text));
    }
}
