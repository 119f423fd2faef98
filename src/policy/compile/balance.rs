//! Of an upstream: whose turn it is, what is tried again, who is left out.

use std::sync::Arc;

use http::HeaderName;

use super::upstreams::compile_host;
use crate::config::{self, Upstream};
use crate::policy::upstreams::{Balance, CheckRule, EjectionRule, HashBy, HttpCheck, RetryRule};
use crate::problem::{FieldPath, Problem};

pub(super) fn compile_balance(upstream: &Upstream, path: &FieldPath, problems: &mut Vec<Problem>) -> Balance {
    if upstream.balance != config::Balance::Hash && upstream.hash_by.is_some() {
        problems.push(
            Problem::error(path.field("hash_by"), "`hash_by` counts with `balance: hash` only")
                .with_help("add `balance: hash`")
                .relative(),
        );
    }
    match upstream.balance {
        config::Balance::RoundRobin => Balance::RoundRobin,
        config::Balance::LeastConnections => Balance::LeastConnections,
        config::Balance::PowerOfTwo => Balance::PowerOfTwo,
        config::Balance::Hash => Balance::Hash(compile_hash_by(upstream.hash_by.as_deref(), path, problems)),
    }
}

fn compile_hash_by(text: Option<&str>, path: &FieldPath, problems: &mut Vec<Problem>) -> HashBy {
    let wanted = "`client_address`, `key` or `header:NAME`";
    let header = text.and_then(|text| text.strip_prefix("header:"));
    let (place, message) = match (text, header.map(|name| HeaderName::from_bytes(name.as_bytes()))) {
        (Some("client_address"), _) => return HashBy::ClientAddress,
        (Some("key"), _) => return HashBy::Key,
        (_, Some(Ok(name))) => return HashBy::Header(name),
        (None, _) => (path.field("balance"), format!("`balance: hash` needs `hash_by`: {wanted}")),
        (Some(text), _) => (path.field("hash_by"), format!("`{text}` is none of {wanted}")),
    };
    problems.push(
        Problem::error(place, message).with_help("`hash_by: header:x-session` keeps a session on one peer"),
    );
    HashBy::ClientAddress
}

pub(super) fn compile_retries(
    retries: &config::Retries,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> RetryRule {
    for (at, status) in retries.statuses.iter().enumerate() {
        if !(500..=599).contains(status) {
            let message = format!("{status} is no status of a failed server (500 to 599)");
            problems.push(
                Problem::error(path.field("statuses").index(at), message)
                    .with_help("`502`, `503` and `504` are those that another peer may not give"),
            );
        }
    }
    RetryRule {
        attempts: retries.attempts,
        statuses: retries.statuses.clone(),
        budget_percent: retries.budget_percent,
        within: retries.within.0,
    }
}

pub(super) fn compile_ejection(
    ejection: &config::Ejection,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> EjectionRule {
    if ejection.max_time < ejection.time {
        let message = "`max_time` is shorter than `time`";
        problems.push(
            Problem::error(path.field("max_time"), message)
                .with_help("`time` doubles with each ejection, up to `max_time`")
                .relative(),
        );
    }
    EjectionRule {
        failures: ejection.failures,
        time: ejection.time.0,
        max_time: ejection.max_time.0,
        max_percent: ejection.max_percent,
    }
}

pub(super) fn compile_check(
    check: &config::HealthCheck,
    upstream_host: Option<&str>,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> Arc<CheckRule> {
    if check.path.is_none() && check.host.is_some() {
        problems.push(
            Problem::error(path.field("host"), "`host` counts with `path` only")
                .with_help("add `path: /health` for a check by HTTP, or remove `host`")
                .relative(),
        );
    }
    for (at, status) in check.statuses.iter().enumerate() {
        if !(100..=599).contains(status) {
            let message = format!("{status} is no status of HTTP");
            problems.push(
                Problem::error(path.field("statuses").index(at), message)
                    .with_help("they go from 100 to 599"),
            );
        }
    }
    let http = check.path.as_ref().map(|text| {
        if !text.starts_with('/') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("`{text}` is no path; it starts with `/` and has no spaces");
            problems.push(
                Problem::error(path.field("path"), message)
                    .with_help("write what follows the host in a URL: `/health`"),
            );
        }
        let host = check.host.as_deref().or(upstream_host);
        let host = host.and_then(|host| compile_host(host, &path.field("host"), problems));
        HttpCheck { path: text.as_str().into(), host, statuses: check.statuses.clone() }
    });
    Arc::new(CheckRule {
        http,
        interval: check.interval.0,
        timeout: check.timeout.0,
        healthy_after: check.healthy_after,
        unhealthy_after: check.unhealthy_after,
    })
}
