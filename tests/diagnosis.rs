//! Every cause of a 401, provoked through the real binary: `explain`, `doctor`, the record of the denial and its log line
//! name that cause and no other.

mod case;
mod clients;

use std::path::Path;

use serde_json::Value;

use self::case::Case;
use crate::support::{Client, KEY, Origin};

const TOKEN: &str = "admin-0123456789abcdef0123456789abcdef";
const STRANGER: &str = "sk-ffffffffffffffffffffffffffffffff";

/// Each provokes one cause and returns what was printed about it.
const CASES: [fn() -> Vec<String>; 17] = [
    lan_access,
    other_header,
    space_missing,
    no_key,
    strict_health,
    scheme,
    mangled,
    damaged,
    foreign,
    retired,
    key_policy,
    empty_header,
    upstream_refused,
    cors,
    reload_rejected,
    key_in_query,
    key_in_other_header,
];

fn lan_access() -> Vec<String> {
    let mut case = Case::new(&format!("auth_mode: auto, allow_lan_access: true, api_key: {KEY}"), "");
    case.refused("/v1/models", &[], "lan_access");
    std::mem::take(&mut case.printed)
}

fn other_header() -> Vec<String> {
    let mut case = Case::strict();
    case.refused(
        "/v1/models",
        &[&format!("Authorization: Bearer {STRANGER}"), &format!("x-api-key: {KEY}")],
        "other_header_decides",
    );
    std::mem::take(&mut case.printed)
}

fn space_missing() -> Vec<String> {
    let mut case = Case::strict();
    case.refused("/v1/models", &[&format!("Authorization: Bearer{KEY}")], "space_missing");
    std::mem::take(&mut case.printed)
}

fn no_key() -> Vec<String> {
    let mut case = Case::new("auth_mode: strict, api_key: ''", "");
    case.refused("/v1/models", &[&format!("x-api-key: {KEY}")], "no_key_configured");
    case.gateway.program().wait_for_log("the line of the contract", |line| {
        line.contains("ERROR") && line.contains("Proxy auth is enabled but api_key is empty; denying request")
    });
    std::mem::take(&mut case.printed)
}

fn strict_health() -> Vec<String> {
    let mut case = Case::strict();
    case.refused("/healthz", &[], "strict_health");
    std::mem::take(&mut case.printed)
}

fn scheme() -> Vec<String> {
    let mut case = Case::strict();
    for before in ["bearer ", "BEARER ", "Bearer  ", "Bearer Bearer ", "Basic "] {
        case.refused("/v1/models", &[&format!("Authorization: {before}{KEY}")], "scheme");
    }
    std::mem::take(&mut case.printed)
}

fn mangled() -> Vec<String> {
    let mut case = Case::strict();
    for value in
        [&format!("\"{KEY}\""), &format!("{KEY}\\n"), &format!("{KEY}%20"), "$KEY", "<key>", "YOUR_API_KEY"]
    {
        case.refused("/v1/models", &[&format!("Authorization: Bearer {value}")], "mangled_key");
    }
    // No client can send this one, so nobody but `doctor` gets to see it.
    case.environment = vec![("OPENAI_API_KEY", format!("{KEY}\n"))];
    assert_eq!(case.doctor(&[]), (Some(1), "mangled_key".to_owned()));
    std::mem::take(&mut case.printed)
}

fn damaged() -> Vec<String> {
    let mut case = Case::strict();
    for value in [&KEY[..30], &format!("{KEY}0"), &KEY.to_uppercase(), &format!("{}x", &KEY[..34])] {
        case.refused("/v1/models", &[&format!("x-api-key: {value}")], "damaged_key");
    }
    std::mem::take(&mut case.printed)
}

fn foreign() -> Vec<String> {
    let mut case = Case::strict();
    for value in
        ["sk-ant-api03-0123456789", "sk-proj-0123456789", "AIzaSy0123456789", "eyJhbGciOi.eyJzdWIi.c2ln"]
    {
        case.refused("/v1/models", &[&format!("x-api-key: {value}")], "foreign_credential");
    }
    // As long as tokens of accounts are; a record does not hold it to its end.
    let token = format!("eyJhbGciOiJSUzI1NiJ9.eyJzdWIi{}.c2ln", "x".repeat(2000));
    case.refused("/v1/models", &[&format!("Authorization: Bearer {token}")], "foreign_credential");
    std::mem::take(&mut case.printed)
}

fn retired() -> Vec<String> {
    let mut case = Case::strict();
    case.reconfigure(&format!("auth_mode: strict, api_key: {STRANGER}"), "");
    case.gateway.wait_for_generation(2);
    let line = format!("x-api-key: {KEY}");
    let (status, id) = case.curl("/v1/models", &["-H", &line]);
    assert_eq!(status, 401);
    assert_eq!(case.recorded(&id), "retired_key");
    assert_eq!(case.explain_running(&["-H", &line]), "retired_key");
    assert_eq!(case.doctor(&["-H", &line]), (Some(1), "retired_key".to_owned()));
    std::mem::take(&mut case.printed)
}

fn key_policy() -> Vec<String> {
    let digest = |key: &str| {
        use sha2::Digest;
        let digest: String = sha2::Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{digest}")
    };
    let keys = format!(
        "keys:\n  - {{name: off, digest: '{}', enabled: false}}\n  - {{name: old, digest: '{}', expires_at: '2001-01-01T00:00:00Z'}}\n  \
         - {{name: narrow, digest: '{}', routes: [/v1/chat]}}\n  - {{name: far, digest: '{}', addresses: [10.0.0.0/8]}}\n",
        digest("key-off-0123456789"),
        digest("key-old-0123456789"),
        digest("key-narrow-0123456789"),
        digest("key-far-0123456789")
    );
    let mut case = Case::new("auth_mode: strict", &keys);
    for name in ["off", "old", "narrow", "far"] {
        case.refused("/v1/models", &[&format!("x-api-key: key-{name}-0123456789")], "key_policy");
    }
    std::mem::take(&mut case.printed)
}

fn empty_header() -> Vec<String> {
    let mut case = Case::strict();
    case.refused("/v1/models", &["x-api-key: "], "empty_header");
    case.refused("/v1/models", &["Authorization: Bearer "], "empty_header");
    std::mem::take(&mut case.printed)
}

fn upstream_refused() -> Vec<String> {
    let origin = Origin::answering(|_, stream| {
        use std::io::Write;
        write!(stream, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    });
    let mut case = Case::with_origin(origin, "auth_mode: 'off'", "");
    let key = ["-H", "Authorization: Bearer sk-proj-0123456789"];
    let (code, reason) = case.doctor(&key);
    assert_eq!((code, reason.as_str()), (Some(6), "upstream_refused"));
    let (status, id) = case.curl("/v1/models", &key);
    assert_eq!(status, 401);
    case.not_recorded(&id);
    case.passes(&key, None);
    assert_eq!(denials(&case).as_array().unwrap().len(), 0, "the gateway denied nothing");
    // Where the gateway asks for a key, the upstream's 401 is no answer to it, and none arrives.
    case.reconfigure(&format!("auth_mode: strict, api_key: {KEY}"), "");
    case.gateway.wait_for_generation(2);
    let (code, reason) = case.doctor(&["-H", &format!("x-api-key: {KEY}")]);
    assert_eq!((code, reason.as_str()), (Some(6), "upstream_refused"));
    std::mem::take(&mut case.printed)
}

fn cors() -> Vec<String> {
    let mut case = Case::strict();
    let key = format!("x-api-key: {KEY}");
    let (code, reason) = case.doctor(&["-H", &key, "--origin", "https://app.example"]);
    assert_eq!((code, reason.as_str()), (Some(7), "cors"));
    case.passes(&["--method", "OPTIONS", "-H", "Origin: https://app.example"], Some("cors"));
    case.passes(&["-H", &key, "-H", "Origin: https://app.example"], Some("cors"));
    // What the doctor asked without a key was denied, and nothing else.
    let denied = denials(&case).as_array().unwrap().clone();
    assert!(denied.iter().all(|denial| denial["code"] == "credential_missing"), "{denied:?}");
    assert_eq!(case.doctor(&["-H", &key]), (Some(0), "well".to_owned()));
    case.reconfigure(
        &format!("auth_mode: strict, api_key: {KEY}, cors: {{origins: ['https://app.example']}}"),
        "",
    );
    case.gateway.wait_for_generation(2);
    case.passes(&["-H", &key, "-H", "Origin: https://app.example"], None);
    case.passes(&["-H", &key, "-H", "Origin: https://other.example"], Some("cors"));
    case.reconfigure(
        &format!(
            "auth_mode: strict, api_key: {KEY}, cors: {{origins: ['https://app.example'], headers: [content-type]}}"
        ),
        "",
    );
    case.gateway.wait_for_generation(3);
    let (code, reason) = case.doctor(&["-H", &key, "--origin", "https://app.example"]);
    assert_eq!((code, reason.as_str()), (Some(7), "cors"));
    let page = "Origin: https://app.example";
    case.passes(&["-H", &key, "-H", page], Some("cors"));
    for (names, reason) in [("content-type, x-api-key", Some("cors")), ("content-type", None)] {
        let names = format!("Access-Control-Request-Headers: {names}");
        case.passes(&["--method", "OPTIONS", "-H", page, "-H", &names], reason);
    }
    case.printed.retain(|cause| cause.contains("Failed to fetch"));
    std::mem::take(&mut case.printed)
}

fn reload_rejected() -> Vec<String> {
    let mut case = Case::strict();
    case.reconfigure(&format!("auth_mode: strict, api_kei: {STRANGER}"), "");
    case.gateway.program().wait_for_log("the rejection", |line| line.contains("not reloaded"));
    let line = format!("x-api-key: {STRANGER}");
    let (status, id) = case.curl("/v1/models", &["-H", &line]);
    assert_eq!(status, 401);
    assert_eq!(case.recorded(&id), "reload_rejected");
    assert_eq!(case.explain_running(&["-H", &line]), "reload_rejected");
    assert_eq!(case.doctor(&["-H", &line]), (Some(1), "reload_rejected".to_owned()));
    std::mem::take(&mut case.printed)
}

/// As old clients of Gemini have it; here it counts for nothing.
fn key_in_query() -> Vec<String> {
    let mut case = Case::strict();
    case.refused(&format!("/v1beta/models?alt=json&key={KEY}"), &[], "key_in_query");
    assert!(case.origin.received().is_empty());
    std::mem::take(&mut case.printed)
}

/// As the clients of Azure send it.
fn key_in_other_header() -> Vec<String> {
    let mut case = Case::strict();
    case.refused("/v1/chat/completions", &[&format!("api-key: {KEY}")], "key_in_other_header");
    assert!(case.origin.received().is_empty());
    std::mem::take(&mut case.printed)
}

fn denials(case: &Case) -> Value {
    let admin = case.gateway.admin();
    let request =
        format!("GET /api/denials HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    Client::connect(admin).exchange(request).json()
}

macro_rules! causes {
    ($($name:ident: $case:ident,)*) => {
        $(#[test]
        fn $name() {
            let printed = $case();
            assert!(!printed.is_empty());
            println!("printed: {printed:#?}");
        })*
    };
}

causes! {
    cause_1_auto_asks_for_a_key_since_others_can_connect: lan_access,
    cause_2_a_header_that_does_not_match_decides: other_header,
    cause_3_the_space_after_bearer_is_missing: space_missing,
    cause_4_no_key_is_configured: no_key,
    cause_5_strict_asks_on_healthz_too: strict_health,
    cause_6_the_scheme_is_written_otherwise: scheme,
    cause_7_the_key_was_copied_or_expanded_wrongly: mangled,
    cause_8_the_key_is_damaged: damaged,
    cause_9_the_credential_is_somebody_elses: foreign,
    cause_10_the_key_is_the_old_one: retired,
    cause_11_the_keys_rules_forbid_it: key_policy,
    cause_12_the_header_is_empty: empty_header,
    cause_13_the_upstream_refuses: upstream_refused,
    cause_14_the_browser_stops: cors,
    cause_15_the_edit_of_the_file_is_not_in_force: reload_rejected,
    a_key_in_the_query_is_told_of: key_in_query,
    a_key_in_another_header_is_told_of: key_in_other_header,
}

#[test]
fn every_message_of_the_page_is_one_that_the_program_prints() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/401.md")).unwrap();
    let printed: Vec<String> = CASES.iter().flat_map(|case| case()).collect();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let messages: Vec<&str> = rows.map(|row| row.split('|').nth(2).unwrap().trim()).collect();
    assert!(messages.len() >= 15, "{}", messages.len());
    for message in messages {
        let start = message.trim_end_matches('…');
        assert!(
            printed.iter().any(|cause| cause.starts_with(start)),
            "nobody prints: {message}\n{printed:#?}"
        );
    }
}

#[test]
fn what_the_caller_is_told_does_not_tell_how_near_it_was() {
    let case = Case::strict();
    let answer = |key: &str| {
        let request = format!(
            "GET /v1/models HTTP/1.1\r\nHost: t\r\nx-request-id: same\r\nAuthorization: Bearer {key}\r\n\r\n"
        );
        let response = case.gateway.exchange(request);
        let head: Vec<&str> =
            response.head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date:")).collect();
        (head.join("\n"), response.body)
    };
    let random = answer(STRANGER);
    for near in [
        &KEY[..34],
        &KEY.to_uppercase(),
        &format!("{KEY}0"),
        &format!("\"{KEY}\""),
        " x",
        "sk-ant-api03-x",
        "$KEY",
    ] {
        assert_eq!(answer(near), random, "{near}");
    }
}
