//! A decision, step by step as the contract numbers them, with the cause and the fix of a refusal.

use std::fmt::{self, Write};
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Method, header};
use serde::Serialize;

use super::diagnosis::{self, Circumstances, Diagnosis, diagnose, key_elsewhere};
use super::misplaced::Misplaced;
use super::steps::{ALL, Outcome, Step, Steps};
use super::{
    Access, Cause, CredentialHeader, Deny, Facts, Grounds, HeaderSet, Permit, authorize, decide_observed,
};
use crate::clock::UnixSeconds;
use crate::policy::{Asked, KeyId, Snapshot};

/// What became of a request, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// `allow` or `deny`.
    pub decision: Decision,
    /// The status and the code of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// The mode, as configured and in effect.
    pub auth_mode: Mode,
    /// Number of the policy that decided.
    pub generation: u64,
    /// The steps up to the one that decided.
    pub steps: Vec<ExplainedStep>,
    /// The upstream that it goes to, if it passes and there is a route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Cause and fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
}

/// Whether it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It passes.
    Allow,
    /// It is refused.
    Deny,
}

/// What the caller is told.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The value of `x-keygate-error`.
    pub code: &'static str,
    /// The message of the error body.
    pub message: String,
}

/// The mode, as configured and in effect.
#[derive(Clone, Debug, Serialize)]
pub struct Mode {
    /// As written.
    pub configured: String,
    /// What it means.
    pub effective: String,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedStep {
    /// Its number in the contract.
    pub number: u8,
    /// What was asked and found.
    pub text: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// Where a request comes from and goes to, beside its [`Facts`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Way<'a> {
    /// The host that it asks.
    pub host: Option<&'a [u8]>,
    /// Who asks.
    pub client: Option<IpAddr>,
    /// Where a key stands that is not read.
    pub misplaced: Option<Misplaced>,
}

/// Runs the decision and explains it, then what the key may do there.
pub fn explain(policy: &Snapshot, facts: &Facts<'_>, way: Way<'_>, now: UnixSeconds) -> Explanation {
    let mut steps = Steps::default();
    let decision = decide_observed(policy, facts, now, &mut steps);
    let grounds = decision.as_ref().ok().map(Permit::grounds);
    let explained = steps
        .iter()
        .map(|(step, outcome)| ExplainedStep {
            number: step.number(),
            text: describe(policy, facts, step, outcome, grounds),
            outcome,
        })
        .collect();
    let mut explanation = Explanation {
        decision: Decision::Allow,
        refusal: None,
        auth_mode: Mode {
            configured: policy.configured_mode.to_string(),
            effective: policy.mode.to_string(),
        },
        generation: policy.generation,
        steps: explained,
        route: None,
        diagnosis: None,
    };
    let outcome = decision.and_then(|permit| check_rules(policy, facts, way, &permit, now));
    match outcome {
        Ok(route) => {
            explanation.route = route;
            explanation.diagnosis = hidden_from_page(policy, facts, way);
        }
        Err(deny) => {
            explanation.decision = Decision::Deny;
            explanation.refusal = Some(Refusal {
                status: deny.cause.status(),
                code: deny.cause.code(),
                message: deny.message(),
            });
            explanation.diagnosis = Some(match (deny.cause, way.misplaced) {
                (Cause::CredentialMissing, Some(misplaced)) => key_elsewhere(misplaced),
                _ => diagnose(policy, facts, deny, now),
            });
        }
    }
    explanation
}

impl Explanation {
    /// Takes into account what happens around the request.
    pub fn consider(&mut self, around: &Circumstances) {
        if let Some(diagnosis) = &mut self.diagnosis {
            diagnosis.consider(around);
        }
    }
}

/// Whether a browser would keep the answer from the page that asked, for all that the gateway does (Fetch §4.10). What is the
/// upstream's own page is no page of another site.
fn hidden_from_page(policy: &Snapshot, facts: &Facts<'_>, way: Way<'_>) -> Option<Diagnosis> {
    let origin = facts.headers.get(header::ORIGIN)?.as_bytes();
    let authority = origin.splitn(2, |&byte| byte == b'/').nth(1).and_then(|rest| rest.strip_prefix(b"/"));
    if authority.is_some() && authority == way.host {
        return None;
    }
    match &policy.cors {
        Some(cors) if cors.allows(origin) => {
            let names = headers_of_page(policy, facts);
            names
                .into_iter()
                .find(|name| !cors.allows_header(name))
                .map(|name| diagnosis::hidden_header(&name))
        }
        cors => Some(diagnosis::hidden_from_page(cors.is_some())),
    }
}

/// The headers that a browser asks leave for: those that a preflight names (Fetch §4.8), or those with a key.
fn headers_of_page(policy: &Snapshot, facts: &Facts<'_>) -> Vec<String> {
    if *facts.method == Method::OPTIONS {
        let lists = facts.headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
        let names = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
        // Names of headers and nothing else: they are printed.
        return names
            .filter_map(|name| name.trim().parse::<HeaderName>().ok())
            .map(|name| name.to_string())
            .collect();
    }
    let present = HeaderSet::of(facts.headers, policy.protocol_keys);
    let by_page = present.iter().filter(|header| *header != CredentialHeader::WebSocketProtocol);
    by_page.map(|header| header.name().to_string()).collect()
}

/// Where an admitted request leads, if its key may go there.
fn check_rules(
    policy: &Snapshot,
    facts: &Facts<'_>,
    way: Way<'_>,
    permit: &Permit,
    now: UnixSeconds,
) -> Result<Option<String>, Deny> {
    if facts.path == super::HEALTH_PATH {
        return Ok(Some("the gateway itself".to_owned()));
    }
    let asked = Asked { host: way.host, path: facts.path, method: facts.method, headers: facts.headers };
    let found = policy.routes.find(&asked).and_then(|id| policy.routes.route(id));
    let Some(route) = found else { return Ok(None) };
    let access =
        Access { method: facts.method, path: facts.path, route: route.name.as_deref(), client: way.client };
    authorize(policy, permit, &access, facts.headers, now)?;
    Ok(policy.upstreams.get(route.upstream.0).map(|upstream| upstream.name.to_string()))
}

fn describe(
    policy: &Snapshot,
    facts: &Facts<'_>,
    step: Step,
    outcome: Outcome,
    grounds: Option<Grounds>,
) -> String {
    match (step, outcome) {
        (Step::Preflight, Outcome::Allows) => {
            "the method is OPTIONS, without content: a preflight".to_owned()
        }
        (Step::Preflight, _) if *facts.method == Method::OPTIONS => {
            "the method is OPTIONS, but it carries content: no preflight".to_owned()
        }
        (Step::Preflight, _) => format!("the method is {}, not OPTIONS", facts.method),
        (Step::ModeOff, Outcome::Allows) => "the effective mode is `off`: nobody needs a key".to_owned(),
        (Step::ModeOff, _) => format!("the effective mode is `{}`, not `off`", policy.mode),
        (Step::Health, Outcome::Allows) => "`/healthz` needs no key in this mode".to_owned(),
        (Step::Health, _) if facts.path == super::HEALTH_PATH => {
            format!("{} of `/healthz` is not free in `{}`", facts.method, policy.mode)
        }
        (Step::Health, _) => "the path is not `/healthz`".to_owned(),
        (Step::Credential, _) => credential(policy, facts.headers),
        (Step::KeyConfigured, Outcome::Denies) => "no key is configured".to_owned(),
        (Step::KeyConfigured, _) => format!("keys are configured: {}", policy.keys.len()),
        (Step::KeyMatches, Outcome::Allows) => matching(policy, grounds),
        (Step::KeyMatches, _) => "the credential is no key that may be used".to_owned(),
    }
}

fn matching(policy: &Snapshot, grounds: Option<Grounds>) -> String {
    let key: Option<KeyId> = match grounds {
        Some(Grounds::Key(id)) => Some(id),
        _ => None,
    };
    let name = key.and_then(|id| policy.keys.record(id)).map_or("", |key| key.name());
    format!("the credential is the key `{name}`")
}

fn credential(policy: &Snapshot, headers: &HeaderMap) -> String {
    let present = HeaderSet::of(headers, policy.protocol_keys);
    let Some(deciding) = present.deciding() else {
        return "none of `Authorization`, `x-api-key`, `x-goog-api-key` is present".to_owned();
    };
    let values = || deciding.values(headers, policy.protocol_keys);
    let value = values().next().unwrap_or_default();
    let mut text = format!("`{}` decides, it is the first present: {}", deciding.label(), Glimpse(value));
    let ignored: Vec<_> = present.ignored().map(|header| format!("`{}`", header.label())).collect();
    if !ignored.is_empty() {
        let _ = write!(text, "; ignored: {}", ignored.join(", "));
    }
    let lines = values().count();
    if lines > 1 {
        let _ = write!(text, "; it stands on {lines} lines");
    }
    if deciding == CredentialHeader::Authorization && !value.starts_with(b"Bearer ") {
        text.push_str("; without the prefix `Bearer ` the whole value counts");
    }
    text
}

/// Bytes of a credential's header that are looked at; a record keeps no more of it.
pub const MOST_SEEN: usize = 1024;

/// All that may be seen of a credential: the public id of a key of keygate, else the first three characters if there
/// are many more, and the length, up to [`MOST_SEEN`].
#[derive(Debug)]
pub struct Glimpse<'a>(pub &'a [u8]);

impl fmt::Display for Glimpse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seen, more) = match self.0.get(..MOST_SEEN) {
            Some(seen) => (seen, " or more"),
            None => (self.0, ""),
        };
        let value = seen.strip_prefix(b"Bearer ").unwrap_or(seen);
        if let Some(key) = crate::policy::key_format::inspect(value) {
            return write!(f, "\"kg_{}…\"({} bytes)", key.id, value.len());
        }
        let start = if value.len() >= 12 { value.get(..3).unwrap_or_default() } else { b"" };
        write!(f, "\"{}…\"({} bytes{more})", start.escape_ascii(), value.len())
    }
}

/// As text: the steps with a mark at the one that decided, then cause and fix.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "auth_mode {}, effective mode {}", self.auth_mode.configured, self.auth_mode.effective)?;
        for step in &self.steps {
            let (mark, verdict) = match step.outcome {
                Outcome::GoesOn => (" ", ""),
                Outcome::Allows => (">", " -> ALLOW"),
                Outcome::Denies => (">", " -> DENY"),
            };
            writeln!(f, "{mark} {}. {}{verdict}", step.number, step.text)?;
        }
        for unasked in ALL.iter().skip(self.steps.len()) {
            writeln!(f, "  {}. (not asked)", unasked.number())?;
        }
        if let Some(refusal) = &self.refusal {
            writeln!(f, "{} {}", refusal.status, refusal.code)?;
        }
        if self.decision == Decision::Allow {
            match &self.route {
                Some(to) => write!(f, "the gateway lets this request pass, to `{to}`")?,
                None => write!(f, "the gateway lets this request pass, but no route leads on: 404")?,
            }
        }
        if let Some(diagnosis) = &self.diagnosis {
            let line = if self.decision == Decision::Allow { "\n" } else { "" };
            write!(f, "{line}cause: {}\nfix:   {}", diagnosis.cause, diagnosis.fix)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_that_was_cut_is_not_said_to_be_shorter_than_it_is() {
        let long = format!("Bearer {}", "x".repeat(2 * MOST_SEEN));
        let cut = &long.as_bytes()[..MOST_SEEN];
        for value in [long.as_bytes(), cut] {
            assert_eq!(Glimpse(value).to_string(), "\"xxx…\"(1017 bytes or more)");
        }
        assert_eq!(Glimpse(&cut[1..]).to_string(), "\"ear…\"(1023 bytes)");
    }
}
