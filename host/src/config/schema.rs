//! The manifest's JSON Schema, for editors and for other programs that write manifests.
//!
//! It is made of the questions that the reader asks, so every key of one is a key of the other. It says less than the
//! reader knows: keys that need or exclude one another are told in words only.

use serde_json::{Map, Value as Json, json};

use super::section::{Key, Kind, Need, Section, sections_in};
use super::walk::describe;

/// The schema, in the 2020-12 dialect.
#[must_use]
pub fn schema() -> Json {
    let all = describe();
    let mut schema = table(&all, "", "One pipeline of Sluicebox.");
    let head =
        [("$schema", json!("https://json-schema.org/draft/2020-12/schema")), ("title", json!("Sluicebox manifest"))];
    if let Some(schema) = schema.as_object_mut() {
        schema.extend(head.map(|(key, value)| (key.to_owned(), value)));
    }
    schema
}

fn table(all: &[Section], path: &str, doc: &str) -> Json {
    let mut properties = Map::new();
    let mut required: Vec<&str> = Vec::new();
    let own = all.iter().find(|section| section.path == path);
    for key in own.into_iter().flat_map(|section| &section.keys) {
        properties.insert(key.name.to_owned(), property(key));
        if key.need == Need::Required {
            required.push(key.name);
        }
    }
    for (name, section) in sections_in(all, path) {
        let schema = match section.kind {
            Kind::Table | Kind::OptionalTable => table(all, &section.path, section.doc),
            Kind::List => list(all, section),
            Kind::Free => json!({
                "type": "object",
                "description": section.doc,
                "additionalProperties": { "type": ["string", "number", "boolean"] },
            }),
        };
        properties.insert(name.to_owned(), schema);
        // The top's list is of sinks, and a pipeline has one at least.
        if needs_something(all, section) || (section.kind == Kind::List && path.is_empty()) {
            required.push(name);
        }
    }
    let mut schema = json!({
        "type": "object",
        "description": doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if let (false, Some(schema)) = (required.is_empty(), schema.as_object_mut()) {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn list(all: &[Section], section: &Section) -> Json {
    let least = u32::from(!section.path.contains('.'));
    json!({
        "type": "array",
        "description": section.doc,
        "minItems": least,
        "items": table(all, &section.path, section.doc),
    })
}

/// Whether a table cannot be left out.
fn needs_something(all: &[Section], section: &Section) -> bool {
    section.kind == Kind::Table
        && (section.keys.iter().any(|key| key.need == Need::Required)
            || sections_in(all, &section.path).any(|(_, inner)| needs_something(all, inner)))
}

fn property(key: &Key) -> Json {
    let mut schema = key.schema.clone();
    let Some(fields) = schema.as_object_mut() else { return schema };
    let doc = match key.need {
        Need::Optional(when) if !when.is_empty() => format!("{} Only {when}.", key.doc),
        Need::Required | Need::Default(_) | Need::Optional(_) => key.doc.to_owned(),
    };
    fields.insert("description".to_owned(), json!(doc));
    if let Need::Default(default) = key.need {
        fields.insert("default".to_owned(), default.json());
    }
    schema
}
