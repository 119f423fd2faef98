//! `keygate schema`: the JSON Schema of the config.

use std::process::ExitCode;

use clap::Args;

use super::print;
use crate::config;

/// Print the JSON Schema of the config, for editors.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  keygate schema > keygate.schema.json

An editor with the YAML language server uses it where the config begins with
  # yaml-language-server: $schema=keygate.schema.json")]
pub(super) struct Arguments {}

pub(super) fn schema(_: &Arguments) -> anyhow::Result<ExitCode> {
    print(&serde_json::to_string_pretty(&config::schema())?)?;
    Ok(ExitCode::SUCCESS)
}
