//! Checks that a table of values is a forest: every node is a member of exactly one list, set, map or item.
//!
//! One pass from the roots down the table is enough, because children come after their parents: a node that was claimed
//! once can neither be claimed again nor reach itself. It costs as much as the table is long, whatever the table says,
//! since the first node that is claimed twice ends it. So no table can ask for more values than it holds.

use crate::component::values::{Kind, ValueTable};

/// Why a table of values is no forest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoForest {
    /// A kind that there is not.
    #[error("have kind {kind} at node {at}: kinds are 0 to 10")]
    Kind {
        /// Which node.
        at: usize,
        /// What it says.
        kind: u8,
    },
    /// A node has children that its kind cannot have.
    #[error("give children to node {at}, which is no list, set or map")]
    Children {
        /// Which node.
        at: usize,
    },
    /// A node has text or bytes that its kind cannot have.
    #[error("give text or bytes to node {at}, which is none of S, N and B")]
    Scalar {
        /// Which node.
        at: usize,
    },
    /// Children are outside of the table, or not after their parent, or none that start somewhere.
    #[error("give node {at} the children {first} and {count} on, of {nodes} nodes: children come after their parent")]
    Range {
        /// Which node.
        at: usize,
        /// Where its children start.
        first: u32,
        /// How many there are.
        count: u32,
        /// How many nodes there are.
        nodes: usize,
    },
    /// A root's attributes are outside of the table, or none that start somewhere.
    #[error("give root {root} the attributes {first} and {count} on, of {nodes} nodes")]
    Root {
        /// Which root.
        root: usize,
        /// Where its attributes start.
        first: u32,
        /// How many there are.
        count: u32,
        /// How many nodes there are.
        nodes: usize,
    },
    /// A node belongs to two others.
    #[error("use node {at} twice")]
    Shared {
        /// Which node.
        at: usize,
    },
    /// A node belongs to nothing.
    #[error("have node {at}, which belongs to nothing")]
    Orphan {
        /// Which node.
        at: usize,
    },
    /// A member of a list or a set has a name.
    #[error("name node {at}, which is a member of a list or set")]
    Named {
        /// Which node.
        at: usize,
    },
    /// A member of a set is of another kind.
    #[error("have node {at} in a set of another kind")]
    Member {
        /// Which node.
        at: usize,
    },
    /// An entry's root is not there.
    #[error("have {roots} roots, and entry {entry} is root {root}")]
    NoRoot {
        /// Which entry.
        entry: usize,
        /// What it names.
        root: u32,
        /// How many roots there are.
        roots: usize,
    },
    /// Two entries have one root.
    #[error("have one root {root} for two entries, {entry} is the second")]
    SharedRoot {
        /// Which entry.
        entry: usize,
        /// What it names.
        root: u32,
    },
    /// A root of no entry.
    #[error("have root {root}, which belongs to no entry")]
    OrphanRoot {
        /// Which root.
        root: usize,
    },
}

/// Checks a table whose columns are as long as they should be, and that each of its roots is one of `roots`.
pub(super) fn check(table: &ValueTable, roots: &[u32]) -> Result<(), NoForest> {
    check_roots(table, roots)?;
    let nodes = table.kind.len();
    let mut claimed = vec![false; nodes];
    for (root, (&first, &count)) in table.root_first.iter().zip(&table.root_count).enumerate() {
        let range = span(first, count, nodes).ok_or(NoForest::Root { root, first, count, nodes })?;
        for at in range {
            claim(&mut claimed, at)?;
        }
    }
    for (at, &kind) in table.kind.iter().enumerate() {
        let (first, count) = (table.first_child[at], table.child_count[at]);
        let kind = Kind::of(kind).ok_or(NoForest::Kind { at, kind })?;
        if count > 0 && !kind.has_children() {
            return Err(NoForest::Children { at });
        }
        if !kind.has_scalar() && !table.scalar.get(at).is_empty() {
            return Err(NoForest::Scalar { at });
        }
        let range = span(first, count, nodes).filter(|range| range.is_empty() || range.start > at);
        for child in range.ok_or(NoForest::Range { at, first, count, nodes })? {
            claim(&mut claimed, child)?;
            if kind != Kind::Map && !table.name.get(child).is_empty() {
                return Err(NoForest::Named { at: child });
            }
            if kind.member().is_some_and(|member| member as u8 != table.kind[child]) {
                return Err(NoForest::Member { at: child });
            }
        }
    }
    match claimed.iter().position(|claimed| !claimed) {
        Some(at) => Err(NoForest::Orphan { at }),
        None => Ok(()),
    }
}

fn check_roots(table: &ValueTable, roots: &[u32]) -> Result<(), NoForest> {
    let mut used = vec![false; table.root_first.len()];
    for (entry, &root) in roots.iter().enumerate() {
        match used.get_mut(root as usize) {
            None => return Err(NoForest::NoRoot { entry, root, roots: used.len() }),
            Some(true) => return Err(NoForest::SharedRoot { entry, root }),
            Some(unused) => *unused = true,
        }
    }
    match used.iter().position(|used| !used) {
        Some(root) => Err(NoForest::OrphanRoot { root }),
        None => Ok(()),
    }
}

/// The nodes `first .. first + count`, if they are there. No nodes start at 0.
fn span(first: u32, count: u32, nodes: usize) -> Option<std::ops::Range<usize>> {
    let start = first as usize;
    let end = start.checked_add(count as usize)?;
    (end <= nodes && (count > 0 || first == 0)).then_some(start..end)
}

fn claim(claimed: &mut [bool], at: usize) -> Result<(), NoForest> {
    if std::mem::replace(&mut claimed[at], true) { Err(NoForest::Shared { at }) } else { Ok(()) }
}
