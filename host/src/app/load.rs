//! What can be found wrong without touching a stream: the manifest's components.

use std::path::PathBuf;

use crate::component::Role;
use crate::component::engine::Engine;
use crate::component::error::LoadError;
use crate::component::load::{self, Grants, Loaded, Wasi};
use crate::config::{Manifest, WasiGrant};

/// A manifest whose component is compiled and fits.
#[derive(Clone)]
pub struct Ready {
    /// The manifest.
    pub manifest: Manifest,
    /// The deserializer.
    pub deserializer: Loaded,
}

/// Loads what the manifest names. Compiled code is kept beside the manifest's state, keyed by the component's digest.
///
/// # Errors
/// The component cannot be used, and why.
pub fn load(manifest: Manifest, engine: &Engine) -> Result<Ready, LoadError> {
    let wanted = &manifest.deserializer;
    let cache = cache_directory(&manifest);
    let wasi = match wanted.grants.wasi {
        WasiGrant::Inert => Wasi::Inert,
        WasiGrant::None => Wasi::None,
    };
    let grants = Grants { wasi };
    let deserializer = load::load(engine, Some(&cache), &wanted.component, &grants, Role::KinesisDeserializer)?;
    Ok(Ready { deserializer, manifest })
}

/// Where compiled components are kept: `.sluicebox/cache` beside the manifest.
#[must_use]
pub fn cache_directory(manifest: &Manifest) -> PathBuf {
    let folder = manifest.path.parent().map(PathBuf::from).unwrap_or_default();
    folder.join(".sluicebox").join("cache")
}
