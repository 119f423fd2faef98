//! Every cause of a 401, provoked through the real binary: `explain`, `doctor`, the record of the denial and its log line
//! name that cause and no other.

mod clients;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Client, Gateway, KEY, Origin, keygate, run_to_end, without_sdk_variables};

const TOKEN: &str = "admin-0123456789abcdef0123456789abcdef";
const STRANGER: &str = "sk-ffffffffffffffffffffffffffffffff";

/// A gateway to be asked, and what it said.
struct Case {
    gateway: Gateway,
    origin: Origin,
    printed: Vec<String>,
    /// What is set where the tools run.
    environment: Vec<(&'static str, String)>,
}

impl Case {
    /// `proxy` and `rest` are lines of the config.
    fn new(proxy: &str, rest: &str) -> Self {
        Self::with_origin(Origin::start(), proxy, rest)
    }

    fn with_origin(origin: Origin, proxy: &str, rest: &str) -> Self {
        let gateway = Gateway::start(&Self::config(&origin, proxy, rest));
        Self { gateway, origin, printed: Vec::new(), environment: Vec::new() }
    }

    fn config(origin: &Origin, proxy: &str, rest: &str) -> String {
        format!(
            "proxy: {{listen: ['127.0.0.1:0'], {proxy}}}\nadmin: {{listen: '127.0.0.1:0', token: {TOKEN}}}\n\
             upstreams: {{origin: {{peers: ['{}']}}}}\nroutes: [{{path_prefix: /, upstream: origin}}]\n{rest}\n",
            origin.address
        )
    }

    fn strict() -> Self {
        Self::new(&format!("auth_mode: strict, api_key: {KEY}"), "")
    }

    fn reconfigure(&self, proxy: &str, rest: &str) {
        self.gateway.replace_config(&Self::config(&self.origin, proxy, rest));
    }

    /// Sends a request with curl; its status and request id.
    fn curl(&self, path: &str, arguments: &[&str]) -> (u16, String) {
        let mut command = Command::new("curl");
        let url = format!("http://{}{path}", self.gateway.address());
        command.args([
            "-q",
            "-s",
            "--noproxy",
            "*",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %header{x-request-id}",
            &url,
        ]);
        let output = run_to_end({
            command.args(arguments);
            command
        });
        let said = String::from_utf8(output.stdout).unwrap();
        let (status, id) = said.split_once(' ').unwrap();
        (status.parse().unwrap(), id.to_owned())
    }

    fn run(&mut self, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut command = keygate(arguments);
        command.current_dir(self.gateway.directory.path()).env("KEYGATE_ADMIN_TOKEN", TOKEN);
        without_sdk_variables(&mut command);
        command.envs(self.environment.clone());
        let output = run_to_end(command);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.contains(&KEY[3..15]), "{said}");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let json = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{errors}"));
        (output.status.code(), json)
    }

    fn admin(&self) -> String {
        format!("http://{}", self.gateway.admin())
    }

    fn doctor(&mut self, arguments: &[&str]) -> (Option<i32>, String) {
        let (url, admin) = (format!("http://{}", self.gateway.address()), self.admin());
        let (code, json) = self.run(&[&["doctor", &url, "--admin", &admin, "--json"], arguments].concat());
        self.printed.push(json["verdict"]["cause"].as_str().unwrap().to_owned());
        (code, json["verdict"]["reason"].as_str().unwrap().to_owned())
    }

    fn explain(&mut self, arguments: &[&str]) -> String {
        let (code, json) = self.run(&[&["explain", "--json"], arguments].concat());
        assert_eq!(code, Some(1));
        self.printed.push(json["diagnosis"]["cause"].as_str().unwrap().to_owned());
        json["diagnosis"]["reason"].as_str().unwrap().to_owned()
    }

    /// What the gateway recorded of the request, and wrote into its log.
    fn recorded(&mut self, id: &str) -> String {
        let admin = self.admin();
        let (code, json) = self.run(&["explain", "--json", "--id", id, "--admin", &admin]);
        assert_eq!(code, Some(1));
        let diagnosis = &json["explanation"]["diagnosis"];
        let reason = diagnosis["reason"].as_str().unwrap().to_owned();
        // Later ones of the same second may be left out of the log.
        if self.printed.is_empty() {
            let line = self
                .gateway
                .program()
                .wait_for_log("the denial", |line| line.contains(&format!(" id={id} ")));
            assert!(line.contains(&format!(" reason={reason} ")), "{line}");
            assert!(!line.contains(&KEY[3..15]), "{line}");
        }
        self.printed.push(diagnosis["cause"].as_str().unwrap().to_owned());
        reason
    }

    /// Sends these header lines with curl, and asks everybody what is wrong with them.
    fn refused(&mut self, path: &str, lines: &[&str], reason: &str) {
        let headers: Vec<&str> = lines.iter().flat_map(|line| ["-H", *line]).collect();
        // curl leaves out a header behind whose colon nothing stands; with a semicolon it sends it empty.
        let for_curl: Vec<String> = headers
            .iter()
            .map(|line| line.strip_suffix(": ").map_or_else(|| (*line).to_owned(), |it| format!("{it};")))
            .collect();
        let (status, id) = self.curl(path, &for_curl.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(matches!(status, 401 | 403), "{status} {lines:?}");
        assert_eq!(self.recorded(&id), reason, "the record, {lines:?}");
        assert_eq!(
            self.explain(&[&["--path", path], headers.as_slice()].concat()),
            reason,
            "explain, {lines:?}"
        );
        let (code, said) = self.doctor(&[&["--path", path], headers.as_slice()].concat());
        assert_eq!((code, said.as_str()), (Some(1), reason), "doctor, {lines:?}");
    }
}

/// Each provokes one cause and returns what was printed about it.
const CASES: [fn() -> Vec<String>; 16] = [
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
];

fn lan_access() -> Vec<String> {
    let mut case = Case::new(&format!("auth_mode: auto, allow_lan_access: true, api_key: {KEY}"), "");
    case.refused("/v1/models", &[], "lan_access");
    case.printed
}

fn other_header() -> Vec<String> {
    let mut case = Case::strict();
    case.refused(
        "/v1/models",
        &[&format!("Authorization: Bearer {STRANGER}"), &format!("x-api-key: {KEY}")],
        "other_header_decides",
    );
    case.printed
}

fn space_missing() -> Vec<String> {
    let mut case = Case::strict();
    case.refused("/v1/models", &[&format!("Authorization: Bearer{KEY}")], "space_missing");
    case.printed
}

fn no_key() -> Vec<String> {
    let mut case = Case::new("auth_mode: strict, api_key: ''", "");
    case.refused("/v1/models", &[&format!("x-api-key: {KEY}")], "no_key_configured");
    case.gateway.program().wait_for_log("the line of the contract", |line| {
        line.contains("ERROR") && line.contains("Proxy auth is enabled but api_key is empty; denying request")
    });
    case.printed
}

fn strict_health() -> Vec<String> {
    let mut case = Case::strict();
    case.refused("/healthz", &[], "strict_health");
    case.printed
}

fn scheme() -> Vec<String> {
    let mut case = Case::strict();
    for before in ["bearer ", "BEARER ", "Bearer  ", "Bearer Bearer ", "Basic "] {
        case.refused("/v1/models", &[&format!("Authorization: {before}{KEY}")], "scheme");
    }
    case.printed
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
    case.printed
}

fn damaged() -> Vec<String> {
    let mut case = Case::strict();
    for value in [&KEY[..30], &format!("{KEY}0"), &KEY.to_uppercase(), &format!("{}x", &KEY[..34])] {
        case.refused("/v1/models", &[&format!("x-api-key: {value}")], "damaged_key");
    }
    case.printed
}

fn foreign() -> Vec<String> {
    let mut case = Case::strict();
    for value in
        ["sk-ant-api03-0123456789", "sk-proj-0123456789", "AIzaSy0123456789", "eyJhbGciOi.eyJzdWIi.c2ln"]
    {
        case.refused("/v1/models", &[&format!("x-api-key: {value}")], "foreign_credential");
    }
    case.printed
}

fn retired() -> Vec<String> {
    let mut case = Case::strict();
    case.reconfigure(&format!("auth_mode: strict, api_key: {STRANGER}"), "");
    case.gateway.wait_for_generation(2);
    let line = format!("x-api-key: {KEY}");
    let (status, id) = case.curl("/v1/models", &["-H", &line]);
    assert_eq!(status, 401);
    assert_eq!(case.recorded(&id), "retired_key");
    assert_eq!(case.doctor(&["-H", &line]), (Some(1), "retired_key".to_owned()));
    case.printed
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
    case.printed
}

fn empty_header() -> Vec<String> {
    let mut case = Case::strict();
    case.refused("/v1/models", &["x-api-key: "], "empty_header");
    case.refused("/v1/models", &["Authorization: Bearer "], "empty_header");
    case.printed
}

fn upstream_refused() -> Vec<String> {
    let origin = Origin::answering(|_, stream| {
        use std::io::Write;
        write!(stream, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    });
    let mut case = Case::with_origin(origin, "auth_mode: 'off'", "");
    let (code, reason) = case.doctor(&["-H", "Authorization: Bearer sk-proj-0123456789"]);
    assert_eq!((code, reason.as_str()), (Some(6), "upstream_refused"));
    assert_eq!(denials(&case).as_array().unwrap().len(), 0, "the gateway denied nothing");
    // Where the gateway asks for a key, the upstream's 401 is no answer to it, and none arrives.
    case.reconfigure(&format!("auth_mode: strict, api_key: {KEY}"), "");
    case.gateway.wait_for_generation(2);
    let (code, reason) = case.doctor(&["-H", &format!("x-api-key: {KEY}")]);
    assert_eq!((code, reason.as_str()), (Some(6), "upstream_refused"));
    case.printed
}

fn cors() -> Vec<String> {
    let mut case = Case::strict();
    let key = format!("x-api-key: {KEY}");
    let (code, reason) = case.doctor(&["-H", &key, "--origin", "https://app.example"]);
    assert_eq!((code, reason.as_str()), (Some(7), "cors"));
    assert_eq!(case.doctor(&["-H", &key]), (Some(0), "well".to_owned()));
    case.printed.truncate(1);
    case.printed
}

fn reload_rejected() -> Vec<String> {
    let mut case = Case::strict();
    case.reconfigure(&format!("auth_mode: strict, api_kei: {STRANGER}"), "");
    case.gateway.program().wait_for_log("the rejection", |line| line.contains("not reloaded"));
    let line = format!("x-api-key: {STRANGER}");
    let (status, id) = case.curl("/v1/models", &["-H", &line]);
    assert_eq!(status, 401);
    assert_eq!(case.recorded(&id), "reload_rejected");
    assert_eq!(case.doctor(&["-H", &line]), (Some(1), "reload_rejected".to_owned()));
    case.printed
}

/// As old clients of Gemini have it; here it counts for nothing.
fn key_in_query() -> Vec<String> {
    let mut case = Case::strict();
    case.refused(&format!("/v1beta/models?alt=json&key={KEY}"), &[], "key_in_query");
    assert!(case.origin.received().is_empty());
    case.printed
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
            assert!(!$case().is_empty());
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
