//! Asks whoever runs a pipeline to drain and stop, as an operator does with SIGTERM, and waits until it has.
//!
//! A process is found by what its lock file says, and a number in a file may be anybody's by now. So the process is held
//! on to first (a pidfd names one process for ever), then it has to have this very lock file open, and only then it is
//! asked. A process that runs other pipelines, too, is left alone: it would stop all of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::SavepointError;
use crate::state::edit::{Site, Snapshot};
use crate::state::{Owner, PipelineId, StoreError, lock};

/// How often the lock is looked at while its holder drains.
const LOOK: Duration = Duration::from_millis(50);
/// How often whoever waits is told.
const TELL: Duration = Duration::from_secs(2);

/// A process that was asked to stop.
#[derive(Debug)]
pub struct Asked {
    pipeline: PipelineId,
    lock: PathBuf,
    /// Who was asked.
    pub owner: Owner,
}

/// Asks the process that runs the pipeline that `before` is of to stop; nobody, if nobody does.
///
/// # Errors
/// The owner cannot be told for sure, is on another machine, or runs other pipelines as well. Of one whose positions are in a
/// table there is no lock that would tell which process it is.
pub fn ask(before: &Snapshot) -> Result<Option<Asked>, SavepointError> {
    match before.at() {
        Site::File(path) => ask_holder(path, before.pipeline()),
        Site::Table(_) => match before.live() {
            None => Ok(None),
            Some(owner) => Err(SavepointError::CannotStop {
                pipeline: before.pipeline().clone(),
                owner: owner.map_or_else(|| "a process that left no name".to_owned(), |owner| owner.name.clone()),
                why: "a table of positions does not prove which process that is".to_owned(),
                next: THERE,
            }),
        },
    }
}

/// Asks the process that holds the lock beside the file.
fn ask_holder(database: &Path, pipeline: &PipelineId) -> Result<Option<Asked>, SavepointError> {
    let lock = lock::path_for(database, pipeline);
    let Some(holder) = holder(&lock)? else { return Ok(None) };
    let refused = |owner: &str, (why, next): Refused| SavepointError::CannotStop {
        pipeline: pipeline.clone(),
        owner: owner.to_owned(),
        why,
        next,
    };
    let Some(owner) = holder else {
        return Err(refused("a process that left no name", ("nobody can be asked".to_owned(), AS_IT_RUNS)));
    };
    match terminate(&owner, &lock) {
        Ok(()) => Ok(Some(Asked { pipeline: pipeline.clone(), lock, owner })),
        // Gone meanwhile: what was asked for is so.
        Err(_) if is_released(&lock, &owner)? => Ok(None),
        Err(why) => Err(refused(&owner.name, why)),
    }
}

impl Asked {
    /// Waits until the process has given the pipeline up, for as long as `limit`; tells `progress` how long it has been.
    ///
    /// # Errors
    /// [`SavepointError::StillRunning`]; the process still works on its end then.
    pub fn wait(&self, limit: Duration, mut progress: impl FnMut(Duration)) -> Result<(), SavepointError> {
        let (asked, mut told) = (Instant::now(), Duration::ZERO);
        while !is_released(&self.lock, &self.owner)? {
            let waited = asked.elapsed();
            if waited > limit {
                let (pipeline, owner) = (self.pipeline.clone(), self.owner.name.clone());
                return Err(SavepointError::StillRunning { pipeline, owner, waited: limit.as_secs() });
            }
            if waited >= told + TELL {
                told = waited;
                progress(waited);
            }
            // Nothing tells of a lock that is given back but taking it, which would be in the way of the next run.
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// Why a process is not asked, and what to do instead.
type Refused = (String, &'static str);

const THERE: &str = "stop it where it runs, or take the savepoint without --stop while it runs";
const AS_IT_RUNS: &str = "stop it yourself, or take the savepoint without --stop while it runs";

fn holder(lock: &Path) -> Result<Option<Option<Owner>>, SavepointError> {
    let holder = lock::holder(lock);
    Ok(holder.map_err(|source| StoreError::Io { doing: "lock", path: lock.to_owned(), source: source.into() })?)
}

fn is_released(lock: &Path, owner: &Owner) -> Result<bool, SavepointError> {
    Ok(match holder(lock)? {
        None => true,
        // On its way in or out.
        Some(None) => false,
        // A holder of another name is the next run already.
        Some(Some(holder)) => holder != *owner,
    })
}

/// Takes `host:pid` apart, if the host is this one.
fn process_of(owner: &Owner) -> Result<i32, Refused> {
    let here = rustix::system::uname();
    let (host, process) = owner.name.rsplit_once(':').unwrap_or(("", ""));
    match process.parse() {
        Ok(process) if process > 0 && host == here.nodename().to_string_lossy() => Ok(process),
        Ok(_) => Err((format!("it runs on machine {host}"), THERE)),
        Err(_) => Err(("its name has no process id".to_owned(), AS_IT_RUNS)),
    }
}

#[cfg(target_os = "linux")]
fn terminate(owner: &Owner, lock: &Path) -> Result<(), Refused> {
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

    let process = process_of(owner)?;
    let unknown = || (format!("process {process} is not to be found here, perhaps in another container"), THERE);
    let pid = Pid::from_raw(process).ok_or_else(unknown)?;
    let held = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| match error {
        rustix::io::Errno::SRCH => unknown(),
        error => (format!("process {process} cannot be held on to ({error})"), AS_IT_RUNS),
    })?;
    let open = open_files(process)
        .map_err(|error| (format!("what process {process} has open cannot be seen ({error})"), AS_IT_RUNS))?;
    if !open.iter().any(|(_, file)| is_same(file, lock)) {
        return Err((format!("process {process} is another one, which does not hold {}", lock.display()), AS_IT_RUNS));
    }
    let others = open.iter().filter(|(name, file)| {
        name.extension().is_some_and(|extension| extension == "lock")
            && !is_same(file, lock)
            && lock::note_in(file).is_some_and(|note| note.name == owner.name)
    });
    let others: Vec<String> = others.map(|(name, _)| name.display().to_string()).collect();
    if !others.is_empty() {
        return Err((format!("it also holds {}, and would stop those pipelines, too", others.join(", ")), AS_IT_RUNS));
    }
    pidfd_send_signal(&held, Signal::TERM)
        .map_err(|error| (format!("process {process} takes no signal ({error})"), AS_IT_RUNS))
}

#[cfg(not(target_os = "linux"))]
fn terminate(owner: &Owner, _lock: &Path) -> Result<(), Refused> {
    let process = process_of(owner)?;
    Err((format!("this system does not tell what process {process} has open, so it may be another one"), AS_IT_RUNS))
}

/// The files that a process has open: their names, and paths that lead to the very files whatever became of the names.
#[cfg(target_os = "linux")]
fn open_files(process: i32) -> std::io::Result<Vec<(PathBuf, PathBuf)>> {
    let entries = std::fs::read_dir(format!("/proc/{process}/fd"))?;
    let links = entries.flatten().map(|entry| entry.path());
    Ok(links.filter_map(|link| Some((std::fs::read_link(&link).ok()?, link))).collect())
}

#[cfg(target_os = "linux")]
fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let identity = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Child, Command, Stdio};

    use host_core::moment::EpochMillis;

    use super::*;
    use crate::state::lock::ProcessLock;

    fn id() -> PipelineId {
        PipelineId { tenant: "default".to_owned(), pipeline: "quakes".to_owned() }
    }

    fn owner(name: &str) -> Owner {
        Owner { name: name.to_owned(), since: EpochMillis(1_000) }
    }

    fn here(process: u32) -> String {
        format!("{}:{process}", rustix::system::uname().nodename().to_string_lossy())
    }

    /// A process that ends with its standard input.
    fn bystander() -> Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat is there")
    }

    fn refusal(holder: &str) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let database = directory.path().join("state.db");
        let lock = lock::path_for(&database, &id());
        let _held = ProcessLock::acquire(&lock, &owner(holder)).expect("nobody has it");
        ask_holder(&database, &id()).expect_err("nobody who can be asked").to_string()
    }

    #[test]
    fn nobody_is_asked_if_nobody_runs_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = directory.path().join("state.db");
        assert!(ask_holder(&database, &id()).expect("no lock").is_none());
        let lock = lock::path_for(&database, &id());
        drop(ProcessLock::acquire(&lock, &owner(&here(1))).expect("nobody has it"));
        assert!(ask_holder(&database, &id()).expect("what a dead process left").is_none());
    }

    /// A number in a file may be that of any process by now.
    #[test]
    fn a_process_that_does_not_hold_the_lock_is_left_alone() {
        let mut other = bystander();
        let refused = refusal(&here(other.id()));
        assert!(refused.contains("is another one, which does not hold"), "{refused}");
        assert!(other.try_wait().expect("can be asked").is_none(), "it was ended");
        drop(other.stdin.take());
        assert!(other.wait().expect("it ends").success());
    }

    #[test]
    fn who_cannot_be_told_or_reached_is_told_so() {
        for (holder, why) in [
            ("elsewhere:1".to_owned(), "it runs on machine elsewhere"),
            ("sluicebox state".to_owned(), "its name has no process id"),
            // More than any system gives.
            (here(i32::MAX as u32), "is not to be found here"),
        ] {
            let refused = refusal(&holder);
            assert!(refused.contains(why) && refused.contains("there is no savepoint; stop it"), "{refused}");
        }
    }

    #[test]
    fn waiting_ends_with_the_lock_with_another_holder_or_with_the_limit() {
        let directory = tempfile::tempdir().expect("a directory");
        let lock = directory.path().join("a.lock");
        let asked = Asked { pipeline: id(), lock: lock.clone(), owner: owner("host:7") };
        let held = ProcessLock::acquire(&lock, &owner("host:7")).expect("nobody has it");
        let late = asked.wait(Duration::ZERO, |_| {}).expect_err("it holds on").to_string();
        assert!(
            late.starts_with("host:7 was asked to stop and still runs pipeline default/quakes after 0 s"),
            "{late}"
        );
        drop(held);
        asked.wait(Duration::ZERO, |_| {}).expect("nobody has it");
        let _next = ProcessLock::acquire(&lock, &owner("host:8")).expect("nobody has it");
        asked.wait(Duration::ZERO, |_| {}).expect("the next run has it");
    }
}
