//! Where a secret stands: in the file, in the environment, or in a file of its own.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
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
        if let Some(path) = text.strip_prefix("file:") {
            return Ok(Self { origin: SecretOrigin::File(path.into()), value: Secret::default() });
        }
        if let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            return Ok(Self { origin: SecretOrigin::Env(name.into()), value: Secret::default() });
        }
        Ok(Self { origin: SecretOrigin::Literal, value: Secret::new(text) })
    }
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
