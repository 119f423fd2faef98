//! The id of a request: in every line that the log has because of it.

use std::io::Write;

use crate::support::{Gateway, KEY, Origin, config};

/// What goes wrong, by path: the id of each request is its path's.
fn misbehave(path: &str, stream: &mut std::net::TcpStream) -> std::io::Result<()> {
    match path {
        "/reset" => Err(std::io::ErrorKind::ConnectionReset.into()),
        "/no-http" => stream.write_all(b"220 mail.test ESMTP\r\n\r\n"),
        "/broken-off" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")?;
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
        "/refused" => stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"),
        // Nothing, and the connection stays open.
        "/slow" => Ok(()),
        _ => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    }
}

#[test]
fn every_log_line_of_a_request_has_its_id() {
    let origin = Origin::answering(|request, stream| {
        misbehave(request.head.split(' ').nth(1).unwrap_or_default(), stream)
    });
    let routes = "routes:\n  - {path: /nobody, upstream: nobody}\n  - {path: /closed, upstream: closed}\n";
    let config = config("strict", &origin)
        .replace("routes:\n", routes)
        .replace(
            "upstreams:\n  origin:\n",
            "upstreams:\n  nobody: {peers: ['nobody.invalid:1']}\n  closed: {peers: ['127.0.0.1:1']}\n  \
             origin:\n    timeouts: {read: 200ms}\n    retries: {attempts: 1}\n    ejection: {failures: 1000}\n",
        )
        .replace("proxy:\n", "proxy:\n  request_limits: {body: 10B}\n");
    let gateway = Gateway::start_with(&config, |command| {
        command.env("RUST_LOG", "info");
    });
    gateway.program().wait_for_log("the name that has no address", |line| line.contains("nobody.invalid"));
    gateway.program().wait_for_log("the end of its start", |line| line.contains("Starting service: keygate"));
    let before = gateway.program().log().len();

    // Path, key, length of the body, status.
    let cases = [
        ("/well", KEY, 0, 200),
        ("/denied", "sk-wrong", 0, 401),
        ("/large", KEY, 11, 413),
        ("/nobody", KEY, 0, 503),
        ("/closed", KEY, 0, 502),
        ("/reset", KEY, 1, 502),
        ("/no-http", KEY, 1, 502),
        ("/refused", KEY, 0, 502),
        ("/slow", KEY, 0, 504),
        ("/broken-off", KEY, 0, 200),
    ];
    for (path, key, length, status) in cases {
        let mut client = gateway.connect();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nx-request-id: id-of-{}\r\nx-api-key: {key}\r\nContent-Length: \
             {length}\r\n\r\n{}",
            &path[1..],
            "x".repeat(length)
        ));
        let head = client.read_head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
        client.read_to_end();
    }
    for (path, ..) in cases.iter().filter(|(.., status)| *status != 200 && *status != 413) {
        let id = format!("id-of-{}", &path[1..]);
        gateway.program().wait_for_log(&id, |line| line.contains(&id));
    }
    gateway.signal("TERM");
    gateway.program().wait_for_log("the stop", |line| line.contains("SIGTERM received"));
    let log = gateway.program().log();
    let lines = log[before..].iter().take_while(|line| !line.contains("SIGTERM received"));
    // Of a kept connection to a peer, between two requests.
    let lines: Vec<&String> = lines.filter(|line| !line.contains("pingora_core::connectors]")).collect();
    for line in &lines {
        assert!(line.contains("id-of-"), "whose is this? {line}\nall:\n{}", log.join("\n"));
    }
    assert!(lines.len() >= cases.len() - 3, "{lines:?}");
}
