//! `keygate keygen`: a new key.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use super::{print, print_error};
use crate::policy::{Digest, KEY_NAME, generate_key, is_name, key_format};

/// Make a new key.
///
/// The key goes to standard output, its line for the config to standard error. The key itself is stored nowhere. Without
/// a name it is `sk-` and 32 hex digits, as `keygate init` makes it; with one it is `kg_<id>_<secret>_<check>`, of which the
/// id is public and the check tells a typo.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keygate keygen --name alice
  keygate keygen > api.key")]
pub(super) struct Arguments {
    /// Whose key it is: prints a whole entry for `keys:` under this name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print the entry as a line for `keys_file:`, as JSON.
    #[arg(long, requires = "name")]
    json: bool,
}

pub(super) fn keygen(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.name.as_deref().is_some_and(|name| !is_name(name)) {
        bail!("{KEY_NAME}");
    }
    let made = if arguments.name.is_some() { key_format::generate() } else { generate_key() };
    let key = made.context("the system has no random numbers for a key")?;
    print(key.expose())?;
    print_error(&entry(arguments, key.expose().as_bytes()));
    Ok(ExitCode::SUCCESS)
}

/// What admits the key, to be put into the config.
fn entry(arguments: &Arguments, key: &[u8]) -> String {
    let digest = Digest::of(key).to_string();
    let Some(name) = &arguments.name else { return format!("digest: {digest}") };
    let id = key_format::inspect(key).map(|key| key.id).unwrap_or_default();
    if arguments.json {
        return serde_json::json!({"name": name, "id": id, "digest": digest}).to_string();
    }
    // JSON text is YAML text too: whatever the name is, it stays one string.
    let name = serde_json::Value::from(name.as_str());
    format!("  - name: {name}\n    id: \"{id}\"\n    digest: {digest}")
}
