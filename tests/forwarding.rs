//! What reaches the upstream, and what comes back: byte for byte.

use std::io::Write;

use crate::support::{Gateway, KEY, Origin, ReceivedRequest, config};

/// What the origin received for this request.
fn forwarded(mode: &str, request: impl AsRef<[u8]>) -> ReceivedRequest {
    let origin = Origin::start();
    let gateway = Gateway::start(&config(mode, &origin));
    let response = gateway.exchange(request);
    assert_eq!(response.status, 200, "{}", response.head);
    origin.only_request()
}

#[test]
fn a_request_arrives_as_it_was_but_for_what_the_contract_changes() {
    let body = "{\"model\": \"gpt\",\n  \"messages\": []}\u{0}\u{fe}";
    let request = format!(
        "POST /v1/chat/completions?stream=1&x=%20y HTTP/1.1\r\nHost: Api.Example:8045\r\nX-Custom: a  b\r\n\
         authorization: Bearer {KEY}\r\nX-Api-Key: other\r\nx-goog-api-key: third\r\naccept: */*\r\n\
         Content-Type: application/json\r\nx-request-id: my-id\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let received = forwarded("strict", request);
    let mut lines: Vec<&str> = received.head.split("\r\n").collect();
    assert_eq!(lines.remove(0), "POST /v1/chat/completions?stream=1&x=%20y HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "",
            "",
            &format!("Content-Length: {}", body.len()),
            "Content-Type: application/json",
            "Host: Api.Example:8045",
            "X-Custom: a  b",
            "accept: */*",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: Api.Example:8045",
            "x-forwarded-proto: http",
            "x-keygate-key: api_key",
            "x-request-id: my-id",
        ]
    );
    assert_eq!(received.body, body.as_bytes());
}

#[test]
fn chunked_bodies_pass_and_so_do_bytes_of_any_kind() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let request = [head.as_bytes(), b"100\r\n", &every_byte, b"\r\n0\r\n\r\n"].concat();
    let received = forwarded("strict", request);
    assert_eq!(received.header("transfer-encoding"), Some("chunked"));
    assert_eq!(received.body, [b"100\r\n", &every_byte[..], b"\r\n0\r\n\r\n"].concat());
}

#[test]
fn the_caller_s_credential_stays_in_the_gateway() {
    for mode in ["strict", "all_except_health"] {
        for line in [
            format!("Authorization: Bearer {KEY}\r\nx-api-key: a\r\nx-goog-api-key: b\r\n"),
            format!("x-api-key: {KEY}\r\nx-goog-api-key: b\r\nx-goog-api-key: c\r\n"),
            format!("x-goog-api-key: {KEY}\r\n"),
        ] {
            let received = forwarded(mode, format!("GET / HTTP/1.1\r\nHost: localhost\r\n{line}\r\n"));
            for name in ["authorization", "x-api-key", "x-goog-api-key"] {
                assert_eq!(received.header(name), None, "{}", received.head);
            }
            assert!(!received.head.contains(KEY));
        }
    }
}

#[test]
fn in_mode_off_the_caller_s_own_credential_passes_but_never_a_key_of_the_gateway() {
    let received = forwarded(
        "off",
        format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-theirs\r\nx-api-key: {KEY}\r\nx-goog-api-key: g\r\n\r\n"
        ),
    );
    assert_eq!(received.header("authorization"), Some("Bearer sk-theirs"));
    assert_eq!(received.header("x-api-key"), None);
    assert_eq!(received.header("x-goog-api-key"), Some("g"));
    for line in [
        format!("Authorization: Bearer {KEY}"),
        format!("Authorization: {KEY}"),
        format!("x-goog-api-key: {KEY}\r\nx-goog-api-key: theirs"),
    ] {
        let received = forwarded("off", format!("GET / HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n"));
        assert!(!received.head.contains(KEY), "{}", received.head);
    }
}

#[test]
fn a_preflight_carries_no_credential_and_opens_no_tunnel() {
    for mode in ["strict", "all_except_health"] {
        let received = forwarded(
            mode,
            format!(
                "OPTIONS /v1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nx-api-key: a\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nOrigin: https://a.example\r\n\r\n"
            ),
        );
        for name in ["authorization", "x-api-key", "upgrade", "connection"] {
            assert_eq!(received.header(name), None, "{}", received.head);
        }
        assert_eq!(received.header("origin"), Some("https://a.example"));
    }
}

#[test]
fn an_options_with_a_key_and_content_opens_no_tunnel_either() {
    let received = forwarded(
        "strict",
        format!(
            "OPTIONS /v1 HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nContent-Length: 5\r\n\r\nhello"
        ),
    );
    assert_eq!((received.header("upgrade"), received.header("connection")), (None, None));
}

#[test]
fn a_client_of_http10_gets_no_chunks_and_its_missing_host_is_made_up_for() {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    });
    let gateway = Gateway::start(&config("strict", &origin));
    let mut client = gateway.connect();
    client.send(format!("GET /v1/models HTTP/1.0\r\nConnection: keep-alive\r\nx-api-key: {KEY}\r\n\r\n"));
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.") && head.contains(" 200 OK"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
    assert_eq!(client.read_to_end(), b"hello");
    assert_eq!(origin.only_request().header("host"), Some(origin.address.to_string().as_str()));
}

#[test]
fn aliases_and_the_gateway_s_own_family_are_removed() {
    let received = forwarded(
        "strict",
        format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\nx_api_key: a\r\nX-API_KEY: b\r\nx_goog_api_key: c\r\n\
             x-keygate-error: d\r\nX-Keygate-Key: e\r\nx_keygate_key: f\r\nx_forwarded_for: g\r\nx_request_id: h\r\n\
             my_field: stays\r\n\r\n"
        ),
    );
    let names: Vec<&str> =
        received.head.lines().skip(1).filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [
            "Host",
            "my_field",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-keygate-key",
            "x-request-id"
        ]
    );
    assert_eq!(received.header("x-keygate-key"), Some("api_key"), "the gateway's own word");
}

#[test]
fn what_the_gateway_adds_cannot_be_stripped_or_forged() {
    let received = forwarded(
        "strict",
        format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: evil.example\r\nForwarded: for=6.6.6.6\r\n\
             Connection: x-request-id, x-hop\r\nx-hop: 1\r\n\r\n"
        ),
    );
    assert_eq!(received.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(received.header("x-forwarded-proto"), Some("http"));
    assert_eq!(received.header("x-forwarded-host"), Some("localhost"));
    assert!(received.header("x-request-id").is_some_and(|id| id.len() == 32));
    assert_eq!(received.header("forwarded"), None);
    assert_eq!(received.header("x-hop"), None, "hop-by-hop fields end here");
}

#[test]
fn a_client_may_not_name_forwarded_fields_as_hop_by_hop() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("off", &origin));
    for name in ["x-forwarded-for", "X-Forwarded-Host", "x-forwarded-proto", "host"] {
        let response = gateway
            .exchange(format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close, {name}\r\n\r\n"));
        assert_eq!((response.status, response.error_code()), (400, Some("bad_request")), "{name}");
        let said = response.json();
        assert_eq!(said["error"]["message"], "`Connection` names a field that must reach the upstream.");
    }
    assert!(origin.received().is_empty());
    let log = gateway.program().log().join("\n");
    assert!(!log.contains("ERROR"), "a client's mistake is no error of the gateway's: {log}");
}

#[test]
fn an_absolute_target_arrives_in_origin_form() {
    let request = format!(
        "GET http://api.example/v1/models?a=b HTTP/1.1\r\nHost: api.example\r\nx-api-key: {KEY}\r\n\r\n"
    );
    let received = forwarded("strict", request);
    assert!(received.head.starts_with("GET /v1/models?a=b HTTP/1.1\r\n"), "{}", received.head);
    assert_eq!(received.header("host"), Some("api.example"));
}

#[test]
fn a_response_comes_back_as_it_was_but_for_what_only_the_gateway_may_say() {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\nWWW-Authenticate: Basic realm=\"theirs\"\r\n\
              x-keygate-error: forged\r\nX-Keygate-Anything: forged\r\nX-Custom: a  b\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n\
              \x00\xff\r\n",
        )
    });
    let gateway = Gateway::start(&config("off", &origin));
    let response = gateway.exchange("GET / HTTP/1.1\r\nHost: localhost\r\nx-request-id: r1\r\n\r\n");
    assert_eq!(response.status, 401, "an upstream's own 401 passes through");
    assert_eq!(response.error_code(), None, "and one look tells whose it is");
    assert_eq!(response.body, b"\x00\xff\r\n");
    // `Date` is the gateway's, as nginx does it too.
    let mut lines: Vec<&str> =
        response.head.lines().skip(1).filter(|line| !line.starts_with("Date: ")).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "Connection: keep-alive",
            "Content-Length: 4",
            "Set-Cookie: a=1",
            "Set-Cookie: b=2",
            "WWW-Authenticate: Basic realm=\"theirs\"",
            "X-Custom: a  b",
            "x-request-id: r1",
        ]
    );
}

#[test]
fn an_early_hint_cannot_speak_for_the_gateway_either() {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nx-keygate-error: forged\r\n\r\n\
              HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-keygate-error\r\n\r\n\
              2\r\nok\r\n0\r\nx-keygate-error: forged\r\n\r\n",
        )
    });
    let gateway = Gateway::start(&config("off", &origin));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let everything = String::from_utf8(client.read_to_end()).unwrap();
    assert!(everything.contains("HTTP/1.1 200 OK") && everything.contains("ok"), "{everything}");
    assert!(!everything.contains("forged"), "{everything}");
}

#[test]
fn close_is_heeded_wherever_it_stands_in_connection() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("off", &origin));
    for connection in
        ["close", "x-a, Close", "keep-alive\r\nConnection: close", "x-a\r\nConnection: x-b,close"]
    {
        let mut client = gateway.connect();
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n");
        assert_eq!(client.exchange(request).header("connection"), Some("close"), "{connection}");
        client.expect_close();
    }
}

#[test]
fn an_upgrade_on_options_is_never_honoured() {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
    });
    let asked = "Upgrade: x\r\nConnection: Upgrade\r\n";
    for mode in ["off", "strict", "all_except_health"] {
        let gateway = Gateway::start(&config(mode, &origin));
        let mut client = gateway.connect();
        let response = client.exchange(format!("OPTIONS / HTTP/1.1\r\nHost: localhost\r\n{asked}\r\n"));
        assert_ne!(response.status, 101, "{mode}");
        let request = origin.received().pop().unwrap();
        assert_eq!((request.header("upgrade"), request.header("connection")), (None, None), "{mode}");
    }
}

#[test]
fn an_ambiguous_request_goes_nowhere() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("off", &origin));
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/healthz?\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\nhello", 400),
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ] {
        let mut client = gateway.connect();
        let response = client.exchange(request);
        assert_eq!(response.status, status, "{request:?}");
        client.expect_close();
    }
    assert!(origin.received().is_empty(), "{:?}", origin.received());
}

#[test]
fn connections_to_the_upstream_are_used_again() {
    let origin = Origin::start();
    // One thread: each thread keeps connections of its own.
    let gateway = Gateway::start(&config("off", &origin).replace("proxy:\n", "proxy:\n  threads: 1\n"));
    let mut client = gateway.connect();
    for _ in 0..20 {
        assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    }
    assert_eq!((origin.received().len(), origin.connections()), (20, 1));
}
