//! Configuration: what the manifest's `config` table holds, handed to `open`, and what is bound late.

use crate::bindings::sluicebox::pipeline::types::{ConfigValue, OpenContext};
use crate::{Error, host};

/// What an instance is opened with: its configuration, and whom it works for.
///
/// Keys of nested tables are joined with dots (`auth.user`), members of arrays are counted from 0 (`fields.0`).
#[derive(Clone, Debug)]
pub struct Config {
    context: OpenContext,
}

impl Config {
    /// Text. `None` if the key is not there.
    ///
    /// # Errors
    /// The value is no text.
    pub fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(ConfigValue::Text(text)) => Ok(Some(text)),
            Some(other) => Err(mismatch(key, "a text", other)),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// The value is no integer.
    pub fn integer(&self, key: &str) -> Result<Option<i64>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(ConfigValue::Integer(integer)) => Ok(Some(*integer)),
            Some(other) => Err(mismatch(key, "an integer", other)),
        }
    }

    /// A number, with or without a fraction. An integer beyond 2^53 loses precision.
    ///
    /// # Errors
    /// The value is no number.
    pub fn float(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(ConfigValue::Float(float)) => Ok(Some(*float)),
            Some(ConfigValue::Integer(integer)) => Ok(Some(*integer as f64)),
            Some(other) => Err(mismatch(key, "a number", other)),
        }
    }

    /// A truth value.
    ///
    /// # Errors
    /// The value is no boolean.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(ConfigValue::Boolean(boolean)) => Ok(Some(*boolean)),
            Some(other) => Err(mismatch(key, "a boolean", other)),
        }
    }

    /// Octets, or the bytes of a text.
    ///
    /// # Errors
    /// The value is neither.
    pub fn bytes(&self, key: &str) -> Result<Option<&[u8]>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(ConfigValue::Bytes(bytes)) => Ok(Some(bytes)),
            Some(ConfigValue::Text(text)) => Ok(Some(text.as_bytes())),
            Some(other) => Err(mismatch(key, "octets", other)),
        }
    }

    /// All keys, in the host's order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.context.config.iter().map(|entry| entry.key.as_str())
    }

    /// `tenant` of the manifest.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.context.tenant
    }

    /// `name` of the manifest.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.context.pipeline
    }

    /// Where the manifest names this component, for example `deserializer`.
    #[must_use]
    pub fn stage(&self) -> &str {
        &self.context.stage
    }

    /// The subtask that owns the instance, from 0.
    #[must_use]
    pub fn subtask(&self) -> u32 {
        self.context.subtask
    }

    /// How many subtasks the pipeline has.
    #[must_use]
    pub fn parallelism(&self) -> u32 {
        self.context.parallelism
    }

    /// 1 for the first instance of its stage and subtask, one more for each that followed.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.context.attempt
    }

    /// Whether the outputs of the instance are compared with another's and never emitted.
    #[must_use]
    pub fn is_shadow(&self) -> bool {
        self.context.shadow
    }

    fn value(&self, key: &str) -> Option<&ConfigValue> {
        self.context.config.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }
}

impl From<OpenContext> for Config {
    fn from(context: OpenContext) -> Self {
        Self { context }
    }
}

/// The text of `key` as it is now, where [`Config`] has it as it was when the instance was opened.
///
/// # Errors
/// Poison if the value is not granted, retryable if it cannot be reached.
pub fn get(key: &str) -> Result<Option<String>, Error> {
    host::config_get(key)
}

/// A secret that the manifest's grants list by this name.
///
/// # Errors
/// Poison if the secret is not granted, retryable if it cannot be reached.
pub fn secret(name: &str) -> Result<Vec<u8>, Error> {
    host::config_secret(name)
}

fn mismatch(key: &str, expected: &str, found: &ConfigValue) -> Error {
    let found = match found {
        ConfigValue::Text(text) => format!("the text {text:?}"),
        ConfigValue::Integer(integer) => format!("the integer {integer}"),
        ConfigValue::Float(float) => format!("the number {float}"),
        ConfigValue::Boolean(boolean) => format!("the boolean {boolean}"),
        ConfigValue::Bytes(bytes) => format!("{} octets", bytes.len()),
    };
    Error::poison("invalid-config", format_args!("`{key}` must be {expected}, not {found}"))
}

impl From<&str> for ConfigValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for ConfigValue {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<f64> for ConfigValue {
    fn from(float: f64) -> Self {
        Self::Float(float)
    }
}

impl From<bool> for ConfigValue {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::config;

    #[test]
    fn an_integer_serves_as_a_float_but_not_the_other_way_round() {
        let config = config([("whole", 3.into()), ("half", 0.5.into())]);
        assert_eq!(config.float("whole"), Ok(Some(3.0)));
        let error = config.integer("half").expect_err("0.5 is no integer");
        assert_eq!(error.message(), "`half` must be an integer, not the number 0.5");
    }

    #[test]
    fn a_missing_key_is_none_and_a_wrong_type_an_error() {
        let config = config([("name", "x".into()), ("on", true.into())]);
        assert_eq!(config.text("name"), Ok(Some("x")));
        assert_eq!(config.bytes("name"), Ok(Some(b"x".as_slice())));
        assert_eq!(config.boolean("on"), Ok(Some(true)));
        assert_eq!(config.text("nam"), Ok(None));
        assert!(config.text("on").is_err() && config.boolean("name").is_err() && config.float("name").is_err());
        assert_eq!(config.keys().collect::<Vec<_>>(), ["name", "on"]);
    }
}
