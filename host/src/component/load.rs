//! From a file to code that may run: everything about a component that can be refused is refused here, with the reason
//! and what to do, before a record is read.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use wasmtime::component::{InstancePre, Linker};

use crate::component::bindings::BaseIndices;
use crate::component::bindings::assigner::ShardAssignerRoleIndices;
use crate::component::bindings::elements::{
    dynamodb_element_converter, kinesis_deserializer, kinesis_element_converter,
};
use crate::component::cache::{self, Digest, Origin};
use crate::component::engine::Engine;
use crate::component::error::LoadError;
use crate::component::interfaces::{InterfaceName, Interfaces, NotAComponent};
use crate::component::state::State;
use crate::component::{CONTRACT, CONTRACT_VERSION, Role, imports, wasi};

/// Bytes of a component's file, at most: an interpreted language's runtime has up to 40 MB.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 20;
/// Interfaces of the contract that hold only types: a component names them among its imports, nothing is called.
const TYPES: [&str; 6] = ["types", "columns", "elements", "kinesis-source", "dynamodb-source", "dynamodb-values"];

/// Whether a component may import WASI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wasi {
    /// What a language runtime needs to start, reaching nothing.
    #[default]
    Inert,
    /// Nothing at all: that the component touches no file, network or clock is then provable from its imports.
    None,
}

/// What a component may import beyond log, metrics, config and time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The manifest's `grants.wasi`.
    pub wasi: Wasi,
}

/// A component that is compiled, checked against the contract and linked: ready to make instances of. Cheap to clone.
#[derive(Clone)]
pub struct Loaded(Arc<Inner>);

struct Inner {
    engine: Engine,
    digest: Digest,
    origin: Origin,
    interfaces: Interfaces,
    program: Program,
}

/// What instances are made of, and where their exports are.
pub(super) struct Program {
    /// The code with its imports.
    pub(super) instance: InstancePre<State>,
    /// What every component exports.
    pub(super) lifecycle: BaseIndices,
    /// What the role exports that the component was loaded for.
    pub(super) role: RoleIndices,
}

/// Where the exports of a role are. A component that was loaded for several roles was loaded several times.
pub(super) enum RoleIndices {
    /// Of [`Role::KinesisDeserializer`].
    KinesisDeserializer(kinesis_deserializer::GuestIndices),
    /// Of [`Role::ShardAssigner`].
    ShardAssigner(ShardAssignerRoleIndices),
    /// Of [`Role::KinesisElementConverter`].
    KinesisElementConverter(kinesis_element_converter::GuestIndices),
    /// Of [`Role::DynamodbElementConverter`].
    DynamodbElementConverter(dynamodb_element_converter::GuestIndices),
}

impl Loaded {
    /// What its positions and dead letters are marked with.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Where its code came from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// What it imports and exports.
    #[must_use]
    pub fn interfaces(&self) -> &Interfaces {
        &self.0.interfaces
    }

    /// The engine it runs on.
    pub(super) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// What instances are made of.
    pub(super) fn program(&self) -> &Program {
        &self.0.program
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("digest", &self.0.digest).field("origin", &self.0.origin).finish_non_exhaustive()
    }
}

/// Loads the component at `path` to play `role` with `grants`. Compiled code is kept in the directory `cache` if one is
/// given. Takes as long as compiling takes (tens of milliseconds for Rust, ten seconds for Python): not for an async task.
///
/// # Errors
/// The file is unreadable, too big, no component or an invalid one, was made for another version of the contract, lacks
/// the role, imports what is not granted, or has other types than the contract.
pub fn load(
    engine: &Engine,
    cache: Option<&Path>,
    path: &Path,
    grants: &Grants,
    role: Role,
) -> Result<Loaded, LoadError> {
    let bytes = read(path)?;
    let interfaces = Interfaces::read(&bytes).map_err(|error| not_a_component(path, error))?;
    check_version(path, &interfaces)?;
    check_role(path, &interfaces, role)?;
    check_imports(path, &interfaces, *grants)?;
    let find = finder(role).ok_or_else(|| LoadError::RoleNotRun { path: path.to_owned(), role })?;
    let digest = Digest::of(&bytes);
    let invalid = |error: wasmtime::Error| LoadError::Invalid { path: path.to_owned(), reason: one_line(&error) };
    let (component, origin) = cache::component(engine, cache, digest, &bytes).map_err(invalid)?;
    let mismatch = |error: wasmtime::Error| LoadError::Mismatch { path: path.to_owned(), reason: one_line(&error) };
    let linker = linker(engine, *grants).map_err(mismatch)?;
    let instance = linker.instantiate_pre(&component).map_err(mismatch)?;
    let lifecycle = BaseIndices::new(&instance).map_err(mismatch)?;
    let role = find(&instance).map_err(mismatch)?;
    let program = Program { instance, lifecycle, role };
    Ok(Loaded(Arc::new(Inner { engine: engine.clone(), digest, origin, interfaces, program })))
}

/// Finds the exports of a role.
type Find = fn(&InstancePre<State>) -> wasmtime::Result<RoleIndices>;

/// How the exports of `role` are found, if this host runs it.
fn finder(role: Role) -> Option<Find> {
    match role {
        Role::KinesisDeserializer => {
            Some(|instance| kinesis_deserializer::GuestIndices::new(instance).map(RoleIndices::KinesisDeserializer))
        }
        Role::ShardAssigner => Some(|instance| ShardAssignerRoleIndices::new(instance).map(RoleIndices::ShardAssigner)),
        Role::KinesisElementConverter => Some(|instance| {
            kinesis_element_converter::GuestIndices::new(instance).map(RoleIndices::KinesisElementConverter)
        }),
        Role::DynamodbElementConverter => Some(|instance| {
            dynamodb_element_converter::GuestIndices::new(instance).map(RoleIndices::DynamodbElementConverter)
        }),
        Role::DynamodbDeserializer => None,
    }
}

/// The bytes of a component's file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let mut bytes = Vec::new();
    // One byte more than allowed, because a file may grow and a pipe has no length.
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let read = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if read > FILE_BYTES_MAX {
        return Err(LoadError::TooBig { path: path.to_owned(), size: size.max(read), max: FILE_BYTES_MAX });
    }
    Ok(bytes)
}

pub(super) fn not_a_component(path: &Path, error: NotAComponent) -> LoadError {
    let path = path.to_owned();
    match error {
        NotAComponent::Else(what) => LoadError::NotAComponent { path, what },
        NotAComponent::Broken(reason) => LoadError::Invalid { path, reason },
    }
}

fn check_version(path: &Path, interfaces: &Interfaces) -> Result<(), LoadError> {
    let of_contract = |name: &&InterfaceName| name.of_package(CONTRACT).is_some();
    let names = interfaces.exports.iter().chain(&interfaces.imports).filter(of_contract);
    match names.into_iter().find(|name| !name.is_of_this_contract()) {
        Some(name) => {
            let (path, found) = (path.to_owned(), name.to_string());
            Err(LoadError::ContractVersion { path, found, host: CONTRACT_VERSION })
        }
        None => Ok(()),
    }
}

fn check_role(path: &Path, interfaces: &Interfaces, role: Role) -> Result<(), LoadError> {
    let missing = [role.interface(), "lifecycle"].into_iter().find(|name| !interfaces.exports_of_contract(name));
    match missing {
        Some(missing) => {
            let missing = format!("{CONTRACT}/{missing}@{CONTRACT_VERSION}");
            Err(LoadError::WrongRole { path: path.to_owned(), role, missing, found: interfaces.roles() })
        }
        None => Ok(()),
    }
}

fn check_imports(path: &Path, interfaces: &Interfaces, grants: Grants) -> Result<(), LoadError> {
    let refused = refused_imports(interfaces, grants);
    if refused.is_empty() {
        return Ok(());
    }
    let only_wasi = refused.iter().all(|name| name.path.starts_with("wasi:"));
    let advice = if grants.wasi == Wasi::None && only_wasi {
        "set `grants.wasi = \"inert\"`, or build it without WASI (in Rust: for wasm32-unknown-unknown, then `wasm-tools component new`)"
    } else {
        "this host offers log, metrics, config, time and an inert WASI without sockets and HTTP: build it without the rest"
    };
    let imports = refused.iter().map(ToString::to_string).collect();
    Err(LoadError::NotGranted { path: path.to_owned(), imports, advice })
}

/// The imports that `grants` do not cover.
pub(super) fn refused_imports(interfaces: &Interfaces, grants: Grants) -> Vec<InterfaceName> {
    let granted = |name: &&InterfaceName| match name.of_package(CONTRACT) {
        Some(interface) => imports::PROVIDED.contains(&interface) || TYPES.contains(&interface),
        None => grants.wasi == Wasi::Inert && is_inert_wasi(name),
    };
    interfaces.imports.iter().filter(|name| !granted(name)).cloned().collect()
}

/// Whether the name is one of the inert interfaces, in a version that the engine links.
pub(super) fn is_inert_wasi(name: &InterfaceName) -> bool {
    wasi::INERT.contains(&name.path.as_str())
        && name.version.as_deref().is_some_and(|version| version.starts_with("0.2."))
}

/// What the host offers to a component with `grants`.
fn linker(engine: &Engine, grants: Grants) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine.wasmtime());
    imports::add_to_linker(&mut linker)?;
    match grants.wasi {
        Wasi::Inert => wasi::add_to_linker(&mut linker)?,
        Wasi::None => {}
    }
    Ok(linker)
}

/// An error's chain in one line without control characters.
pub(super) fn one_line(error: &wasmtime::Error) -> String {
    imports::log::escape(&format!("{error:#}").replace('\n', " "), 1_024)
}

#[cfg(test)]
mod tests;
