//! Items of a table, as DynamoDB knows them: named attributes, each with a value of one of ten types.

/// The value of an attribute (`AttributeValue`).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `NULL`.
    Null,
    /// `BOOL`.
    Bool(bool),
    /// `S`.
    Text(String),
    /// `N`: decimal text, kept as it was written.
    Number(String),
    /// `B`.
    Bytes(Vec<u8>),
    /// `SS`: at least one, each once.
    Texts(Vec<String>),
    /// `NS`: at least one, each once by its value.
    Numbers(Vec<String>),
    /// `BS`: at least one, each once.
    ByteStrings(Vec<Vec<u8>>),
    /// `L`.
    List(Vec<Value>),
    /// `M`: names are distinct.
    Map(Vec<(String, Value)>),
}

/// Attributes, by distinct names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item(pub Vec<(String, Value)>);

impl Item {
    /// The attribute of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }
}
