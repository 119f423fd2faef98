//! `keygate run`: serves.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{DEFAULT_FILE, EXIT_CONFIG, embedded, print, print_error};
use crate::server::{self, ConfigSource, Options, RunError};

/// Serve.
///
/// Without -c this takes ./keygate.yaml; if there is none, the embedded default: loopback, port 8045, a key made for
/// this run, and the built-in mock origin as upstream.
///
/// The file is followed while the gateway runs: saving it, or SIGHUP, puts it in force. SIGTERM and SIGINT stop it,
/// once requests in flight are done.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keygate run
  keygate run -c /etc/keygate/keygate.yaml
  keygate run --listen 127.0.0.1:8080

Exit status: 0 after a clean stop, 2 if the config cannot be used, 1 otherwise.")]
pub(super) struct Arguments {
    /// The config file.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen on this address instead of those of the config; can be given several times.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let listen = arguments.listen.clone();
    let default = Path::new(DEFAULT_FILE);
    let outcome = match &arguments.config {
        Some(file) => run_file(file, listen),
        None if default.exists() => run_file(default, listen),
        None => embedded::run(listen)?,
    };
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(RunError::Config(problems)) => {
            for problem in problems {
                print_error(&problem);
            }
            Ok(ExitCode::from(EXIT_CONFIG))
        }
        Err(error) => Err(error.into()),
    }
}

fn run_file(file: &Path, listen: Vec<SocketAddr>) -> Result<(), RunError> {
    let options = Options { config: ConfigSource::File(file.to_owned()), listen, origin: None };
    server::run(options, |_| {})
}

/// Says on standard output that the gateway is there and what to try.
pub(super) fn announce(text: &str) {
    // Serving does not depend on somebody reading this.
    if let Err(error) = print(text) {
        log::debug!("standard output is closed: {error}");
    }
}
