//! The decision beside a second, independent writing of the contract, on 100,000 random requests.

use http::Method;
use proptest::prelude::*;

use super::*;

/// The contract's text as a program: strings instead of types, one rule after the other, nothing shared with the
/// code under test.
fn reference(
    mode: &str,
    keys: &[&str],
    method: &str,
    path: &str,
    has_content: bool,
    lines: &[(&str, Vec<u8>)],
) -> &'static str {
    let refused = |code: &'static str| {
        if method == "OPTIONS" { "preflight_with_content" } else { code }
    };
    if method == "OPTIONS" && !has_content {
        return "allow";
    }
    if mode == "off" {
        return "allow";
    }
    if mode == "all_except_health" && ["GET", "HEAD"].contains(&method) && path == "/healthz" {
        return "allow";
    }
    if keys.is_empty() {
        return refused("no_key_configured");
    }
    for header in ["authorization", "x-api-key", "x-goog-api-key"] {
        let values: Vec<&Vec<u8>> =
            lines.iter().filter(|line| line.0 == header).map(|line| &line.1).collect();
        if values.is_empty() {
            continue;
        }
        if values.len() > 1 {
            return refused("credential_malformed");
        }
        let Ok(text) = String::from_utf8(values[0].clone()) else { return refused("credential_malformed") };
        let text = text.trim_matches([' ', '\t']);
        if text.is_empty() || text.chars().any(|c| !(' '..='~').contains(&c) && c != '\t') {
            return refused("credential_malformed");
        }
        let text = if header == "authorization" && text.starts_with("Bearer ") { &text[7..] } else { text };
        return match text {
            _ if !keys.contains(&text) => refused("credential_invalid"),
            DISABLED => refused("key_disabled"),
            EXPIRED => refused("key_expired"),
            _ => "allow",
        };
    }
    let protocols: Vec<String> = lines
        .iter()
        .filter(|line| line.0 == "sec-websocket-protocol" && keys.contains(&OTHER))
        .flat_map(|line| String::from_utf8_lossy(&line.1).split(',').map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|protocol| {
            let protocol = protocol.trim_matches([' ', '\t']);
            let at = protocol.to_ascii_lowercase().starts_with("openai-insecure-api-key.").then_some(24)?;
            Some(protocol[at..].trim_matches([' ', '\t']).to_owned())
        })
        .collect();
    match protocols.as_slice() {
        [] => refused("credential_missing"),
        [key] if !key.is_empty() && key.chars().all(|c| (' '..='~').contains(&c) || c == '\t') => {
            match key.as_str() {
                key if !keys.contains(&key) => refused("credential_invalid"),
                DISABLED => refused("key_disabled"),
                EXPIRED => refused("key_expired"),
                _ => "allow",
            }
        }
        _ => refused("credential_malformed"),
    }
}

fn any_protocols() -> impl Strategy<Value = Vec<u8>> {
    let before = prop::sample::select(vec![
        "",
        "openai-insecure-api-key.",
        "realtime, openai-insecure-api-key.",
        "OpenAI-Insecure-API-Key.",
        "openai-insecure-api-key.wrong,openai-insecure-api-key.",
        "openai-insecure-api-key",
    ]);
    let after = prop::sample::select(vec!["", ",", ", realtime", " ,openai-beta.realtime-v1", "\u{e4}"]);
    let key = prop::sample::select(vec![KEY, OTHER, DISABLED, EXPIRED, "wrong", ""]);
    (before, key, after).prop_map(|(before, key, after)| format!("{before}{key}{after}").into_bytes())
}

fn any_line() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let names = prop::sample::select(vec!["authorization", "x-api-key", "x-goog-api-key", "x-other"]);
    prop_oneof![2 => (names, any_value()), 1 => any_protocols().prop_map(|value| ("sec-websocket-protocol", value))]
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    let key = prop::sample::select(vec![KEY, OTHER, DISABLED, EXPIRED, "wrong", ""]);
    let before = prop::sample::select(vec![
        "",
        "",
        "",
        "Bearer ",
        "Bearer ",
        "Bearer",
        "bearer ",
        "Bearer  ",
        "Bearer Bearer ",
        " ",
        "\t",
        "Basic ",
    ]);
    let after = prop::sample::select(vec!["", "", "", " ", "\t", "x", "\u{e4}", " Bearer "]);
    (before, key, after).prop_map(|(before, key, after)| format!("{before}{key}{after}").into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decide_agrees_with_the_reference(
        mode in prop::sample::select(vec!["off", "strict", "all_except_health"]),
        keys in prop::sample::select(vec![vec![], vec![KEY], vec![KEY, OTHER, DISABLED, EXPIRED], vec![DISABLED]]),
        method in prop::sample::select(vec!["GET", "HEAD", "POST", "OPTIONS", "options", "get", "PUT"]),
        path in prop::sample::select(vec!["/healthz", "/", "/healthz/", "/v1/messages", "/Healthz", "/%68ealthz"]),
        has_content in any::<bool>(),
        lines in prop::collection::vec(any_line(), 0..4),
    ) {
        thread_local! {
            // Compiling 100,000 policies would be the test, not the decision.
            static POLICIES: std::cell::RefCell<std::collections::HashMap<(String, Vec<&'static str>), Snapshot>> = std::cell::RefCell::default();
        }
        let effective = match mode {
            "off" => EffectiveMode::Off,
            "strict" => EffectiveMode::Strict,
            _ => EffectiveMode::AllExceptHealth,
        };
        let borrowed: Vec<(&str, &[u8])> = lines.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let headers = headers(&borrowed);
        let content = if has_content { Content::Some } else { Content::None };
        let method_value: Method = method.parse().unwrap();
        let facts = Facts { method: &method_value, path: path.as_bytes(), headers: &headers, content };
        let (decision, observed, steps) = POLICIES.with_borrow_mut(|policies| {
            let policy = policies.entry((mode.to_owned(), keys.clone())).or_insert_with(|| policy(effective, &keys));
            let mut steps = steps::Steps::default();
            let observed = decide_observed(policy, &facts, NOW, &mut steps);
            let allocations = allocation_counter::measure(|| drop(decide(policy, &facts, NOW)));
            assert_eq!(allocations.count_total, 0, "a decision allocates nothing");
            (decide(policy, &facts, NOW), observed, steps)
        });
        prop_assert_eq!(decision.as_ref().map(Permit::grounds), observed.as_ref().map(Permit::grounds));
        let outcomes: Vec<_> = steps.iter().collect();
        let last = if decision.is_ok() { Outcome::Allows } else { Outcome::Denies };
        prop_assert!(outcomes.iter().enumerate().all(|(at, (step, _))| usize::from(step.number()) == at + 1));
        prop_assert!(outcomes.iter().rev().skip(1).all(|(_, outcome)| *outcome == Outcome::GoesOn));
        prop_assert_eq!(outcomes.last().map(|(_, outcome)| *outcome), Some(last));
        let decided = decision.map_or_else(|deny| deny.cause.code(), |_| "allow");
        prop_assert_eq!(decided, reference(mode, &keys, method, path, has_content, &lines));
    }
}
