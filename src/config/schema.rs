//! The JSON Schema of the config, for editors. Generated from the config types, so it cannot fall behind them.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Config;

/// The JSON Schema (draft 2020-12) of the config file.
pub fn schema() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>().into()
}

#[cfg(test)]
mod tests;
