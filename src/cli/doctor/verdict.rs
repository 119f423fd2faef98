//! From what the calls brought to one cause and one fix.

use http::Method;
use serde::Serialize;
use serde_json::Value;

use super::browser::Page;
use super::{Kind, Step};
use crate::auth::diagnosis::{self, Circumstances, Diagnosis, Reason};
use crate::auth::explain::{Way, explain};
use crate::auth::misplaced::Misplaced;
use crate::auth::{Cause, Content, Facts};
use crate::cli::http_client::{Answer, Trouble};
use crate::cli::running::Running;
use crate::clock;
use crate::config::{self, Config};
use crate::policy::{Digest, compile};

/// The end of it.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    /// What it is, for programs.
    pub(super) reason: &'static str,
    pub(super) cause: String,
    pub(super) fix: String,
    #[serde(rename = "exit_status")]
    pub(super) exit: u8,
    /// The number of the call that showed it, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<usize>,
}

/// Longer names of servers are cut.
const LONGEST_NAME: usize = 80;

/// Finds the first thing that is wrong, in the order in which a request would meet it.
pub(super) fn judge(steps: &[Step], unsendable: &[&str], running: &Running, page: Option<&Page>) -> Verdict {
    let Some(health) = steps.first() else {
        return verdict("no_call", "nothing was called", "report this", 2);
    };
    let at_health = |verdict: Verdict| Verdict { step: Some(1), ..verdict };
    let answer = match &health.outcome {
        Ok(answer) => answer,
        Err(trouble) => {
            let (cause, fix, exit) = unreached(*trouble);
            return at_health(verdict("unreachable", cause, fix, exit));
        }
    };
    if !is_keygate(answer) {
        return at_health(another_server(answer));
    }
    let rejected = rejected_reload(running);
    let wrong = |step: &Step| match &step.outcome {
        Ok(answer) => refused(step, answer, running, rejected.as_deref()),
        Err(trouble) => Some(unanswered(*trouble)),
    };
    let first = |kinds: &[Kind], wrong: &dyn Fn(&Step) -> Option<Verdict>| {
        let mut of_kinds = steps.iter().enumerate().filter(|(_, step)| kinds.contains(&step.kind));
        of_kinds.find_map(|(at, step)| Some(Verdict { step: Some(at + 1), ..wrong(step)? }))
    };
    if let Some(found) = first(&[Kind::Client], &wrong) {
        return found;
    }
    if let Some(from) = unsendable.first() {
        return of_gateway(&diagnosis::unsendable(from));
    }
    let stopped = |step: &Step| match &step.outcome {
        Ok(answer) => page?.stopped_by(answer),
        Err(trouble) => Some(unanswered(*trouble)),
    };
    if let Some(found) = first(&[Kind::Preflight], &stopped) {
        return found;
    }
    let tried = steps.iter().any(|step| step.kind == Kind::Client);
    if !tried && let Some(found) = first(&[Kind::Health, Kind::WithoutKey], &wrong) {
        return found;
    }
    if let Some(problem) = rejected {
        return of_gateway(&diagnosis::reload_rejected(&problem));
    }
    verdict("well", "none found: the gateway lets these requests pass", "nothing to do", 0)
}

pub(super) fn verdict(
    reason: &'static str,
    cause: impl Into<String>,
    fix: impl Into<String>,
    exit: u8,
) -> Verdict {
    Verdict { reason, cause: cause.into(), fix: fix.into(), exit, step: None }
}

/// The health check was answered, and not by the gateway.
fn another_server(answer: &Answer) -> Verdict {
    if answer.header("www-authenticate").is_some_and(|challenge| challenge.contains(ADMIN_REALM)) {
        let cause = "it is the admin API of keygate that answers there, not the gateway itself";
        return verdict(
            "not_keygate",
            cause,
            "call the gateway's own port (`proxy.port`, 8045 by default)",
            5,
        );
    }
    let who = match answer.header("server") {
        Some(name) => format!("calls itself `{}`", name.get(..LONGEST_NAME).unwrap_or(name)),
        None => "gives no name".to_owned(),
    };
    let cause = format!("it is not keygate that answers there, but a server that {who}");
    verdict("not_keygate", cause, "is the address right? a 401 from there is that server's", 5)
}

/// What the challenge of the admin API names.
const ADMIN_REALM: &str = "realm=\"keygate admin\"";

/// The gateway answered its health check, and this call had no answer.
fn unanswered(trouble: Trouble) -> Verdict {
    let cause = format!("the gateway answers its health check, but not this call: {}", unreached(trouble).0);
    verdict("unreachable", cause, "look at the upstream, which may be silent, and at the gateway's log", 3)
}

fn of_gateway(diagnosis: &Diagnosis) -> Verdict {
    verdict(diagnosis.reason.name(), diagnosis.cause.clone(), diagnosis.fix.clone(), 1)
}

/// What a call that brought no answer means: the result, the fix, the exit status.
pub(super) fn unreached(trouble: Trouble) -> (&'static str, &'static str, u8) {
    match trouble {
        Trouble::Refused => (
            "the connection is refused: nobody listens there",
            "start the gateway (`keygate run`), or mend the port",
            3,
        ),
        Trouble::UnknownHost => ("the host name has no address", "mend the host name", 3),
        Trouble::TimedOut => {
            ("there is no answer in time", "is the address right, and a firewall in between?", 3)
        }
        Trouble::Tls => (
            "the TLS handshake fails",
            "`http://` in place of `https://` if the gateway speaks no TLS; else a certificate that this machine trusts",
            4,
        ),
        Trouble::BrokenOff => (
            "what answers there is no HTTP, or breaks off",
            "`https://` if the gateway speaks TLS; is the port right?",
            3,
        ),
        Trouble::BadUrl => ("the URL cannot be used", "write it as `http://127.0.0.1:8045`", 2),
    }
}

/// An answer in a few words.
pub(super) fn describe(kind: Kind, answer: &Answer) -> String {
    match (answer.status, answer.header("x-keygate-error")) {
        (status, Some(code)) => format!("{status} {code}, from the gateway"),
        (401 | 403, None) if kind != Kind::Health => {
            format!("{}, not from the gateway: from what is behind it", answer.status)
        }
        (status, None) => status.to_string(),
    }
}

/// The health check belongs to the gateway, so its answer tells who answers.
pub(super) fn is_keygate(health: &Answer) -> bool {
    health.header("x-keygate-error").is_some()
        || (health.status == 200
            && health.header("allow") == Some("GET, HEAD, OPTIONS")
            && health.body == b"ok\n")
}

fn rejected_reload(running: &Running) -> Option<String> {
    if !running.has_token() {
        return None;
    }
    let status = running.status().ok()?;
    let reload = status.get("last_reload")?;
    let rejected = reload.get("outcome").and_then(Value::as_str) == Some("rejected");
    rejected.then(|| reload.pointer("/problems/0").and_then(Value::as_str).unwrap_or_default().to_owned())
}

/// What is wrong with an answer, if it is a refusal.
fn refused(step: &Step, answer: &Answer, running: &Running, rejected: Option<&str>) -> Option<Verdict> {
    let code = answer.header("x-keygate-error");
    match (answer.status, code) {
        (401 | 403, None) => Some(verdict(
            Reason::UpstreamRefused.name(),
            format!(
                "the {} is the upstream's, not the gateway's: it has no `x-keygate-error`",
                answer.status
            ),
            "mend the credential that the upstream gets (`credential` of the upstream in the config, or your own)",
            6,
        )),
        (502, Some(code @ ("upstream_credential_rejected" | "upstream_credential_missing"))) => {
            Some(verdict(
                Reason::UpstreamRefused.name(),
                format!("your key is right; the upstream refuses the gateway: `{code}`"),
                "set or mend the `credential` of the upstream in the config",
                6,
            ))
        }
        (503, Some(code @ "draining")) => Some(verdict(
            "draining",
            format!("the gateway is about to stop: `{code}`"),
            "wait until it is back, or the one that takes over",
            3,
        )),
        (502..=504, Some(code)) => Some(verdict(
            Reason::UpstreamRefused.name(),
            format!(
                "the gateway lets the request pass, but what is behind it does not answer as it should: `{code}`"
            ),
            "look at the upstream, and at the gateway's log",
            6,
        )),
        (403 | 421, Some(code @ ("cross_site_request" | "host_not_allowed"))) => Some(of_local(code)),
        (401 | 403, Some(code)) => Some(of_refusal(step, answer, code, running, rejected)),
        // So many wrong keys came from here that this one was not even told to be wrong.
        (429, Some("too_many_failed_attempts")) => {
            Some(of_refusal(step, answer, Cause::CredentialInvalid.code(), running, rejected))
        }
        (429, Some(code)) => Some(verdict(
            "rate_limited",
            format!("the key is right, and has used up what it may for now: `{code}`"),
            "wait, or raise its `rate` or `max_concurrent`, or those of `limits`",
            1,
        )),
        _ => None,
    }
}

/// A gateway without keys minds by what name it is called, and from where.
fn of_local(code: &str) -> Verdict {
    let asks_for_none = "the gateway asks for no key, so it";
    if code == "host_not_allowed" {
        let cause = format!("{asks_for_none} answers to `localhost` and loopback addresses only: `{code}`");
        let fix = "list this name in `proxy.allowed_hosts`, or set an `auth_mode` that asks for a key";
        return verdict("host_not_allowed", cause, fix, 1);
    }
    let cause = format!("{asks_for_none} takes no requests of web pages from elsewhere: `{code}`");
    let fix = "add the site to `proxy.cors.origins`, or set an `auth_mode` that asks for a key";
    verdict(Reason::Cors.name(), cause, fix, 7)
}

/// The gateway's own word, if it can be asked; else what the credential itself shows.
fn of_refusal(
    step: &Step,
    answer: &Answer,
    code: &str,
    running: &Running,
    rejected: Option<&str>,
) -> Verdict {
    let id = answer.header("x-request-id").unwrap_or_default();
    if running.has_token()
        && let Ok(denial) = running.denial(id)
        && let Some(diagnosis) = denial.pointer("/explanation/diagnosis")
    {
        let text = |name: &str| diagnosis.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let reason = Reason::ALL.into_iter().find(|reason| reason.name() == text("reason"));
        return verdict(reason.map_or("unknown_key", Reason::name), text("cause"), text("fix"), 1);
    }
    let mut diagnosis = from_outside(step, code);
    diagnosis.consider(&Circumstances { rejected: rejected.map(str::to_owned) });
    of_gateway(&diagnosis)
}

/// What can be told without knowing a key.
fn from_outside(step: &Step, code: &str) -> Diagnosis {
    let ask_inside =
        "ask the gateway: `keygate explain --id REQUEST_ID` there, or `keygate doctor` with its admin token";
    match code {
        "no_key_configured" => diagnosis::found(
            Reason::NoKeyConfigured,
            "no key is configured on the gateway",
            "set `proxy.api_key`; `keygate keygen` prints a key",
        ),
        "credential_missing" if step.kind == Kind::Health => diagnosis::found(
            Reason::StrictHealth,
            "`auth_mode: strict` asks for a key on `/healthz` too, and none was sent",
            "send a key with the health check, or set `auth_mode: all_except_health`",
        ),
        "credential_missing" | "credential_invalid" | "credential_malformed" => {
            let mut config = Config::default();
            config.proxy.auth_mode = config::AuthMode::Strict;
            config.keys = serde_yaml::from_str(&format!("[{{name: a, digest: '{}'}}]", Digest::of(b"\0")))
                .unwrap_or_default();
            let unknown =
                || diagnosis::found(Reason::UnknownKey, "the gateway knows no such key", ask_inside);
            let Ok(compiled) = compile(&config, 0, None) else { return unknown() };
            let facts =
                Facts { method: &Method::GET, path: b"/", headers: &step.sent, content: Content::None };
            let misplaced = Misplaced::of(&step.sent, step.key_in_query);
            let way = Way { misplaced, ..Way::default() };
            explain(&compiled.snapshot, &facts, way, clock::now()).diagnosis.unwrap_or_else(unknown)
        }
        _ => diagnosis::found(
            Reason::KeyPolicy,
            format!("the key is known, and may not be used for this, or now: `{code}`"),
            ask_inside,
        ),
    }
}
