//! The contract's tables, row by row, and a property test against a reference written independently of the code.

mod reference;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::config::{Config, SecretOrigin, SecretRef};
use crate::policy::{AuthMode, compile};
use crate::secret::Secret;

const KEY: &str = "sk-0123456789abcdef0123456789abcdef";
const OTHER: &str = "named key with spaces";
const DISABLED: &str = "sk-disabled";
const EXPIRED: &str = "sk-expired";
const NOW: UnixSeconds = UnixSeconds(1_000_000_000);

fn policy(mode: EffectiveMode, keys: &[&str]) -> Snapshot {
    use crate::policy::Digest;
    let digest = |key: &str| Digest::of(key.as_bytes());
    let named = [
        (OTHER, format!("{{name: other, digest: '{}'}}", digest(OTHER))),
        (DISABLED, format!("{{name: off, digest: '{}', enabled: false}}", digest(DISABLED))),
        // One second is over exactly at its end.
        (
            EXPIRED,
            format!("{{name: old, digest: '{}', expires_at: '2001-09-09T01:46:40Z'}}", digest(EXPIRED)),
        ),
    ];
    let lines: Vec<&str> =
        named.iter().filter(|(key, _)| keys.contains(key)).map(|(_, line)| line.as_str()).collect();
    let mut config: Config = serde_yaml::from_str(&format!("keys: [{}]", lines.join(", "))).unwrap();
    config.proxy.auth_mode = match mode {
        EffectiveMode::Off => crate::config::AuthMode::Off,
        EffectiveMode::Strict => crate::config::AuthMode::Strict,
        EffectiveMode::AllExceptHealth => crate::config::AuthMode::AllExceptHealth,
    };
    let api_key = if keys.contains(&KEY) { KEY } else { "" };
    config.proxy.api_key =
        Some(SecretRef { origin: SecretOrigin::Literal, value: Secret::new(api_key.into()) });
    config.proxy.websocket_protocol_keys = keys.contains(&OTHER);
    let snapshot = compile(&config, 1, None).unwrap().snapshot;
    assert_ne!(snapshot.configured_mode, AuthMode::Auto);
    snapshot
}

fn headers(lines: &[(&str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn ask(
    policy: &Snapshot,
    method: &str,
    path: &str,
    lines: &[(&str, &[u8])],
) -> Result<Grounds, &'static str> {
    let facts = Facts {
        method: &method.parse().unwrap(),
        path: path.as_bytes(),
        headers: &headers(lines),
        content: Content::None,
    };
    decide(policy, &facts, NOW).map(|permit| permit.grounds()).map_err(|deny| deny.cause.code())
}

/// A `POST /v1/x` with one `Authorization` line, in `strict`.
fn authorization(value: &str) -> Result<(), &'static str> {
    let policy = policy(EffectiveMode::Strict, &[KEY]);
    ask(&policy, "POST", "/v1/x", &[("authorization", value.as_bytes())]).map(drop)
}

#[test]
fn bearer_is_removed_once_and_only_as_written() {
    for right in [format!("Bearer {KEY}"), KEY.to_owned(), format!("  Bearer {KEY}\t ")] {
        assert_eq!(authorization(&right), Ok(()), "{right:?}");
    }
    for wrong in [
        format!("Bearer{KEY}"),
        format!("bearer {KEY}"),
        format!("BEARER {KEY}"),
        format!("Bearer  {KEY}"),
        format!("Bearer\t{KEY}"),
        format!("Bearer Bearer {KEY}"),
        format!("Basic {KEY}"),
        format!("{KEY} x"),
        format!("\"{KEY}\""),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
    ] {
        assert_eq!(authorization(&wrong), Err("credential_invalid"), "{wrong:?}");
    }
}

#[test]
fn the_other_headers_are_taken_whole() {
    let policy = policy(EffectiveMode::Strict, &[KEY]);
    for header in ["x-api-key", "x-goog-api-key"] {
        assert!(ask(&policy, "POST", "/", &[(header, KEY.as_bytes())]).is_ok());
        assert!(ask(&policy, "POST", "/", &[(header, format!(" {KEY} ").as_bytes())]).is_ok());
        let wrong = format!("Bearer {KEY}");
        assert_eq!(ask(&policy, "POST", "/", &[(header, wrong.as_bytes())]), Err("credential_invalid"));
    }
}

#[test]
fn the_first_header_present_decides_alone() {
    let policy = policy(EffectiveMode::Strict, &[KEY]);
    let right = KEY.as_bytes();
    assert!(ask(&policy, "GET", "/", &[("x-goog-api-key", b"bad"), ("x-api-key", right)]).is_ok());
    assert!(ask(&policy, "GET", "/", &[("x-api-key", b"bad"), ("authorization", right)]).is_ok());
    let cases: [(&str, &[u8], &str, &str); 4] = [
        ("authorization", b"bad", "x-api-key", "credential_invalid"),
        ("authorization", b"", "x-api-key", "credential_malformed"),
        ("authorization", b" \t", "x-goog-api-key", "credential_malformed"),
        ("x-api-key", b"\xff", "x-goog-api-key", "credential_malformed"),
    ];
    for (first, value, later, code) in cases {
        assert_eq!(ask(&policy, "GET", "/", &[(later, right), (first, value)]), Err(code), "{first}");
    }
}

#[test]
fn a_header_on_two_lines_never_matches() {
    let policy = policy(EffectiveMode::Strict, &[KEY]);
    for header in ["authorization", "x-api-key", "x-goog-api-key"] {
        let twice = [(header, KEY.as_bytes()), (header, KEY.as_bytes())];
        assert_eq!(ask(&policy, "GET", "/", &twice), Err("credential_malformed"));
    }
    let later_one_twice =
        [("authorization", KEY.as_bytes()), ("x-api-key", KEY.as_bytes()), ("x-api-key", KEY.as_bytes())];
    assert!(ask(&policy, "GET", "/", &later_one_twice).is_ok(), "only the deciding header counts");
}

#[test]
fn a_key_among_the_websocket_protocols_comes_last_and_only_where_it_counts() {
    let protocols = format!("realtime, openai-insecure-api-key.{KEY}");
    let protocols = ("sec-websocket-protocol", protocols.as_bytes());
    let ignoring = policy(EffectiveMode::Strict, &[KEY]);
    assert_eq!(ask(&ignoring, "GET", "/", &[protocols]), Err("credential_missing"));
    let counting = policy(EffectiveMode::Strict, &[KEY, OTHER]);
    assert!(ask(&counting, "GET", "/", &[protocols]).is_ok());
    assert!(
        ask(&counting, "GET", "/", &[protocols, ("upgrade", b"websocket")]).is_ok(),
        "it changes nothing"
    );
    assert_eq!(ask(&counting, "GET", "/", &[protocols, protocols]), Err("credential_malformed"));
    assert_eq!(ask(&counting, "GET", "/", &[protocols, ("x-api-key", b"bad")]), Err("credential_invalid"));
    assert_eq!(
        ask(&counting, "GET", "/", &[("sec-websocket-protocol", b"realtime")]),
        Err("credential_missing")
    );
}

#[test]
fn modes_and_health() {
    let free = |mode, method: &str, path: &str| ask(&policy(mode, &[KEY]), method, path, &[]);
    use EffectiveMode::{AllExceptHealth, Off, Strict};
    for (mode, method, path, passes) in [
        (Off, "GET", "/healthz", true),
        (Off, "POST", "/v1/x", true),
        (Strict, "GET", "/healthz", false),
        (Strict, "GET", "/v1/x", false),
        (AllExceptHealth, "GET", "/healthz", true),
        (AllExceptHealth, "HEAD", "/healthz", true),
        (AllExceptHealth, "POST", "/healthz", false),
        (AllExceptHealth, "get", "/healthz", false),
        (AllExceptHealth, "GET", "/v1/x", false),
        (AllExceptHealth, "GET", "/healthz/", false),
        (AllExceptHealth, "GET", "/Healthz", false),
        (AllExceptHealth, "GET", "/%68ealthz", false),
        (AllExceptHealth, "GET", "//healthz", false),
        (AllExceptHealth, "GET", "/./healthz", false),
        (AllExceptHealth, "GET", "/healthz;x", false),
        (AllExceptHealth, "GET", "/healthz#x", false),
    ] {
        assert_eq!(free(mode, method, path).is_ok(), passes, "{mode} {method} {path}");
    }
}

#[test]
fn no_header_changes_what_is_asked_for() {
    let policy = policy(EffectiveMode::AllExceptHealth, &[KEY]);
    for (name, value) in [
        ("x-original-url", "/healthz"),
        ("x-rewrite-url", "/healthz"),
        ("x-http-method-override", "OPTIONS"),
        ("upgrade", "websocket"),
        ("host", "127.0.0.1/healthz?"),
    ] {
        assert_eq!(
            ask(&policy, "GET", "/v1/x", &[(name, value.as_bytes())]),
            Err("credential_missing"),
            "{name}"
        );
    }
}

#[test]
fn options_passes_unless_it_carries_content() {
    for mode in [EffectiveMode::Off, EffectiveMode::Strict, EffectiveMode::AllExceptHealth] {
        let policy = policy(mode, &[KEY]);
        assert_eq!(ask(&policy, "OPTIONS", "/v1/x", &[]), Ok(Grounds::Preflight));
        assert_eq!(ask(&policy, "options", "/v1/x", &[]).is_ok(), mode == EffectiveMode::Off);
        for (lines, passes) in [
            (vec![], mode == EffectiveMode::Off),
            (vec![("authorization", b"bad".as_slice())], mode == EffectiveMode::Off),
            (vec![("authorization", KEY.as_bytes())], true),
        ] {
            let headers = headers(&lines);
            let facts =
                Facts { method: &Method::OPTIONS, path: b"/v1/x", headers: &headers, content: Content::Some };
            let decision = decide(&policy, &facts, NOW);
            assert_eq!(decision.is_ok(), passes);
            if let Err(deny) = decision {
                assert_eq!((deny.cause.code(), deny.cause.status()), ("preflight_with_content", 413));
            }
        }
    }
}

#[test]
fn without_keys_nobody_passes_and_it_says_so() {
    let policy = policy(EffectiveMode::Strict, &[]);
    for lines in [vec![], vec![("authorization", b"".as_slice())], vec![("x-api-key", b"".as_slice())]] {
        assert_eq!(ask(&policy, "GET", "/", &lines), Err("no_key_configured"));
    }
}

#[test]
fn a_known_key_may_be_out_of_use() {
    let policy = policy(EffectiveMode::Strict, &[OTHER, DISABLED, EXPIRED]);
    let ask = |key: &str| ask(&policy, "GET", "/", &[("x-api-key", key.as_bytes())]);
    assert!(ask(OTHER).is_ok());
    assert_eq!(ask(DISABLED), Err("key_disabled"));
    assert_eq!(ask(EXPIRED), Err("key_expired"));
    assert_eq!(ask(KEY), Err("credential_invalid"));
}

#[test]
fn a_key_is_recognised_however_it_is_wrapped_when_it_must_not_leave() {
    let policy = policy(EffectiveMode::Off, &[KEY, OTHER, DISABLED]);
    let found = |value: &str| contains_key(&policy.keys, &HeaderValue::from_str(value).unwrap());
    for held in [KEY, DISABLED, OTHER] {
        for value in
            [held.to_owned(), format!("Bearer {held}"), format!("bearer  {held}"), format!("Token\t{held}")]
        {
            assert!(found(&value), "{value}");
        }
    }
    for foreign in ["", "sk-proj-something-else", "Bearer sk-ant-x", "Basic dTpw"] {
        assert!(!found(foreign), "{foreign}");
    }
}

#[test]
fn a_refusal_names_the_deciding_header_and_the_ignored_ones() {
    let policy = policy(EffectiveMode::Strict, &[KEY]);
    let headers = headers(&[("x-goog-api-key", b"a"), ("x-api-key", b"b")]);
    let facts = Facts { method: &Method::GET, path: b"/", headers: &headers, content: Content::None };
    let deny = decide(&policy, &facts, NOW).unwrap_err();
    assert_eq!(deny.present.deciding(), Some(CredentialHeader::XApiKey));
    assert_eq!(deny.present.ignored().collect::<Vec<_>>(), [CredentialHeader::XGoogApiKey]);
}
