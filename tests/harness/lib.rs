//! What a test may use.

use std::path::{Path, PathBuf};

/// The example component `name`, which `cargo xtask components` builds. The directory can be named by
/// `SLUICEBOX_COMPONENTS`.
///
/// # Panics
/// The component was not built.
#[must_use]
pub fn component(name: &str) -> PathBuf {
    let directory = std::env::var_os("SLUICEBOX_COMPONENTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-examples/components"), PathBuf::from);
    let path = directory.join(name).with_extension("wasm");
    assert!(path.is_file(), "{} is missing: run `cargo xtask components`", path.display());
    path
}
