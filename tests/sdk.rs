//! The official Python SDKs against the gateway, with the origin behind it: they must work with a right key, and raise
//! their own authentication error, with our message, for a wrong one.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Gateway, KEY, RunningOrigin, run_to_end, sdk_python};

/// What a client prints that makes `call` with `key` through a strict gateway.
fn call(client: &str, key: &str, call: &str) -> String {
    let origin = RunningOrigin::start();
    let text = format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: strict, api_key: {KEY}}}\n\
         upstreams: {{origin: {{peers: ['{}']}}}}\nroutes: [{{path_prefix: /, upstream: origin}}]\n",
        origin.address
    );
    let gateway = Gateway::start(&text);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(client);
    let mut command = Command::new(sdk_python());
    command.arg(script).args([&format!("http://{}", gateway.address()), key, call]).stdin(Stdio::null());
    // Nothing of the caller's environment may take the place of what is given here.
    for name in [
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env_remove(name);
    }
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
