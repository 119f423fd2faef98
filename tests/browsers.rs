//! What web pages may do: CORS, and a gateway without keys that no page of elsewhere may use.

use crate::support::{Gateway, KEY, Origin, Response, config};

const CORS: &str =
    "proxy:\n  cors: {origins: ['https://app.example.com'], credentials: true, max_age: 1min}\n";

fn with_cors(mode: &str, origin: &Origin) -> Gateway {
    Gateway::start(&config(mode, origin).replacen("proxy:\n", CORS, 1))
}

fn allowed_origin(response: &Response) -> Option<&str> {
    response.header("access-control-allow-origin")
}

#[test]
fn a_preflight_is_answered_where_cors_is_configured_and_else_forwarded() {
    let origin = Origin::start();
    let preflight = |from: &str| {
        format!(
            "OPTIONS /v1/models HTTP/1.1\r\nHost: localhost\r\nOrigin: {from}\r\n\
             Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-api-key, x-stainless-os\r\n\r\n"
        )
    };
    let gateway = with_cors("strict", &origin);
    let response = gateway.exchange(preflight("https://app.example.com"));
    assert_eq!((response.status, allowed_origin(&response)), (204, Some("https://app.example.com")));
    assert_eq!(response.header("access-control-allow-methods"), Some("GET, POST, PUT, PATCH, DELETE"));
    assert_eq!(response.header("access-control-allow-headers"), Some("x-api-key, x-stainless-os"));
    assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(response.header("access-control-max-age"), Some("60"));
    assert_eq!(response.header("vary"), Some("Origin"));
    let foreign = gateway.exchange(preflight("https://evil.example"));
    assert_eq!((foreign.status, allowed_origin(&foreign)), (204, None));
    assert_eq!(foreign.header("access-control-allow-methods"), None);
    assert!(origin.received().is_empty());
    let plain = Gateway::start(&config("strict", &origin));
    assert_eq!(plain.exchange(preflight("https://app.example.com")).status, 200);
    assert_eq!(origin.received().len(), 1, "without `cors` it passes to the upstream");
}

#[test]
fn a_page_can_read_a_refusal() {
    let origin = Origin::start();
    let gateway = with_cors("strict", &origin);
    let ask = |from: &str, key: &str| {
        gateway.exchange(format!(
            "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nOrigin: {from}\r\nx-api-key: {key}\r\n\r\n"
        ))
    };
    for (key, status) in [("wrong", 401), (KEY, 200)] {
        let response = ask("https://app.example.com", key);
        assert_eq!((response.status, allowed_origin(&response)), (status, Some("https://app.example.com")));
        assert!(response.header("access-control-expose-headers").unwrap().contains("x-keygate-error"));
        let foreign = ask("https://evil.example", key);
        assert_eq!((foreign.status, allowed_origin(&foreign)), (status, None));
    }
}

#[test]
fn what_an_upstream_says_of_cors_is_replaced() {
    use std::io::Write;
    let origin = Origin::answering(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n")
    });
    let request = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nx-api-key: {KEY}\r\n\r\n"
    );
    assert_eq!(allowed_origin(&with_cors("strict", &origin).exchange(&request)), None);
    let plain = Gateway::start(&config("strict", &origin)).exchange(&request);
    assert_eq!(allowed_origin(&plain), Some("*"), "without `cors` it passes");
}

#[test]
fn without_keys_the_gateway_answers_to_names_of_its_machine_only() {
    let origin = Origin::start();
    let text = config("off", &origin).replacen("proxy:\n", "proxy:\n  allowed_hosts: [gateway.home]\n", 1);
    let gateway = Gateway::start(&text);
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:8045", 200),
        ("app.localhost", 200),
        ("127.0.0.1:8045", 200),
        ("127.8.9.1", 200),
        ("[::1]:8045", 200),
        ("gateway.home:8045", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("10.0.0.1", 421),
    ] {
        let response = gateway.exchange(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(response.status, status, "{host}");
        assert_eq!(response.error_code(), (status == 421).then_some("host_not_allowed"), "{host}");
    }
    let strict = Gateway::start(&config("strict", &origin));
    let request = format!("GET / HTTP/1.1\r\nHost: evil.example\r\nx-api-key: {KEY}\r\n\r\n");
    assert_eq!(strict.exchange(request).status, 200, "a key protects by itself");
}

#[test]
fn without_keys_no_page_of_elsewhere_may_use_the_gateway() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("off", &origin));
    for (fields, status) in [
        ("", 200),
        ("Origin: http://localhost:3000\r\n", 200),
        ("Origin: http://127.0.0.1\r\nSec-Fetch-Site: same-site\r\n", 200),
        ("Sec-Fetch-Site: none\r\n", 200),
        ("Origin: https://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: 0\r\n\r\n");
        let response = gateway.exchange(request);
        assert_eq!(response.status, status, "{fields}");
        assert_eq!(response.error_code(), (status == 403).then_some("cross_site_request"), "{fields}");
    }
    let page = "POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example.com\r\nSec-Fetch-Site: cross-site\r\n\
                Content-Length: 0\r\n\r\n";
    assert_eq!(gateway.exchange(page).status, 403);
    assert_eq!(with_cors("off", &origin).exchange(page).status, 200, "a page that CORS allows may");
}
