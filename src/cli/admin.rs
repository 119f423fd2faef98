//! `keygate admin`: asks a gateway that runs, and changes its config, through its admin API.

mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin_api::AdminApi;
use super::{EXIT_CONFIG, config_file, print, print_error};
use crate::config;
use crate::server::{ConfigSource, Rejected};
use show::text;

/// Ask a gateway that runs, or change its config.
///
/// Address and token are those of the config that it was started with. A change is written to the config file, which keeps
/// its comments, and is in force when the command ends.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keygate admin status
  keygate admin denials --follow
  keygate admin keys create alice --expires-at 2027-01-31T00:00:00Z
  keygate admin set auth_mode strict
  keygate admin -c /etc/keygate/keygate.yaml reload

Exit status: 0 if it was done, 2 if the config cannot be used, 1 otherwise.")]
pub(super) struct Arguments {
    /// The config file; ./keygate.yaml by default.
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    question: Question,
}

#[derive(Clone, Debug, Subcommand)]
enum Question {
    /// What is in force, and why.
    Status,
    /// Who may use the gateway; or make, switch or remove a key.
    Keys {
        #[command(subcommand)]
        change: Option<KeyChange>,
    },
    /// Where requests go.
    Upstreams,
    /// Let a peer get no new requests, as before maintenance; those under way go on.
    Drain {
        /// Its upstream.
        upstream: String,
        /// Its address, as configured.
        peer: String,
    },
    /// Let a peer get requests again.
    Undrain {
        /// Its upstream.
        upstream: String,
        /// Its address, as configured.
        peer: String,
    },
    /// Who was refused lately, and why.
    Denials {
        /// Go on with those that come.
        #[arg(short, long)]
        follow: bool,
    },
    /// Change a setting.
    Set {
        #[command(subcommand)]
        setting: Setting,
    },
    /// Put a new primary key in place of the one in force, and print it.
    Regenerate {
        /// How many seconds the old one still counts.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        keep_old: u64,
    },
    /// Read the config again, and say what came of it.
    Reload,
}

#[derive(Clone, Debug, Subcommand)]
enum KeyChange {
    /// Make a key, and print it this once.
    Create {
        /// Whose it is.
        name: String,
        /// Until when it counts, as RFC 3339.
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    /// Let a key be used again.
    Enable {
        /// Whose it is.
        name: String,
    },
    /// Refuse a key from now on.
    Disable {
        /// Whose it is.
        name: String,
    },
    /// Change until when a key counts.
    Expire {
        /// Whose it is.
        name: String,
        /// As RFC 3339, or `never`.
        time: String,
    },
    /// Take a key out of the config.
    Remove {
        /// Whose it is.
        name: String,
    },
}

#[derive(Clone, Debug, Subcommand)]
enum Setting {
    /// Who needs a key.
    #[command(name = "auth_mode")]
    AuthMode {
        /// `off`, `strict`, `all_except_health` or `auto`.
        mode: String,
    },
    /// Whether other machines can connect; takes effect with a restart.
    #[command(name = "allow_lan_access")]
    AllowLanAccess {
        /// `true` or `false`.
        #[arg(action = clap::ArgAction::Set)]
        allowed: bool,
    },
}

pub(super) fn admin(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let file = config_file(arguments.config.as_deref());
    // A file that says what it says, though the gateway may not take it: what it runs with can still be asked.
    let Ok(loaded) = config::load(&file, &|name| std::env::var(name).ok()) else {
        if let Err(Rejected { problems, .. }) = ConfigSource::File(file).load(&[], 1, None) {
            problems.iter().for_each(|problem| print_error(problem));
        }
        return Ok(ExitCode::from(EXIT_CONFIG));
    };
    let admin = &loaded.config.admin;
    if !admin.enabled {
        bail!("`admin.enabled` is false in this config");
    }
    let token = admin.token.as_ref().context("this config has no `admin.token`")?.value.clone();
    let gateway = AdminApi::of(admin, Some(token));
    match &arguments.question {
        Question::Status => look(&gateway, "GET /api/status", show::status),
        Question::Keys { change: None } => look(&gateway, "GET /api/keys", show::keys),
        Question::Keys { change: Some(change) } => change.make(&gateway),
        Question::Upstreams => look(&gateway, "GET /api/upstreams", show::upstreams),
        Question::Drain { upstream, peer } => drain(&gateway, (upstream, peer), true),
        Question::Undrain { upstream, peer } => drain(&gateway, (upstream, peer), false),
        Question::Denials { follow: false } => look(&gateway, "GET /api/denials", show::denials),
        Question::Denials { follow: true } => follow(&gateway),
        Question::Set { setting } => setting.make(&gateway),
        Question::Regenerate { keep_old } => {
            let body = json!({"keep_old_seconds": keep_old});
            change(&gateway, "POST /api/config/api_key/regenerate", &body)
        }
        Question::Reload => look(&gateway, "POST /api/reload", show::reload),
    }
}

fn look(gateway: &AdminApi, request: &str, show: fn(&Value) -> String) -> anyhow::Result<ExitCode> {
    let (code, answer) = gateway.ask(request, None)?;
    refused(&answer)?;
    print(show(&answer).trim_end())?;
    Ok(if code < 300 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A change of the file as it is now. A key that was made is the only line of standard output.
fn change(gateway: &AdminApi, request: &str, body: &Value) -> anyhow::Result<ExitCode> {
    let (_, config) = gateway.ask("GET /api/config", None)?;
    refused(&config)?;
    if let Some(why) = config.get("not_editable").and_then(Value::as_str) {
        bail!("{why}");
    }
    let etag = config.get("etag").and_then(Value::as_str);
    let etag = etag.context("the gateway does not tell the state of its config file")?;
    let (_, answer) = gateway.ask(request, Some((etag, body)))?;
    refused(&answer)?;
    if let Some(key) = ["key", "api_key"].iter().find_map(|field| answer.get(field)?.as_str()) {
        print(key)?;
    }
    print_error(show::changed(&answer).trim_end());
    Ok(ExitCode::SUCCESS)
}

fn drain(gateway: &AdminApi, (upstream, peer): (&str, &str), drain: bool) -> anyhow::Result<ExitCode> {
    let request = format!("PATCH /api/upstreams/{}/peers/{}", in_path(upstream), in_path(peer));
    change(gateway, &request, &json!({"drain": drain}))
}

fn refused(answer: &Value) -> anyhow::Result<()> {
    let Some(message) = answer.pointer("/error/message") else { return Ok(()) };
    let problems = answer.pointer("/error/problems").and_then(Value::as_array).into_iter().flatten();
    problems.for_each(|problem| print_error(&text(problem)));
    bail!("{}", text(message))
}

/// Prints denials until the gateway ends.
fn follow(gateway: &AdminApi) -> anyhow::Result<ExitCode> {
    let mut denial = false;
    let mut refusal = String::new();
    gateway.follow("GET /api/events", |line| {
        if let Some(event) = line.strip_prefix("event: ") {
            denial = event == "denial";
        } else if let Some(data) = line.strip_prefix("data: ").filter(|_| denial) {
            print(show::denial(&serde_json::from_str(data)?).trim_end())?;
        } else if line.starts_with('{') {
            line.clone_into(&mut refusal);
        }
        Ok(())
    })?;
    refused(&serde_json::from_str(&refusal).unwrap_or_default())?;
    bail!("the gateway has ended the stream; is it still there?")
}

impl KeyChange {
    fn make(&self, gateway: &AdminApi) -> anyhow::Result<ExitCode> {
        let of = |method: &str, name: &str| format!("{method} /api/keys/{}", in_path(name));
        match self {
            Self::Create { name, expires_at } => {
                change(gateway, "POST /api/keys", &json!({"name": name, "expires_at": expires_at}))
            }
            Self::Enable { name } => change(gateway, &of("PATCH", name), &json!({"enabled": true})),
            Self::Disable { name } => change(gateway, &of("PATCH", name), &json!({"enabled": false})),
            Self::Expire { name, time } => {
                let end = if time == "never" { Value::Null } else { time.as_str().into() };
                change(gateway, &of("PATCH", name), &json!({"expires_at": end}))
            }
            Self::Remove { name } => change(gateway, &of("DELETE", name), &Value::Null),
        }
    }
}

impl Setting {
    fn make(&self, gateway: &AdminApi) -> anyhow::Result<ExitCode> {
        match self {
            Self::AuthMode { mode } => {
                change(gateway, "PUT /api/config/auth_mode", &json!({"auth_mode": mode}))
            }
            Self::AllowLanAccess { allowed } => {
                change(gateway, "PUT /api/config/allow_lan_access", &json!({"allow_lan_access": allowed}))
            }
        }
    }
}

/// A name as one segment of a path (RFC 3986 §2.1).
fn in_path(name: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    name.bytes().map(escaped).collect()
}
