//! `keygate doctor` where no gateway answers, and what it keeps to itself.

use std::io::Write;
use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::support::{
    Authority, Gateway, KEY, Origin, ReceivedRequest, config, keygate, replace, run_to_end, sdk_python,
    without_sdk_variables,
};

const PROVIDERS_KEY: &str = "sk-proj-of-a-provider-0123456789";

/// Exit status and report.
pub(crate) fn doctor(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, Value) {
    let directory = tempfile::TempDir::new().unwrap();
    let mut command = keygate(["doctor", "--json"]);
    without_sdk_variables(&mut command);
    command.args(arguments).envs(environment.iter().copied()).current_dir(directory.path());
    let output = run_to_end(command);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains("0123456789"), "a key is printed: {said}");
    (output.status.code(), serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}")))
}

fn verdict(arguments: &[&str]) -> (Option<i32>, String) {
    let (code, report) = doctor(arguments, &[]);
    (code, report["verdict"]["cause"].as_str().unwrap().to_owned())
}

/// What answers the health check as the gateway does, and takes every key.
pub(crate) fn like_keygate() -> Origin {
    Origin::answering(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nAllow: GET, HEAD, OPTIONS\r\nContent-Length: 3\r\n\r\nok\n")
    })
}

#[test]
fn a_port_where_nobody_listens_is_told_from_one_that_is_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // The kernel takes the connection, and nobody ever reads from it.
    assert_eq!(verdict(&[&url]), (Some(3), "there is no answer in time".to_owned()));
    drop(listener);
    assert_eq!(verdict(&[&url]), (Some(3), "the connection is refused: nobody listens there".to_owned()));
}

#[test]
fn tls_that_is_not_trusted_and_tls_at_the_wrong_place_are_told() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let directory = tempfile::TempDir::new().unwrap();
    authority.write(directory.path(), "a", &["localhost", "127.0.0.1"]);
    let tls = "proxy:\n  tls:\n    certificates:\n      - {cert: a.pem, key: a.key}\n";
    let file = directory.path().join("keygate.yaml");
    replace(&file, &config("strict", &origin).replacen("proxy:\n", tls, 1));
    let gateway = Gateway::run(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]), directory);
    let address = gateway.address();
    let failed = (Some(4), "the TLS handshake fails".to_owned());
    assert_eq!(verdict(&[&format!("https://{address}"), "--key", KEY]), failed, "nobody trusts it");
    let (code, cause) = verdict(&[&format!("http://{address}"), "--key", KEY]);
    assert_eq!((code, cause.as_str()), (Some(3), "what answers there is no HTTP, or breaks off"));
    let plain = Gateway::start(&config("strict", &origin));
    assert_eq!(verdict(&[&format!("https://{}", plain.address()), "--key", KEY]), failed, "it speaks none");
    assert!(origin.received().is_empty());
}

#[test]
fn another_server_is_told_from_keygate_and_gets_no_key() {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nServer: nginx/1.27\r\nContent-Length: 0\r\n\r\n")
    });
    let url = format!("http://{}", origin.address);
    let (code, report) = doctor(
        &[&url, "--key", PROVIDERS_KEY],
        &[("OPENAI_API_KEY", PROVIDERS_KEY), ("OPENAI_BASE_URL", &url)],
    );
    assert_eq!((code, &report["verdict"]["reason"]), (Some(5), &Value::from("not_keygate")));
    assert!(report["verdict"]["cause"].as_str().unwrap().contains("`nginx/1.27`"), "{report}");
    assert!(!origin.only_request().head.contains(PROVIDERS_KEY), "the health check alone was asked");
}

#[test]
fn keys_of_the_environment_go_where_the_sdk_would_send_them_and_elsewhere_when_asked() {
    let origin = like_keygate();
    let port = origin.address.port();
    // Not an address of loopback, though Linux takes it for one.
    let elsewhere = format!("http://0.0.0.0:{port}");
    let here = format!("http://127.0.0.1:{port}");
    let base_url = format!("{elsewhere}/v1");
    let key = ("OPENAI_API_KEY", PROVIDERS_KEY);
    let mut seen = 0;
    let mut was_sent = |arguments: &[&str], environment: &[(&str, &str)]| {
        let (code, report) = doctor(arguments, environment);
        assert_eq!(code, Some(0), "{report}");
        let received = origin.received();
        let sent = received[seen..].iter().any(|request| request.head.contains(PROVIDERS_KEY));
        assert!(received.len() > seen, "the gateway was called");
        seen = received.len();
        let kept_back = report["notes"].to_string().contains("OPENAI_API_KEY is set and was not sent");
        assert_ne!(sent, kept_back, "{report}");
        sent
    };
    assert!(!was_sent(&[&elsewhere], &[key]));
    assert!(!was_sent(&[&elsewhere], &[key, ("OPENAI_BASE_URL", "https://api.example/v1")]));
    assert!(!was_sent(&[&elsewhere], &[key, ("ANTHROPIC_BASE_URL", &base_url)]), "it is another SDK's");
    assert!(was_sent(&[&elsewhere], &[key, ("OPENAI_BASE_URL", &base_url)]));
    assert!(was_sent(&[&elsewhere, "--send-environment"], &[key]));
    assert!(was_sent(&[&here], &[key]));
}

/// Variables and their values.
type Environment = &'static [(&'static str, &'static str)];

/// An SDK, how `doctor` names it, and environments in which the two are compared.
struct Sdk {
    list_models: &'static str,
    named: &'static str,
    address: &'static str,
    environments: &'static [Environment],
}

const OPENAI: Sdk = Sdk {
    list_models: "import openai; openai.OpenAI(max_retries=0).models.list()",
    named: "as OpenAI's SDK does",
    address: "OPENAI_BASE_URL",
    environments: &[
        &[("OPENAI_API_KEY", "sk-proj-a0123456789")],
        &[("OPENAI_API_KEY", "")],
        &[("OPENAI_API_KEY", "sk-proj-a0123456789\n")],
        &[
            ("OPENAI_API_KEY", "sk-a0123456789"),
            ("OPENAI_CUSTOM_HEADERS", "x-api-key: b0123456789\nx-other: c"),
        ],
    ],
};
const ANTHROPIC: Sdk = Sdk {
    list_models: "import anthropic; anthropic.Anthropic(max_retries=0).models.list()",
    named: "as Anthropic's SDK does",
    address: "ANTHROPIC_BASE_URL",
    environments: &[
        &[("ANTHROPIC_API_KEY", "sk-ant-a0123456789")],
        &[("ANTHROPIC_AUTH_TOKEN", "b0123456789")],
        &[("ANTHROPIC_API_KEY", "sk-ant-a0123456789"), ("ANTHROPIC_AUTH_TOKEN", "b0123456789")],
        &[("ANTHROPIC_API_KEY", ""), ("ANTHROPIC_AUTH_TOKEN", "b0123456789")],
        &[("ANTHROPIC_API_KEY", ""), ("ANTHROPIC_AUTH_TOKEN", "")],
        &[("ANTHROPIC_API_KEY", "a0123456789"), ("ANTHROPIC_CUSTOM_HEADERS", "X-Api-Key: b0123456789")],
    ],
};
const GOOGLE: Sdk = Sdk {
    list_models: "from google import genai; client = genai.Client(); client.models.list()",
    named: "as Google's SDK does",
    address: "GOOGLE_GEMINI_BASE_URL",
    environments: &[
        &[("GEMINI_API_KEY", "AIza-a0123456789")],
        &[("GOOGLE_API_KEY", "AIza-b0123456789")],
        &[("GEMINI_API_KEY", "AIza-a0123456789"), ("GOOGLE_API_KEY", "AIza-b0123456789")],
        &[("GEMINI_API_KEY", "AIza-a0123456789"), ("GOOGLE_API_KEY", "")],
        &[("GEMINI_API_KEY", "")],
    ],
};

/// Lists models in each environment, each time at a path of its own; the SDK may like the answer or not.
const IN_EACH: &str = "
import json, os, sys
program, address, url, *environments = sys.argv[1:]
for number, environment in enumerate(environments):
    variables = {**dict(json.loads(environment)), address: f'{url}/{number}'}
    os.environ.update(variables)
    try:
        exec(program)
    except Exception as error:
        print(number, repr(error), file=sys.stderr)
    for name in variables:
        del os.environ[name]
";

/// The credential headers of a request.
fn credentials(request: &ReceivedRequest) -> [Option<String>; 3] {
    ["authorization", "x-api-key", "x-goog-api-key"].map(|name| request.header(name).map(str::to_owned))
}

/// Those that the installed SDK sends in each of its environments, where it sends anything.
fn sent_by(sdk: &Sdk) -> Vec<Option<[Option<String>; 3]>> {
    let origin = like_keygate();
    let mut python = Command::new(sdk_python());
    without_sdk_variables(&mut python);
    python.args(["-c", IN_EACH, sdk.list_models, sdk.address, &format!("http://{}", origin.address)]);
    python.args(sdk.environments.iter().map(|variables| serde_json::to_string(variables).unwrap()));
    let output = run_to_end(python);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let received = origin.received();
    let sent_in = |number: usize| {
        let path = format!("GET /{number}/");
        received.iter().find(|request| request.head.starts_with(&path)).map(credentials)
    };
    (0..sdk.environments.len()).map(sent_in).collect()
}

#[test]
fn what_is_sent_for_an_sdk_is_what_the_sdk_sends() {
    let mut compared = 0;
    for sdk in [OPENAI, ANTHROPIC, GOOGLE] {
        for (environment, sent) in sdk.environments.iter().zip(sent_by(&sdk)) {
            let origin = like_keygate();
            let (_, report) = doctor(&[&format!("http://{}", origin.address)], environment);
            let calls = report["steps"].as_array().unwrap();
            let at = calls.iter().position(|call| call["what"].as_str().unwrap().starts_with(sdk.named));
            let said = at.map(|at| credentials(&origin.received()[at]));
            assert_eq!(said, sent, "{environment:?}: {report}");
            if said.is_some() {
                compared += 1;
            } else {
                let told = format!("{}{}", report["notes"], report["verdict"]["cause"]);
                assert!(told.contains(environment[0].0), "{environment:?}: {report}");
            }
        }
    }
    assert!(compared >= 10, "a sweep must have swept something: {compared}");
}

#[test]
fn a_client_that_sends_both_of_anthropics_variables_is_tried_too() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    let url = format!("http://{}", gateway.address());
    let both = [("ANTHROPIC_API_KEY", KEY), ("ANTHROPIC_AUTH_TOKEN", PROVIDERS_KEY)];
    let (code, report) = doctor(&[&url], &both);
    let results: Vec<(&str, &str)> = report["steps"].as_array().unwrap()[2..]
        .iter()
        .map(|step| (step["what"].as_str().unwrap(), step["result"].as_str().unwrap()))
        .collect();
    assert_eq!(
        results,
        [
            ("as Anthropic's SDK does with ANTHROPIC_API_KEY", "200"),
            (
                "as Claude Code and Anthropic's SDK before 2 do with ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN",
                "401 credential_invalid, from the gateway"
            ),
        ]
    );
    assert_eq!(
        (code, report["verdict"]["reason"].as_str()),
        (Some(1), Some("foreign_credential")),
        "{report}"
    );
}

#[test]
fn a_key_that_no_header_can_hold_is_told_of_wherever_it_comes_from() {
    let origin = like_keygate();
    let url = format!("http://{}", origin.address);
    let key = format!("{KEY}\n");
    for (arguments, environment, from) in [
        (&[url.as_str(), "--key", &key][..], &[][..], "--key"),
        (&[&url], &[("GEMINI_API_KEY", key.as_str())], "GEMINI_API_KEY"),
    ] {
        let (code, report) = doctor(arguments, environment);
        assert_eq!((code, &report["verdict"]["reason"]), (Some(1), &Value::from("mangled_key")), "{report}");
        let cause = format!("`{from}` holds a line break, or another character that no header can hold");
        assert!(report["verdict"]["cause"].as_str().unwrap().starts_with(&cause), "{report}");
    }
    assert!(!origin.received().iter().any(|request| request.head.contains(KEY)));
}
