//! Logs: constant messages, facts as fields, on stderr.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::LogFormat;
use crate::progress::Screen;

/// Starts logging to stderr.
///
/// # Errors
/// `filter` is no filter.
pub fn start(filter: &str, format: LogFormat, screen: &Screen) -> Result<(), tracing_subscriber::filter::ParseError> {
    // The embedded endpoint logs every refusal and every stream; what comes of it is told by whoever asked. A filter
    // that names it itself comes later and wins.
    let filter = EnvFilter::builder().parse(format!("ferrokinesis=warn,{filter}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines(screen.clone()));
    match format {
        LogFormat::Human => {
            let color = io::IsTerminal::is_terminal(&io::stderr());
            builder.with_ansi(color).with_target(false).compact().init();
        }
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
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
