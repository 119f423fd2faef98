//! A file of certificates or of a private key, named in the config and read with it.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::secret::Secret;

/// A PEM file (RFC 7468): its name and, once the config is loaded, its content. It may hold a private key, so it is a
/// secret whatever it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemFile {
    /// As written; relative to the config file's directory.
    pub path: PathBuf,
    /// The text; empty until `config::load` has filled it in.
    pub content: Secret,
}

impl<'de> Deserialize<'de> for PemFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = PathBuf::deserialize(deserializer)?;
        Ok(Self { path, content: Secret::default() })
    }
}

impl JsonSchema for PemFile {
    fn schema_name() -> Cow<'static, str> {
        "PemFile".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "The path of a PEM file."})
    }
}
