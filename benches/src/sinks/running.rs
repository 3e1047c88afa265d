//! The binary at work, with positions of its own; killed with its value.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::settings::Pipeline;

pub(super) struct Running {
    child: Child,
    folder: TempDir,
}

impl Running {
    pub(super) fn start(pipeline: &Pipeline<'_>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("bench.toml"), pipeline.text())?;
        let child = Command::new(tests::process::sluicebox())
            .args(["run", "bench.toml"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("stderr"))?)
            .env_remove("RUST_LOG")
            .spawn()?;
        Ok(Self { child, folder })
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails if it has ended, with what it said last.
    pub(super) fn check(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        let said = || std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default();
        ensure!(ended.is_none(), "a pipeline ended\n{}", said());
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing of it is to be kept. Where it cannot be killed it is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
