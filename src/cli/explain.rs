//! `keygate explain`: what the gateway decides about a request, step by step, and why.

use std::borrow::Cow;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::running::{NoAnswer, Running};
use super::{EXIT_CONFIG, config_file, print, print_error};
use crate::auth::explain::Decision;
use crate::auth::pasted::Pasted;
use crate::clock;
use crate::policy::{Exposure, Snapshot};
use crate::server::{ConfigSource, Rejected};

/// The request was refused.
const EXIT_DENIED: u8 = 1;

/// A pasted command line is not longer.
const LONGEST_INPUT: u64 = 1 << 20;

/// Explain what the gateway decides about a request.
///
/// Prints the steps of the decision with a mark at the one that decided, then the cause of a refusal and what to do.
/// It asks the config file: what you see is what would happen with this file. With `--admin` it asks the gateway that runs,
/// which also knows the keys that counted before, and an edit of its file that it could not use. A curl command line goes
/// behind `--`, as it is, or comes from standard input with `-- -`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keygate explain -H 'Authorization: Bearer sk-1234' --path /v1/models
  keygate explain -- curl http://localhost:8045/v1/models -H \"x-api-key: $KEY\"
  keygate explain -c other.yaml --reachable network -- curl http://localhost:8045/healthz
  keygate explain --admin http://127.0.0.1:8046 -H \"x-api-key: $KEY\" --path /v1/models
  keygate explain --id 0123456789abcdef0123456789abcdef
  keygate explain -- - < copied-as-curl.txt

Exit status: 0 if the request passes, 1 if it is refused, 2 if the config or the command line cannot be used.")]
pub(super) struct Arguments {
    /// The config file; ./keygate.yaml by default.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The method.
    #[arg(short, long, default_value = "GET")]
    method: String,
    /// The path.
    #[arg(short, long, default_value = "/")]
    path: String,
    /// A header, `Name: value`; can be given several times.
    #[arg(short = 'H', long, value_name = "HEADER")]
    header: Vec<String>,
    /// Where the client is, for keys that may be used from some addresses only.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    client: IpAddr,
    /// What `auth_mode: auto` is to assume of the listeners, in place of what the file says.
    #[arg(long, value_name = "BY", conflicts_with = "admin")]
    reachable: Option<Reachable>,
    /// Ask the running gateway about a request that it refused, by the `x-request-id` of the answer.
    #[arg(long, value_name = "REQUEST_ID", conflicts_with_all = ["curl", "header"])]
    id: Option<String>,
    /// Ask the running gateway that has this admin API; `--id` asks the one of the config by itself. The token is
    /// KEYGATE_ADMIN_TOKEN, or that of the config.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// A curl command line.
    #[arg(last = true, value_name = "CURL")]
    curl: Vec<String>,
}

/// Who can connect.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reachable {
    /// This machine only.
    Loopback,
    /// Other machines too.
    Network,
}

pub(super) fn explain(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(id) = &arguments.id {
        return of_denial(id, arguments);
    }
    let given = Given::by(arguments).and_then(|given| Ok((given.request(arguments)?, given)));
    let (request, given) = match given {
        Ok(given) => given,
        Err(error) => return Ok(unusable(&format!("{error:#}"))),
    };
    if arguments.admin.is_some() {
        return of_running(&given, arguments);
    }
    let policy = match policy(arguments) {
        Ok(policy) => policy,
        Err(Rejected { problems, .. }) => {
            for problem in problems {
                print_error(&problem);
            }
            print_error(RELOAD_REJECTED);
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let explanation = request.explain(&policy, arguments.client, clock::now());
    if arguments.json {
        print(&serde_json::to_string_pretty(&explanation)?)?;
    } else {
        print(&explanation.to_string())?;
    }
    Ok(match explanation.decision {
        Decision::Allow => ExitCode::SUCCESS,
        Decision::Deny => ExitCode::from(EXIT_DENIED),
    })
}

/// A request that the running gateway refused.
fn of_denial(id: &str, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let denial = match running(arguments).and_then(|running| Ok(running.denial(id)?)) {
        Ok(denial) => denial,
        Err(error) => return Ok(unusable(&why_not(&error, id))),
    };
    if arguments.json {
        print(&serde_json::to_string_pretty(&denial)?)?;
    } else {
        print(&in_words(&denial))?;
    }
    Ok(ExitCode::from(EXIT_DENIED))
}

fn in_words(denial: &Value) -> String {
    let text = |name: &str| denial.get(name).and_then(Value::as_str).unwrap_or("-");
    format!("{} {} from {} at {}\n{}", text("method"), text("path"), text("client"), text("at"), text("text"))
}

/// What the running gateway would do with the request.
fn of_running(given: &Given<'_>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let answer = running(arguments).and_then(|running| Ok(running.explanation(&given.described(arguments))?));
    let mut explanation = match answer {
        Ok(explanation) => explanation,
        Err(error) => return Ok(unusable(&format!("{error:#}"))),
    };
    let text = explanation.as_object_mut().and_then(|fields| fields.remove("text")).unwrap_or_default();
    if arguments.json {
        print(&serde_json::to_string_pretty(&explanation)?)?;
    } else {
        print(text.as_str().unwrap_or_default())?;
    }
    let passes = explanation.get("decision").is_some_and(|decision| decision == "allow");
    Ok(if passes { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DENIED) })
}

fn running(arguments: &Arguments) -> anyhow::Result<Running> {
    Running::of(&config_file(arguments.config.as_deref()), arguments.admin.as_deref())
}

fn unusable(why: &str) -> ExitCode {
    print_error(&format!("error: {why}"));
    ExitCode::from(EXIT_CONFIG)
}

fn why_not(error: &anyhow::Error, id: &str) -> String {
    match error.downcast_ref() {
        Some(NoAnswer::NotFound) => format!(
            "the gateway remembers no denial of the request `{id}`; it keeps the last 1,000, and a 401 without \
             `x-keygate-error` is not its own but the upstream's"
        ),
        _ => format!("{error:#}"),
    }
}

/// Beside the problems of a file.
const RELOAD_REJECTED: &str = "cause: the file cannot be used; a gateway that runs keeps what was in force before it was edited\n\
     fix:   mend what is named above; `keygate check` says when it is right";

fn policy(arguments: &Arguments) -> Result<Snapshot, Rejected> {
    let source = ConfigSource::Once(config_file(arguments.config.as_deref()));
    let compiled = source.load(&[], 1, None)?.compiled;
    let mut snapshot = compiled.snapshot;
    if let Some(reachable) = arguments.reachable {
        snapshot.mode = snapshot.configured_mode.resolve(match reachable {
            Reachable::Loopback => Exposure::Loopback,
            Reachable::Network => Exposure::Network,
        });
    }
    Ok(snapshot)
}

/// How the request was given.
enum Given<'a> {
    /// As options.
    Options,
    /// As a command line.
    Line(Cow<'a, str>),
    /// As one that the shell has split.
    Words(&'a [String]),
}

impl<'a> Given<'a> {
    fn by(arguments: &'a Arguments) -> anyhow::Result<Self> {
        Ok(match arguments.curl.as_slice() {
            [] => Self::Options,
            [one] if one == "-" => Self::Line(read_standard_input()?.into()),
            [one] if one.contains(char::is_whitespace) => Self::Line(one.into()),
            words => Self::Words(words),
        })
    }

    fn request(&self, arguments: &Arguments) -> anyhow::Result<Pasted> {
        Ok(match self {
            Self::Options => from_options(arguments)?,
            Self::Line(line) => Pasted::from_curl(line)?,
            Self::Words(words) => Pasted::from_words(words)?,
        })
    }

    /// The same for `POST /api/explain`.
    fn described(&self, arguments: &Arguments) -> Value {
        let client = arguments.client;
        let curl = match self {
            Self::Options => {
                let (method, path, headers) =
                    (&arguments.method, &arguments.path, arguments.header.join("\n"));
                return json!({"method": method, "path": path, "headers": headers, "client": client});
            }
            Self::Line(line) => line.to_string(),
            // No argument of a program has a NUL in it, which is all that could not be joined.
            Self::Words(words) => shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default(),
        };
        json!({"curl": curl, "client": client})
    }
}

fn from_options(arguments: &Arguments) -> anyhow::Result<Pasted> {
    let mut request = Pasted::new(&arguments.method, &arguments.path)?;
    for line in &arguments.header {
        request.add_line(line)?;
    }
    Ok(request)
}

fn read_standard_input() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().take(LONGEST_INPUT).read_to_string(&mut text)?;
    Ok(text)
}
