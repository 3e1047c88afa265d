//! What a user sees of a run while it lasts, and at its end. All of it on stderr; stdout is data.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use host_core::coordinator::{Coordinator, ShardState};
use host_core::shard::ShardId;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pipeline::Totals;
use crate::state::edit::position;

/// Time between two lines of progress when stderr is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Why a write to a string is not checked.
const STRING: &str = "writing to a string does not fail";
/// Shards shown on a terminal; those furthest behind come first.
const SHARDS_SHOWN: usize = 8;
/// Shards that a summary or the log tells one by one; of more they tell how many there are.
pub(crate) const SHARDS_TOLD: usize = 32;

/// Where progress and log lines share a terminal without writing over one another.
#[derive(Clone, Debug)]
pub struct Screen {
    bars: Option<MultiProgress>,
}

impl Screen {
    /// Live progress if stderr is a terminal that stdout does not write to as well; lines otherwise.
    #[must_use]
    pub fn detect() -> Self {
        let live = std::io::stderr().is_terminal() && !std::io::stdout().is_terminal();
        Self { bars: live.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(4))) }
    }

    /// Lines only.
    #[must_use]
    pub fn lines() -> Self {
        Self { bars: None }
    }

    /// Writes to stderr with the live part out of the way.
    pub fn write(&self, text: &[u8]) -> std::io::Result<()> {
        let write = || std::io::stderr().lock().write_all(text);
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

/// How far behind the tip each shard is, as the service told last (`MillisBehindLatest`).
#[derive(Clone, Debug, Default)]
pub struct Lags(Arc<Mutex<BTreeMap<ShardId, i64>>>);

impl Lags {
    /// Notes what the last page of a shard told.
    pub fn note(&self, shard: &ShardId, millis: Option<i64>) {
        let mut lags = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match millis {
            Some(millis) => drop(lags.insert(shard.clone(), millis)),
            None => drop(lags.remove(shard)),
        }
    }

    /// Milliseconds behind, if the service told.
    #[must_use]
    pub fn of(&self, shard: &ShardId) -> Option<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(shard).copied()
    }
}

/// The progress of one pipeline.
#[derive(Debug)]
pub struct Progress {
    name: String,
    streams: Vec<String>,
    bar: Option<ProgressBar>,
    last: Option<(Instant, u64)>,
    last_line: Instant,
    draining: bool,
}

impl Progress {
    /// Progress of the pipeline `name` over streams of these names.
    #[must_use]
    pub fn new(name: &str, streams: Vec<String>, screen: &Screen) -> Self {
        let bar = screen.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::no_length());
            bar.with_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        Self { name: name.to_owned(), streams, bar, last: None, last_line: Instant::now(), draining: false }
    }

    /// Somebody asked the run to stop.
    pub fn draining(&mut self) {
        self.draining = true;
        tracing::info!(pipeline = %self.name, "stopping: delivering what was read, then a last checkpoint; once more stops at once");
    }

    /// Looks at the run; called about once a second.
    pub fn look(&mut self, core: &Coordinator, totals: &Totals) {
        let records = totals.records_in.get();
        let now = Instant::now();
        let rate = self.last.map_or(0, |(at, before)| {
            let seconds = now.duration_since(at).as_secs_f64().max(0.001);
            ((records - before) as f64 / seconds).round() as u64
        });
        match &self.bar {
            Some(bar) => {
                self.last = Some((now, records));
                bar.set_message(self.screenful(core, totals, rate));
                bar.tick();
            }
            None if now.duration_since(self.last_line) >= LINE_INTERVAL => {
                self.last = Some((now, records));
                self.last_line = now;
                let reading = core.shards().filter(|shard| shard.state == ShardState::Reading).count();
                let behind = core.shards().filter_map(|shard| totals.lags.of(shard.shard)).max();
                let elements = totals.elements_out.get();
                let behind = behind.map_or_else(|| "?".to_owned(), |millis| lag_text(millis).trim_start().to_owned());
                tracing::info!(pipeline = %self.name, records, per_second = rate, elements, reading, behind, "progress");
            }
            None => {}
        }
    }

    /// Takes the live part off the screen.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn screenful(&self, core: &Coordinator, totals: &Totals, rate: u64) -> String {
        let mut text = format!(
            "{}{}  {} records in ({}/s)  {} elements out",
            self.name,
            if self.draining { " (stopping)" } else { "" },
            grouped(totals.records_in.get()),
            grouped(rate),
            grouped(totals.elements_out.get()),
        );
        let mut shards: Vec<_> = core.shards().filter(|shard| shard.state != ShardState::Finished).collect();
        shards.sort_by_cached_key(|shard| std::cmp::Reverse(totals.lags.of(shard.shard).unwrap_or(0)));
        let hidden = shards.len().saturating_sub(SHARDS_SHOWN);
        for shard in shards.into_iter().take(SHARDS_SHOWN) {
            let lag = totals.lags.of(shard.shard).map_or_else(String::new, lag_text);
            let (id, state) = (shard_text(shard.shard, &self.streams), state_text(shard.state));
            let in_flight = grouped(shard.in_flight);
            write!(text, "\n  {id}  {state:<10} {lag:>12}  {in_flight} in flight").expect(STRING);
        }
        if hidden > 0 {
            write!(text, "\n  and {hidden} more shards").expect(STRING);
        }
        if let Some((count, first)) = totals.health.struggling() {
            write!(text, "\n  failing and tried on: {first}").expect(STRING);
            if count > 1 {
                write!(text, " and {} more", count - 1).expect(STRING);
            }
        }
        text
    }
}

fn lag_text(millis: i64) -> String {
    match millis {
        ..=0 => "at the tip".to_owned(),
        1..=999 => format!("{millis} ms behind"),
        1_000..=119_999 => format!("{} s behind", millis / 1_000),
        120_000..=7_199_999 => format!("{} min behind", millis / 60_000),
        _ => format!("{} h behind", millis / 3_600_000),
    }
}

/// A shard's state in a word.
#[must_use]
pub const fn state_text(state: ShardState) -> &'static str {
    match state {
        ShardState::Waiting => "waiting",
        ShardState::Reading => "reading",
        ShardState::Ending => "ending",
        ShardState::CaughtUp => "caught up",
        ShardState::Closing | ShardState::Closed => "stopped",
        ShardState::Finished => "finished",
        ShardState::Reopening => "reopening",
        ShardState::Gone => "gone",
    }
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With every shard read to the end that was fixed at its start.
    CaughtUp,
    /// Because somebody asked for it.
    Stopped,
    /// Before its time.
    Failed,
}

impl Ending {
    const fn text(self) -> &'static str {
        match self {
            Self::CaughtUp => "caught up",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// A shard's state in a word, now that nothing goes on. A reader that was at its end when the run failed says
    /// nothing of what the sinks have.
    const fn of_shard(self, state: ShardState) -> &'static str {
        match (self, state) {
            (_, ShardState::Finished | ShardState::Waiting) | (Self::CaughtUp, _) => state_text(state),
            (Self::Stopped | Self::Failed, _) => "stopped",
        }
    }
}

/// What a run did, for people: the last thing on stderr. `streams` are the names of the source's streams.
#[must_use]
pub fn summary(
    name: &str,
    ending: Ending,
    core: &Coordinator,
    totals: &Totals,
    took: Duration,
    streams: &[String],
) -> String {
    let seconds = took.as_secs_f64().max(0.001);
    let megabytes = totals.bytes_in.get() as f64 / 1e6;
    let mut text = format!(
        "{name}: {} in {seconds:.1} s\n  {} records in ({megabytes:.1} MB, {:.1} MB/s), {} elements out, {} filtered, {} skipped\n",
        ending.text(),
        grouped(totals.records_in.get()),
        megabytes / seconds,
        grouped(totals.elements_out.get()),
        grouped(totals.filtered.get()),
        grouped(totals.skipped.get()),
    );
    let noteworthy = [
        (totals.gaps.get(), "gaps passed over"),
        (totals.unrouted.get(), "elements dropped on routes that no sink takes"),
        (totals.restarts.get(), "component restarts"),
        (totals.lost_subtasks.get(), "subtasks restarted"),
    ];
    for (count, what) in noteworthy.into_iter().filter(|(count, _)| *count > 0) {
        writeln!(text, "  {what}: {}", grouped(count)).expect(STRING);
    }
    if totals.subscriptions.get() > 0 {
        let (begun, lost) = (grouped(totals.subscriptions.get()), totals.takeovers.get() + totals.silences.get());
        write!(text, "  subscriptions: {begun}").expect(STRING);
        if lost > 0 {
            let (taken, silent) = (grouped(totals.takeovers.get()), grouped(totals.silences.get()));
            write!(text, " ({taken} taken over by another reader, {silent} fell silent)").expect(STRING);
        }
        writeln!(text).expect(STRING);
    }
    for (name, sink) in totals.sinks() {
        let (dead, repeated) = (sink.dead_letters.get(), sink.repeated.get());
        write!(text, "  sink {name:?}: {} entries written", grouped(sink.confirmed.get())).expect(STRING);
        if repeated > 0 {
            let sent = grouped(sink.sent.get());
            write!(text, ", {} of {sent} sent were repetitions", grouped(repeated)).expect(STRING);
        }
        if dead > 0 {
            write!(text, ", {} will never be written", grouped(dead)).expect(STRING);
        }
        writeln!(text).expect(STRING);
    }
    let retries = &totals.health.retries;
    if retries.get() > 0 {
        writeln!(text, "  repeated calls: {} ({retries})", grouped(retries.get())).expect(STRING);
    }
    if core.shards().nth(SHARDS_TOLD).is_some() {
        let mut states: BTreeMap<&str, u64> = BTreeMap::new();
        for shard in core.shards() {
            *states.entry(ending.of_shard(shard.state)).or_default() += 1;
        }
        let states: Vec<String> = states.iter().map(|(state, count)| format!("{} {state}", grouped(*count))).collect();
        writeln!(text, "  shards: {}; `sluicebox state list` tells their positions", states.join(", ")).expect(STRING);
        return text;
    }
    for shard in core.shards() {
        let position = shard.position.map_or_else(|| "no position yet".to_owned(), position::print);
        let subtask = shard.subtask.map_or_else(|| "-".to_owned(), |subtask| subtask.to_string());
        let state = ending.of_shard(shard.state);
        let id = shard_text(shard.shard, streams);
        writeln!(text, "  {id}  subtask {subtask}  {state:<9}  {position}").expect(STRING);
    }
    text
}

/// A shard as people know it: with its stream's name, if there are several.
fn shard_text(shard: &ShardId, streams: &[String]) -> String {
    match streams {
        [] | [_] => shard.to_string(),
        _ => format!("{}/{shard}", streams.get(shard.stream() as usize).map_or("?", String::as_str)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_in_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
