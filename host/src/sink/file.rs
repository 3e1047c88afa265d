//! Elements as lines appended to a file. The mark is the file's length.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::columns::Column;
use crate::ports::{Settle, Sink, SinkError};
use crate::sink::stdout::append_lines;

/// One element a line, appended. `write` reaches the operating system before it returns (a killed process loses
/// nothing); a checkpoint settles it on the disk first. On resume the file is cut back to the recorded length, and
/// locked for as long as the sink lives: two writers would overwrite one another without a word.
#[derive(Debug)]
pub struct LineFile {
    name: String,
    path: PathBuf,
    open: Option<(File, u64)>,
    lines: Vec<u8>,
}

impl LineFile {
    /// The sink that the manifest calls `name`, writing to `path`. Opened by [`Sink::resume`].
    #[must_use]
    pub fn new(name: &str, path: &Path) -> Self {
        Self { name: name.to_owned(), path: path.to_path_buf(), open: None, lines: Vec::new() }
    }

    fn target(&self) -> String {
        self.path.display().to_string()
    }

    fn open_error(&self, source: io::Error) -> SinkError {
        SinkError::Open { sink: self.name.clone(), target: self.target(), source }
    }

    fn write_error(&self, source: io::Error) -> SinkError {
        SinkError::Write { sink: self.name.clone(), target: self.target(), source }
    }

    fn opened(&self) -> io::Result<(File, u64)> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }
}

impl Sink for LineFile {
    fn resume(&mut self, mark: Option<u64>) -> Result<Option<u64>, SinkError> {
        // Resumed again: the lock of before must not refuse us.
        self.open = None;
        let (mut file, found) = self.opened().map_err(|error| self.open_error(error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SinkError::Shared { sink: self.name.clone(), target: self.target() });
            }
            Err(TryLockError::Error(error)) => return Err(self.open_error(error)),
        }
        // Without a mark nothing of this pipeline is in the file: what stands there is somebody else's and stays.
        let length = mark.unwrap_or(found);
        if found < length {
            return Err(SinkError::Shrunk { sink: self.name.clone(), target: self.target(), found, recorded: length });
        }
        let placed = file.set_len(length).and_then(|()| file.seek(SeekFrom::Start(length)));
        placed.map_err(|error| self.open_error(error))?;
        self.open = Some((file, length));
        Ok(Some(length))
    }

    fn write(&mut self, payloads: &Column) -> Result<Option<u64>, SinkError> {
        self.lines.clear();
        append_lines(&mut self.lines, payloads);
        let Some((file, length)) = &mut self.open else {
            return Err(self.write_error(io::Error::other("the sink was not resumed")));
        };
        match file.write_all(&self.lines) {
            Ok(()) => {
                *length += self.lines.len() as u64;
                Ok(Some(*length))
            }
            Err(error) => Err(self.write_error(error)),
        }
    }

    fn settle(&self) -> Result<Option<Settle>, SinkError> {
        let Some((file, _)) = &self.open else { return Ok(None) };
        let file = file.try_clone().map_err(|error| self.open_error(error))?;
        Ok(Some(Box::new(move || file.sync_data())))
    }
}
