//! Hostile and odd requests, byte for byte: `tests/hostile/cases.yaml` has each with the outcomes that it may have and
//! what must never reach an upstream.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::support::{Gateway, sdk_python};

#[derive(Deserialize)]
struct Outcome {
    id: String,
    level: String,
    title: String,
    verdict: String,
    bad: Vec<String>,
}

/// Runs the cases of a mode, and those that do not depend on it, against a gateway in that mode.
fn run(mode: &str, at_least: usize) {
    run_cases(mode, &format!("{mode},any"), &["MUST", "CONTROL"], at_least);
}

/// Runs the cases of these modes against a gateway with `auth_mode: mode`; those of these levels must do as is said.
fn run_cases(mode: &str, cases: &str, levels: &[&str], at_least: usize) {
    let key = "sk-test-0123456789abcdef";
    // The runner's own recording upstream listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let gateway = Gateway::start(&format!(
        "proxy:\n  listen: ['127.0.0.1:0']\n  auth_mode: {mode}\n  api_key: {key}\n\
         upstreams: {{recorder: {{peers: ['127.0.0.1:{port}']}}}}\n\
         routes: [{{path_prefix: /, upstream: recorder}}]\n"
    ));
    let out = gateway.directory.path().join("outcomes.json");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let ran = Command::new(sdk_python())
        .arg(folder.join("run_cases.py"))
        .args(["--target", &gateway.address().to_string(), "--upstream-port", &port.to_string()])
        .args(["--key", key, "--modes", cases, "--out"])
        .arg(&out)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let outcomes: Vec<Outcome> = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    assert!(outcomes.len() >= at_least, "only {} cases ran", outcomes.len());
    let failed: BTreeMap<&str, (&str, &str, &[String])> = outcomes
        .iter()
        .filter(|outcome| outcome.verdict != "ok")
        .filter(|outcome| levels.contains(&outcome.level.as_str()))
        .map(|outcome| (outcome.id.as_str(), (outcome.level.as_str(), outcome.title.as_str(), &*outcome.bad)))
        .collect();
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), outcomes.len());
}

#[test]
fn hostile_requests_in_strict() {
    run("strict", 160);
}

#[test]
fn hostile_requests_in_all_except_health() {
    run("all_except_health", 30);
}

#[test]
fn hostile_requests_in_off() {
    run("off", 2);
}

/// `auto` on loopback asks for no key, and keeps web pages out by the names that they call it.
#[test]
fn hostile_requests_to_a_local_gateway() {
    run_cases("auto", "auto-local", &["MUST", "CONTROL", "POLICY"], 3);
}
