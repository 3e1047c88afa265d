//! The inert part of WASI: what a language runtime needs to start, and nothing that reaches the world.
//!
//! Linked interface by interface from wasmtime-wasi, with every source of nondeterminism replaced: both clocks show the
//! batch's time and stand still during a batch (whoever sleeps is awake at once, whoever spins spends the CPU budget),
//! randomness is seeded, arguments and environment are empty, standard input is closed, standard output and error become
//! log lines. The filesystem's functions are there because `wasm32-wasip2` imports them, but no directory is open, so
//! there is nothing to call them on. Sockets and HTTP are not linked at all: importing them refuses the component.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::runtime::Runtime;
use wasmtime::component::{HasData, HasSelf, Linker, Resource, ResourceTable};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sync};
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamResult, subscribe};

use crate::component::imports::log::{GuestLog, Stream};
use crate::component::state::State;

/// The interfaces of WASI 0.2 that are linked when `wasi = "inert"`.
pub(super) const INERT: [&str; 20] = [
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:clocks/wall-clock",
    "wasi:clocks/monotonic-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:filesystem/types",
    "wasi:filesystem/preopens",
];

/// Bytes of randomness that one call may ask for.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a line after which it is cut.
const LINE_BYTES: usize = 4_096;

/// Adds the inert interfaces to `linker`.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    struct Table;
    impl HasData for Table {
        type Data<'a> = &'a mut ResourceTable;
    }
    let l = linker;
    wasmtime_wasi::p2::bindings::io::error::add_to_linker::<State, Table>(l, |state| &mut state.table)?;
    sync::io::poll::add_to_linker::<State, Table>(l, |state| &mut state.table)?;
    sync::io::streams::add_to_linker::<State, Table>(l, |state| &mut state.table)?;
    clocks::wall_clock::add_to_linker::<State, HasSelf<State>>(l, |state| state)?;
    clocks::monotonic_clock::add_to_linker::<State, HasSelf<State>>(l, |state| state)?;
    random::random::add_to_linker::<State, HasSelf<State>>(l, |state| state)?;
    random::insecure::add_to_linker::<State, HasSelf<State>>(l, |state| state)?;
    random::insecure_seed::add_to_linker::<State, HasSelf<State>>(l, |state| state)?;
    cli::environment::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::exit::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stderr::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, State::cli)?;
    filesystem::preopens::add_to_linker::<State, WasiFilesystem>(l, State::filesystem)?;
    sync::filesystem::types::add_to_linker::<State, WasiFilesystem>(l, State::filesystem)
}

/// An inert context whose output becomes lines of `log`.
pub(super) fn context(log: &Arc<Mutex<GuestLog>>) -> WasiCtx {
    // Without arguments a builder allows nothing: no files, no environment, closed input, no addresses.
    WasiCtx::builder()
        .stdout(Lines::new(Stream::Output, log))
        .stderr(Lines::new(Stream::Error, log))
        .allow_blocking_current_thread(true)
        .build()
}

/// Runs `call` where wasmtime-wasi finds a runtime of ours. Its functions are written as futures; here they are all
/// ready at once, so this runtime never runs anything. Without it they would start one with a thread for each core.
pub(super) fn with_runtime<R>(call: impl FnOnce() -> R) -> R {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers needs nothing of the system")
    });
    let _entered = RUNTIME.enter();
    call()
}

impl clocks::wall_clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<clocks::wall_clock::Datetime> {
        let millis = u64::try_from(self.time.0).unwrap_or(0);
        let nanoseconds = u32::try_from(millis % 1_000 * 1_000_000).unwrap_or(0);
        Ok(clocks::wall_clock::Datetime { seconds: millis / 1_000, nanoseconds })
    }

    fn resolution(&mut self) -> wasmtime::Result<clocks::wall_clock::Datetime> {
        Ok(clocks::wall_clock::Datetime { seconds: 0, nanoseconds: 1_000_000 })
    }
}

impl clocks::monotonic_clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.monotonic)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1_000_000)
    }

    fn subscribe_instant(&mut self, _when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.awake()
    }

    fn subscribe_duration(&mut self, _when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.awake()
    }
}

impl State {
    fn awake(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let awake = self.table.push(Awake)?;
        subscribe(&mut self.table, awake)
    }
}

/// Time that has come: waiting for it ends at once.
struct Awake;

impl Pollable for Awake {
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

/// SplitMix64: short, well spread, and the same sequence for the same seed on every machine. Not for secrets, of which
/// a component has none to make.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        if len > RANDOM_BYTES_MAX {
            return Err(wasmtime::format_err!("asked for {len} random bytes at once, {RANDOM_BYTES_MAX} are allowed"));
        }
        let len = usize::try_from(len)?;
        let words = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        Ok(words.take(len).collect())
    }
}

impl random::random::Host for State {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random.bytes(len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.random.next())
    }
}

impl random::insecure::Host for State {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random.bytes(len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.random.next())
    }
}

impl random::insecure_seed::Host for State {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.random.next(), self.random.next()))
    }
}

/// A standard stream that ends in the log.
#[derive(Clone)]
struct Lines {
    stream: Stream,
    /// The line so far; shared by all handles of the stream.
    partial: Arc<Mutex<Vec<u8>>>,
    log: Arc<Mutex<GuestLog>>,
}

impl Lines {
    fn new(stream: Stream, log: &Arc<Mutex<GuestLog>>) -> Self {
        Self { stream, partial: Arc::default(), log: Arc::clone(log) }
    }

    fn push(&self, bytes: &[u8]) {
        let now = Instant::now();
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (line, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |line| (line, true));
            let room = LINE_BYTES.saturating_sub(partial.len());
            partial.extend_from_slice(&line[..line.len().min(room)]);
            if ended || partial.len() >= LINE_BYTES {
                log.line(self.stream, &partial, now);
                partial.clear();
            }
        }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this form, and it is not linked.
        Box::new(tokio::io::sink())
    }
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

impl Pollable for Lines {
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::imports::log::Author;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let (mut one, mut two) = (Random::new(7), Random::new(7));
        assert_eq!(one.bytes(13).expect("few bytes"), two.bytes(13).expect("few bytes"));
        assert_ne!(one.next(), Random::new(8).next());
        assert!(one.bytes(RANDOM_BYTES_MAX + 1).is_err());
    }

    #[test]
    fn output_becomes_lines_whatever_pieces_it_is_written_in() {
        let author = Author { tenant: String::new(), pipeline: String::new(), stage: String::new(), subtask: 0 };
        let log = Arc::new(Mutex::new(GuestLog::new(author, 1 << 20, Instant::now())));
        let lines = Lines::new(Stream::Error, &log);
        lines.push(b"one\ntw");
        lines.push(b"o\n");
        lines.push(&[b'x'; LINE_BYTES + 1]);
        let words = log.lock().expect("nobody panicked").last_words().expect("something was said");
        assert!(words.ends_with('x'), "a line without an end is cut: {words}");
        let author = Author { tenant: String::new(), pipeline: String::new(), stage: String::new(), subtask: 0 };
        let log = Arc::new(Mutex::new(GuestLog::new(author, 1 << 20, Instant::now())));
        let lines = Lines::new(Stream::Error, &log);
        lines.push(b"one\ntw");
        lines.push(b"o\nthr");
        assert_eq!(log.lock().expect("nobody panicked").last_words().as_deref(), Some("one | two"));
    }
}
