//! `keygate doctor` where no gateway answers, and what it keeps to itself.

use std::io::Write;
use std::net::TcpListener;

use serde_json::Value;

use crate::support::{
    Authority, Gateway, KEY, Origin, config, keygate, replace, run_to_end, without_sdk_variables,
};

const PROVIDERS_KEY: &str = "sk-proj-of-a-provider-0123456789";

/// Exit status and report.
fn doctor(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, Value) {
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
fn like_keygate() -> Origin {
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
