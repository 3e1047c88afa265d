use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, btree_map};

use crate::dynamodb::Number;

/// The value of an attribute (`AttributeValue`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `NULL`.
    Null,
    /// `BOOL`.
    Bool(bool),
    /// `S`.
    Text(Cow<'a, str>),
    /// `N`.
    Number(Number),
    /// `B`.
    Bytes(Cow<'a, [u8]>),
    /// `SS`: not empty. [`Value::texts`] makes one.
    Texts(BTreeSet<Cow<'a, str>>),
    /// `NS`: not empty. [`Value::numbers`] makes one.
    Numbers(BTreeSet<Number>),
    /// `BS`: not empty. [`Value::byte_strings`] makes one.
    ByteStrings(BTreeSet<Cow<'a, [u8]>>),
    /// `L`.
    List(Vec<Value<'a>>),
    /// `M`.
    Map(Item<'a>),
}

impl<'a> Value<'a> {
    /// A set of texts.
    pub fn texts(values: impl IntoIterator<Item = impl Into<Cow<'a, str>>>) -> Self {
        Self::Texts(values.into_iter().map(Into::into).collect())
    }

    /// A set of numbers.
    pub fn numbers(values: impl IntoIterator<Item = impl Into<Number>>) -> Self {
        Self::Numbers(values.into_iter().map(Into::into).collect())
    }

    /// A set of byte strings.
    pub fn byte_strings(values: impl IntoIterator<Item = impl Into<Cow<'a, [u8]>>>) -> Self {
        Self::ByteStrings(values.into_iter().map(Into::into).collect())
    }
}

/// Values by name: an item, a key, or a map within one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item<'a>(BTreeMap<Cow<'a, str>, Value<'a>>);

impl<'a> Item<'a> {
    /// One without attributes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With this attribute, in place of one of the same name.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets an attribute, in place of one of the same name.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) {
        self.0.insert(name.into(), value.into());
    }

    /// The attribute of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.get(name)
    }

    /// Takes an attribute out.
    pub fn remove(&mut self, name: &str) -> Option<Value<'a>> {
        self.0.remove(name)
    }

    /// How many attributes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All attributes, by name.
    pub fn iter(&self) -> btree_map::Iter<'_, Cow<'a, str>, Value<'a>> {
        self.0.iter()
    }
}

impl<'i, 'a> IntoIterator for &'i Item<'a> {
    type Item = (&'i Cow<'a, str>, &'i Value<'a>);
    type IntoIter = btree_map::Iter<'i, Cow<'a, str>, Value<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Of two attributes of one name the last stays.
impl<'a, N: Into<Cow<'a, str>>, V: Into<Value<'a>>> FromIterator<(N, V)> for Item<'a> {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(attributes: I) -> Self {
        Self(attributes.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Number> for Value<'_> {
    fn from(number: Number) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl<'a> From<Vec<Value<'a>>> for Value<'a> {
    fn from(values: Vec<Value<'a>>) -> Self {
        Self::List(values)
    }
}

impl<'a> From<Item<'a>> for Value<'a> {
    fn from(map: Item<'a>) -> Self {
        Self::Map(map)
    }
}
