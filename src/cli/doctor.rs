//! `keygate doctor`: the steps of a person who looks for the cause of a 401, against a live address.

mod environment;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Serialize;

use super::http_client::{Answer, Client, Trouble};
use super::running::Running;
use super::{config_file, print};
use crate::auth::explain::query_holds_key;
use verdict::{Verdict, judge};

/// Find out why a gateway answers 401.
///
/// Calls the address without a key and with it, with one header at a time, and with what the SDKs would take from the
/// environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, GEMINI_API_KEY, GOOGLE_API_KEY, and what
/// OPENAI_CUSTOM_HEADERS and ANTHROPIC_CUSTOM_HEADERS put beside them; named, never printed), and tells whether a 401 is the gateway's or the upstream's. Keys of the environment go to this machine, and to
/// where the SDK's own variable leads (OPENAI_BASE_URL, ANTHROPIC_BASE_URL, GOOGLE_GEMINI_BASE_URL); elsewhere only with
/// --send-environment. No key goes to what does not answer as keygate. With the admin token (KEYGATE_ADMIN_TOKEN, or
/// that of the config) it asks the gateway itself for the cause. Every call is a GET or OPTIONS without content.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keygate doctor
  keygate doctor http://gateway.example:8045 --key \"$KEY\"
  keygate doctor -H 'Authorization: Bearer sk-1234'    as your client sends it
  keygate doctor --origin https://app.example          is it the browser's rules?

Exit status:
  0  nothing is wrong
  1  the gateway refuses the key, or there is none
  2  the command line cannot be used
  3  the address is not reached: refused, unknown, or no answer in time
  4  the TLS handshake fails
  5  it is not keygate that answers
  6  the upstream refuses, or cannot be reached
  7  a browser would be stopped by its rules (CORS)")]
pub(super) struct Arguments {
    /// The address of the gateway.
    #[arg(default_value = "http://127.0.0.1:8045")]
    url: String,
    /// The key to try.
    #[arg(long)]
    key: Option<String>,
    /// A header to try, `Name: value`, as a client sends it; can be given several times, all go with one request.
    #[arg(short = 'H', long, value_name = "HEADER")]
    header: Vec<String>,
    /// The path to call.
    #[arg(short, long, default_value = "/v1/models")]
    path: String,
    /// Send the keys of the environment, wherever the address leads.
    #[arg(long)]
    send_environment: bool,
    /// The site whose pages call the gateway, to try what a browser does first.
    #[arg(long)]
    origin: Option<String>,
    /// The config of the gateway, for its admin API; ./keygate.yaml by default.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The admin API, in place of the address in the config.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One call and what came of it.
#[derive(Debug, Serialize)]
struct Step {
    what: String,
    result: String,
    #[serde(skip)]
    outcome: Result<Answer, Trouble>,
    #[serde(skip)]
    sent: HeaderMap,
    #[serde(skip)]
    key_in_query: bool,
    #[serde(skip)]
    kind: Kind,
}

/// What a call is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Is anybody there?
    Health,
    /// What happens without a key?
    WithoutKey,
    /// What happens as a client does it?
    Client,
    /// What happens before a browser's request?
    Preflight,
}

#[derive(Serialize)]
struct Report<'a> {
    url: &'a str,
    steps: &'a [Step],
    notes: &'a [String],
    verdict: &'a Verdict,
}

pub(super) fn doctor(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let url = base_url(&arguments.url);
    let Ok(extra) = headers(&arguments.header) else {
        super::print_error("error: a header is written `Name: value`");
        return Ok(ExitCode::from(super::EXIT_CONFIG));
    };
    let running = match Running::of(&config_file(arguments.config.as_deref()), arguments.admin.as_deref()) {
        Ok(running) => running,
        Err(error) => {
            super::print_error(&format!("error: {error:#}"));
            return Ok(ExitCode::from(super::EXIT_CONFIG));
        }
    };
    let mut calls = Calls {
        client: Client::new(),
        url: url.clone(),
        path: &arguments.path,
        steps: Vec::new(),
        notes: environment::addresses(&url),
        unsendable: Vec::new(),
    };
    calls.run(arguments, extra);
    let mut notes = std::mem::take(&mut calls.notes);
    let verdict = judge(&calls.steps, &calls.unsendable, &running, arguments.origin.as_deref());
    if let Ok(status) = running.status()
        && let Some(mode) = status.pointer("/auth_mode/why").and_then(serde_json::Value::as_str)
    {
        notes.push(format!("the gateway says: {mode}"));
    }
    let report = Report { url: &url, steps: &calls.steps, notes: &notes, verdict: &verdict };
    if arguments.json {
        print(&serde_json::to_string_pretty(&report)?)?;
    } else {
        print(&report.text())?;
    }
    Ok(ExitCode::from(verdict.exit))
}

struct Calls<'a> {
    client: Client,
    url: String,
    path: &'a str,
    steps: Vec<Step>,
    notes: Vec<String>,
    /// Where a key came from that no header can hold, so that nothing was sent with it.
    unsendable: Vec<&'static str>,
}

impl Calls<'_> {
    fn run(&mut self, arguments: &Arguments, extra: HeaderMap) {
        let none = HeaderMap::new();
        self.call(Kind::Health, "GET /healthz, without a key", &Method::GET, "/healthz", none.clone());
        let is_keygate = |step: &Step| step.outcome.as_ref().is_ok_and(verdict::is_keygate);
        if !self.steps.first().is_some_and(is_keygate) {
            return;
        }
        let path = self.path.to_owned();
        if key_in_query(&path) {
            // Whoever asks so means that key to count.
            self.call(Kind::Client, "with the key in the query", &Method::GET, &path, none);
        } else {
            self.call(Kind::WithoutKey, "without a key", &Method::GET, &path, none);
        }
        if !extra.is_empty() {
            self.call(Kind::Client, "with the headers given", &Method::GET, &path, extra);
        }
        if let Some(key) = &arguments.key {
            let calls = environment::one_at_a_time(key);
            self.unsendable.extend(calls.is_empty().then_some("--key"));
            for (what, sent) in calls {
                self.call(Kind::Client, &what, &Method::GET, &path, sent);
            }
        }
        let environment = environment::Environment::read();
        self.unsendable.extend(environment.unsendable);
        self.notes.extend(environment.notes);
        for sdk in environment.sdks {
            if arguments.send_environment || sdk.may_call(&self.url) {
                self.call(Kind::Client, &sdk.what, &Method::GET, &path, sdk.sent);
            } else {
                self.notes.push(sdk.kept_back());
            }
        }
        if let Some(sent) = arguments.origin.as_deref().and_then(preflight) {
            self.call(Kind::Preflight, "OPTIONS, as a browser asks first", &Method::OPTIONS, &path, sent);
        }
    }

    fn call(&mut self, kind: Kind, what: &str, method: &Method, path: &str, sent: HeaderMap) {
        let outcome = self.client.send(method, &format!("{}{path}", self.url), &sent);
        let result = match &outcome {
            Ok(answer) => verdict::describe(answer),
            Err(trouble) => verdict::unreached(*trouble).0.to_owned(),
        };
        let key_in_query = key_in_query(path);
        self.steps.push(Step { what: what.to_owned(), result, outcome, sent, key_in_query, kind });
    }
}

fn key_in_query(path: &str) -> bool {
    path.split_once('?').is_some_and(|(_, query)| query_holds_key(query.as_bytes()))
}

impl Report<'_> {
    fn text(&self) -> String {
        let mut text = format!("{}\n", self.url);
        let width = self.steps.iter().map(|step| step.what.len()).max().unwrap_or(0);
        for (number, step) in self.steps.iter().enumerate() {
            text.push_str(&format!("  {}. {:width$}  {}\n", number + 1, step.what, step.result));
        }
        for note in self.notes {
            text.push_str(&format!("  - {note}\n"));
        }
        text.push_str(&format!("cause: {}; fix: {}", self.verdict.cause, self.verdict.fix));
        text
    }
}

/// Without the path that SDKs want in their base URLs.
fn base_url(url: &str) -> String {
    let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let trimmed = with_scheme.trim_end_matches('/');
    trimmed.strip_suffix("/v1").unwrap_or(trimmed).to_owned()
}

fn headers(lines: &[String]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').context("no colon")?;
        let name: HeaderName = name.trim().parse()?;
        headers.append(name, HeaderValue::from_bytes(value.trim().as_bytes())?);
    }
    Ok(headers)
}

/// What a browser asks before it lets a page send a key (Fetch §4.8).
fn preflight(origin: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::ORIGIN, origin.parse().ok()?);
    headers.insert(http::header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
    headers.insert(
        http::header::ACCESS_CONTROL_REQUEST_HEADERS,
        HeaderValue::from_static("authorization,content-type"),
    );
    Some(headers)
}
