//! What the example components do to a record, apart from any sandbox, so that a benchmark can run the same code
//! natively.

use serde::{Deserialize, Serialize};

/// Appends the record unchanged.
pub fn pass(record: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(record);
}

/// The fields that [`project`] keeps.
#[derive(Debug, Deserialize, Serialize)]
struct Projection<'a> {
    #[serde(borrow)]
    event_id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    user_id: std::borrow::Cow<'a, str>,
    amount: f64,
}

/// Appends `event_id`, `user_id` and `amount` of a JSON object, as a JSON object.
///
/// # Errors
/// The record is no JSON, or a field is missing or of another type.
pub fn project(record: &[u8], out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let projection: Projection<'_> = serde_json::from_slice(record)?;
    serde_json::to_writer(out, &projection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projection_keeps_three_fields_and_their_escapes() {
        let mut out = b"before".to_vec();
        let record = br#"{"noise":[1,{}],"amount":12.5,"user_id":"a\"b","event_id":"e-1"}"#;
        project(record, &mut out).expect("the record has all fields");
        assert_eq!(out, br#"before{"event_id":"e-1","user_id":"a\"b","amount":12.5}"#);
        assert!(project(br#"{"event_id":"e-1","user_id":"u"}"#, &mut out).is_err());
    }
}
