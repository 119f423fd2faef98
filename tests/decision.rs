//! The authentication contract over raw TCP, row by row, and each row over HTTP/2 as well.

use crate::support::{Gateway, KEY, Origin, exchange_over_http2};

/// What a request without refusal ends as: the origin's answer.
const PASSED: (u16, Option<&str>) = (200, None);

const MISSING: (u16, Option<&str>) = (401, Some("credential_missing"));
const INVALID: (u16, Option<&str>) = (401, Some("credential_invalid"));
const MALFORMED: (u16, Option<&str>) = (401, Some("credential_malformed"));

/// The usual config, with HTTP/2 beside HTTP/1.1.
fn config(mode: &str, origin: &Origin) -> String {
    crate::support::config(mode, origin).replacen("proxy:\n", "proxy:\n  h2c: true\n", 1)
}

/// What comes of a request over HTTP/1.1; over HTTP/2 it must be the same.
fn outcome(gateway: &Gateway, request: &[u8]) -> (u16, Option<String>) {
    let response = gateway.exchange(request);
    let outcome = (response.status, response.error_code().map(str::to_owned));
    if let Some(other) = exchange_over_http2(gateway.address(), request) {
        let other = (other.status, other.error_code().map(str::to_owned));
        assert_eq!(other, outcome, "over HTTP/2: {}", request.escape_ascii());
    }
    outcome
}

/// Sends `line` with the fields `fields` and compares.
fn expect(gateway: &Gateway, line: &str, fields: &[u8], expected: (u16, Option<&str>)) {
    let request = [line.as_bytes(), b" HTTP/1.1\r\nHost: localhost\r\n", fields, b"\r\n"].concat();
    let got = outcome(gateway, &request);
    assert_eq!((got.0, got.1.as_deref()), expected, "{}", request.escape_ascii());
}

/// Field lines with `KEY` in place of `{}`.
fn fields(text: &str) -> Vec<u8> {
    text.replace("{}", KEY).into_bytes()
}

#[test]
fn each_credential_header_carries_the_key() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    for right in [
        "Authorization: Bearer {}\r\n",
        "authorization: Bearer {}\r\n",
        "AUTHORIZATION: Bearer {}\r\n",
        // Without the prefix the value is taken whole.
        "Authorization: {}\r\n",
        "x-api-key: {}\r\n",
        "X-Api-Key: {}\r\n",
        "x-goog-api-key: {}\r\n",
        // Optional white space is not part of a value (RFC 9110 §5.5).
        "x-api-key:{}\r\n",
        "x-api-key: \t {} \t \r\n",
        "Authorization: \t Bearer {}\t\r\n",
    ] {
        expect(&gateway, "GET /v1/models", &fields(right), PASSED);
    }
    assert_eq!(origin.received().len(), 2 * 10, "over both versions of HTTP");
}

#[test]
fn nothing_that_is_not_the_key_passes() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    for wrong in [
        "Authorization: Bearer{}\r\n",
        "Authorization: bearer {}\r\n",
        "Authorization: BEARER {}\r\n",
        "Authorization: Bearer  {}\r\n",
        "Authorization: Bearer\t{}\r\n",
        "Authorization: Bearer Bearer {}\r\n",
        "Authorization: Bearer {} x\r\n",
        "Authorization: Bearer {},\r\n",
        "Authorization: Bearer \"{}\"\r\n",
        "Authorization: Basic {}\r\n",
        "Authorization: Token {}\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer sk-ffffffffffffffffffffffffffffffff\r\n",
        "x-api-key: Bearer {}\r\n",
        "x-goog-api-key: Bearer {}\r\n",
        "x-api-key: {}0\r\n",
        "x-api-key: {}, {}\r\n",
        "x-api-key: sk-0123456789abcdef0123456789abcde\r\n",
        "x-api-key: SK-0123456789ABCDEF0123456789ABCDEF\r\n",
        "x-api-key: x\r\n",
    ] {
        expect(&gateway, "GET /v1/models", &fields(wrong), INVALID);
    }
    for elsewhere in [
        "",
        "api-key: {}\r\n",
        "x_api_key: {}\r\n",
        "Proxy-Authorization: Bearer {}\r\n",
        "Cookie: x-api-key={}\r\n",
    ] {
        expect(&gateway, "GET /v1/models", &fields(elsewhere), MISSING);
    }
    expect(&gateway, &format!("GET /v1/models?key={KEY}"), b"", MISSING);
    assert!(origin.received().is_empty());
}

#[test]
fn the_first_header_present_decides_alone() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    for (lines, expected) in [
        ("Authorization: Bearer {}\r\nx-api-key: wrong\r\nx-goog-api-key: wrong\r\n", PASSED),
        // The order of the lines on the wire does not count.
        ("x-goog-api-key: wrong\r\nx-api-key: wrong\r\nAuthorization: Bearer {}\r\n", PASSED),
        ("x-api-key: {}\r\nx-goog-api-key: wrong\r\n", PASSED),
        ("Authorization: Bearer {}\r\nx-api-key: {}\r\nx-api-key: {}\r\n", PASSED),
        ("Authorization: Bearer wrong\r\nx-api-key: {}\r\n", INVALID),
        ("x-api-key: {}\r\nAuthorization: Bearer wrong\r\n", INVALID),
        ("x-api-key: wrong\r\nx-goog-api-key: {}\r\n", INVALID),
        ("Authorization:\r\nx-api-key: {}\r\n", MALFORMED),
        ("Authorization: \t \r\nx-api-key: {}\r\n", MALFORMED),
        ("x-api-key:\r\nx-goog-api-key: {}\r\n", MALFORMED),
        ("x-goog-api-key:\r\n", MALFORMED),
    ] {
        expect(&gateway, "GET /v1/models", &fields(lines), expected);
    }
}

#[test]
fn a_header_on_several_lines_never_matches() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    for lines in [
        "Authorization: Bearer {}\r\nAuthorization: Bearer {}\r\n",
        "Authorization: Bearer {}\r\nauthorization: Bearer wrong\r\n",
        "Authorization: Bearer wrong\r\nAuthorization: Bearer {}\r\n",
        "x-api-key: {}\r\nAccept: */*\r\nX-API-KEY: {}\r\n",
        "x-goog-api-key: {}\r\nx-goog-api-key: {}\r\n",
    ] {
        expect(&gateway, "GET /v1/models", &fields(lines), MALFORMED);
    }
    assert!(origin.received().is_empty());
}

#[test]
fn bytes_that_no_key_can_hold_never_match() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    for byte in [0x80, 0xa0, 0xff] {
        let line = [b"x-api-key: ", KEY.as_bytes(), &[byte], b"\r\n"].concat();
        expect(&gateway, "GET /v1/models", &line, MALFORMED);
    }
    expect(&gateway, "GET /v1/models", "Authorization: Bearer schlüssel\r\n".as_bytes(), MALFORMED);
}

#[test]
fn options_passes_in_every_mode_and_only_as_a_preflight() {
    let origin = Origin::start();
    for mode in ["off", "strict", "all_except_health", "auto"] {
        let gateway = Gateway::start(&config(mode, &origin));
        expect(&gateway, "OPTIONS /v1/models", b"", PASSED);
        expect(&gateway, "OPTIONS /v1/models", b"Authorization: Bearer wrong\r\n", PASSED);
        expect(&gateway, "OPTIONS /v1/models", b"Content-Length: 0\r\n", PASSED);
        expect(&gateway, "OPTIONS /healthz", b"", (204, None));
    }
    let gateway = Gateway::start(&config("strict", &origin));
    for (line, expected) in
        [("OPTIONS *", (404, Some("route_not_found"))), ("GET *", (400, Some("bad_request")))]
    {
        let response = gateway.exchange(format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!((response.status, response.error_code()), expected, "{line} is no path");
    }
    // Methods are case-sensitive.
    expect(&gateway, "options /v1/models", b"", MISSING);
    expect(&gateway, "Options /v1/models", b"", MISSING);
    expect(&gateway, "OPTIONSX /v1/models", b"", MISSING);
}

#[test]
fn options_with_content_needs_a_key() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    const REFUSED: (u16, Option<&str>) = (413, Some("preflight_with_content"));
    let sized = "Content-Length: 5\r\n\r\nhello";
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for content in [sized, chunked] {
        for (credential, expected) in [
            (String::new(), REFUSED),
            ("x-api-key: wrong\r\n".to_owned(), REFUSED),
            (format!("x-api-key: {KEY}\r\n"), PASSED),
        ] {
            let request = format!("OPTIONS /v1 HTTP/1.1\r\nHost: localhost\r\n{credential}{content}");
            let got = outcome(&gateway, request.as_bytes());
            assert_eq!((got.0, got.1.as_deref()), expected, "{request}");
        }
    }
    let off = Gateway::start(&config("off", &origin));
    let request = format!("OPTIONS /v1 HTTP/1.1\r\nHost: localhost\r\n{sized}");
    assert_eq!(off.exchange(request).status, 200, "in mode off it passes the other steps");
}

#[test]
fn mode_off_asks_nobody() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("off", &origin));
    for lines in ["", "x-api-key: wrong\r\n", "Authorization:\r\n", "x-api-key: a\r\nx-api-key: b\r\n"] {
        expect(&gateway, "GET /v1/models", lines.as_bytes(), PASSED);
    }
    expect(&gateway, "GET /healthz", b"", PASSED);
}

#[test]
fn health_is_free_in_all_except_health_and_in_no_other_spelling() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("all_except_health", &origin));
    for free in ["GET /healthz", "HEAD /healthz", "GET /healthz?", "GET /healthz?verbose=1"] {
        expect(&gateway, free, b"", PASSED);
    }
    for taken in [
        "POST /healthz",
        "PUT /healthz",
        "DELETE /healthz",
        "get /healthz",
        "GET /healthz/",
        "GET /Healthz",
        "GET /HEALTHZ",
        "GET //healthz",
        "GET /./healthz",
        "GET /v1/../healthz",
        "GET /healthz/..",
        "GET /healthz;a",
        "GET /healthz%20",
        "GET /%68ealthz",
        "GET /healthz%2f",
        "GET /healthzz",
        "GET /health",
        "GET /",
        "GET /v1/models?/healthz",
    ] {
        expect(&gateway, taken, b"", if taken.starts_with("HEAD") { PASSED } else { MISSING });
    }
    assert!(origin.received().is_empty(), "the health check belongs to the gateway");
}

#[test]
fn no_header_can_make_another_path_or_method_free() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("all_except_health", &origin));
    for line in [
        "X-Original-URL: /healthz",
        "X-Rewrite-URL: /healthz",
        "X-HTTP-Method-Override: OPTIONS",
        "X-Method-Override: OPTIONS",
        "X-Forwarded-Uri: /healthz",
        "Upgrade: websocket\r\nConnection: upgrade",
        "X-Forwarded-For: 127.0.0.1",
    ] {
        expect(&gateway, "GET /v1/models", format!("{line}\r\n").as_bytes(), MISSING);
    }
}

#[test]
fn strict_asks_for_a_key_at_the_health_check_too() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    expect(&gateway, "GET /healthz", b"", MISSING);
    expect(&gateway, "GET /healthz", &fields("x-api-key: {}\r\n"), PASSED);
    assert!(origin.received().is_empty());
}

#[test]
fn auto_follows_who_can_reach_the_listener() {
    let origin = Origin::start();
    let loopback = Gateway::start(&config("auto", &origin));
    expect(&loopback, "GET /v1/models", b"", PASSED);
    let lan = config("auto", &origin).replace("proxy:\n", "proxy:\n  allow_lan_access: true\n");
    let lan = Gateway::start(&lan);
    expect(&lan, "GET /v1/models", b"", MISSING);
    expect(&lan, "GET /healthz", b"", PASSED);
    expect(&lan, "GET /v1/models", &fields("x-api-key: {}\r\n"), PASSED);
}

#[test]
fn modes_other_than_auto_do_not_follow_the_listener() {
    let origin = Origin::start();
    for (mode, models, health) in
        [("off", PASSED, PASSED), ("strict", MISSING, MISSING), ("all_except_health", MISSING, PASSED)]
    {
        let lan = config(mode, &origin).replace("proxy:\n", "proxy:\n  allow_lan_access: true\n");
        let gateway = Gateway::start(&lan);
        expect(&gateway, "GET /v1/models", b"", models);
        expect(&gateway, "GET /healthz", b"", health);
    }
}

#[test]
fn an_empty_key_refuses_everybody_and_says_so_in_the_log() {
    let origin = Origin::start();
    const NO_KEY: (u16, Option<&str>) = (401, Some("no_key_configured"));
    let gateway = Gateway::start(&config("all_except_health", &origin).replace(KEY, "''"));
    expect(&gateway, "GET /v1/models", b"", NO_KEY);
    expect(&gateway, "GET /v1/models", b"x-api-key: anything\r\n", NO_KEY);
    expect(&gateway, "GET /v1/models", b"x-api-key:\r\n", NO_KEY);
    expect(&gateway, "GET /healthz", b"", PASSED);
    expect(&gateway, "OPTIONS /v1/models", b"", PASSED);
    let line = gateway.program().wait_for_log("the message of the contract", |line| {
        line.contains("Proxy auth is enabled but api_key is empty; denying request")
    });
    assert!(line.contains(" ERROR "), "{line}");
}

#[test]
fn the_empty_key_message_cannot_fill_the_disk() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin).replace(KEY, "''"));
    let mut client = gateway.connect();
    for _ in 0..1000 {
        assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 401);
    }
    drop(client);
    gateway.signal("TERM");
    gateway.program().wait_for_log("the end", |line| line.contains("stopped"));
    let lines =
        gateway.program().log().iter().filter(|line| line.contains("api_key is empty; denying")).count();
    // Ten a second; a thousand requests take less than a minute even on a machine that is busy.
    assert!((1..=600).contains(&lines), "{lines}");
}

#[test]
fn a_key_that_may_no_longer_be_used_says_so() {
    let origin = Origin::start();
    let digest = |key: &str| keygate::policy::Digest::of(key.as_bytes()).to_string();
    let keys = format!(
        "keys:\n  - {{name: old, digest: '{}', expires_at: 2020-01-01T00:00:00Z}}\n  \
         - {{name: off, digest: '{}', enabled: false}}\n  \
         - {{name: new, digest: '{}', expires_at: 2999-01-01T00:00:00Z}}\n",
        digest("k-old"),
        digest("k-off"),
        digest("k-new"),
    );
    let gateway = Gateway::start(&(config("strict", &origin) + &keys));
    for (key, expected) in [
        ("k-old", (401, Some("key_expired"))),
        ("k-off", (401, Some("key_disabled"))),
        ("k-new", PASSED),
        (KEY, PASSED),
        ("k-other", INVALID),
    ] {
        expect(&gateway, "GET /v1/models", format!("x-api-key: {key}\r\n").as_bytes(), expected);
    }
}

#[test]
fn the_health_check_answers_three_methods() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    for (method, status) in [
        ("GET", 200),
        ("HEAD", 200),
        ("OPTIONS", 204),
        ("POST", 405),
        ("PUT", 405),
        ("PATCH", 405),
        ("DELETE", 405),
        ("PROPFIND", 405),
        ("TRACE", 405),
        ("CONNECT", 405),
        ("get", 405),
    ] {
        let request = format!("{method} /healthz HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n\r\n");
        let response = gateway.exchange(request);
        assert_eq!(response.status, status, "{method}");
        assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"), "{method}");
        assert_eq!(response.error_code().is_some(), status == 405, "{method}");
    }
    assert!(origin.received().is_empty());
}

#[test]
fn connect_and_trace_are_refused_everywhere() {
    let origin = Origin::start();
    for mode in ["off", "strict"] {
        let gateway = Gateway::start(&config(mode, &origin));
        for line in ["TRACE /", "TRACE /healthz", "CONNECT example.com:443", "CONNECT /"] {
            let request = format!("{line} HTTP/1.1\r\nHost: example.com:443\r\nx-api-key: {KEY}\r\n\r\n");
            let response = gateway.exchange(request);
            assert_eq!((response.status, response.error_code()), (405, Some("method_not_allowed")), "{line}");
            assert!(response.header("allow").is_some_and(|allow| !allow.contains("TRACE")), "{line}");
        }
    }
    assert!(origin.received().is_empty());
}

#[test]
fn without_a_key_a_caller_learns_nothing_about_routes() {
    let origin = Origin::start();
    let routed = config("strict", &origin).replace("path_prefix: /", "path_prefix: /v1");
    let gateway = Gateway::start(&routed);
    expect(&gateway, "GET /v1/models", b"", MISSING);
    expect(&gateway, "GET /nowhere", b"", MISSING);
    let key = fields("x-api-key: {}\r\n");
    expect(&gateway, "GET /v1/models", &key, PASSED);
    expect(&gateway, "GET /nowhere", &key, (404, Some("route_not_found")));
}
