//! `keygate init`: writes a first config.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use super::{config_file, print};
use crate::{config, policy};

/// Write a commented config with a fresh key.
///
/// Only the owner can read the file (mode 0600). An existing file is never overwritten.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keygate init
  keygate init /etc/keygate/keygate.yaml")]
pub(super) struct Arguments {
    /// Where to write it; ./keygate.yaml by default.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn init(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let file = config_file(arguments.file.as_deref());
    let key = policy::generate_key().context("the system has no random numbers for a key")?;
    let admin_token =
        policy::generate_admin_token().context("the system has no random numbers for a token")?;
    write_new(&file, config::template(&key, &admin_token).expose())?;
    let name = file.display();
    print(&format!(
        "wrote `{name}` (readable by you alone), with a fresh key and admin token in it. Next:\n\n  keygate check -c {name}\n  keygate run -c {name}"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn write_new(file: &Path, text: &str) -> anyhow::Result<()> {
    let name = file.display();
    let mut target = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("`{name}` exists and is left as it is; name another file, or remove it first")
        }
        Err(error) => return Err(error).with_context(|| format!("cannot create `{name}`")),
    };
    target.write_all(text.as_bytes()).and_then(|()| target.sync_all()).with_context(|| {
        // Half a config is worse than none; that removing may fail too changes nothing.
        let _ = std::fs::remove_file(file);
        format!("cannot write `{name}`")
    })
}
