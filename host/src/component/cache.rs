//! Compiled once: in a process for each digest, and across restarts by a cache directory of our own.
//!
//! Compiled code is native code that is run with the host's rights, so the cache is a matter of trust, not of speed
//! alone. A file is used only if its name, which holds the component's digest, the engine's exact version and a hash of
//! everything that influences compilation, and its content agree with a checksum in its header; anything else is
//! compiled again and replaced. Nothing that a user hands over is ever loaded this way.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest as _, Sha256};
use tracing::warn;
use wasmtime::component::Component;

use crate::component::engine::{Engine, WASMTIME};

/// The first bytes of a file; the number changes with the layout.
const MAGIC: &[u8] = b"sluicebox compiled component 1\n";

/// SHA-256 of a component's file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a component's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first eight bytes as a number: a seed.
    pub(super) fn leading_number(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a component's code came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was compiled now.
    Compiled,
    /// An earlier process compiled it: it was read from the cache directory.
    Cached,
    /// This process has it already.
    Shared,
}

type Slot = Arc<Mutex<Weak<Component>>>;

/// The components of this process, by digest.
pub(super) struct Compilations(pub(super) Mutex<BTreeMap<Digest, Slot>>);

impl Compilations {
    fn slot(&self, digest: Digest) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever holds a slot is about to fill it; the others are empty for good.
        slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.lock().unwrap_or_else(PoisonError::into_inner).strong_count() > 0
        });
        Arc::clone(slots.entry(digest).or_default())
    }
}

/// The code of `bytes`, whose digest is `digest`. Concurrent calls for one digest compile once: the others wait.
pub(super) fn component(
    engine: &Engine,
    directory: Option<&Path>,
    digest: Digest,
    bytes: &[u8],
) -> wasmtime::Result<(Arc<Component>, Origin)> {
    let slot = engine.compilations().slot(digest);
    let mut known = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(component) = known.upgrade() {
        return Ok((component, Origin::Shared));
    }
    let (component, origin) = compiled_or_cached(engine, directory, digest, bytes)?;
    // Otherwise the first instance pays for it.
    component.initialize_copy_on_write_image()?;
    let component = Arc::new(component);
    *known = Arc::downgrade(&component);
    Ok((component, origin))
}

fn compiled_or_cached(
    engine: &Engine,
    directory: Option<&Path>,
    digest: Digest,
    bytes: &[u8],
) -> wasmtime::Result<(Component, Origin)> {
    let directory = directory.filter(|directory| match private(directory) {
        Ok(()) => true,
        Err(error) => {
            warn!(directory = %directory.display(), %error, "compiled components are not cached");
            false
        }
    });
    let name = name(engine, digest);
    if let Some(component) = directory.and_then(|directory| read(engine, directory, &name)) {
        return Ok((component, Origin::Cached));
    }
    let component = Component::from_binary(engine.wasmtime(), bytes)?;
    if let Some(directory) = directory
        && let Err(error) = write(directory, &name, &component.serialize()?)
    {
        warn!(directory = %directory.display(), %error, "a compiled component was not cached");
    }
    Ok((component, Origin::Compiled))
}

/// Everything that decides whether code fits this process.
fn name(engine: &Engine, digest: Digest) -> String {
    struct Everything(Sha256);
    impl Hasher for Everything {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            // `Hash` only writes. What is wanted is all 32 bytes, taken below.
            0
        }
    }
    let mut everything = Everything(Sha256::new());
    engine.wasmtime().precompile_compatibility_hash().hash(&mut everything);
    format!("{}-{WASMTIME}-{}.code", digest.hex(), hex(&everything.0.finalize()))
}

/// Makes the directory, and makes sure that nobody else can write or read in it.
fn private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let metadata = fs::metadata(directory)?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !ours || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other("the cache directory must be ours alone: make it mode 0700 or name another"));
    }
    Ok(())
}

fn checksum(name: &str, code: &[u8]) -> [u8; 32] {
    let mut sha = Sha256::new();
    sha.update(name.len().to_le_bytes());
    sha.update(name);
    sha.update(code);
    sha.finalize().into()
}

/// The code in `name`, if it is what was written there.
fn read(engine: &Engine, directory: &Path, name: &str) -> Option<Component> {
    let file = match fs::read(directory.join(name)) {
        Ok(file) => file,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                warn!(name, %error, "a compiled component cannot be read and is compiled again");
            }
            return None;
        }
    };
    let code = file.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk::<32>());
    let Some((_, code)) = code.filter(|(sum, code)| **sum == checksum(name, code)) else {
        warn!(name, "a compiled component is damaged and is compiled again");
        return None;
    };
    match deserialize(engine, code) {
        Ok(component) => Some(component),
        Err(error) => {
            warn!(name, %error, "a compiled component does not fit and is compiled again");
            None
        }
    }
}

/// Makes native code of bytes that [`write`] wrote.
#[expect(unsafe_code, reason = "compiled code can be loaded in no other way; the argument is at the call")]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` trusts the bytes to be what `Component::serialize` made with a compatible engine.
    // 1. The only caller has compared them with the checksum that `write`, the only writer, put beside them: they are
    //    whole, and not of another file's name.
    // 2. That name holds the engine's exact version and the hash of everything that influences compilation, so an
    //    engine that would have made other code does not find the file.
    // 3. The checksum has no key, so whoever may write the directory could forge it. `private` has made sure that this is
    //    only our own user, who could as well replace this program.
    // 4. The bytes do not change meanwhile: they are a copy in memory, not a mapping of the file.
    unsafe { Component::deserialize(engine.wasmtime(), code) }
}

/// Writes the code under `name`: whole or not at all.
fn write(directory: &Path, name: &str, code: &[u8]) -> io::Result<()> {
    let unfinished = directory.join(format!("{name}.{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(MAGIC)?;
        file.write_all(&checksum(name, code))?;
        file.write_all(code)?;
        // Not synced: after a crash the checksum finds a torn file.
        fs::rename(&unfinished, directory.join(name))
    })();
    if written.is_err()
        && let Err(error) = fs::remove_file(&unfinished)
    {
        warn!(file = %unfinished.display(), %error, "an unfinished file stays behind");
    }
    written
}

#[cfg(test)]
mod tests;
