//! Instructions instead of time: the same at every run, whatever else the machine does.
//!
//! `make instructions`, or `cargo bench --bench micro -- --instructions [WORD]`, runs each case by itself under valgrind's
//! callgrind, which counts within [`measured`] alone. Valgrind has no SHA instructions, so SHA-256 is counted in its portable
//! form, which is most of a decision here and little of it on a processor: it has a line of its own, to be taken off.

use std::hint::black_box;
use std::process::{Command, Stdio};

use keygate::auth::{CredentialHeader, decide};
use keygate::policy::Digest;

use crate::decide::NOW;
use crate::limits::Keys;
use crate::policies::{PATH, Routes, WRONG_KEY, facts, key, presenting, with_keys, with_routes};
use crate::refusals::{Front, Outcome, request};
use crate::routes::find;

/// Runs of a case; the first ones find caches and tables empty.
const TIMES: usize = 1000;

const CASES: &[(&str, fn())] = &[
    ("decide/SHA-256 alone", || measured(|| Digest::of(black_box(WRONG_KEY.as_bytes())))),
    ("decide/off", || decision("off", 1, &key(0))),
    ("decide/strict/hit/1", || decision("strict", 1, &key(0))),
    ("decide/strict/hit/10000", || decision("strict", 10_000, &key(5_000))),
    ("decide/strict/miss/1", || decision("strict", 1, WRONG_KEY)),
    ("decide/strict/miss/10000", || decision("strict", 10_000, WRONG_KEY)),
    ("routes/by path/1", || route(Routes::ByPath(1), "api.example", &format!("/tenant-0{PATH}"))),
    ("routes/by path/1000", || {
        route(Routes::ByPath(1000), "api.example", &format!("/tenant-500{PATH}"));
    }),
    ("routes/by host/1000", || route(Routes::ByHost(1000), "tenant-500.example", PATH)),
    ("limits/request", || {
        let mut keys = Keys::new(1);
        measured(|| keys.count_request());
    }),
    ("refusals/no key", || admission("accept: */*", Outcome::Answered)),
    ("refusals/wrong key", || {
        admission(&format!("authorization: Bearer {WRONG_KEY}"), Outcome::Answered);
    }),
    ("refusals/admitted", || {
        admission(&format!("authorization: Bearer {}", key(0)), Outcome::Admitted);
    }),
];

/// Whether the command line asks for instructions; then they have been counted.
pub(crate) fn asked_for(arguments: &[String]) -> bool {
    match arguments {
        [flag, case, ..] if flag == "--instructions-of" => {
            CASES.iter().filter(|(name, _)| name == case).for_each(|(_, run)| run());
            true
        }
        [flag, rest @ ..] if flag == "--instructions" => {
            let word = rest.iter().find(|argument| !argument.starts_with("--")).map_or("", String::as_str);
            for (name, _) in CASES.iter().filter(|(name, _)| name.contains(word)) {
                println!("{name:<26} {:>7.1} instructions", count(name) as f64 / TIMES as f64);
            }
            true
        }
        _ => false,
    }
}

/// Instructions of all runs of a case.
fn count(name: &str) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured*"]);
    valgrind.arg(std::env::current_exe().unwrap()).args(["--instructions-of", name]).stdin(Stdio::null());
    let output = valgrind
        .output()
        .unwrap_or_else(|error| panic!("valgrind: {error}; `make instructions` installs it"));
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected
        .filter(|&count| output.status.success() && count > 0)
        .unwrap_or_else(|| panic!("{name}: {said}"))
}

/// All that is counted.
#[inline(never)]
fn measured<T>(mut run: impl FnMut() -> T) {
    for _ in 0..TIMES {
        black_box(run());
    }
}

fn decision(mode: &'static str, keys: usize, key: &str) {
    let policy = with_keys(mode, keys);
    let headers = presenting(CredentialHeader::Authorization, key);
    measured(|| decide(&policy, &facts(&headers), NOW));
}

fn route(routes: Routes, host: &str, path: &str) {
    let policy = with_routes(routes);
    assert!(find(&policy, host, path).is_some());
    measured(|| find(&policy, host, path));
}

fn admission(line: &str, outcome: Outcome) {
    let front = Front::new();
    let _entered = front.runtime.enter();
    let request = request(PATH, line);
    let mut arrivals = Vec::from_iter((0..TIMES).map(|_| Some(front.arrival(&request))));
    let mut next = arrivals.iter_mut();
    let mut over = Vec::with_capacity(TIMES);
    measured(|| over.extend(next.next().and_then(Option::take).map(|arrival| front.admit(arrival, outcome))));
}
