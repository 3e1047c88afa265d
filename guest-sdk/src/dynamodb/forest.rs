//! Items as the contract has them: one forest of nodes for a whole batch, breadth first.
//!
//! A node's children must stand side by side behind it. So a root's attributes are written first, and each list, set and
//! map waits in a queue until everything that comes before its members stands.

use std::collections::VecDeque;

use crate::Error;
use crate::bindings::dynamodb_converter::sluicebox::pipeline::dynamodb_values::ValueTable;
use crate::columns::{self, append, number};
use crate::dynamodb::{Item, Value};

/// The service nests no deeper; an attribute of the item itself is at level 1.
const LEVELS_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 65_535;

/// Kinds that members of sets have too.
const TEXT: u8 = 3;
const NUMBER: u8 = 4;
const BYTES: u8 = 5;

#[derive(Debug)]
pub(super) struct Forest(ValueTable);

/// How much there is of a forest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    nodes: usize,
    name: (usize, usize),
    scalar: (usize, usize),
    roots: usize,
}

/// A value whose members are not written yet.
struct Parent<'v> {
    node: usize,
    level: usize,
    value: &'v Value<'v>,
}

impl Forest {
    pub(super) fn new() -> Self {
        Self(ValueTable {
            kind: Vec::new(),
            first_child: Vec::new(),
            child_count: Vec::new(),
            name: columns::empty(),
            scalar: columns::empty(),
            root_first: Vec::new(),
            root_count: Vec::new(),
        })
    }

    pub(super) fn finish(self) -> ValueTable {
        self.0
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            nodes: self.0.kind.len(),
            name: columns::length(&self.0.name),
            scalar: columns::length(&self.0.scalar),
            roots: self.0.root_first.len(),
        }
    }

    pub(super) fn roll_back(&mut self, found: Mark) {
        self.0.kind.truncate(found.nodes);
        self.0.first_child.truncate(found.nodes);
        self.0.child_count.truncate(found.nodes);
        columns::truncate(&mut self.0.name, found.name);
        columns::truncate(&mut self.0.scalar, found.scalar);
        self.0.root_first.truncate(found.roots);
        self.0.root_count.truncate(found.roots);
    }

    /// Adds a root. If it fails, some of its nodes may be there, and the caller rolls them back.
    pub(super) fn add(&mut self, item: &Item<'_>) -> Result<(), Error> {
        let mut parents = VecDeque::new();
        self.0.root_first.push(if item.is_empty() { 0 } else { number(self.0.kind.len()) });
        self.0.root_count.push(number(item.len()));
        item.iter().try_for_each(|(name, value)| self.value(name, value, 1, &mut parents))?;
        while let Some(parent) = parents.pop_front() {
            self.members(&parent, &mut parents)?;
        }
        Ok(())
    }

    /// Writes one value. Its members follow when its turn in the queue comes.
    fn value<'v>(
        &mut self,
        name: &str,
        value: &'v Value<'_>,
        level: usize,
        parents: &mut VecDeque<Parent<'v>>,
    ) -> Result<(), Error> {
        if level > LEVELS_MAX {
            return Err(Error::poison("too-deep", format_args!("a value lies deeper than {LEVELS_MAX} levels")));
        }
        if name.len() > NAME_BYTES_MAX {
            let problem = format_args!("the name of an attribute has {} bytes, at most {NAME_BYTES_MAX}", name.len());
            return Err(Error::poison("invalid-name", problem));
        }
        let node = self.0.kind.len();
        let members = match value {
            Value::Null => self.scalar(0, name, b""),
            Value::Bool(false) => self.scalar(1, name, b""),
            Value::Bool(true) => self.scalar(2, name, b""),
            Value::Text(text) => self.scalar(TEXT, name, text.as_bytes()),
            Value::Number(number) => self.scalar(NUMBER, name, number.to_string().as_bytes()),
            Value::Bytes(bytes) => self.scalar(BYTES, name, bytes),
            Value::Texts(texts) => self.set(6, name, texts.len())?,
            Value::Numbers(numbers) => self.set(7, name, numbers.len())?,
            Value::ByteStrings(strings) => self.set(8, name, strings.len())?,
            Value::List(values) => self.parent(9, name, values.len()),
            Value::Map(map) => self.parent(10, name, map.len()),
        };
        if members > 0 {
            parents.push_back(Parent { node, level, value });
        }
        Ok(())
    }

    fn members<'v>(&mut self, parent: &Parent<'v>, parents: &mut VecDeque<Parent<'v>>) -> Result<(), Error> {
        self.0.first_child[parent.node] = number(self.0.kind.len());
        let level = parent.level + 1;
        match parent.value {
            Value::Texts(texts) => texts.iter().for_each(|text| {
                self.scalar(TEXT, "", text.as_bytes());
            }),
            Value::Numbers(numbers) => numbers.iter().for_each(|number| {
                self.scalar(NUMBER, "", number.to_string().as_bytes());
            }),
            Value::ByteStrings(strings) => strings.iter().for_each(|bytes| {
                self.scalar(BYTES, "", bytes);
            }),
            Value::List(values) => values.iter().try_for_each(|value| self.value("", value, level, parents))?,
            Value::Map(map) => map.iter().try_for_each(|(name, value)| self.value(name, value, level, parents))?,
            Value::Null | Value::Bool(_) | Value::Text(_) | Value::Number(_) | Value::Bytes(_) => {}
        }
        Ok(())
    }

    /// A set: the service refuses an empty one.
    fn set(&mut self, kind: u8, name: &str, members: usize) -> Result<usize, Error> {
        if members == 0 {
            return Err(Error::poison(
                "empty-set",
                format_args!("the set {name:?} is empty, which the service refuses"),
            ));
        }
        Ok(self.parent(kind, name, members))
    }

    fn parent(&mut self, kind: u8, name: &str, members: usize) -> usize {
        self.node(kind, name, b"", members)
    }

    fn scalar(&mut self, kind: u8, name: &str, scalar: &[u8]) -> usize {
        self.node(kind, name, scalar, 0)
    }

    /// One node. How many members it has.
    fn node(&mut self, kind: u8, name: &str, scalar: &[u8], members: usize) -> usize {
        self.0.kind.push(kind);
        self.0.first_child.push(0);
        self.0.child_count.push(number(members));
        append(&mut self.0.name, name.as_bytes());
        append(&mut self.0.scalar, scalar);
        members
    }
}
