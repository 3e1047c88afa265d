//! What a test may use.

use std::path::{Path, PathBuf};

pub mod service;
pub mod ferro;
#[path = "../backends/deviations.rs"]
pub mod deviations;
pub mod stream_contract;
pub mod put_contract;
pub mod fan_out_contract;
pub mod lease_store_contract;
pub mod table_contract;
pub mod tables;
pub mod remote;
pub mod moments;
pub mod ledger;
pub mod appearances;
pub mod numbers;
pub mod process;
pub mod rig;
pub mod served;
pub mod still;
pub mod told;
pub mod overheard;
pub mod sts;
pub mod witness;
pub mod simulated;

/// The example component `name`, which `cargo xtask components` builds.
///
/// # Panics
/// The component was not built.
#[must_use]
pub fn component(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-examples/components");
    let path = folder.join(name).with_extension("wasm");
    assert!(path.is_file(), "{} is missing: run `cargo xtask components`", path.display());
    path.canonicalize().expect("an existing file has a path")
}
pub mod tls;
