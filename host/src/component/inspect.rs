//! What can be said of a component without running or compiling it: its roles, what it imports and therefore can and
//! cannot touch, and what it was built with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::Serialize;
use wasm_metadata::Producers;
use wasmparser::{Parser, Payload};

use crate::component::cache::Digest;
use crate::component::error::LoadError;
use crate::component::imports::log::escape;
use crate::component::interfaces::{InterfaceName, Interfaces};
use crate::component::load::{self, Grants, Wasi};
use crate::component::{CONTRACT, CONTRACT_VERSION, Role};

/// Bytes of a name or version from a producers section that are shown.
const PRODUCER_BYTES: usize = 128;

/// A component, described. Serialized as it is for `sluicebox inspect --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// What it can be in a pipeline.
    pub roles: Vec<Role>,
    /// What it imports.
    pub imports: Imports,
    /// Everything it exports.
    pub exports: Vec<InterfaceName>,
    /// Interfaces of the contract in a version that this host does not speak.
    pub other_contract_versions: Vec<InterfaceName>,
    /// Tools that made it or a module inside, by field of their producers sections (`language`, `processed-by`, `sdk`).
    pub producers: BTreeMap<String, BTreeSet<String>>,
    /// What follows from its imports.
    pub touches: Touches,
}

/// What a component imports, by who would provide it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imports {
    /// The contract.
    pub contract: Vec<InterfaceName>,
    /// WASI.
    pub wasi: Vec<InterfaceName>,
    /// Anything else; this host provides none of it.
    pub other: Vec<InterfaceName>,
}

/// What a component could touch if everything it imports were real.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Touches {
    /// It imports no WASI and nothing foreign: it cannot touch files, network, clock or randomness, and loads with
    /// `wasi = "none"`.
    pub provably_nothing: bool,
    /// It imports files, of which the host opens none.
    pub files: bool,
    /// It imports sockets or HTTP, which the host does not provide.
    pub network: bool,
    /// It imports clocks, which show the batch's time.
    pub clock: bool,
    /// It imports randomness, which is seeded.
    pub randomness: bool,
    /// Imports that make this host refuse it whatever is granted.
    pub refused: Vec<InterfaceName>,
}

/// Describes the component at `path`.
///
/// # Errors
/// The file is unreadable, too big, or not a component.
pub fn inspect(path: &Path) -> Result<Report, LoadError> {
    let bytes = load::read(path)?;
    let mut interfaces = Interfaces::read(&bytes).map_err(|error| load::not_a_component(path, error))?;
    // A component's order is its linker's, which depends on much that says nothing.
    interfaces.imports.sort();
    interfaces.exports.sort();
    let foreign = |name: &&InterfaceName| name.of_package(CONTRACT).is_some() && !name.is_of_this_contract();
    let mut other_contract_versions: Vec<_> =
        interfaces.imports.iter().chain(&interfaces.exports).filter(foreign).cloned().collect();
    other_contract_versions.sort();
    other_contract_versions.dedup();
    Ok(Report {
        size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        digest: Digest::of(&bytes),
        roles: interfaces.roles(),
        touches: touches(&interfaces),
        imports: group(&interfaces.imports),
        exports: interfaces.exports,
        other_contract_versions,
        producers: producers(&bytes),
    })
}

fn group(imports: &[InterfaceName]) -> Imports {
    let mut groups = Imports::default();
    for name in imports {
        if name.of_package(CONTRACT).is_some() {
            groups.contract.push(name.clone());
        } else if name.path.starts_with("wasi:") {
            groups.wasi.push(name.clone());
        } else {
            groups.other.push(name.clone());
        }
    }
    groups
}

fn touches(interfaces: &Interfaces) -> Touches {
    let imports = |package: &str| interfaces.imports.iter().any(|name| name.path.starts_with(package));
    let foreign = |name: &InterfaceName| name.of_package(CONTRACT).is_none();
    Touches {
        provably_nothing: !interfaces.imports.iter().any(foreign),
        files: imports("wasi:filesystem/"),
        network: imports("wasi:sockets/") || imports("wasi:http/"),
        clock: imports("wasi:clocks/"),
        randomness: imports("wasi:random/"),
        refused: load::refused_imports(interfaces, Grants { wasi: Wasi::Inert }),
    }
}

/// All producers sections, the nested ones included. A section that does not parse says nothing, and that is no error:
/// it is a note by tools for readers.
fn producers(bytes: &[u8]) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::<String, BTreeSet<String>>::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(Payload::CustomSection(section)) = payload else { continue };
        if section.name() != "producers" {
            continue;
        }
        let Ok(producers) = Producers::from_bytes(section.data(), section.data_offset()) else { continue };
        for (field, tools) in producers.iter() {
            let known = all.entry(escape(field, PRODUCER_BYTES)).or_default();
            for (tool, version) in tools.iter() {
                known.insert(escape(format!("{tool} {version}").trim_end(), PRODUCER_BYTES));
            }
        }
    }
    all
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "size", &format!("{} bytes", self.size))?;
        row(f, "digest", &self.digest.to_string())?;
        let roles: Vec<_> = self.roles.iter().map(ToString::to_string).collect();
        row(f, "roles", &if roles.is_empty() { "none of this contract".to_owned() } else { roles.join(", ") })?;
        rows(f, "contract imports", &self.imports.contract)?;
        rows(f, "wasi imports", &self.imports.wasi)?;
        rows(f, "other imports", &self.imports.other)?;
        rows(f, "exports", &self.exports)?;
        for (field, tools) in &self.producers {
            rows(f, field, tools)?;
        }
        self.touches.fmt(f)?;
        for name in &self.other_contract_versions {
            row(f, "will not load", &format!("{name}: this host speaks version {CONTRACT_VERSION}"))?;
        }
        for name in &self.touches.refused {
            row(f, "will not load", &format!("{name}: this host does not offer it"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Touches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.provably_nothing {
            return row(
                f,
                "can touch",
                "nothing: no file, network, clock or randomness (it loads with wasi = \"none\")",
            );
        }
        let say = |imported: bool, real: &'static str| if imported { real } else { "not imported" };
        row(f, "files", say(self.files, "imported; no directory is open"))?;
        row(f, "network", say(self.network, "imported; not offered"))?;
        row(f, "clock", say(self.clock, "imported; shows the batch's time"))?;
        row(f, "randomness", say(self.randomness, "imported; seeded, the same in each run"))
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(f, "{name:<18}{value}")
}

fn rows<T: fmt::Display>(f: &mut fmt::Formatter<'_>, name: &str, values: impl IntoIterator<Item = T>) -> fmt::Result {
    let mut name = name;
    for value in values {
        row(f, name, &value.to_string())?;
        name = "";
    }
    Ok(())
}

#[cfg(test)]
mod tests;
