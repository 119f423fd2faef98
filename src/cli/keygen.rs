//! `keygate keygen`: a new key.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use super::{print, print_error};
use crate::policy::{Digest, is_key_name, key_format};

/// Make a new key.
///
/// The key goes to standard output, its lines for `keys:` in the config to standard error. The key itself is stored
/// nowhere. Its form is `kg_<id>_<secret>_<check>`: the id is public, the check tells a typo.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keygate keygen --name alice
  keygate keygen > team-a.key")]
pub(super) struct Arguments {
    /// Whose key it is: prints a whole entry for `keys:` under this name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print the entry as a line for `keys_file:`, as JSON.
    #[arg(long, requires = "name")]
    json: bool,
}

pub(super) fn keygen(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.name.as_deref().is_some_and(|name| !is_key_name(name)) {
        bail!("a key's name is 1 to 128 bytes without control characters");
    }
    let key = key_format::generate().context("the system has no random numbers for a key")?;
    let digest = Digest::of(key.expose().as_bytes()).to_string();
    let id = key_format::inspect(key.expose().as_bytes()).map(|key| key.id).unwrap_or_default();
    print(key.expose())?;
    print_error(&match &arguments.name {
        Some(name) if arguments.json => {
            serde_json::json!({"name": name, "id": id, "digest": digest}).to_string()
        }
        // JSON text is YAML text too: whatever the name is, it stays one string.
        Some(name) => {
            let name = serde_json::Value::from(name.as_str());
            format!("  - name: {name}\n    id: \"{id}\"\n    digest: {digest}")
        }
        None => format!("digest: {digest}"),
    });
    Ok(ExitCode::SUCCESS)
}
