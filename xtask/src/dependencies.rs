//! Licences and duplicate versions, by the rules of `deny.toml`. The file is in the format of cargo-deny, which adds
//! advisories for those who have it; this check needs nothing installed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use toml::Table;

use crate::cargo::Workspace;

/// Fails on a licence that is not allowed, on a second version of a crate without a reason, and on a reason that no
/// longer has a case.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let path = workspace.root.join("deny.toml");
    let rules: Table = std::fs::read_to_string(&path).context("could not read deny.toml")?.parse()?;
    let metadata = workspace.metadata()?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists packages")?;
    let mut complaints = licence_complaints(&rules, packages)?;
    complaints.extend(duplicate_complaints(&rules, packages)?);
    if !complaints.is_empty() {
        bail!("deny.toml does not allow this lock file:\n  {}", complaints.join("\n  "));
    }
    Ok(())
}

fn licence_complaints(rules: &Table, packages: &[Value]) -> Result<Vec<String>> {
    let allowed: BTreeSet<&str> = rules["licenses"]["allow"]
        .as_array()
        .context("licenses.allow is a list")?
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    let complaint = |package: &Value| {
        let licence = package["license"].as_str().unwrap_or("no licence");
        (!is_allowed(licence, &allowed)).then(|| format!("{} is under {licence:?}", package["name"]))
    };
    Ok(packages.iter().filter_map(complaint).collect())
}

/// Whether an SPDX expression can be met: every `AND` part has one allowed `OR` alternative.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let expression = expression.replace('/', " OR ");
    split_top(&expression, " AND ").iter().all(|part| {
        let part = part.trim();
        let inner = part.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        match inner {
            Some(inner) => is_allowed(inner, allowed),
            None => split_top(part, " OR ").iter().any(|alternative| {
                let alternative = alternative.trim();
                allowed.contains(alternative) || (alternative.starts_with('(') && is_allowed(alternative, allowed))
            }),
        }
    })
}

/// Splits at `separator` outside of parentheses.
fn split_top<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 && index >= start && text[index..].starts_with(separator) => {
                parts.push(&text[start..index]);
                start = index + separator.len();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn duplicate_complaints(rules: &Table, packages: &[Value]) -> Result<Vec<String>> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        let name = package["name"].as_str().context("a package has a name")?;
        versions.entry(name).or_default().insert(package["version"].as_str().context("a package has a version")?);
    }
    let mut excused = BTreeSet::new();
    for skip in rules["bans"]["skip"].as_array().context("bans.skip is a list")? {
        let name = skip.get("crate").and_then(toml::Value::as_str).context("a skip names its crate")?;
        skip.get("reason").and_then(toml::Value::as_str).with_context(|| format!("the skip of {name} has a reason"))?;
        excused.insert(name);
    }
    let several = |name: &&str| versions.get(*name).is_some_and(|versions| versions.len() > 1);
    let mut complaints: Vec<String> = versions
        .iter()
        .filter(|(name, versions)| versions.len() > 1 && !excused.contains(*name))
        .map(|(name, versions)| {
            format!("{name} is there in several versions: {}", Vec::from_iter(versions.iter().copied()).join(", "))
        })
        .collect();
    let stale = excused.iter().filter(|name| !several(name));
    complaints.extend(stale.map(|name| format!("{name} is there once only: drop its skip")));
    Ok(complaints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_allowed_when_every_and_part_has_an_allowed_alternative() {
        let allowed = BTreeSet::from(["MIT", "ISC"]);
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("MIT AND GPL-3.0", false),
            ("ISC AND (Apache-2.0 OR MIT)", true),
            ("ISC AND (Apache-2.0 OR GPL-3.0)", false),
            ("Apache-2.0/MIT", true),
        ] {
            assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
        }
    }
}
