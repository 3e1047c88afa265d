//! The one text of a JSON value, whoever wrote the file and however it is laid out: what its hash is taken of.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// `sha256:` and the digest of the canonical text.
pub(super) fn hash(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    let digest: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digest}")
}

/// Without spaces, keys in the order of their bytes, everything else as `serde_json` writes it.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| key.as_bytes());
            text.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                separate(index, text);
                write(&Value::String(key.clone()), text);
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, value) in items.iter().enumerate() {
                separate(index, text);
                write(value, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
}

fn separate(index: usize, text: &mut String) {
    if index > 0 {
        text.push(',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> String {
        let mut text = String::new();
        write(&serde_json::from_str(json).expect("JSON"), &mut text);
        text
    }

    #[test]
    fn layout_and_order_do_not_matter_and_content_does() {
        assert_eq!(
            canonical(" { \"b\" : [ 1 , null ], \"a\": {\"é\\u0041\": \"\\n\"} } "),
            r#"{"a":{"éA":"\n"},"b":[1,null]}"#
        );
        assert_ne!(canonical("[1, 2]"), canonical("[2, 1]"));
    }

    #[test]
    fn the_hash_is_that_of_any_other_tool() {
        // printf '{"a":1}' | sha256sum
        let value = serde_json::from_str("{\"a\": 1}").expect("JSON");
        assert_eq!(hash(&value), "sha256:015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862");
    }
}
