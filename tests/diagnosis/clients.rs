//! The causes with the clients that they happen with: the SDKs, with what they take from the environment, and a browser.
//!
//! `explain`, `doctor` and the record of the denial name the cause and no other; `doctor` finds the key by itself, where
//! the SDK would.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Case, STRANGER, denials};
use crate::support::{KEY, Origin, run_to_end, sdk_python, wait_for, without_sdk_variables};

/// One SDK: a program that lists the models, and the header that it sends a key in.
struct Sdk {
    script: &'static str,
    variable: &'static str,
    header: &'static str,
    path: &'static str,
}

const OPENAI: Sdk = Sdk {
    script: "openai_client.py",
    variable: "OPENAI_API_KEY",
    header: "Authorization: Bearer ",
    path: "/v1/models",
};
const ANTHROPIC: Sdk = Sdk {
    script: "anthropic_client.py",
    variable: "ANTHROPIC_API_KEY",
    header: "Authorization: Bearer ",
    path: "/v1/models",
};
const GOOGLE: Sdk = Sdk {
    script: "google_genai_client.py",
    variable: "GEMINI_API_KEY",
    header: "x-goog-api-key: ",
    path: "/v1beta/models",
};

impl Sdk {
    /// Calls the gateway with this key, which is refused for `reason`, as everybody says.
    fn refused(&self, case: &mut Case, key: &str, reason: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(self.script);
        let mut command = Command::new(sdk_python());
        command.arg(script).arg(format!("http://{}", case.gateway.address())).args([key, "models"]);
        let said = run(command);
        assert!(said.contains("Error 401 "), "{} with {key:?}: {said}", self.script);
        case.environment = vec![(self.variable, key.to_owned())];
        case.named(self.path, &[&format!("{}{key}", self.header)], reason);
    }
}

impl Case {
    /// Everybody names this cause of the last denial, which these header lines brought about.
    fn named(&mut self, path: &str, lines: &[&str], reason: &str) {
        let id = denials(self)[0]["request_id"].as_str().unwrap().to_owned();
        assert_eq!(self.recorded(&id), reason, "the record, {lines:?}");
        let headers: Vec<&str> = lines.iter().flat_map(|line| ["-H", *line]).collect();
        let asked = [&["--path", path], headers.as_slice()].concat();
        assert_eq!(self.explain_running(&asked), reason, "{lines:?}");
        if !matches!(reason, "retired_key" | "reload_rejected") {
            assert_eq!(self.explain(&asked), reason, "{lines:?}");
        }
        assert_eq!(self.doctor(&["--path", path]), (Some(1), reason.to_owned()), "doctor, {lines:?}");
    }
}

fn run(mut command: Command) -> String {
    without_sdk_variables(&mut command);
    command.stdin(Stdio::null());
    let output = run_to_end(command);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    format!("{}{errors}", String::from_utf8_lossy(&output.stdout))
}

#[test]
fn each_sdk_with_a_key_of_its_provider() {
    let mut case = Case::strict();
    OPENAI.refused(&mut case, "sk-proj-0123456789", "foreign_credential");
    ANTHROPIC.refused(&mut case, "sk-ant-api03-0123456789", "foreign_credential");
    GOOGLE.refused(&mut case, "AIzaSy0123456789", "foreign_credential");
}

#[test]
fn each_sdk_with_a_key_that_was_damaged_or_copied_wrongly() {
    let mut case = Case::strict();
    OPENAI.refused(&mut case, "$OPENAI_API_KEY", "mangled_key");
    OPENAI.refused(&mut case, &KEY[..30], "damaged_key");
    ANTHROPIC.refused(&mut case, &format!("\"{KEY}\""), "mangled_key");
    ANTHROPIC.refused(&mut case, &format!("{KEY}0"), "damaged_key");
    GOOGLE.refused(&mut case, "YOUR_API_KEY", "mangled_key");
    GOOGLE.refused(&mut case, &KEY.to_uppercase(), "damaged_key");
}

#[test]
fn an_sdk_and_a_gateway_without_a_key() {
    let mut case = Case::new("auth_mode: strict, api_key: ''", "");
    OPENAI.refused(&mut case, KEY, "no_key_configured");
}

#[test]
fn an_sdk_with_the_key_of_yesterday_and_with_one_whose_file_was_rejected() {
    let mut case = Case::strict();
    case.reconfigure(&format!("auth_mode: strict, api_key: {STRANGER}"), "");
    case.gateway.wait_for_generation(2);
    ANTHROPIC.refused(&mut case, KEY, "retired_key");
    case.reconfigure("auth_mode: strict, api_kei: sk-00000000000000000000000000000000", "");
    case.gateway.program().wait_for_log("the rejection", |line| line.contains("not reloaded"));
    GOOGLE.refused(&mut case, "sk-00000000000000000000000000000000", "reload_rejected");
}

/// An agent with two settings: the SDK's key in `Authorization`, another one beside it.
#[test]
fn anthropics_sdk_with_two_keys() {
    let mut case = Case::strict();
    let url = format!("http://{}", case.gateway.address());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(ANTHROPIC.script);
    let mut command = Command::new(sdk_python());
    command.arg(script).args([&url, STRANGER, "models", KEY]);
    let said = run(command);
    assert!(said.contains("Error 401 "), "{said}");
    case.environment =
        vec![("ANTHROPIC_API_KEY", KEY.to_owned()), ("ANTHROPIC_AUTH_TOKEN", STRANGER.to_owned())];
    let lines = [format!("Authorization: Bearer {STRANGER}"), format!("x-api-key: {KEY}")];
    case.named("/v1/models", &lines.each_ref().map(String::as_str), "other_header_decides");
}

#[test]
fn an_sdk_whose_upstream_refuses() {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    });
    let mut case = Case::with_origin(origin, "auth_mode: 'off'", "");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(OPENAI.script);
    let mut command = Command::new(sdk_python());
    let url = format!("http://{}", case.gateway.address());
    command.arg(script).args([&url, "sk-proj-0123456789", "models"]);
    assert!(run(command).contains("401"), "the SDK is refused");
    case.passes(&["-H", "Authorization: Bearer sk-proj-0123456789"], None);
    case.environment = vec![("OPENAI_API_KEY", "sk-proj-0123456789".to_owned())];
    assert_eq!(case.doctor(&[]), (Some(6), "upstream_refused".to_owned()));
    assert!(denials(&case).as_array().unwrap().is_empty(), "the gateway denied nothing");
}

/// Chromium, or a browser made of it; it ends with the test.
struct Browser(Child);

impl Browser {
    fn open(profile: &Path, url: &str) -> Self {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let started = names.iter().find_map(|name| {
            Command::new(name)
                .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server", "--no-first-run"])
                .arg(format!("--user-data-dir={}", profile.display()))
                .args(["--remote-debugging-port=0", url])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()
        });
        Self(started.unwrap_or_else(|| panic!("install one of {names:?}")))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `fetch` says on a page of another origin that calls the gateway.
fn fetched_by_a_page(case: &Case, site: &Origin) -> String {
    let profile = tempfile::TempDir::new().unwrap();
    let before = site.received().len();
    let _browser = Browser::open(profile.path(), &format!("http://{}/", site.address));
    wait_for("what the page says", || {
        let received = site.received();
        let said = received[before..].iter().find_map(|it| it.head.split_once("GET /said/"))?.1.to_owned();
        Some(said.split(' ').next().unwrap_or_default().replace("%20", " "))
    })
    .replace(&case.gateway.address().to_string(), "GATEWAY")
}

#[test]
fn a_page_in_a_browser() {
    let mut case = Case::strict();
    let url = format!("http://{}/v1/models", case.gateway.address());
    let page = format!(
        "<script>fetch('{url}', {{headers: {{'x-api-key': '{KEY}'}}}}).then(it => 'status ' + it.status, it => \
         it.message).then(it => fetch('/said/' + encodeURIComponent(it)))</script>"
    );
    let site = Origin::answering(move |_, stream| {
        let length = page.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{page}")
    });
    let origin = format!("http://{}", site.address);
    assert_eq!(fetched_by_a_page(&case, &site), "Failed to fetch");
    assert!(denials(&case).as_array().unwrap().is_empty(), "the gateway denied nothing");
    let key = format!("x-api-key: {KEY}");
    assert_eq!(case.doctor(&["-H", &key, "--origin", &origin]), (Some(7), "cors".to_owned()));
    let from_page = format!("Origin: {origin}");
    case.passes(&["-H", &key, "-H", &from_page], Some("cors"));
    case.reconfigure(&format!("auth_mode: strict, api_key: {KEY}, cors: {{origins: ['{origin}']}}"), "");
    case.gateway.wait_for_generation(2);
    assert_eq!(fetched_by_a_page(&case, &site), "status 200");
    assert_eq!(case.doctor(&["-H", &key, "--origin", &origin]), (Some(0), "well".to_owned()));
    case.passes(&["-H", &key, "-H", &from_page], None);
    case.passes(&["-H", &key, "-H", "Origin: https://other.example"], Some("cors"));
}
