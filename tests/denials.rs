//! Every refusal explains itself, in the words that the caller's SDK understands, on a connection that stays open.

use crate::support::{Gateway, KEY, Origin, Response, config};

fn refused(lines: &str) -> Response {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    let response = gateway.exchange(format!("{lines}\r\n\r\n"));
    assert_eq!(response.status, 401, "{}", response.head);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("connection"), Some("keep-alive"));
    assert!(response.header("x-request-id").is_some_and(|id| id.len() == 32));
    response
}

#[test]
fn openai_shape_is_the_default() {
    let response = refused("GET /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x");
    let json = response.json();
    assert_eq!(json["error"]["type"], "authentication_error");
    assert_eq!(json["error"]["code"], "invalid_api_key");
    assert_eq!(json["error"]["param"], serde_json::Value::Null);
    assert!(json["error"]["message"].as_str().unwrap().contains("`Authorization` header decided"));
    assert_eq!(json.as_object().unwrap().len(), 1);
    assert_eq!(json["error"].as_object().unwrap().len(), 4);
}

#[test]
fn anthropic_shape_by_path_or_by_header() {
    for lines in [
        "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nx-api-key: x",
        "POST /v1/messages/count_tokens HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nx-api-key: x",
        "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nanthropic-version: 2023-06-01\r\nx-api-key: x",
    ] {
        let response = refused(lines);
        let json = response.json();
        assert_eq!(json["type"], "error", "{lines}");
        assert_eq!(json["error"]["type"], "authentication_error");
        assert_eq!(json["request_id"].as_str(), response.header("x-request-id"));
        assert!(json["error"]["message"].as_str().unwrap().contains("`x-api-key` header decided"));
    }
}

#[test]
fn gemini_shape_by_path_or_by_deciding_header() {
    for lines in [
        "GET /v1beta/models HTTP/1.1\r\nHost: t",
        "GET /v1alpha/models HTTP/1.1\r\nHost: localhost\r\nx-api-key: x",
        "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nx-goog-api-key: x",
    ] {
        let json = refused(lines).json();
        assert_eq!(json["error"]["code"], 401, "{lines}");
        assert_eq!(json["error"]["status"], "UNAUTHENTICATED");
        assert!(json["error"]["message"].is_string());
    }
    // `Authorization` decided here, so this is no Gemini client.
    let lines = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: x\r\nx-goog-api-key: x";
    assert_eq!(refused(lines).json()["error"]["code"], "invalid_api_key");
}

#[test]
fn the_message_names_the_deciding_header_and_those_that_were_ignored() {
    let response =
        refused("GET / HTTP/1.1\r\nHost: localhost\r\nx-goog-api-key: c\r\nx-api-key: b\r\nAuthorization: a");
    let message = response.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("the `Authorization` header decided"), "{message}");
    assert!(message.contains("ignored: `x-api-key`, `x-goog-api-key`"), "{message}");
    let message = refused("GET / HTTP/1.1\r\nHost: t").json()["error"]["message"].to_string();
    for name in ["`Authorization: Bearer <key>`", "`x-api-key: <key>`", "`x-goog-api-key: <key>`"] {
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn the_challenge_tells_whether_a_credential_was_sent() {
    let without = refused("GET / HTTP/1.1\r\nHost: t");
    assert_eq!(without.header("www-authenticate"), Some("Bearer realm=\"keygate\""));
    assert_eq!(without.error_code(), Some("credential_missing"));
    let with = refused("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: x");
    assert_eq!(with.header("www-authenticate"), Some("Bearer realm=\"keygate\", error=\"invalid_token\""));
}

#[test]
fn no_part_of_a_credential_comes_back() {
    let near = &KEY[..KEY.len() - 1];
    for line in [format!("x-api-key: {near}"), format!("Authorization: Bearer {near}")] {
        let response = refused(&format!("GET / HTTP/1.1\r\nHost: localhost\r\n{line}"));
        let everything = response.head + std::str::from_utf8(&response.body).unwrap();
        for length in 4..near.len() {
            assert!(!everything.contains(&near[..length]), "{everything}");
        }
    }
}

#[test]
fn a_client_s_request_id_is_taken_over_if_it_is_harmless() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    let id_for = |line: &str| {
        let response = gateway.exchange(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{line}\r\n"));
        response.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(id_for("x-request-id: req-1_a.b:c\r\n"), "req-1_a.b:c");
    for odd in ["x-request-id: <script>\r\n", "x-request-id:\r\n", "x-request-id: a\r\nx-request-id: b\r\n"] {
        let id = id_for(odd);
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    }
}

#[test]
fn the_connection_stays_open_after_a_denial() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    let mut client = gateway.connect();
    for _ in 0..50 {
        assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 401);
        let right = format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n\r\n");
        assert_eq!(client.exchange(right).status, 200);
    }
    let last = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(client.exchange(last).header("connection"), Some("close"));
    client.expect_close();
}

#[test]
fn a_body_that_came_with_a_refused_request_is_not_taken_for_the_next_one() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    let right = format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n\r\n");
    for body in [
        // A body that reads like a request.
        format!("Content-Length: {}\r\n\r\n{right}", right.len()),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{right}\r\n0\r\n\r\n", right.len()),
    ] {
        let mut client = gateway.connect();
        let response = client.exchange(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{body}"));
        assert_eq!((response.status, response.header("connection")), (401, Some("keep-alive")));
        assert_eq!(client.exchange(&right).status, 200, "the connection goes on behind the body");
    }
    assert_eq!(origin.received().len(), 2);
}

#[test]
fn a_large_body_is_not_awaited() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    let mut client = gateway.connect();
    // Announced and never sent.
    let response =
        client.exchange("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n");
    assert_eq!((response.status, response.header("connection")), (401, Some("close")));
    let mut client = gateway.connect();
    let expects = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n";
    let response = client.exchange(expects);
    assert_eq!(response.status, 401, "no `100 Continue` for a body that nobody wants");
    client.expect_close();
}

#[test]
fn head_gets_the_headers_alone() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    let mut client = gateway.connect();
    let response = client.exchange("HEAD /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((response.status, response.error_code()), (401, Some("credential_missing")));
    assert_eq!(
        client.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").status,
        401,
        "nothing is left on the wire"
    );
}
