//! How large a request may be, and how slow.

use std::io::Write;

use crate::support::{Gateway, KEY, Origin, Response, config};

fn limited(origin: &Origin, limits: &str) -> Gateway {
    let section = format!("proxy:\n  request_limits: {{{limits}}}\n");
    Gateway::start(&config("strict", origin).replacen("proxy:\n", &section, 1))
}

fn outcome(response: &Response) -> (u16, Option<&str>) {
    (response.status, response.error_code())
}

#[test]
fn the_header_section_has_a_size_and_a_number_of_lines() {
    let origin = Origin::start();
    let gateway = limited(&origin, "header_bytes: 2KiB, header_count: 10");
    let with = |fields: String| {
        gateway.exchange(format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n{fields}\r\n"))
    };
    assert_eq!(outcome(&with(format!("a: {}\r\n", "x".repeat(1000)))), (200, None));
    let too_large = with(format!("a: {}\r\n", "x".repeat(2000)));
    assert_eq!(outcome(&too_large), (431, Some("header_too_large")));
    assert_eq!(too_large.header("connection"), Some("close"));
    assert_eq!(outcome(&with("a: 1\r\n".repeat(8))), (200, None));
    assert_eq!(outcome(&with("a: 1\r\n".repeat(9))), (431, Some("header_too_large")));
    let defaults = Gateway::start(&config("strict", &origin));
    let large = format!("GET / HTTP/1.1\r\nHost: localhost\r\na: {}\r\n\r\n", "x".repeat(40_000));
    assert_eq!(outcome(&defaults.exchange(large)), (431, Some("header_too_large")), "limited by default");
}

#[test]
fn the_request_target_has_a_length() {
    let origin = Origin::start();
    let gateway = limited(&origin, "uri_bytes: 100B");
    let get = |length: usize| {
        let target = format!("/{}", "a".repeat(length - 1));
        gateway.exchange(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n\r\n"))
    };
    assert_eq!(outcome(&get(100)), (200, None));
    assert_eq!(outcome(&get(101)), (414, Some("uri_too_long")));
}

#[test]
fn the_body_has_a_length_announced_or_not() {
    let origin = Origin::start();
    let gateway = limited(&origin, "body: 1KiB");
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n");
    let announced = |length: usize| {
        gateway.exchange(format!("{head}Content-Length: {length}\r\n\r\n{}", "x".repeat(length)))
    };
    assert_eq!(outcome(&announced(1024)), (200, None));
    assert_eq!(outcome(&announced(1025)), (413, Some("body_too_large")));
    let chunked = |chunks: usize| {
        let chunk = format!("100\r\n{}\r\n", "x".repeat(256));
        gateway.exchange(format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(chunks)))
    };
    assert_eq!(outcome(&chunked(4)), (200, None));
    assert_eq!(outcome(&chunked(5)), (413, Some("body_too_large")));
    assert_eq!(origin.received().len(), 2, "no longer body is complete at the upstream");
}

#[test]
fn a_route_has_a_length_of_its_own_for_bodies_smaller_or_larger() {
    let origin = Origin::start();
    let routes = "routes:\n  - {path: /small, upstream: origin, max_body: 100B}\n  \
                  - {path: /large, upstream: origin, max_body: 2KiB}\n";
    let text = config("strict", &origin).replacen("routes:\n", routes, 1);
    let gateway = Gateway::start(&text.replacen("proxy:\n", "proxy:\n  request_limits: {body: 1KiB}\n", 1));
    for (path, length, status) in [
        ("/small", 100, 200),
        ("/small", 101, 413),
        ("/other", 1024, 200),
        ("/other", 1025, 413),
        ("/large", 2048, 200),
        ("/large", 2049, 413),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n");
        let body = "x".repeat(length);
        let code = (status == 413).then_some("body_too_large");
        let announced = gateway.exchange(format!("{head}Content-Length: {length}\r\n\r\n{body}"));
        assert_eq!(outcome(&announced), (status, code), "{path} {length}");
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n");
        assert_eq!(outcome(&gateway.exchange(chunked)), (status, code), "{path} {length} in chunks");
    }
}

/// This takes ten seconds, for which every body may be as slow as it likes.
#[test]
fn a_body_that_drips_is_broken_off() {
    let origin = Origin::start();
    let gateway = limited(&origin, "body_min_rate: 1KiB");
    let mut client = gateway.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\nContent-Length: 1000000\r\n\r\n"
    ));
    // Never silent for long; the end comes from the other side.
    while client.try_send(b"x").is_ok() {
        std::thread::park_timeout(std::time::Duration::from_millis(200));
        if client.has_answer() {
            break;
        }
    }
    assert_eq!(outcome(&client.response()), (408, Some("body_timeout")));
    assert!(origin.received().is_empty());
}

#[test]
fn a_client_that_falls_silent_in_its_body_is_told_so() {
    let origin = Origin::start();
    let gateway = limited(&origin, "body_timeout: 200ms");
    let mut client = gateway.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\nContent-Length: 10\r\n\r\nhalf"
    ));
    assert_eq!(outcome(&client.response()), (408, Some("body_timeout")));
    assert!(origin.received().is_empty());
}

#[test]
fn who_takes_nothing_of_an_answer_is_cut_off() {
    let (gone, upstream) = std::sync::mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::answering(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let part = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
        // Until the gateway lets go: more than all buffers on the way hold.
        let ended = (0..10_000).find_map(|_| stream.write_all(&part).err());
        gone.lock().unwrap().send(ended.is_some()).unwrap();
        Ok(())
    });
    let gateway = limited(&origin, "send_timeout: 300ms");
    let mut client = gateway.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n\r\n"));
    client.read_head();
    assert!(upstream.recv_timeout(std::time::Duration::from_secs(30)).unwrap(), "the upstream is let go too");
}

#[test]
fn a_transfer_coding_other_than_chunked_is_not_implemented() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    );
    assert_eq!(outcome(&gateway.exchange(request)), (501, Some("unsupported_transfer_coding")));
    assert!(origin.received().is_empty());
}

#[test]
fn an_expectation_that_nobody_knows_is_refused() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\nExpect: tea\r\n\r\n");
    assert_eq!(outcome(&gateway.exchange(request)), (417, Some("expectation_failed")));
}

#[test]
fn what_is_no_request_gets_an_answer_that_says_so() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    let head = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n");
    let twice = "Host: localhost\r\n";
    let mut a_mebibyte = head("/v1/messages") + "a: ";
    a_mebibyte.extend(std::iter::repeat_n('a', (1 << 20) - a_mebibyte.len()));
    for (bytes, status, word) in [
        (format!("{}no colon\r\n\r\n", head("/v1/messages")), 400, "no colon"),
        (format!("{}a: \u{7f}\r\n\r\n", head("/v1/messages")), 400, "control character"),
        (format!("{}\r\n", head("/v1/messages?a=\"b\"")), 400, "`%22`"),
        (format!("{}\r\n", head("/v1/messages?a= b")), 400, "`%20`"),
        (format!("{}\r\n", head("/v1/messages\t")), 400, "one space"),
        (format!("{}{twice}\r\n", head("/v1/messages")), 400, "`Host` stands on more"),
        (format!("{}{}\r\n", head("/v1/messages"), "a: 1\r\n".repeat(300)), 431, "request_limits"),
        (format!("{}{}\r\n", head("/v1/messages"), "a: 1234567890\r\n".repeat(1000)), 431, "request_limits"),
        (a_mebibyte, 431, "request_limits"),
        (format!("{}\r\n", head(&format!("/v1/messages?{}", "a".repeat(70_000)))), 414, "request_limits"),
    ] {
        let response = gateway.exchange(&bytes);
        let code = match status {
            400 => "bad_request",
            414 => "uri_too_long",
            _ => "header_too_large",
        };
        let begin = &bytes[..bytes.len().min(200)];
        assert_eq!(outcome(&response), (status, Some(code)), "{begin:?}");
        assert_eq!(response.header("connection"), Some("close"));
        assert!(response.header("date").is_some(), "{response:?}");
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(body["type"], "error", "in the dialect of the path: {body}");
        assert_eq!(body["request_id"].as_str(), response.header("x-request-id"));
        assert!(body["error"]["message"].as_str().unwrap().contains(word), "{begin:?}: {body}");
    }
    // A TLS handshake, with no line that ends; a line of another protocol, after which the client waits.
    for begin in ["\u{16}\u{3}\u{1}", "PING\r\n"] {
        let nothing = gateway.exchange(begin);
        assert_eq!(outcome(&nothing), (400, Some("bad_request")));
    }
    assert!(origin.received().is_empty());
    let line = gateway
        .program()
        .wait_for_log("a warning", |line| line.contains("127.0.0.1 sent what is no request of HTTP ("));
    assert!(line.contains("A field line has no colon;"), "the first is named: {line}");
}

#[test]
fn a_key_with_a_byte_that_no_field_may_hold_is_a_malformed_key() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    for value in [format!("{KEY}\u{7f}"), format!("\0{KEY}"), "\u{1}".to_owned()] {
        let response =
            gateway.exchange(format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {value}\r\n\r\n"));
        assert_eq!(outcome(&response), (401, Some("credential_malformed")), "{value:?}");
    }
    assert!(origin.received().is_empty());
}
