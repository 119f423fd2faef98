//! Who the client is: the address of its connection, or what a trusted proxy says.

use crate::support::{Gateway, KEY, Origin, config};

/// The test itself is the trusted proxy; `192.0.2.0/24` (RFC 5737) are more of them.
fn behind_proxies(config: &str) -> String {
    config.replacen(
        "proxy:\n",
        "proxy:\n  trusted_proxies: [127.0.0.1, 192.0.2.0/24, '2001:db8:1::/48']\n",
        1,
    )
}

fn request(lines: &str) -> String {
    format!("GET /v1/models HTTP/1.1\r\nHost: gateway.example\r\nx-api-key: {KEY}\r\n{lines}\r\n")
}

/// What an upstream learns of a request with these lines: `x-forwarded-for`, `-proto` and `-host`.
fn forwarded(lines: &str) -> [String; 3] {
    let origin = Origin::start();
    let gateway = Gateway::start(&behind_proxies(&config("strict", &origin)));
    assert_eq!(gateway.exchange(request(lines)).status, 200, "{lines}");
    let received = origin.only_request();
    assert_eq!(received.header("forwarded"), None, "{lines}");
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].map(|name| {
        assert!(received.head.to_ascii_lowercase().matches(&format!("\n{name}:")).count() == 1, "{lines}");
        received.header(name).unwrap().to_owned()
    })
}

#[test]
fn the_first_address_from_the_right_that_is_not_trusted_is_the_client() {
    for (lines, expected) in [
        ("", "127.0.0.1"),
        ("X-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7, 127.0.0.1"),
        // What stands left of it may be the client's invention.
        ("X-Forwarded-For: 10.0.0.1, 203.0.113.7\r\n", "203.0.113.7, 127.0.0.1"),
        (
            "X-Forwarded-For: 203.0.113.7, 192.0.2.1,192.0.2.2\r\n",
            "203.0.113.7, 192.0.2.1, 192.0.2.2, 127.0.0.1",
        ),
        (
            "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 192.0.2.1\r\n",
            "203.0.113.7, 192.0.2.1, 127.0.0.1",
        ),
        (
            "X-Forwarded-For: 203.0.113.7:4711, , [2001:db8:1::9]:443\r\n",
            "203.0.113.7, 2001:db8:1::9, 127.0.0.1",
        ),
        ("X-Forwarded-For: ::ffff:203.0.113.7\r\n", "203.0.113.7, 127.0.0.1"),
        // All are trusted: it began at the first of them.
        ("X-Forwarded-For: 192.0.2.1, 192.0.2.2\r\n", "192.0.2.1, 192.0.2.2, 127.0.0.1"),
        // Nobody knows who is before the one that cannot be read.
        ("X-Forwarded-For: 203.0.113.7, unknown, 192.0.2.2\r\n", "192.0.2.2, 127.0.0.1"),
        ("X-Forwarded-For: \u{e9}, 203.0.113.7\r\n", "203.0.113.7, 127.0.0.1"),
        ("Forwarded: for=203.0.113.7\r\n", "203.0.113.7, 127.0.0.1"),
        ("Forwarded: for=10.0.0.1, FOR=\"203.0.113.7:4711\" ; proto=https\r\n", "203.0.113.7, 127.0.0.1"),
        ("Forwarded: for=\"[2001:db8::7]\", for=192.0.2.1;by=_x\r\n", "2001:db8::7, 192.0.2.1, 127.0.0.1"),
        ("Forwarded: for=\"_hidden\", for=192.0.2.1\r\n", "192.0.2.1, 127.0.0.1"),
        ("Forwarded: for=203.0.113.7;for=203.0.113.8\r\n", "127.0.0.1"),
        // A quote that the client leaves open swallows nothing.
        ("Forwarded: for=\"10.0.0.1, for=203.0.113.7\r\n", "203.0.113.7, 127.0.0.1"),
        ("Forwarded: for=203.0.113.7;host=\"a,b\"\r\n", "203.0.113.7, 127.0.0.1"),
        ("X-Forwarded-For: 203.0.113.7\r\nForwarded: for=203.0.113.7\r\n", "203.0.113.7, 127.0.0.1"),
    ] {
        assert_eq!(forwarded(lines)[0], expected, "{lines}");
    }
}

#[test]
fn scheme_and_host_are_those_that_the_trusted_proxy_was_asked_for() {
    for (lines, scheme, host) in [
        ("", "http", "gateway.example"),
        ("X-Forwarded-Proto: HTTPS\r\nX-Forwarded-Host: api.example:8443\r\n", "https", "api.example:8443"),
        ("X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a/b\r\n", "http", "gateway.example"),
        ("X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", "http", "gateway.example"),
        (
            "Forwarded: proto=gopher, for=203.0.113.7;proto=https;host=\"api.example:1\", for=192.0.2.1;proto=http\r\n",
            "https",
            "api.example:1",
        ),
    ] {
        assert_eq!(forwarded(lines)[1..], [scheme, host], "{lines}");
    }
}

#[test]
fn nobody_else_is_believed() {
    let origin = Origin::start();
    let text =
        config("strict", &origin).replacen("proxy:\n", "proxy:\n  trusted_proxies: [192.0.2.0/24]\n", 1);
    let gateway = Gateway::start(&text);
    let lines = "X-Forwarded-For: 203.0.113.7\r\nForwarded: for=203.0.113.8\r\nX-Forwarded-Proto: https\r\n";
    assert_eq!(gateway.exchange(request(lines)).status, 200);
    let received = origin.only_request();
    assert_eq!(received.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(received.header("x-forwarded-proto"), Some("http"));
    assert_eq!(received.header("forwarded"), None);
}

#[test]
fn what_only_proxies_say_comes_from_trusted_ones_alone() {
    let lines = "X-Real-IP: 203.0.113.7\r\nX-Forwarded-User: admin\r\nX-Forwarded-Port: 1\r\nTrue-Client-IP: 203.0.113.7\r\n";
    for (trusts, expected) in [(false, None), (true, Some("203.0.113.7"))] {
        let origin = Origin::start();
        let text = config("strict", &origin);
        let gateway = Gateway::start(&if trusts { behind_proxies(&text) } else { text });
        assert_eq!(gateway.exchange(request(lines)).status, 200);
        let received = origin.only_request();
        assert_eq!(received.header("x-real-ip"), expected);
        assert_eq!(received.header("true-client-ip"), expected);
        assert_eq!(received.header("x-forwarded-user"), expected.map(|_| "admin"));
        assert_eq!(received.header("x-forwarded-port"), expected.map(|_| "1"));
    }
}

#[test]
fn two_fields_that_name_two_clients_are_refused() {
    let origin = Origin::start();
    let gateway = Gateway::start(&behind_proxies(&config("strict", &origin)));
    let response =
        gateway.exchange(request("X-Forwarded-For: 203.0.113.7\r\nForwarded: for=203.0.113.8\r\n"));
    assert_eq!((response.status, response.error_code()), (400, Some("bad_request")));
    assert!(origin.received().is_empty());
}

#[test]
fn the_rules_of_a_key_follow_it() {
    let origin = Origin::start();
    let digest = keygate::policy::Digest::of(KEY.as_bytes());
    let text = behind_proxies(&config("strict", &origin)).replace(&format!("  api_key: {KEY}\n"), "")
        + &format!("keys: [{{name: k, digest: '{digest}', addresses: [203.0.113.0/24]}}]\n");
    let gateway = Gateway::start(&text);
    for (lines, status) in [
        ("X-Forwarded-For: 203.0.113.7\r\n", 200),
        ("X-Forwarded-For: 203.0.113.7, 198.51.100.1\r\n", 403),
        ("", 403),
    ] {
        assert_eq!(gateway.exchange(request(lines)).status, status, "{lines}");
    }
}

#[test]
fn wrong_keys_are_counted_and_logged_by_it() {
    let origin = Origin::start();
    let text = behind_proxies(&config("strict", &origin))
        + "limits: {failed_auth: {requests: 1, per: hour}}\naccess_log: {to: stdout}\n";
    let gateway = Gateway::start(&text);
    let wrong = |client: &str| {
        let request = request(&format!("X-Forwarded-For: {client}\r\n")).replace(KEY, "sk-wrong");
        gateway.exchange(request).status
    };
    assert_eq!([wrong("203.0.113.7"), wrong("203.0.113.7"), wrong("203.0.113.8")], [401, 429, 401]);
    gateway.program().wait_for_log("the denial", |line| line.contains("client=203.0.113.7"));
    gateway.program().wait_for_stdout("the request", |line| line.contains(r#""client":"203.0.113.8""#));
}

#[test]
fn a_reload_changes_who_is_believed() {
    let origin = Origin::start();
    let text = config("strict", &origin);
    let gateway = Gateway::start(&text);
    gateway.replace_config(&behind_proxies(&text));
    gateway.wait_for_generation(2);
    assert_eq!(gateway.exchange(request("X-Forwarded-For: 203.0.113.7\r\n")).status, 200);
    assert_eq!(origin.only_request().header("x-forwarded-for"), Some("203.0.113.7, 127.0.0.1"));
}
