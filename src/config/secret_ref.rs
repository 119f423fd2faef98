//! Where a secret stands: in the file, in the environment, or in a file of its own.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};

use crate::secret::Secret;

/// How a secret was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretOrigin {
    /// Written out in the config file.
    Literal,
    /// `${NAME}`: an environment variable.
    Env(String),
    /// `file:PATH`: the content of a file, without its last line break. Relative to the config file's directory.
    File(PathBuf),
}

/// A secret as written, and, once the config is loaded, its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// How it was given.
    pub origin: SecretOrigin,
    /// Its value; empty until `config::load` has filled it in.
    pub value: Secret,
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let refused = |expected: &str| D::Error::invalid_value(Unexpected::Other("text"), &expected);
        let (origin, value) = match origin(&text).map_err(refused)? {
            SecretOrigin::Literal => (SecretOrigin::Literal, Secret::new(text)),
            elsewhere => (elsewhere, Secret::default()),
        };
        Ok(Self { origin, value })
    }
}

/// Where the secret stands that is written as `text`, or what is expected there.
fn origin(text: &str) -> Result<SecretOrigin, &'static str> {
    match text.strip_prefix("file:") {
        Some("") => return Err("a path after `file:`"),
        Some(path) => return Ok(SecretOrigin::File(path.into())),
        None => {}
    }
    if !text.contains("${") {
        return Ok(SecretOrigin::Literal);
    }
    // A literal that was meant would have to be guessed apart from a variable with a slip in it.
    match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        Some(name) if is_variable_name(name) => Ok(SecretOrigin::Env(name.into())),
        _ => Err("`${NAME}` with the name of one environment variable and nothing around it"),
    }
}

/// As POSIX has it: letters, digits and `_`, not a digit first.
fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && (1..=256).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl JsonSchema for SecretRef {
    fn schema_name() -> Cow<'static, str> {
        "SecretRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A secret: a literal, `${ENV_VAR}` or `file:PATH`.",
        })
    }
}
