//! What a component's file says of itself before anything is compiled: the interfaces it imports and exports.

use std::fmt;

use serde::Serialize;
use wasmparser::{Encoding, Parser, Payload};

use crate::component::{CONTRACT, CONTRACT_VERSION, Role};

/// An imported or exported name, such as `wasi:cli/stdout@0.2.6`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceName {
    /// `wasi:cli/stdout`; a plain name if the item belongs to no package.
    pub path: String,
    /// `0.2.6`, if the name has a version.
    pub version: Option<String>,
}

impl InterfaceName {
    fn new(name: &str) -> Self {
        match name.split_once('@') {
            Some((path, version)) => Self { path: path.to_owned(), version: Some(version.to_owned()) },
            None => Self { path: name.to_owned(), version: None },
        }
    }

    /// The part after the package if the interface belongs to `package`.
    pub(super) fn of_package(&self, package: &str) -> Option<&str> {
        self.path.strip_prefix(package)?.strip_prefix('/')
    }

    /// Whether a host of this version can serve the interface of the contract: below 1.0 the second number decides.
    pub(super) fn is_of_this_contract(&self) -> bool {
        let track = |version: &str| {
            let mut numbers = version.split('.').map(str::to_owned);
            (numbers.next(), numbers.next())
        };
        self.version.as_deref().is_some_and(|version| track(version) == track(CONTRACT_VERSION))
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        match &self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

impl Serialize for InterfaceName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A component's imports and exports, in the order of its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// What it needs.
    pub imports: Vec<InterfaceName>,
    /// What it offers.
    pub exports: Vec<InterfaceName>,
}

/// Why a file is not a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotAComponent {
    /// It is recognised as something else: what, and what to do.
    Else(&'static str),
    /// It starts like a component and is broken: where and how.
    Broken(String),
}

impl Interfaces {
    /// Reads the outermost sections of a component.
    #[expect(clippy::wildcard_enum_match_arm, reason = "two of some thirty kinds of section name interfaces")]
    pub(super) fn read(bytes: &[u8]) -> Result<Self, NotAComponent> {
        recognise(bytes)?;
        let mut interfaces = Self::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(|error| broken(&error))? {
                Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        let import = import.map_err(|error| broken(&error))?;
                        interfaces.imports.push(InterfaceName::new(import.name.name));
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        let export = export.map_err(|error| broken(&error))?;
                        interfaces.exports.push(InterfaceName::new(export.name.name));
                    }
                }
                _ => {}
            }
        }
        Ok(interfaces)
    }

    /// The roles whose interfaces are exported.
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        Role::ALL.into_iter().filter(|role| self.exports_of_contract(role.interface())).collect()
    }

    /// Whether `interface` of the contract is exported, in whatever version.
    pub(super) fn exports_of_contract(&self, interface: &str) -> bool {
        self.exports.iter().any(|export| export.of_package(CONTRACT) == Some(interface))
    }
}

fn broken(error: &wasmparser::BinaryReaderError) -> NotAComponent {
    NotAComponent::Broken(error.to_string())
}

fn recognise(bytes: &[u8]) -> Result<(), NotAComponent> {
    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    let text = bytes.trim_ascii_start();
    let what = if bytes.is_empty() {
        "the file is empty: did its build fail?"
    } else if bytes.starts_with(COMPONENT) {
        return Ok(());
    } else if bytes.starts_with(MODULE) {
        "it is a core module: build for the target wasm32-wasip2, or make a component of it with `wasm-tools component new`"
    } else if bytes.starts_with(b"\0asm") {
        "it is WebAssembly of a version that this host does not know: build it with current tools"
    } else if bytes.starts_with(b"\x7fELF") {
        "it is native code: a component is built from source for the target wasm32-wasip2"
    } else if text.starts_with(b"(") || text.starts_with(b";;") {
        "it is WebAssembly text: make it binary with `wasm-tools parse`"
    } else {
        "it does not start like WebAssembly"
    };
    Err(NotAComponent::Else(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_contract_are_compatible_within_a_minor_below_one() {
        for (version, compatible) in [("0.1.0", true), ("0.1.7", true), ("0.2.0", false), ("1.1.0", false)] {
            let name = InterfaceName::new(&format!("sluicebox:pipeline/lifecycle@{version}"));
            assert_eq!(name.is_of_this_contract(), compatible, "{version}");
            assert_eq!(name.of_package(CONTRACT), Some("lifecycle"));
        }
        assert!(!InterfaceName::new("sluicebox:pipeline/lifecycle").is_of_this_contract());
        assert_eq!(InterfaceName::new("sluicebox:pipelines/x").of_package(CONTRACT), None);
    }

    #[test]
    fn what_is_not_a_component_is_recognised() {
        for (bytes, word) in [
            (b"".as_slice(), "empty"),
            (b"\0asm\x01\0\0\0", "core module"),
            (b"\0asm\x0e\0\x01\0", "version"),
            (b"\x7fELF..", "native"),
            (b"\n (component)", "text"),
            (b"#!/bin/sh", "does not start"),
        ] {
            let Err(NotAComponent::Else(what)) = Interfaces::read(bytes) else { panic!("{word}: recognised") };
            assert!(what.contains(word), "{what}");
        }
        assert!(matches!(Interfaces::read(b"\0asm\x0d\0\x01\0\xff"), Err(NotAComponent::Broken(_))));
    }
}
