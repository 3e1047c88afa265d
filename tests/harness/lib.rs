//! What a test may use.

use std::path::PathBuf;

pub mod ferro;
pub mod process;
pub mod rig;

/// An example component, as `cargo xtask test` built it.
#[must_use]
pub fn component(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../guest-examples/components");
    let path = folder.join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is missing: run `cargo xtask components`", path.display());
    path.canonicalize().expect("an existing file has a path")
}
