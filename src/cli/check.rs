//! `keygate check`: everything that is wrong with a config, or what it means.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::DateTime;
use clap::Args;

use super::{EXIT_CONFIG, config_file, print};
use crate::config::{Route, Upstream};
use crate::server::{ConfigSource, LoadedPolicy, Rejected};

/// Check a config.
///
/// Prints every problem as FILE:LINE:COL, and, if the config can be used, what it means: the effective mode, the
/// listeners, the routes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keygate check
  keygate check -c /etc/keygate/keygate.yaml

Exit status: 0 if the config can be used (warnings included), 2 if not.")]
pub(super) struct Arguments {
    /// The config file; ./keygate.yaml by default.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn check(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let file = config_file(arguments.config.as_deref());
    match ConfigSource::Once(file.clone()).load(&[], 1, None) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                print(warning)?;
            }
            print(&summary(&file, &loaded)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(Rejected { problems, errors }) => {
            for problem in &problems {
                print(problem)?;
            }
            let mut counts = number(errors, "error");
            if problems.len() > errors {
                counts = format!("{counts}, {}", number(problems.len() - errors, "warning"));
            }
            print(&format!("{}: cannot be used: {counts}", file.display()))?;
            Ok(ExitCode::from(EXIT_CONFIG))
        }
    }
}

fn number(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// What the config means.
fn summary(file: &Path, loaded: &LoadedPolicy) -> Result<String, std::fmt::Error> {
    let (policy, startup) = (&loaded.compiled.snapshot, &loaded.compiled.startup);
    let listeners: Vec<String> =
        startup.listen.iter().map(|listen| format!("{}://{}", startup.scheme(), listen.address)).collect();
    let mut text = String::new();
    writeln!(text, "{}: can be used", file.display())?;
    writeln!(text, "  effective mode  {} (auth_mode: {})", policy.mode, policy.configured_mode)?;
    writeln!(text, "  listeners       {}", listeners.join(", "))?;
    for certificate in policy.certificates.iter().chain(policy.admin_certificates.iter()) {
        let until = DateTime::from_timestamp(certificate.not_after.0, 0).unwrap_or_default();
        let names = certificate.names.join(", ");
        writeln!(text, "  certificate     {names}, until {}", until.format("%Y-%m-%d %H:%M UTC"))?;
    }
    let admin = startup.admin.map_or_else(|| "off".to_owned(), |admin| admin.url());
    writeln!(text, "  admin API       {admin}")?;
    writeln!(text, "  keys            {}", policy.keys.len())?;
    writeln!(text, "  routes          {}", loaded.config.routes.len())?;
    for route in &loaded.config.routes {
        writeln!(text, "    {}", describe(route, &loaded.config.upstreams))?;
    }
    text.truncate(text.trim_end().len());
    Ok(text)
}

/// One route: what it matches, and the peers that it leads to.
fn describe(route: &Route, upstreams: &BTreeMap<String, Upstream>) -> String {
    let host = route.host.as_deref().unwrap_or("*");
    let path = match (&route.path, &route.path_prefix) {
        (Some(exact), _) => exact.clone(),
        (None, Some(prefix)) if prefix.ends_with('/') => format!("{prefix}..."),
        (None, prefix) => format!("{}[/...]", prefix.as_deref().unwrap_or_default()),
    };
    let peers: Vec<&str> = upstreams
        .get(&route.upstream)
        .into_iter()
        .flat_map(|upstream| &upstream.peers)
        .map(|peer| peer.address.as_str())
        .collect();
    format!("{host} {path} -> {} ({})", route.upstream, peers.join(", "))
}
