//! The file: there as a whole or not at all, and never written again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Savepoint, SavepointError};

/// More than the largest stream needs; a file beyond it is something else, and is not read into memory.
const BYTES_MAX: u64 = 256 << 20;

/// Writes a savepoint to `path`, readable by its owner only. The text goes to the disk under another name first; the
/// final name is then linked to it, which fails if the name is taken. A process that is killed on the way leaves nothing
/// under the final name, at most a file `.NAME.PID.tmp` beside it.
///
/// # Errors
/// [`SavepointError::Exists`]; [`SavepointError::Write`] with what failed.
pub fn create(path: &Path, savepoint: &Savepoint) -> Result<(), SavepointError> {
    // Said before anything is written; what is true when the name is linked decides.
    if path.symlink_metadata().is_ok() {
        return Err(SavepointError::Exists { path: path.to_owned() });
    }
    let temporary = temporary(path);
    let written = write(&temporary, path, savepoint.text().as_bytes()).and_then(|()| link(&temporary, path));
    // What is left of a failed attempt is in nobody's way.
    drop(fs::remove_file(&temporary));
    written?;
    let directory = directory_of(path);
    let synced = File::open(&directory).and_then(|directory| directory.sync_all());
    synced.map_err(|source| SavepointError::Write { doing: "write", path: directory, source })
}

/// Reads and verifies a savepoint.
///
/// # Errors
/// There is no such file, or it is no savepoint, of another format, torn, altered, or contradicts itself.
pub fn read(path: &Path) -> Result<Savepoint, SavepointError> {
    let failed = |source| SavepointError::Read { path: path.to_owned(), source };
    let not_one = |why: &str| SavepointError::NotASavepoint { path: path.to_owned(), why: why.to_owned() };
    let found = fs::metadata(path).map_err(failed)?;
    if found.is_dir() {
        return Err(not_one("a directory"));
    }
    if !found.is_file() {
        return Err(not_one("no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(not_one("too large"));
    }
    Savepoint::parse(path, &bytes)
}

fn write(temporary: &Path, path: &Path, text: &[u8]) -> Result<(), SavepointError> {
    // A process of our number that was killed may have left one.
    drop(fs::remove_file(temporary));
    let failed = |source| SavepointError::Write { doing: "write", path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary).map_err(failed)?;
    file.write_all(text).and_then(|()| file.sync_all()).map_err(failed)
}

fn link(temporary: &Path, path: &Path) -> Result<(), SavepointError> {
    fs::hard_link(temporary, path).map_err(|source| {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::AlreadyExists {
            SavepointError::Exists { path }
        } else {
            SavepointError::Write { doing: "link", path, source }
        }
    })
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

fn directory_of(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
