//! Attribute values as columns (`value-table` of the contract), and the items that they are.

use std::ops::Range;

use crate::columns::Column;
use crate::item::{DEPTH_MAX, InvalidItem, Item, Reason, Value};

/// Nodes of a forest: node `i` is value `i` of the first five columns, root `r` value `r` of the last two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValueTable {
    /// A [`Kind`] each.
    pub kind: Vec<u8>,
    /// Where a node's children start; 0 without children.
    pub first_child: Vec<u32>,
    /// How many children a node has.
    pub child_count: Vec<u32>,
    /// The name of an attribute or of a map's entry, empty for members of lists and sets.
    pub name: Column,
    /// The text of S and N, the bytes of B; empty otherwise.
    pub scalar: Column,
    /// Where a root's attributes start; 0 without attributes.
    pub root_first: Vec<u32>,
    /// How many attributes a root has.
    pub root_count: Vec<u32>,
}

/// What a node is, numbered as in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Null = 0,
    False = 1,
    True = 2,
    Text = 3,
    Number = 4,
    Bytes = 5,
    Texts = 6,
    Numbers = 7,
    ByteStrings = 8,
    List = 9,
    Map = 10,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Null,
        Self::False,
        Self::True,
        Self::Text,
        Self::Number,
        Self::Bytes,
        Self::Texts,
        Self::Numbers,
        Self::ByteStrings,
        Self::List,
        Self::Map,
    ];

    /// The kind of this number.
    pub(super) fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether text or bytes belong to it.
    pub(super) fn has_scalar(self) -> bool {
        matches!(self, Self::Text | Self::Number | Self::Bytes)
    }

    /// Whether it may have children.
    pub(super) fn has_children(self) -> bool {
        self.member().is_some() || matches!(self, Self::List | Self::Map)
    }

    /// What the members of a set are.
    pub(super) fn member(self) -> Option<Self> {
        match self {
            Self::Texts => Some(Self::Text),
            Self::Numbers => Some(Self::Number),
            Self::ByteStrings => Some(Self::Bytes),
            Self::Null
            | Self::False
            | Self::True
            | Self::Text
            | Self::Number
            | Self::Bytes
            | Self::List
            | Self::Map => None,
        }
    }
}

impl ValueTable {
    /// The item of a root. The table must have been found to be a forest.
    ///
    /// # Errors
    /// The service would not take the item.
    pub(super) fn item(&self, root: u32) -> Result<Item, InvalidItem> {
        let root = root as usize;
        Item::new(self.named(range(self.root_first[root], self.root_count[root]), 1)?)
    }

    /// Nodes with names, at `level`.
    fn named(&self, nodes: Range<usize>, level: usize) -> Result<Vec<(String, Value)>, InvalidItem> {
        let attribute = |node| {
            let name = text(self.name.get(node))?;
            match self.value(node, level) {
                Ok(value) => Ok((name, value)),
                Err(error) => Err(error.inside(&name)),
            }
        };
        nodes.map(attribute).collect()
    }

    /// A node's value, at `level`.
    fn value(&self, node: usize, level: usize) -> Result<Value, InvalidItem> {
        if level > DEPTH_MAX {
            return Err(Reason::TooDeep.into());
        }
        let scalar = |node: usize| self.scalar.get(node);
        let children = range(self.first_child[node], self.child_count[node]);
        let texts = || members(children.clone(), |node| text(scalar(node)));
        match Kind::of(self.kind[node]).expect("the table was checked") {
            Kind::Null => Ok(Value::Null),
            Kind::False => Ok(Value::Bool(false)),
            Kind::True => Ok(Value::Bool(true)),
            Kind::Text => Ok(Value::Text(text(scalar(node))?)),
            Kind::Number => Value::number(text(scalar(node))?),
            Kind::Bytes => Ok(Value::Bytes(scalar(node).to_vec())),
            Kind::Texts => Value::texts(texts()?),
            Kind::Numbers => Value::numbers(texts()?),
            Kind::ByteStrings => Value::byte_strings(children.map(|node| scalar(node).to_vec()).collect()),
            Kind::List => Ok(Value::List(members(children, |node| self.value(node, level + 1))?)),
            Kind::Map => Value::map(self.named(children, level + 1)?),
        }
    }
}

fn members<T>(
    nodes: Range<usize>,
    mut member: impl FnMut(usize) -> Result<T, InvalidItem>,
) -> Result<Vec<T>, InvalidItem> {
    nodes.enumerate().map(|(place, node)| member(node).map_err(|error| error.at(place))).collect()
}

fn range(first: u32, count: u32) -> Range<usize> {
    first as usize..first as usize + count as usize
}

fn text(bytes: &[u8]) -> Result<String, InvalidItem> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Reason::NotText.into()),
    }
}
