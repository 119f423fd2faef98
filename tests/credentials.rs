//! What the gateway tells an upstream: its own credential in place of the caller's, and who the caller is.

use std::io::Write;

use crate::support::{Gateway, KEY, Origin, ReceivedRequest, config};

/// A config in `mode` whose upstream has these further fields.
fn with(mode: &str, origin: &Origin, fields: &str) -> String {
    config(mode, origin).replace("upstreams:\n  origin:\n", &format!("upstreams:\n  origin:\n    {fields}\n"))
}

fn exchange(gateway: &Gateway, lines: &str) -> crate::support::Response {
    gateway.exchange(format!("{lines}\r\n\r\n"))
}

fn forwarded(mode: &str, fields: &str, lines: &str) -> ReceivedRequest {
    let origin = Origin::start();
    let gateway = Gateway::start(&with(mode, &origin, fields));
    assert_eq!(exchange(&gateway, lines).status, 200, "{lines}");
    origin.only_request()
}

#[test]
fn the_gateway_s_credential_takes_the_place_of_the_caller_s() {
    for (fields, name, value) in [
        ("credential: {header: authorization, value: sk-provider}", "authorization", "Bearer sk-provider"),
        ("credential: {header: Authorization, value: 'Basic eDp5'}", "authorization", "Basic eDp5"),
        ("credential: {header: x-api-key, value: sk-ant-provider}", "x-api-key", "sk-ant-provider"),
        ("credential: {header: x-goog-api-key, value: AIza}", "x-goog-api-key", "AIza"),
        ("credential: {header: api-key, value: azure}", "api-key", "azure"),
        ("credential: {header: api_key, value: odd}", "api_key", "odd"),
    ] {
        let lines = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nx-api-key: b\r\nx-goog-api-key: c\r\napi-key: d\r\napi_key: e\r\nConnection: api-key, x-api-key"
        );
        let received = forwarded("strict", fields, &lines);
        assert_eq!(received.header(name), Some(value), "{}", received.head);
        let credentials = ["authorization", "x-api-key", "x-goog-api-key"];
        let others = credentials.iter().filter(|other| **other != name);
        assert_eq!(others.filter_map(|other| received.header(other)).count(), 0, "{}", received.head);
        assert!(!received.head.contains(KEY));
        if name.starts_with("api") {
            let is_it = |line: &&str| line.to_lowercase().replace('_', "-").starts_with("api-key:");
            assert_eq!(
                received.head.lines().filter(is_it).count(),
                1,
                "no alias beside it: {}",
                received.head
            );
        }
    }
}

#[test]
fn in_mode_off_the_caller_s_credential_is_replaced_too() {
    let lines = "GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: theirs\r\nAuthorization: Bearer theirs";
    let received = forwarded("'off'", "credential: {header: x-api-key, value: ours}", lines);
    assert_eq!((received.header("x-api-key"), received.header("authorization")), (Some("ours"), None));
}

#[test]
fn an_options_goes_without() {
    let fields = "credential: {header: api-key, value: azure}";
    // One with content passes by its key alone; what it is does not change by that.
    let key = format!("x-api-key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0");
    for (mode, more) in [("strict", "x-api-key: y"), ("'off'", "x-api-key: y"), ("strict", &key)] {
        let lines = format!(
            "OPTIONS /v1/models HTTP/1.1\r\nHost: localhost\r\nOrigin: https://a.example\r\napi-key: x\r\n{more}"
        );
        let received = forwarded(mode, fields, &lines);
        assert!(!received.head.contains("azure"), "{}", received.head);
        assert_eq!((received.header("api-key"), received.header("x-api-key")), (None, None));
    }
}

#[test]
fn an_upstream_that_refuses_it_is_a_502_and_never_the_caller_s_401() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let origin = Origin::answering(move |_, stream| {
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 6\r\nWWW-Authenticate: Bearer\r\n\r\ndenied")
        });
        let fields = "credential: {header: authorization, value: sk-provider-secret}";
        let gateway = Gateway::start(&with("strict", &origin, fields));
        let lines = format!("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}");
        let response = exchange(&gateway, &lines);
        assert_eq!((response.status, response.error_code()), (502, Some("upstream_credential_rejected")));
        assert_eq!(response.header("www-authenticate"), None);
        gateway.program().wait_for_log("the reason", |line| {
            line.contains("upstream `origin` refused the gateway's credential: status=40")
        });
        assert!(!gateway.program().log().join("\n").contains("sk-provider-secret"));
        assert_eq!(origin.received().len(), 1, "it is not tried again");
    }
}

#[test]
fn an_upstream_s_401_reaches_a_caller_only_where_its_own_credential_reached_the_upstream() {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\nWWW-Authenticate: Bearer\r\n\r\ndenied",
        )
    });
    let key = format!("x-api-key: {KEY}");
    for (mode, line, passes) in [
        ("'off'", "x-api-key: theirs", true),
        ("'off'", "accept: */*", true),
        // A key of the gateway's stays here in every mode, and so does what was asked for.
        ("'off'", key.as_str(), false),
        ("strict", key.as_str(), false),
        ("all_except_health", key.as_str(), false),
    ] {
        let gateway = Gateway::start(&config(mode, &origin));
        let response = exchange(&gateway, &format!("GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{line}"));
        let expected = if passes { (401, None) } else { (502, Some("upstream_credential_missing")) };
        assert_eq!((response.status, response.error_code()), expected, "{mode} {line}");
        assert_eq!(response.header("www-authenticate").is_some(), passes, "{mode} {line}");
        if !passes {
            gateway.program().wait_for_log("the reason", |line| {
                line.contains("upstream `origin` wants a `credential`, and has none set: status=401 id=")
            });
        }
    }
}

#[test]
fn an_upstream_s_403_is_its_own_word_unless_it_refuses_our_credential() {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\ndenied")
    });
    let gateway = Gateway::start(&config("strict", &origin));
    let response = exchange(&gateway, &format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}"));
    assert_eq!((response.status, response.error_code()), (403, None));
}

#[test]
fn a_credential_in_a_file_is_read_again_when_it_changes() {
    let origin = Origin::start();
    let fields = "credential: {header: x-api-key, value: 'file:provider'}";
    let gateway = Gateway::start_with(&with("strict", &origin, fields), |command| {
        std::fs::write(command.get_current_dir().unwrap().join("provider"), "one\n").unwrap();
    });
    let lines = format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}");
    exchange(&gateway, &lines);
    crate::support::replace(&gateway.directory.path().join("provider"), "two\n");
    gateway.wait_for_generation(2);
    exchange(&gateway, &lines);
    let sent: Vec<_> =
        origin.received().iter().map(|it| it.header("x-api-key").unwrap().to_owned()).collect();
    assert_eq!(sent, ["one", "two"]);
}

#[test]
fn a_credential_that_cannot_be_sent_is_refused_and_not_repeated() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("keygate.yaml");
    for (credential, message) in [
        ("{header: host, value: sk-secret}", "`host` cannot be the field of a credential"),
        ("{header: 'a b', value: sk-secret}", "`a b` cannot be the field of a credential"),
        ("{header: x-keygate-key, value: sk-secret}", "cannot be the field of a credential"),
        ("{header: x-api-key, value: ''}", "the credential is empty"),
        ("{header: x-api-key, value: \"sk-secret\\n\"}", "a character outside visible ASCII"),
        ("{header: x-api-key, valu: sk-secret}", "unknown field `valu`"),
    ] {
        let text =
            format!("upstreams: {{a: {{peers: ['127.0.0.1:1'], credential: {credential}}}}}\nroutes: []\n");
        std::fs::write(&file, text).unwrap();
        let check = crate::support::keygate(["check".as_ref(), "-c".as_ref(), file.as_os_str()]);
        let output = crate::support::run_to_end(check);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(message), "{credential}: {text}");
        assert!(!text.contains("sk-secret"), "{text}");
    }
}

#[test]
fn the_upstream_is_told_who_the_caller_is_and_no_client_can_say_otherwise() {
    let digest = keygate::policy::Digest::of(b"sk-a").to_string();
    let keys = format!("keys: [{{name: 'alice b', digest: '{digest}', labels: {{team: red, cost: '7'}}}}]\n");
    let told = |fields: &str| {
        let origin = Origin::start();
        let gateway = Gateway::start(&format!("{}{keys}", with("strict", &origin, fields)));
        let lines = "GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: sk-a\r\nx-keygate-key: mallory\r\nX_Keygate_Key: mallory\r\n\
                     x-keygate-label-team: blue\r\nConnection: x-keygate-key, x-keygate-label-team";
        assert_eq!(exchange(&gateway, lines).status, 200);
        let received = origin.only_request();
        assert!(!received.head.contains("mallory") && !received.head.contains("blue"), "{}", received.head);
        let own = received.head.lines().filter(|line| line.to_ascii_lowercase().starts_with("x-keygate-"));
        own.map(str::to_lowercase).collect::<Vec<_>>()
    };
    assert_eq!(
        told("forward_labels: [team, absent]"),
        ["x-keygate-key: alice b", "x-keygate-label-team: red"]
    );
    assert_eq!(told("forward_key_name: false"), Vec::<String>::new());
    // Nobody is behind a request that needed no key.
    let received = forwarded(
        "'off'",
        "forward_key_name: true",
        "GET / HTTP/1.1\r\nHost: localhost\r\nx-keygate-key: mallory",
    );
    assert_eq!(received.header("x-keygate-key"), None);
}
