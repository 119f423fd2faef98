//! The command line: one file a subcommand. The only place that speaks on standard output and error.

mod admin;
mod admin_api;
mod check;
mod doctor;
mod embedded;
mod explain;
mod http_client;
mod init;
mod keygen;
mod origin;
mod run;
mod running;
mod schema;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::telemetry;

/// The config file that is used where none is named.
const DEFAULT_FILE: &str = "keygate.yaml";

/// The config file cannot be used. (Wrong arguments give the same, from clap.)
const EXIT_CONFIG: u8 = 2;

/// keygate: an authentication gateway for AI APIs.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  keygate run                         serve at once, with a key made for this run and a mock origin behind it
  keygate init && keygate run         write a config of your own, and serve it
  keygate check -c /etc/keygate.yaml  say everything that is wrong with a config
  keygate doctor                      find out why a gateway answers 401
  keygate explain -- curl …           say why a request is refused, and what to do

RUST_LOG sets the log level: RUST_LOG=keygate=debug keygate run";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Init(init::Arguments),
    Check(check::Arguments),
    Keygen(keygen::Arguments),
    Doctor(doctor::Arguments),
    Explain(explain::Arguments),
    Schema(schema::Arguments),
    Origin(origin::Arguments),
    Admin(admin::Arguments),
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    telemetry::log::init();
    let outcome = match &arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Init(arguments) => init::init(arguments),
        Command::Check(arguments) => check::check(arguments),
        Command::Keygen(arguments) => keygen::keygen(arguments),
        Command::Doctor(arguments) => doctor::doctor(arguments),
        Command::Explain(arguments) => explain::explain(arguments),
        Command::Schema(arguments) => schema::schema(arguments),
        Command::Origin(arguments) => origin::origin(arguments),
        Command::Admin(arguments) => admin::admin(arguments),
    };
    outcome.unwrap_or_else(|error| {
        if is_broken_pipe(&error) {
            // `keygate schema | head`: the reader has what it wanted.
            return ExitCode::SUCCESS;
        }
        print_error(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

/// The file that was named, or the default one.
fn config_file(named: Option<&Path>) -> PathBuf {
    named.unwrap_or(Path::new(DEFAULT_FILE)).to_owned()
}

/// Writes `text` and a line break to standard output.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()?;
    Ok(())
}

/// Writes `text` and a line break to standard error. If even that fails there is nobody left to tell.
fn print_error(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_help_has_an_example() {
        let mut command = Arguments::command();
        command.build();
        command.clone().debug_assert();
        let subcommands: Vec<_> = command.get_subcommands().filter(|it| it.get_name() != "help").collect();
        assert_eq!(subcommands.len(), 9);
        for subcommand in subcommands {
            let help = subcommand.clone().render_long_help().to_string();
            assert!(help.contains(&format!("\n  keygate {}", subcommand.get_name())), "{help}");
        }
    }
}
