//! Forms of texts that have a rule of their own.

use serde_json::{Value as Json, json};

use super::super::document::Value;
use super::super::names::{Name, Secret, is_stream_name};
use super::{Complaint, Context, Form, Placed, text, text_schema};

/// A text with something in it; the example shows what.
pub(in super::super) struct Text(pub(in super::super) &'static str);

impl Form for Text {
    type Value = String;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<String, Complaint> {
        let (text, _) = text(value)?;
        if text.trim().is_empty() { Err(empty(&self.example())) } else { Ok(text.to_owned()) }
    }

    fn takes(&self) -> String {
        "a text".to_owned()
    }

    fn example(&self) -> String {
        format!("{:?}", self.0)
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

pub(super) fn empty(example: &str) -> Complaint {
    Complaint::content("it is empty", format!("write something such as {example}"))
}

/// A text that is never shown.
pub(in super::super) struct SecretText;

impl Form for SecretText {
    type Value = Secret;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<Secret, Complaint> {
        let (text, _) = text(value)?;
        if text.trim().is_empty() { Err(empty(&self.example())) } else { Ok(Secret::new(text.to_owned())) }
    }

    fn takes(&self) -> String {
        "a secret text".to_owned()
    }

    fn example(&self) -> String {
        "\"${VARIABLE}\"".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1, "writeOnly": true })
    }
}

/// A name of ours.
pub(in super::super) struct Named(pub(in super::super) &'static str);

impl Form for Named {
    type Value = Name;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<Name, Complaint> {
        let (text, quote) = text(value)?;
        Name::parse(text).map_err(|error| {
            Complaint::content(format!("{quote} is no name: {error}"), format!("write a name such as {:?}", self.0))
        })
    }

    fn takes(&self) -> String {
        "a name".to_owned()
    }

    fn example(&self) -> String {
        format!("{:?}", self.0)
    }

    fn schema(&self) -> Json {
        text_schema("^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    }
}

/// The name of a stream.
pub(in super::super) struct Stream;

impl Form for Stream {
    type Value = String;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<String, Complaint> {
        let (text, quote) = text(value)?;
        if is_stream_name(text) {
            return Ok(text.to_owned());
        }
        let help = if text.starts_with("arn:") {
            "write the part behind \"stream/\" only"
        } else {
            "a stream's name is 1 to 128 of letters, digits, `.`, `_` and `-`"
        };
        Err(Complaint::content(format!("{quote} is no name of a stream"), help))
    }

    fn takes(&self) -> String {
        "the name of a stream".to_owned()
    }

    fn example(&self) -> String {
        "\"orders\"".to_owned()
    }

    fn schema(&self) -> Json {
        text_schema("^[A-Za-z0-9._-]{1,128}$")
    }
}

/// Names of routes, and where each stands; with what to say of a list without any.
pub(in super::super) struct Routes {
    pub(in super::super) none: &'static str,
    pub(in super::super) instead: &'static str,
}

/// Bytes of a route's name, as components may give it.
const ROUTE_BYTES_MAX: usize = 64;
/// Routes of a component.
const ROUTES_MAX: usize = 256;

impl Form for Routes {
    type Value = Placed<String>;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<Self::Value, Complaint> {
        let Value::List(items) = value else { return Err(value.wrong_type()) };
        if items.is_empty() {
            return Err(Complaint::content(self.none, self.instead));
        }
        if items.len() > ROUTES_MAX {
            let message = format!("these are {} routes", items.len());
            return Err(Complaint::content(message, format!("a component has at most {ROUTES_MAX}")));
        }
        let mut routes: Self::Value = Vec::new();
        for item in items {
            let inside = |message, help| Complaint::Inside { span: item.span.clone(), message, help };
            let (route, quote) = text(&item.value).map_err(|complaint| match complaint {
                Complaint::Type => {
                    inside(format!("{} is no route", item.value.kind()), format!("write {}", self.example()))
                }
                told @ (Complaint::Told | Complaint::Content { .. } | Complaint::Inside { .. }) => told,
            })?;
            if route.trim().is_empty() {
                return Err(inside("a route has no name".to_owned(), format!("write {}", self.example())));
            }
            if route.len() > ROUTE_BYTES_MAX {
                let help = format!("at most {ROUTE_BYTES_MAX} bytes, which is what a component can give");
                return Err(inside(format!("{quote} is too long for a route"), help));
            }
            if routes.iter().any(|(_, other)| other == route) {
                return Err(inside(format!("the route {quote} stands twice"), "name it once".to_owned()));
            }
            routes.push((item.span.clone(), route.to_owned()));
        }
        Ok(routes)
    }

    fn takes(&self) -> String {
        "a list of routes".to_owned()
    }

    fn example(&self) -> String {
        "[\"strong\"]".to_owned()
    }

    fn schema(&self) -> Json {
        json!({
            "type": "array",
            "minItems": 1,
            "maxItems": ROUTES_MAX,
            "uniqueItems": true,
            "items": { "type": "string", "minLength": 1 },
        })
    }
}

/// Whether `text` is a JSON pointer (RFC 6901) to something inside a document.
pub(crate) fn is_json_pointer(text: &str) -> bool {
    text.starts_with('/') && text.split('~').skip(1).all(|behind| behind.starts_with(['0', '1']))
}

/// A JSON pointer to something inside a document.
pub(in super::super) struct Pointer;

impl Form for Pointer {
    type Value = String;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<String, Complaint> {
        let (text, quote) = text(value)?;
        if !text.starts_with('/') {
            // What a JSONPath or a bare field name would be as a pointer.
            let pointer = format!("/{}", text.trim_start_matches(['$', '.']).replace('.', "/"));
            let help = if pointer == "/" { format!("write {}", self.example()) } else { format!("write {pointer:?}") };
            return Err(Complaint::content(format!("{quote} is no JSON pointer: it does not begin with `/`"), help));
        }
        if !is_json_pointer(text) {
            return Err(Complaint::content(
                format!("{quote} is no JSON pointer"),
                "write `~0` for `~` and `~1` for `/` in a key",
            ));
        }
        Ok(text.to_owned())
    }

    fn takes(&self) -> String {
        "a JSON pointer".to_owned()
    }

    fn example(&self) -> String {
        "\"/id\"".to_owned()
    }

    fn schema(&self) -> Json {
        text_schema("^(/([^~/]|~[01])*)+$")
    }
}
