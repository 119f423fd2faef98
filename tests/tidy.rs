//! The house rules that a reader relies on, checked on the sources as syntax trees: who may import whom, that every
//! file says what it is, how long a function may get, and what only one place may do.
//!
//! Each rule is a function from one file to complaints, tried on a snippet that breaks it before it is trusted.

mod source;

use std::path::Path;

use source::{Function, Reference, Source};

/// A room of the house, and the rooms that it may know. Data flows one way: from the top of this table to its end.
///
/// A new module needs a row here, which is the moment to decide where it stands.
const ROOMS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("connection", &[]),
    ("secret", &[]),
    ("timer", &[]),
    ("problem", &[]),
    ("config", &["clock", "problem", "secret"]),
    // What was written is seen by `policy::compile` alone; see `COMPILER`.
    ("policy", &["clock", "problem", "secret"]),
    ("auth", &["clock", "policy", "secret"]),
    ("limit", &["auth", "clock", "policy", "secret"]),
    ("upstream", &["auth", "clock", "connection", "policy", "secret"]),
    ("telemetry", &["auth", "clock", "limit", "policy", "secret", "upstream"]),
    ("proxy", &["auth", "clock", "limit", "policy", "secret", "telemetry", "timer", "upstream"]),
    // It is handed channels, so that it can be looked at without the data plane.
    ("admin", &["auth", "clock", "limit", "policy", "problem", "secret", "telemetry", "upstream"]),
    // Stands in for an upstream: it must not know what the gateway thinks.
    ("origin", &["clock"]),
    (
        "server",
        &[
            "admin",
            "auth",
            "clock",
            "config",
            "connection",
            "limit",
            "origin",
            "policy",
            "problem",
            "proxy",
            "secret",
            "telemetry",
            "timer",
            "upstream",
        ],
    ),
    ("cli", ANY),
    // The crate's own page, and `main`.
    ("lib", ANY),
    ("main", ANY),
];

const ANY: &[&str] = &["*"];

/// The only part of `policy` that may see `config`: no type of it is known behind this door.
const COMPILER: &str = "src/policy/compile";

/// What the pure rooms may not know: they are tested, and asked by tools, without a network.
const IMPURE: (&[&str], &[&str]) = (&["config", "policy", "auth", "limit"], &["pingora", "tokio"]);

/// Every line from `fn` to the closing brace counts, comments too.
const MOST_LINES: usize = 70;

/// The calls that write a response to a client. An error body written elsewhere would lack `x-keygate-error`.
const RESPONSE_WRITERS: &[&str] =
    &["write_response_header", "write_response_body", "write_error_response", "respond_error"];

const RULES: &[fn(&Source) -> Vec<String>] = &[
    every_room_knows_only_the_rooms_below_it,
    the_pure_rooms_know_no_network,
    anyhow_is_for_the_command_line,
    only_reply_writes_responses,
    only_metrics_names_metrics,
    every_file_says_what_it_is,
    no_function_is_long,
];

#[test]
fn the_house_rules_hold() {
    let sources = source::all(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(sources.len() > 50, "a sweep must have swept something: {} files", sources.len());
    let complaints: Vec<String> =
        sources.iter().flat_map(|source| RULES.iter().flat_map(|rule| rule(source))).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn every_room_knows_only_the_rooms_below_it(source: &Source) -> Vec<String> {
    let Some(room) = source.room() else { return Vec::new() };
    let Some((_, known)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{}: `{room}` has no row in the table of tests/tidy.rs", source.path)];
    };
    let may_know = |other: &str| {
        known.contains(&other)
            || *known == ANY
            || other == room
            || (other == "config" && source.path.starts_with(COMPILER))
    };
    source.complain(|reference| match reference {
        Reference::Ours(other) if !may_know(other) => Some(format!("`{room}` may not know `{other}`")),
        _ => None,
    })
}

fn the_pure_rooms_know_no_network(source: &Source) -> Vec<String> {
    let (pure, impure) = IMPURE;
    if !source.room().is_some_and(|room| pure.contains(&room)) {
        return Vec::new();
    }
    source.complain(|reference| match reference {
        Reference::Theirs(name) if impure.iter().any(|library| name.starts_with(library)) => {
            Some(format!("a room that does no I/O may not know `{name}`"))
        }
        _ => None,
    })
}

fn anyhow_is_for_the_command_line(source: &Source) -> Vec<String> {
    if matches!(source.room(), None | Some("cli" | "main")) {
        return Vec::new();
    }
    source.complain(|reference| {
        (*reference == Reference::Theirs("anyhow".to_owned()))
            .then(|| "errors of the library are types; `anyhow` is for `cli`".to_owned())
    })
}

/// `origin` is another server, and answers for itself.
fn only_reply_writes_responses(source: &Source) -> Vec<String> {
    if source.path == "src/proxy/reply.rs" || matches!(source.room(), None | Some("origin")) {
        return Vec::new();
    }
    source.complain(|reference| match reference {
        Reference::Call(name) if RESPONSE_WRITERS.contains(&name.as_str()) => {
            Some(format!("only proxy/reply.rs writes responses, with `{name}`"))
        }
        _ => None,
    })
}

fn only_metrics_names_metrics(source: &Source) -> Vec<String> {
    if source.path == "src/telemetry/metrics/page.rs" || source.room().is_none() {
        return Vec::new();
    }
    source.complain(|reference| match reference {
        Reference::Text(text) if text.starts_with("keygate_") => {
            Some(format!("only telemetry/metrics/page.rs names a metric, such as `{text}`"))
        }
        _ => None,
    })
}

fn every_file_says_what_it_is(source: &Source) -> Vec<String> {
    let said = source.text.starts_with("//! ");
    if said { Vec::new() } else { vec![format!("{}:1: begin with `//!`: what is this for?", source.path)] }
}

fn no_function_is_long(source: &Source) -> Vec<String> {
    let too_long = source.functions().into_iter().filter(|function| function.lines > MOST_LINES);
    too_long
        .map(|Function { name, line, lines }| {
            format!("{}:{line}: `{name}` has {lines} lines; {MOST_LINES} can be read at once", source.path)
        })
        .collect()
}

/// Aims of the whole, which no single file breaks.
#[test]
fn files_and_functions_are_short_as_a_rule() {
    let sources = source::all(Path::new(env!("CARGO_MANIFEST_DIR")));
    let product = || sources.iter().filter(|source| source.room().is_some());
    let files: Vec<usize> = product().map(|source| source.text.lines().count()).collect();
    let functions: Vec<usize> =
        product().flat_map(Source::functions).map(|function| function.lines).collect();
    assert!(functions.len() > 300, "a sweep must have swept something");
    for (what, lengths, median, p90) in [("files", files, 150, 300), ("functions", functions, 10, 30)] {
        let (is_median, is_p90) = (percentile(&lengths, 50), percentile(&lengths, 90));
        assert!(
            is_median <= median && is_p90 <= p90,
            "{what}: median {is_median} lines, 90th percentile {is_p90}; aimed at {median} and {p90}"
        );
    }
}

fn percentile(lengths: &[usize], percent: usize) -> usize {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) * percent / 100]
}

/// A rule that cannot fail is no rule: each of these breaks exactly the one beside it.
#[test]
fn each_rule_can_fail() {
    let long = format!("//! Long.\nfn long() {{\n{}}}\n", "    // a line\n".repeat(MOST_LINES - 1));
    type Rule = fn(&Source) -> Vec<String>;
    let cases: &[(Rule, &str, &str)] = &[
        (every_room_knows_only_the_rooms_below_it, "src/proxy/a.rs", "use crate::config::Config;"),
        (every_room_knows_only_the_rooms_below_it, "src/proxy/a.rs", "use crate::{auth, config};"),
        (every_room_knows_only_the_rooms_below_it, "src/policy/keys.rs", "use crate::config::Key;"),
        (
            every_room_knows_only_the_rooms_below_it,
            "src/policy/keys.rs",
            "fn f(_: &super::super::config::Key) {}",
        ),
        (every_room_knows_only_the_rooms_below_it, "src/auth/a.rs", "fn f() { log!(crate::proxy::X); }"),
        (every_room_knows_only_the_rooms_below_it, "src/admin/a.rs", "pub use crate::server::run;"),
        (every_room_knows_only_the_rooms_below_it, "src/server/a.rs", "fn f() { crate::cli::main(); }"),
        (every_room_knows_only_the_rooms_below_it, "src/cellar/mod.rs", ""),
        (the_pure_rooms_know_no_network, "src/auth/a.rs", "use pingora_proxy::Session;"),
        (
            the_pure_rooms_know_no_network,
            "src/policy/a.rs",
            "async fn f() { tokio::task::yield_now().await }",
        ),
        (anyhow_is_for_the_command_line, "src/server/a.rs", "fn f() -> anyhow::Result<()> { Ok(()) }"),
        (only_reply_writes_responses, "src/proxy/admit.rs", "fn f(s: S) { s.respond_error(401); }"),
        (only_metrics_names_metrics, "src/proxy/admit.rs", "const A: &str = \"keygate_requests_total\";"),
        (only_metrics_names_metrics, "src/admin/a.rs", "fn f() { format!(\"keygate_up {}\", 1); }"),
        (no_function_is_long, "src/auth/a.rs", long.trim_start_matches("//! Long.\n")),
    ];
    for (rule, path, code) in cases {
        let source = Source::parse(path, &format!("//! A snippet.\n{code}"));
        assert_eq!(rule(&source).len(), 1, "{path}: {code}: {:?}", rule(&source));
        let total: usize = RULES.iter().map(|rule| rule(&source).len()).sum();
        assert_eq!(total, 1, "{path}: {code} breaks one rule only");
    }
    let undocumented = Source::parse("src/auth/a.rs", "/// An item.\nfn f() {}");
    assert_eq!(every_file_says_what_it_is(&undocumented).len(), 1);
}

#[test]
fn what_is_allowed_is_not_complained_about() {
    for (path, code) in [
        ("src/policy/compile/keys.rs", "use crate::config::Key;"),
        ("src/proxy/a.rs", "use crate::auth::Permit; use super::b; use crate::proxy::c;"),
        ("src/proxy/a.rs", "#[cfg(test)] mod tests { use crate::config::Config; }"),
        ("src/auth/tests.rs", "use crate::config::Config;"),
        ("src/proxy/reply.rs", "fn f(s: S) { s.write_response_header(h); }"),
        ("src/telemetry/metrics/page.rs", "const A: &str = \"keygate_requests_total\";"),
        ("src/cli/a.rs", "use anyhow::Context; use crate::server;"),
        ("tests/a.rs", "use keygate::config::Config; use anyhow::Result;"),
    ] {
        let source = Source::parse(path, &format!("//! A snippet.\n{code}"));
        let complaints: Vec<String> = RULES.iter().flat_map(|rule| rule(&source)).collect();
        assert!(complaints.is_empty(), "{path}: {code}: {complaints:?}");
    }
}
