//! What of a case did not become as it must.

use super::case::{CLOSE, Case, Close, Outcome, TIMEOUT, expand};
use super::exchange::Seen;
use super::recorder::Record;
use crate::support::find;

/// The credential that the upstream gets in place of the key.
pub(super) const UPSTREAM_SECRET: &str = "up-secret-000";

/// Each fault, as a sentence.
pub(super) fn faults(case: &Case, seen: &Seen, records: &[Record], host: &str) -> Vec<String> {
    let mut faults = of_the_answers(case, seen);
    if case.never_upstream && !records.is_empty() {
        let lines: Vec<&str> = records.iter().map(Record::line).collect();
        faults.push(format!("it reached the upstream: {lines:?}"));
    }
    for record in records {
        faults.extend(of_a_record(case, record, host));
    }
    for present in &case.upstream_present {
        let present = expand(present, host, 0).to_ascii_lowercase();
        let has = |record: &Record| find(head_of(record).to_ascii_lowercase().as_bytes(), &present).is_some();
        if !records.is_empty() && !records.iter().any(has) {
            faults.push(format!("the upstream did not see {}", present.escape_ascii()));
        }
    }
    let is_refused = matches!(seen.outcomes.first(), None | Some(Outcome::Status(400)));
    if is_refused && case.title.starts_with("chunk: ") && records.iter().any(|record| record.is_whole) {
        faults.push("the upstream got the end of a broken chunked body".to_owned());
    }
    faults
}

fn of_the_answers(case: &Case, seen: &Seen) -> Vec<String> {
    let mut faults = Vec::new();
    let expected = [Some(&case.expect.allow), case.expect.second.as_ref()];
    for (number, allowed) in expected.into_iter().enumerate() {
        let without = if seen.is_closed { CLOSE } else { TIMEOUT };
        let outcome = seen.outcomes.get(number).copied().unwrap_or(without);
        if let Some(allowed) = allowed.filter(|allowed| !allowed.contains(&outcome)) {
            faults.push(format!("outcome {}: {outcome:?}, allowed {allowed:?}", number + 1));
        }
    }
    if case.expect.max_responses.is_some_and(|most| seen.outcomes.len() > most) {
        faults.push(format!("{} responses: {:?}", seen.outcomes.len(), seen.outcomes));
    }
    let must_close = case.expect.close == Close::Must && seen.outcomes.first() != Some(&Outcome::Status(101));
    if must_close && !seen.is_closed {
        faults.push("the connection was left open".to_owned());
    }
    faults
}

fn of_a_record(case: &Case, record: &Record, host: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let head = head_of(record);
    if case.upstream_forbidden_request.as_deref().is_some_and(|path| record.line().contains(path)) {
        faults.push(format!("smuggled: {}", record.line()));
    }
    for absent in &case.upstream_absent {
        let absent = expand(absent, host, 0);
        if find(head.as_bytes(), &absent).is_some() {
            faults.push(format!("the upstream saw {}", absent.escape_ascii()));
        }
    }
    for name in &case.upstream_single {
        let values = record.values(name);
        let [value] = values[..] else {
            faults.push(format!("`{name}` reached the upstream as {values:?}"));
            continue;
        };
        // RFC 9110 §8.6: one that is no number must not be forwarded.
        if name == "content-length" && !value.bytes().all(|byte| byte.is_ascii_digit()) {
            faults.push(format!("a length reached the upstream as {value:?}"));
        }
    }
    // RFC 9112 §6.1, in every case: no request has both.
    if !record.values("transfer-encoding").is_empty() && !record.values("content-length").is_empty() {
        faults.push(format!("two framings reached the upstream: {head}"));
    }
    // Whatever the client names in `Connection`. An `OPTIONS` passes without a key, and gets no credential.
    let has_credential = record.values("authorization") == [format!("Bearer {UPSTREAM_SECRET}")];
    if record.has_head && !has_credential && !record.line().starts_with("OPTIONS ") {
        faults.push(format!("the upstream's credential is not as configured: {head}"));
    }
    faults
}

fn head_of(record: &Record) -> String {
    format!("{}\r\n", record.head)
}
