//! `keygate doctor`: the steps of a person who looks for the cause of a 401, against a live address.

mod address;
mod browser;
mod environment;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Serialize;

use super::http_client::{Answer, Client, Trouble};
use super::running::Running;
use super::{config_file, print};
use crate::auth::misplaced::query_holds_key;
use address::Address;
use browser::Page;
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
  1  the gateway refuses the key, for good or for now, or there is none
  2  the command line cannot be used
  3  the address is not reached, or a call is not answered: refused, unknown, not in time
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
    /// The path to call; that of the URL by default, or else /v1/models.
    #[arg(short, long)]
    path: Option<String>,
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
    let (target, running) = match usable(arguments) {
        Ok(usable) => usable,
        Err(error) => {
            super::print_error(&format!("error: {error:#}"));
            return Ok(ExitCode::from(super::EXIT_CONFIG));
        }
    };
    let url = target.url.clone();
    let mut calls = Calls {
        client: Client::new(),
        notes: environment::addresses(&url),
        target,
        steps: Vec::new(),
        unsendable: Vec::new(),
    };
    calls.run(arguments);
    let mut notes = std::mem::take(&mut calls.notes);
    let verdict = judge(&calls.steps, &calls.unsendable, &running, calls.target.page.as_ref());
    notes.extend(word_of_gateway(&running, arguments));
    let report = Report { url: &url, steps: &calls.steps, notes: &notes, verdict: &verdict };
    if arguments.json {
        print(&serde_json::to_string_pretty(&report)?)?;
    } else {
        print(&report.text())?;
    }
    Ok(ExitCode::from(verdict.exit))
}

/// What is called.
struct Target {
    /// Without a path.
    url: String,
    path: String,
    /// The headers to try.
    headers: HeaderMap,
    /// The page to try it for.
    page: Option<Page>,
}

fn usable(arguments: &Arguments) -> anyhow::Result<(Target, Running)> {
    let address = Address::parse(&arguments.url)?;
    let path = arguments.path.clone().or(address.path).unwrap_or_else(|| "/v1/models".to_owned());
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    let headers = headers(&arguments.header).map_err(|_| anyhow!("a header is written `Name: value`"))?;
    let page = arguments
        .origin
        .as_deref()
        .map(|origin| Page::new(origin, &headers).context("an origin is written `https://app.example`"));
    let page = page.transpose()?;
    let running = Running::of(&config_file(arguments.config.as_deref()), arguments.admin.as_deref())?;
    Ok((Target { url: address.base, path, headers, page }, running))
}

/// The mode in the gateway's words, or why it was not asked though it was meant to be.
fn word_of_gateway(running: &Running, arguments: &Arguments) -> Option<String> {
    match running.status() {
        Ok(status) => {
            let mode = status.pointer("/auth_mode/why").and_then(serde_json::Value::as_str)?;
            Some(format!("the gateway says: {mode}"))
        }
        Err(why) if running.has_token() || arguments.admin.is_some() => {
            Some(format!("the gateway itself was not asked: {why}"))
        }
        Err(_) => None,
    }
}

struct Calls {
    client: Client,
    target: Target,
    steps: Vec<Step>,
    notes: Vec<String>,
    /// Where a key came from that no header can hold, so that nothing was sent with it.
    unsendable: Vec<&'static str>,
}

impl Calls {
    fn run(&mut self, arguments: &Arguments) {
        let none = HeaderMap::new();
        self.call(Kind::Health, "GET /healthz, without a key", &Method::GET, "/healthz", none.clone());
        let is_keygate = |step: &Step| step.outcome.as_ref().is_ok_and(verdict::is_keygate);
        if !self.steps.first().is_some_and(is_keygate) {
            return;
        }
        let path = self.target.path.clone();
        if key_in_query(&path) {
            // Whoever asks so means that key to count.
            self.call(Kind::Client, "with the key in the query", &Method::GET, &path, none);
        } else {
            self.call(Kind::WithoutKey, "without a key", &Method::GET, &path, none);
        }
        let extra = self.target.headers.clone();
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
            if arguments.send_environment || sdk.may_call(&self.target.url) {
                self.call(Kind::Client, &sdk.what, &Method::GET, &path, sdk.sent);
            } else {
                self.notes.push(sdk.kept_back());
            }
        }
        if let Some(sent) = self.target.page.as_ref().map(Page::preflight) {
            self.call(Kind::Preflight, "OPTIONS, as a browser asks first", &Method::OPTIONS, &path, sent);
        }
    }

    fn call(&mut self, kind: Kind, what: &str, method: &Method, path: &str, sent: HeaderMap) {
        if self.is_silent() {
            return self
                .notes
                .push(format!("not called, since the one before had no answer in time: {what}"));
        }
        let outcome = self.client.send(method, &format!("{}{path}", self.target.url), &sent);
        let result = match &outcome {
            Ok(answer) => verdict::describe(kind, answer),
            Err(trouble) => verdict::unreached(*trouble).0.to_owned(),
        };
        let key_in_query = key_in_query(path);
        self.steps.push(Step { what: what.to_owned(), result, outcome, sent, key_in_query, kind });
    }
}

impl Calls {
    /// Whether a call waited in vain: others would too.
    fn is_silent(&self) -> bool {
        self.steps.last().is_some_and(|step| matches!(step.outcome, Err(Trouble::TimedOut)))
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
            let mark = if self.verdict.step == Some(number + 1) { '>' } else { ' ' };
            text.push_str(&format!("{mark} {}. {:width$}  {}\n", number + 1, step.what, step.result));
        }
        for note in self.notes {
            text.push_str(&format!("  - {note}\n"));
        }
        text.push_str(&format!("cause: {}; fix: {}", self.verdict.cause, self.verdict.fix));
        text
    }
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
