//! Elements that cannot become entries: each fails by itself, whatever becomes of the others of its batch.

use crate::component::error::{ErrorClass, GuestError};
use crate::component::{RecordError, message};
use crate::item::InvalidItem;

/// Why an element can never become an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// A metric label.
    code: &'static str,
    /// For a reader; names no payload.
    message: String,
}

impl Flaw {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<InvalidItem> for Flaw {
    fn from(invalid: InvalidItem) -> Self {
        Self::new(invalid.code(), invalid.to_string())
    }
}

/// What came of elements: entries and where they come from, and errors, with no element in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gathered<E> {
    /// The element of each entry.
    pub(crate) input_index: Vec<u32>,
    /// In the order of their elements.
    pub(crate) entries: Vec<E>,
    /// By increasing element, one each.
    pub(crate) errors: Vec<RecordError>,
}

/// Takes what was made of elements, in their order, and adds the elements that turned out to be flawed to those in
/// `errors`. An element of which one entry is flawed has none: half of what a component made of it is not what it meant.
pub(crate) fn gather<E>(
    made: impl Iterator<Item = (u32, Result<E, Flaw>)>,
    mut errors: Vec<RecordError>,
) -> Gathered<E> {
    let (mut input_index, mut entries) =
        (Vec::with_capacity(made.size_hint().0), Vec::with_capacity(made.size_hint().0));
    let mut flawed = None;
    for (element, entry) in made {
        match entry {
            _ if flawed == Some(element) => {}
            Ok(entry) => {
                input_index.push(element);
                entries.push(entry);
            }
            Err(Flaw { code, message: text }) => {
                flawed = Some(element);
                let whole = input_index.partition_point(|before| *before < element);
                input_index.truncate(whole);
                entries.truncate(whole);
                let error = GuestError { class: ErrorClass::Poison, code: code.to_owned(), message: message(&text) };
                errors.push(RecordError { input_index: element, error });
            }
        }
    }
    errors.sort_by_key(|error| error.input_index);
    Gathered { input_index, entries, errors }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_with_a_flawed_entry_has_no_entry() {
        let made = [(0, Ok('a')), (2, Ok('b')), (2, Err(Flaw::new("bad", "x"))), (2, Ok('c')), (3, Ok('d'))];
        let told = GuestError { class: ErrorClass::Retryable, code: "told".into(), message: String::new() };
        let told = RecordError { input_index: 4, error: told };
        let gathered = gather(made.into_iter(), vec![told]);
        assert_eq!((gathered.input_index, gathered.entries), (vec![0, 3], vec!['a', 'd']));
        let errors: Vec<_> =
            gathered.errors.iter().map(|error| (error.input_index, error.error.code.as_str())).collect();
        assert_eq!(errors, [(2, "bad"), (4, "told")]);
    }
}
