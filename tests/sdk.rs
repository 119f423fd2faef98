//! The official Python SDKs against the gateway, with the origin behind it: they must work with a right key, and raise
//! their own authentication error, with our message, for a wrong one.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::readme::fences;
use crate::support::{Authority, Gateway, KEY, RunningOrigin, run_to_end, sdk_python, without_sdk_variables};

/// What a client prints that makes `call` with `key` through a strict gateway.
fn call(client: &str, key: &str, call: &str) -> String {
    call_with(client, &[key, call])
}

/// The same with any arguments behind the address.
fn call_with(client: &str, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(client);
    through_a_gateway(|address, python| {
        python.arg(script).arg(format!("http://{address}")).args(arguments);
    })
}

/// The same over TLS, with a certificate of an authority that only this program trusts.
fn call_over_tls(client: &str, key: &str, call: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(client);
    let (authority, directory) = (Authority::new(), TempDir::new().unwrap());
    authority.write(directory.path(), "a", &["127.0.0.1"]);
    let file = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(file("ca.pem"), authority.pem()).unwrap();
    let tls = format!(", tls: {{certificates: [{{cert: {}, key: {}}}]}}", file("a.pem"), file("a.key"));
    through_a_gateway_with(&tls, |address, python| {
        python.arg(script).arg(format!("https://{address}")).args([key, call]);
        python.env("SSL_CERT_FILE", file("ca.pem"));
    })
}

/// What a Python program prints that finds a strict gateway, with the origin behind it, at an address.
fn through_a_gateway(prepare: impl FnOnce(SocketAddr, &mut Command)) -> String {
    through_a_gateway_with("", prepare)
}

/// The same with more in `proxy`.
fn through_a_gateway_with(proxy: &str, prepare: impl FnOnce(SocketAddr, &mut Command)) -> String {
    let origin = RunningOrigin::start();
    let text = format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: strict, api_key: {KEY}{proxy}}}\n\
         upstreams: {{origin: {{peers: ['{}']}}}}\nroutes: [{{path_prefix: /, upstream: origin}}]\n",
        origin.address
    );
    let gateway = Gateway::start(&text);
    let mut command = Command::new(sdk_python());
    command.stdin(Stdio::null());
    without_sdk_variables(&mut command);
    prepare(gateway.address(), &mut command);
    let output = run_to_end(command);
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

const TEXT: &str = "Hello from the mock origin.";
const STREAMED: &str = "Hello Hello Hello Hello Hello";
const WRONG: &str = "sk-00000000000000000000000000000000";

#[test]
fn openai_sdk_lists_models() {
    assert_eq!(call("openai_client.py", KEY, "models"), "gpt-mock");
}

#[test]
fn openai_sdk_sends_a_message() {
    assert_eq!(call("openai_client.py", KEY, "message"), TEXT);
}

#[test]
fn openai_sdk_streams_a_message() {
    assert_eq!(call("openai_client.py", KEY, "stream"), STREAMED);
}

#[test]
fn openai_sdk_gets_a_response_whole_and_streamed() {
    assert_eq!(call("openai_client.py", KEY, "response"), TEXT);
    assert_eq!(call("openai_client.py", KEY, "response_stream"), STREAMED);
}

#[test]
fn openai_sdk_raises_its_own_error_for_a_wrong_key() {
    for kind in ["models", "message", "stream"] {
        let said = call("openai_client.py", WRONG, kind);
        assert!(said.starts_with("AuthenticationError 401 invalid_api_key: "), "{said}");
        assert!(said.contains("the `Authorization` header decided, and its value matches no key"), "{said}");
    }
}

#[test]
fn anthropic_sdk_lists_models() {
    assert_eq!(call("anthropic_client.py", KEY, "models"), "claude-mock");
}

#[test]
fn anthropic_sdk_sends_a_message() {
    assert_eq!(call("anthropic_client.py", KEY, "message"), TEXT);
}

#[test]
fn anthropic_sdk_streams_a_message() {
    assert_eq!(call("anthropic_client.py", KEY, "stream"), STREAMED);
}

#[test]
fn anthropic_sdk_raises_its_own_error_for_a_wrong_key() {
    for kind in ["models", "message", "stream"] {
        let said = call("anthropic_client.py", WRONG, kind);
        assert!(said.starts_with("AuthenticationError 401 authentication_error: "), "{said}");
        // Version 2 of the SDK sends the key as OpenAI's does; before, it was `x-api-key`.
        assert!(said.contains("the `Authorization` header decided, and its value matches no key"), "{said}");
    }
}

#[test]
fn anthropic_sdk_with_two_headers_is_told_which_one_decided() {
    let said = call_with("anthropic_client.py", &[WRONG, "message", KEY]);
    assert!(said.starts_with("AuthenticationError 401 authentication_error: "), "{said}");
    assert!(said.contains("the `Authorization` header decided"), "{said}");
    assert!(said.contains("Also present, and ignored: `x-api-key`"), "{said}");
    assert_eq!(call_with("anthropic_client.py", &[KEY, "message", WRONG]), TEXT);
}

#[test]
fn google_genai_sdk_lists_models() {
    assert_eq!(call("google_genai_client.py", KEY, "models"), "models/gemini-mock");
}

#[test]
fn google_genai_sdk_sends_a_message() {
    assert_eq!(call("google_genai_client.py", KEY, "message"), TEXT);
}

#[test]
fn google_genai_sdk_streams_a_message() {
    assert_eq!(call("google_genai_client.py", KEY, "stream"), STREAMED);
}

#[test]
fn google_genai_sdk_raises_its_own_error_for_a_wrong_key() {
    for kind in ["models", "message", "stream"] {
        let said = call("google_genai_client.py", WRONG, kind);
        assert!(said.starts_with("ClientError 401 UNAUTHENTICATED: "), "{said}");
        assert!(said.contains("the `x-goog-api-key` header decided, and its value matches no key"), "{said}");
    }
}

#[test]
fn each_sdk_streams_over_tls() {
    for (client, call, wrong) in [
        ("openai_client.py", "stream", "AuthenticationError 401 invalid_api_key: "),
        ("anthropic_client.py", "stream", "AuthenticationError 401 authentication_error: "),
        ("google_genai_client.py", "stream", "ClientError 401 UNAUTHENTICATED: "),
    ] {
        assert_eq!(call_over_tls(client, KEY, call), STREAMED, "{client} {call}");
        let said = call_over_tls(client, WRONG, call);
        assert!(said.starts_with(wrong), "{client} {call}: {said}");
    }
    assert_eq!(call_over_tls("openai_client.py", KEY, "response_stream"), STREAMED);
}

#[test]
fn each_program_of_the_page_on_clients_prints_what_it_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clients.md");
    let fences = fences(&std::fs::read_to_string(page).unwrap());
    let programs: Vec<_> = fences.windows(2).filter(|pair| pair[0].0 == "python run").collect();
    assert_eq!(programs.len(), 3, "one an SDK");
    for pair in programs {
        let [(_, program), (kind, expected)] = pair else { unreachable!("windows of two") };
        assert_eq!(kind, "text", "{program}");
        let said = through_a_gateway(|address, python| {
            let program = program.replace("127.0.0.1:8045", &address.to_string());
            python.args(["-c", &program]).env("KEYGATE_KEY", KEY);
        });
        assert_eq!(&said, expected, "{program}");
    }
}

#[test]
fn each_sdk_takes_the_address_and_the_key_from_the_variables_of_the_page() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clients.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (sdk, program) in [
        ("openai", "import openai; print(openai.OpenAI().models.list().data[0].id)"),
        ("anthropic", "import anthropic; print(anthropic.Anthropic().models.list().data[0].id)"),
        (
            "google-genai",
            "from google import genai; client = genai.Client(); print(client.models.list()[0].name)",
        ),
    ] {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{sdk}` |"))).unwrap();
        let variables: Vec<(&str, &str)> = row.split('`').filter_map(|cell| cell.split_once('=')).collect();
        assert_eq!(variables.len(), 2, "{row}");
        let said = through_a_gateway(|address, python| {
            let address = address.to_string();
            for (name, value) in variables {
                python.env(name, value.replace("127.0.0.1:8045", &address).replace("KEY", KEY));
            }
            python.args(["-c", program]);
        });
        assert!(said.contains("-mock"), "{sdk}: {said}");
    }
}
