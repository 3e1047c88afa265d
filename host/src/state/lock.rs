//! A lock that dies with its process.
//!
//! The operating system gives an advisory lock back when the last handle to its file closes, however the process ended,
//! so nothing has to expire and nothing has to be cleaned up. The file says who holds it, for the message that the
//! refused one shows; what it says counts only while the lock is held. It is never removed: a process that had opened the
//! removed file would lock something that nobody else sees.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use host_core::moment::EpochMillis;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Owner, PipelineId};

/// How often, and how far apart, a held lock is tried again: whoever only looks holds it for a moment, and a new holder
/// has not written its name at once.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// The longest part of a file name that a pipeline's name may take; file systems end at 255 bytes.
const NAME_BYTES_MAX: usize = 120;

/// What the lock file says.
#[derive(Serialize, Deserialize)]
struct Note {
    owner: String,
    since_ms: i64,
}

/// A held lock. Dropping it gives it back.
#[derive(Debug)]
pub struct ProcessLock {
    file: File,
}

/// Why a lock was not given.
#[derive(Debug)]
pub enum Refused {
    /// It is held, by the one that the file names.
    Held(Option<Owner>),
    /// The file system failed, or has no locks.
    Failed(io::Error),
}

impl ProcessLock {
    /// Takes the lock for `owner`, or says who has it. Waits up to 80 ms.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn acquire(path: &Path, owner: &Owner) -> Result<Self, Refused> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(Refused::Failed)?;
        for attempt in 1..=TRIES {
            match file.try_lock() {
                Ok(()) => {
                    let mut lock = Self { file };
                    lock.write_note(owner).map_err(Refused::Failed)?;
                    return Ok(lock);
                }
                Err(TryLockError::WouldBlock) if attempt < TRIES => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => return Err(Refused::Failed(error)),
            }
        }
        Err(Refused::Held(note_in(path)))
    }

    /// Gives the lock back and forgets the name.
    ///
    /// # Errors
    /// The file cannot be written; the lock is given back even then.
    pub fn release(self) -> io::Result<()> {
        self.file.set_len(0)
    }

    fn write_note(&mut self, owner: &Owner) -> io::Result<()> {
        let note = serde_json::to_vec(&Note { owner: owner.name.clone(), since_ms: owner.since.0 })?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&note)
    }
}

/// Who holds the lock at `path` now: nobody (`None`), or a live process, which may have left no name.
///
/// # Errors
/// The file system failed, or has no locks.
pub fn holder(path: &Path) -> io::Result<Option<Option<Owner>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(note_in(path))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The lock file of a pipeline, beside its database. Names are written so that two pipelines never share one.
#[must_use]
pub fn path_for(database: &Path, id: &PipelineId) -> PathBuf {
    let mut name = database.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.{}.lock", file_name_of(&id.tenant), file_name_of(&id.pipeline)));
    database.with_file_name(name)
}

/// `text` with everything but letters, digits, `-` and `_` escaped; a long one is cut and told apart by its digest.
fn file_name_of(text: &str) -> String {
    let mut name = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    }
    if name.len() <= NAME_BYTES_MAX / 2 {
        return name;
    }
    let digest = Sha256::digest(text.as_bytes());
    let tail: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    name.truncate(NAME_BYTES_MAX / 2 - tail.len() - 1);
    format!("{name}%{tail}")
}

/// The name in the file, unless it is torn or empty.
pub(crate) fn note_in(path: &Path) -> Option<Owner> {
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(4096).read_to_string(&mut text)).ok()?;
    let note: Note = serde_json::from_str(&text).ok()?;
    Some(Owner { name: note.owner, since: EpochMillis(note.since_ms) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> Owner {
        Owner { name: name.to_owned(), since: EpochMillis(1_000) }
    }

    #[test]
    fn a_held_lock_names_its_holder_and_a_dropped_one_is_free() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.lock");
        let first = ProcessLock::acquire(&path, &owner("first:1")).expect("nobody has it");
        assert!(
            matches!(ProcessLock::acquire(&path, &owner("second:2")), Err(Refused::Held(Some(held))) if held == owner("first:1"))
        );
        assert_eq!(holder(&path).expect("readable"), Some(Some(owner("first:1"))));
        drop(first);
        assert_eq!(holder(&path).expect("readable"), None);
        ProcessLock::acquire(&path, &owner("second:2")).expect("free again");
    }

    #[test]
    fn no_two_pipelines_share_a_lock_file() {
        let long = "x".repeat(300);
        let ids =
            [("a", "b.c"), ("a.b", "c"), ("a", "b%2ec"), ("a", "b/c"), ("a", &long), ("a", &long[..299]), ("", "")];
        let paths: std::collections::BTreeSet<PathBuf> = ids
            .iter()
            .map(|(tenant, pipeline)| PipelineId { tenant: (*tenant).to_owned(), pipeline: (*pipeline).to_owned() })
            .map(|id| path_for(Path::new("/state/state.db"), &id))
            .collect();
        assert_eq!(paths.len(), ids.len());
        for path in &paths {
            assert_eq!(path.parent(), Some(Path::new("/state")));
            assert!(path.file_name().is_some_and(|name| name.len() < 200), "{}", path.display());
        }
    }
}
