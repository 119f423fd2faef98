//! `keygate keygen`: a new key.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::{print, print_error};
use crate::policy::{self, Digest};

/// Make a new key.
///
/// The key goes to standard output, its digest line for `keys:` in the config to standard error. The key itself is
/// stored nowhere.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keygate keygen
  keygate keygen > team-a.key")]
pub(super) struct Arguments {}

pub(super) fn keygen(_: &Arguments) -> anyhow::Result<ExitCode> {
    let key = policy::generate_key().context("the system has no random numbers for a key")?;
    print(key.expose())?;
    print_error(&format!("digest: {}", Digest::of(key.expose().as_bytes())));
    Ok(ExitCode::SUCCESS)
}
