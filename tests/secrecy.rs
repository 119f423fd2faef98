//! Keys are never logged: neither those of the config nor what callers present, at any level.

use crate::support::{Gateway, KEY, Origin, config};

#[test]
fn no_key_is_logged_even_at_trace() {
    let origin = Origin::start();
    let gateway = Gateway::start_with(&config("strict", &origin), |command| {
        command.env("RUST_LOG", "trace");
    });
    const PRESENTED: &str = "sk-wrong-presented-0123456789";
    let mut client = gateway.connect();
    for line in [
        format!("Authorization: Bearer {KEY}"),
        format!("x-api-key: {KEY}"),
        format!("Authorization: Bearer {PRESENTED}"),
        format!("x-goog-api-key: {PRESENTED}"),
        format!("x-api-key: {PRESENTED}\r\nx-api-key: {KEY}"),
    ] {
        client.exchange(format!(
            "GET /v1beta/models?key={PRESENTED} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n"
        ));
    }
    // One that fails at the upstream is logged with its request line.
    gateway.replace_config(&config("strict", &origin).replace(&origin.address.to_string(), "127.0.0.1:1"));
    gateway.wait_for_generation(2);
    let failed = format!(
        "GET /v1beta/models?key={PRESENTED} HTTP/1.1\r\nHost: localhost\r\nx-goog-api-key: {KEY}\r\n\r\n"
    );
    assert_eq!(gateway.exchange(failed).status, 502);
    gateway.signal("TERM");
    gateway.program().wait_for_log("the end", |line| line.contains("stopped"));
    let log = gateway.program().log().join("\n");
    assert!(log.contains("credential_invalid") && log.contains("/v1beta/models"), "{log}");
    for secret in [KEY, PRESENTED] {
        for length in 8..=secret.len() {
            assert!(!log.contains(&secret[..length]), "{log}");
            assert!(!log.contains(&secret[secret.len() - length..]), "{log}");
        }
    }
}
