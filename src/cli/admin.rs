//! `keygate admin`: asks a gateway that runs, through its admin API.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::{EXIT_CONFIG, config_file, print, print_error};
use crate::secret::Secret;
use crate::server::{ConfigSource, Rejected};

/// How long the gateway may take; a reload waits for names that are looked up.
const TIMEOUT: Duration = Duration::from_secs(30);

/// More is no answer of an admin API.
const LARGEST_ANSWER: u64 = 64 << 20;

/// Ask a gateway that runs.
///
/// Address and token are those of the config that it was started with.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keygate admin status
  keygate admin -c /etc/keygate/keygate.yaml reload

Exit status: 0 if it was done, 2 if the config cannot be used, 1 otherwise.")]
pub(super) struct Arguments {
    /// The config file; ./keygate.yaml by default.
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    question: Question,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Question {
    /// What is in force, and why.
    Status,
    /// Who may use the gateway.
    Keys,
    /// Where requests go.
    Upstreams,
    /// Read the config again, and say what came of it.
    Reload,
}

pub(super) fn admin(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let file = config_file(arguments.config.as_deref());
    let loaded = match ConfigSource::File(file).load(&[], 1, None) {
        Ok(loaded) => loaded,
        Err(Rejected(problems)) => {
            problems.iter().for_each(|problem| print_error(problem));
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let address = loaded.compiled.startup.admin.context("`admin.enabled` is false in this config")?;
    let token = loaded.config.admin.token.context("this config has no `admin.token`")?.value;
    let (request, show): (_, fn(&Value) -> String) = match arguments.question {
        Question::Status => ("GET /api/status", status),
        Question::Keys => ("GET /api/keys", keys),
        Question::Upstreams => ("GET /api/upstreams", upstreams),
        Question::Reload => ("POST /api/reload", reload),
    };
    let (code, answer) = ask(address, request, &token)?;
    if let Some(message) = answer.pointer("/error/message") {
        bail!("{}", text(message));
    }
    print(show(&answer).trim_end())?;
    Ok(if code < 300 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One request of HTTP/1.0: the answer ends with the connection, so there is nothing to it.
fn ask(address: SocketAddr, request: &str, token: &Secret) -> anyhow::Result<(u16, Value)> {
    let unreachable = || format!("no gateway answers on `{address}`; does it run with this config?");
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).with_context(unreachable)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let token = token.expose();
    write!(stream, "{request} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LARGEST_ANSWER).read_to_string(&mut answer).with_context(unreachable)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| anyhow!(unreachable()))?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let code = code.ok_or_else(|| anyhow!(unreachable()))?;
    Ok((code, serde_json::from_str(body).with_context(unreachable)?))
}

/// A value as people read it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Writing to a string cannot fail, here and below.
fn row(page: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(page, "{name:<16}{value}");
}

fn status(answer: &Value) -> String {
    let at = |pointer: &str| text(answer.pointer(pointer).unwrap_or(&Value::Null));
    let mut page = String::new();
    row(
        &mut page,
        "keygate",
        format_args!("{} (pid {}), up {} s", at("/version"), at("/pid"), at("/uptime_seconds")),
    );
    row(&mut page, "config", at("/config_file"));
    row(&mut page, "generation", at("/generation"));
    let (configured, effective) = (at("/auth_mode/configured"), at("/auth_mode/effective"));
    row(&mut page, "mode", format_args!("{effective} (auth_mode: {configured})"));
    row(&mut page, "", at("/auth_mode/why"));
    for listener in answer["listeners"].as_array().into_iter().flatten() {
        row(&mut page, &text(&listener["serves"]), text(&listener["address"]));
    }
    row(&mut page, "keys", at("/keys"));
    row(&mut page, "upstreams", at("/upstreams"));
    row(&mut page, "connections", at("/connections"));
    row(&mut page, "in flight", at("/requests_in_flight"));
    page + &reload(&answer["last_reload"])
}

fn reload(last: &Value) -> String {
    let mut page = String::new();
    let (outcome, at) = (text(&last["outcome"]), text(&last["at"]));
    row(&mut page, "last reload", format_args!("{outcome}, {at}, generation {}", text(&last["generation"])));
    for (name, field) in
        [("problem", "problems"), ("warning", "warnings"), ("needs restart", "restart_needed")]
    {
        for line in last[field].as_array().into_iter().flatten() {
            row(&mut page, name, text(line));
        }
    }
    page
}

fn keys(answer: &Value) -> String {
    let mut page = format!("{:<32} {:<10} {:<10} {}\n", "NAME", "ID", "STATE", "EXPIRES");
    for key in answer["keys"].as_array().into_iter().flatten() {
        let column = |field: &str| text(&key[field]);
        let (name, id) = (column("name"), column("public_id"));
        let _ = writeln!(page, "{name:<32} {id:<10} {:<10} {}", column("state"), column("expires_at"));
    }
    let _ = writeln!(page, "{} keys", text(&answer["total"]));
    page
}

fn upstreams(answer: &Value) -> String {
    let mut page = String::new();
    for upstream in answer["upstreams"].as_array().into_iter().flatten() {
        let _ = writeln!(page, "{}", text(&upstream["name"]));
        for peer in upstream["peers"].as_array().into_iter().flatten() {
            let resolved = peer["resolved"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
            let resolved =
                if resolved.is_empty() { "no address yet".to_owned() } else { resolved.join(", ") };
            let _ = writeln!(page, "  {} -> {resolved}", text(&peer["address"]));
        }
    }
    page
}
