//! What can be found wrong without touching a stream: the manifest's components.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::component::Role;
use crate::component::engine::Engine;
use crate::component::error::LoadError;
use crate::component::load::{self, Grants, Loaded, Wasi};
use crate::config::{Assigner, ComponentUse, Converter, Manifest, Sink, SinkOutput, WasiGrant};

/// A manifest whose components are compiled and fit.
#[derive(Clone)]
pub struct Ready {
    /// The manifest.
    pub manifest: Manifest,
    /// The deserializer.
    pub deserializer: Loaded,
    /// The shard assigner, if the manifest names one.
    pub assigner: Option<Loaded>,
    /// The element converters that are components, each by its sink's place in the manifest.
    pub converters: BTreeMap<usize, Loaded>,
}

/// Loads what the manifest names. Compiled code is kept beside the manifest's state, keyed by the component's digest.
///
/// # Errors
/// A component cannot be used, and why.
pub fn load(manifest: Manifest, engine: &Engine) -> Result<Ready, LoadError> {
    let cache = cache_directory(&manifest);
    let load = |used: &ComponentUse, role| {
        let wasi = match used.grants.wasi {
            WasiGrant::Inert => Wasi::Inert,
            WasiGrant::None => Wasi::None,
        };
        load::load(engine, Some(&cache), &used.component, &Grants { wasi }, role)
    };
    let deserializer = load(&manifest.deserializer, Role::KinesisDeserializer)?;
    let assigner = match &manifest.assigner {
        Assigner::Builtin(_) => None,
        Assigner::Component(used) => Some(load(used, Role::ShardAssigner)?),
    };
    let mut converters = BTreeMap::new();
    for (index, sink) in manifest.sinks.iter().enumerate() {
        if let Some((Converter::Component(used), role)) = converter(sink) {
            converters.insert(index, load(used, role)?);
        }
    }
    Ok(Ready { manifest, deserializer, assigner, converters })
}

/// What makes entries for a sink, and the role that a component plays there. `None` for a sink that takes elements.
fn converter(sink: &Sink) -> Option<(&Converter, Role)> {
    match &sink.output {
        SinkOutput::Kinesis(sink) => Some((&sink.converter, Role::KinesisElementConverter)),
        SinkOutput::Dynamodb(sink) => Some((&sink.converter, Role::DynamodbElementConverter)),
        SinkOutput::Stdout | SinkOutput::File { .. } | SinkOutput::Discard => None,
    }
}

/// Where compiled components are kept: `.sluicebox/cache` beside the manifest.
#[must_use]
pub fn cache_directory(manifest: &Manifest) -> PathBuf {
    let folder = manifest.path.parent().map(PathBuf::from).unwrap_or_default();
    folder.join(".sluicebox").join("cache")
}
