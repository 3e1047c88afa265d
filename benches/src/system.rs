//! What the system says of a process.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

/// How often the file of positions is looked at. Two commits within one interval count as one.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// The unit of CPU time in `/proc`, fixed for programs whatever the kernel's own is.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// User mode and kernel, all threads, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Resident, in bytes.
    pub(crate) resident: u64,
    /// The most that ever was resident, in bytes.
    pub(crate) resident_peak: u64,
    /// Voluntary and not, of all threads that live.
    pub(crate) switches: u64,
    pub(crate) threads: u64,
}

impl Usage {
    /// Of the process `id`.
    pub(crate) fn of(id: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name before it may contain anything.
        let (_, behind_name) = stat.rsplit_once(')').context("/proc tells the name in parentheses")?;
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).context("/proc tells CPU time")?.parse()?) };
        let mut switches = 0;
        for thread in fs::read_dir(format!("/proc/{id}/task"))? {
            // A thread may end in between.
            let Ok(status) = fs::read_to_string(thread?.path().join("status")) else { continue };
            switches += number(&status, "voluntary_ctxt_switches")? + number(&status, "nonvoluntary_ctxt_switches")?;
        }
        Ok(Self {
            cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
            resident: number(&status, "VmRSS")? << 10,
            resident_peak: number(&status, "VmHWM")? << 10,
            switches,
            threads: number(&status, "Threads")?,
        })
    }
}

fn number(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find(|line| line.split(':').next() == Some(name));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(value.with_context(|| format!("/proc does not tell {name}"))?.parse()?)
}

/// Counts how often a file changes, for as long as it lives.
pub(crate) struct Changes {
    count: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Changes {
    pub(crate) fn of(path: PathBuf) -> Self {
        let (count, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, end) = (Arc::clone(&count), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            let look = || fs::metadata(&path).and_then(|file| file.modified()).ok();
            let mut last = look();
            while !end.load(Ordering::Relaxed) {
                thread::sleep(LOOK_INTERVAL);
                let now = look();
                if now != last {
                    counted.fetch_add(1, Ordering::Relaxed);
                    last = now;
                }
            }
        });
        Self { count, ended, thread: Some(thread) }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
