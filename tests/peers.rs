//! Which peer is chosen, who is left out, what is sent again, and what takes too long.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::support::{Gateway, Origin, ReceivedRequest, Response, keygate, run_to_end, wait_for};

fn respond(stream: &mut TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn named(name: &'static str) -> Origin {
    Origin::answering(move |_, stream| respond(stream, 200, name))
}

fn with_status(status: u16) -> Origin {
    Origin::answering(move |_, stream| respond(stream, status, "its own words"))
}

/// Breaks every connection off after it has read a request.
fn breaking_off() -> Origin {
    Origin::answering(|_, _| Err(std::io::ErrorKind::ConnectionAborted.into()))
}

/// Never answers; ends when the gateway closes.
fn silent() -> Origin {
    Origin::answering(|_, stream| {
        let _ = stream.read(&mut [0]);
        Err(std::io::ErrorKind::ConnectionAborted.into())
    })
}

/// A gateway in mode `off` with one upstream of these peers and further fields.
fn gateway(peers: &[&Origin], fields: &str) -> Gateway {
    Gateway::start(&config(peers, fields))
}

fn config(peers: &[&Origin], fields: &str) -> String {
    let peers: Vec<String> = peers.iter().map(|origin| format!("'{}'", origin.address)).collect();
    format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: off}}\nupstreams:\n  o:\n    peers: [{}]\n{fields}\n\
         routes: [{{path_prefix: /, upstream: o}}]\n",
        peers.join(", ")
    )
}

fn get(gateway: &Gateway, fields: &str) -> Response {
    gateway.exchange(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"))
}

fn send(gateway: &Gateway, method: &str, body: &str) -> Response {
    let head = format!("{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    gateway.exchange(head + body)
}

/// Answers requests for `/hold` when it is told to, others at once.
fn holding(gate: &Arc<(Mutex<bool>, Condvar)>) -> Origin {
    let gate = Arc::clone(gate);
    Origin::answering(move |request: &ReceivedRequest, stream| {
        if request.head.starts_with("GET /hold ") {
            let (open, opened) = &*gate;
            drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
        }
        respond(stream, 200, "ok")
    })
}

#[test]
fn least_connections_avoids_the_peer_that_is_busy() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let (a, b) = (holding(&gate), holding(&gate));
    let gateway = gateway(&[&a, &b], "    balance: least_connections");
    let mut busy = gateway.connect();
    busy.send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (taken, free) =
        wait_for("the request that is held", || match (a.received().len(), b.received().len()) {
            (1, 0) => Some((&a, &b)),
            (0, 1) => Some((&b, &a)),
            _ => None,
        });
    // One after another on one connection: each is over, and counted so, before the next.
    let mut others = gateway.connect();
    for _ in 0..10 {
        assert_eq!(others.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    }
    assert_eq!((taken.received().len(), free.received().len()), (1, 10));
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert_eq!(busy.response().status, 200);
}

#[test]
fn power_of_two_uses_every_peer() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let gateway = gateway(&[&a, &b, &c], "    balance: power_of_two");
    let mut client = gateway.connect();
    for _ in 0..300 {
        assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    }
    for origin in [&a, &b, &c] {
        assert!(origin.received().len() > 30, "{}", origin.received().len());
    }
}

#[test]
fn a_hash_leads_to_the_same_peer_and_only_a_lost_peer_s_share_moves() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let fields = "    balance: hash\n    hash_by: header:x-session";
    let gateway = gateway(&[&a, &b, &c], fields);
    let ask = |session: usize| get(&gateway, &format!("X-Session: {session}\r\n")).body;
    let before: Vec<Vec<u8>> = (0..60).map(ask).collect();
    assert_eq!(before, (0..60).map(ask).collect::<Vec<_>>(), "the same again");
    for name in ["a", "b", "c"] {
        assert!(before.iter().filter(|body| *body == name.as_bytes()).count() > 5, "{name} has a share");
    }
    gateway.replace_config(&config(&[&c, &a], fields));
    gateway.wait_for_generation(2);
    for (session, before) in before.iter().enumerate().filter(|(_, before)| *before != b"b") {
        assert_eq!(ask(session), *before, "{session} stays");
    }
}

#[test]
fn one_client_address_has_one_peer() {
    let (a, b) = (named("a"), named("b"));
    let gateway = gateway(&[&a, &b], "    balance: hash\n    hash_by: client_address");
    let first = get(&gateway, "").body;
    assert!((0..10).all(|_| get(&gateway, "").body == first));
}

#[test]
fn one_key_has_one_peer_and_keys_are_spread() {
    let (a, b) = (named("a"), named("b"));
    let keys: Vec<String> = (0..32)
        .map(|number| {
            let digest = keygate::policy::Digest::of(format!("sk-{number}").as_bytes());
            format!("{{name: k{number}, digest: '{digest}'}}")
        })
        .collect();
    let text = config(&[&a, &b], "    balance: hash\n    hash_by: key")
        .replace("auth_mode: off", "auth_mode: strict");
    let gateway = Gateway::start(&format!("{text}keys: [{}]\n", keys.join(", ")));
    let ask = |number: usize| get(&gateway, &format!("x-api-key: sk-{number}\r\n")).body;
    let first: Vec<Vec<u8>> = (0..32).map(ask).collect();
    assert_eq!(first, (0..32).map(ask).collect::<Vec<_>>());
    assert!(first.iter().any(|body| body == b"a") && first.iter().any(|body| body == b"b"), "{first:?}");
}

#[test]
fn a_peer_that_fails_is_left_out_and_comes_back() {
    let broken = Arc::new(AtomicBool::new(true));
    let fails = Arc::clone(&broken);
    let bad = Origin::answering(move |_, stream| {
        respond(stream, if fails.load(Ordering::SeqCst) { 500 } else { 200 }, "bad")
    });
    let good = named("good");
    let fields = "    retries: {attempts: 0}\n    ejection: {failures: 3, time: 400ms}";
    let gateway = gateway(&[&bad, &good], fields);
    let statuses: Vec<u16> = (0..20).map(|_| get(&gateway, "").status).collect();
    assert_eq!(statuses.iter().filter(|&&status| status == 500).count(), 3, "{statuses:?}");
    gateway.program().wait_for_log("the ejection", |line| {
        line.contains(&format!("{} is left out for 400ms after 3 failures", bad.address))
    });
    broken.store(false, Ordering::SeqCst);
    wait_for("its return", || (get(&gateway, "").body == b"bad").then_some(()));
}

#[test]
fn an_ejection_outlives_a_reload() {
    let (bad, good) = (with_status(500), named("good"));
    let fields = "    retries: {attempts: 0}\n    ejection: {failures: 1, time: 1h, max_time: 1h}";
    let gateway = gateway(&[&bad, &good], fields);
    wait_for("the ejection", || {
        (!bad.received().is_empty() || get(&gateway, "").status == 500).then_some(())
    });
    gateway.replace_config(&config(&[&good, &bad], fields));
    gateway.wait_for_generation(2);
    assert!((0..10).all(|_| get(&gateway, "").body == b"good"));
    assert_eq!(bad.received().len(), 1);
}

#[test]
fn no_more_than_the_share_is_left_out() {
    let (a, b) = (with_status(500), with_status(500));
    let fields =
        "    retries: {attempts: 0}\n    ejection: {failures: 1, time: 1h, max_time: 1h, max_percent: 50}";
    let gateway = gateway(&[&a, &b], fields);
    for _ in 0..10 {
        assert_eq!(get(&gateway, "").status, 500, "the upstream's own answer, not one of ours");
    }
    let fewer = a.received().len().min(b.received().len());
    assert_eq!((fewer, a.received().len() + b.received().len()), (1, 10), "one of two is left out");
}

#[test]
fn where_all_are_left_out_all_are_asked() {
    let (a, b) = (with_status(500), with_status(500));
    let fields =
        "    retries: {attempts: 0}\n    ejection: {failures: 1, time: 1h, max_time: 1h, max_percent: 100}";
    let gateway = gateway(&[&a, &b], fields);
    for _ in 0..10 {
        assert_eq!(get(&gateway, "").status, 500);
    }
    assert_eq!((a.received().len(), b.received().len()), (5, 5));
}

#[test]
fn an_idempotent_request_is_repeated_after_a_503_and_a_post_is_not() {
    let (down, good) = (with_status(503), named("good"));
    let gateway = gateway(&[&down, &good], "    ejection: {failures: 0}");
    for _ in 0..10 {
        assert_eq!(get(&gateway, "").body, b"good");
        assert_eq!(send(&gateway, "PUT", "x").body, b"good");
    }
    assert!(!down.received().is_empty());
    let posts: Vec<Response> = (0..10).map(|_| send(&gateway, "POST", "x")).collect();
    let failed: Vec<&Response> = posts.iter().filter(|response| response.status == 503).collect();
    assert_eq!(failed.len(), 5);
    assert!(
        failed.iter().all(|response| response.body == b"its own words" && response.error_code().is_none())
    );
    let sent =
        |origin: &Origin| origin.received().iter().filter(|request| request.head.starts_with("POST")).count();
    assert_eq!(sent(&down) + sent(&good), 10, "each once");
}

#[test]
fn the_last_word_of_the_peers_is_passed_on() {
    let (a, b) = (with_status(503), with_status(503));
    let gateway = gateway(&[&a, &b], "");
    let response = get(&gateway, "");
    assert_eq!((response.status, response.error_code()), (503, None));
    assert_eq!((&response.body[..], a.received().len(), b.received().len()), (&b"its own words"[..], 1, 1));
}

#[test]
fn a_connection_that_breaks_off_costs_an_idempotent_request_nothing() {
    let (bad, good) = (breaking_off(), named("good"));
    let gateway = gateway(&[&bad, &good], "    ejection: {failures: 0}");
    for _ in 0..10 {
        assert_eq!(get(&gateway, "").body, b"good");
    }
    assert!(!bad.received().is_empty());
    let statuses: Vec<u16> = (0..10).map(|_| send(&gateway, "POST", "x").status).collect();
    assert_eq!(statuses.iter().filter(|&&status| status == 502).count(), 5, "{statuses:?}");
    let posts =
        |origin: &Origin| origin.received().iter().filter(|request| request.head.starts_with("POST")).count();
    assert_eq!(posts(&bad) + posts(&good), 10, "each once");
}

#[test]
fn a_body_that_is_not_whole_any_more_is_not_repeated() {
    let (bad, good) = (breaking_off(), named("good"));
    let gateway = gateway(&[&bad, &good], "    ejection: {failures: 0}");
    let large = "x".repeat(200 * 1024);
    let statuses: Vec<u16> = (0..4).map(|_| send(&gateway, "PUT", &large).status).collect();
    assert_eq!(statuses.iter().filter(|&&status| status == 502).count(), 2, "{statuses:?}");
    assert!(good.received().iter().all(|request| request.body.len() == large.len()), "whole or not at all");
    assert_eq!(good.received().len(), 2);
}

#[test]
fn without_a_budget_nothing_is_repeated() {
    let (down, good) = (with_status(503), named("good"));
    let gateway = gateway(&[&down, &good], "    ejection: {failures: 0}\n    retries: {budget_percent: 0}");
    let statuses: Vec<u16> = (0..10).map(|_| get(&gateway, "").status).collect();
    assert_eq!(statuses.iter().filter(|&&status| status == 503).count(), 5, "{statuses:?}");
}

#[test]
fn after_its_time_nothing_is_repeated() {
    let late = Origin::answering(|_, stream| {
        // The time itself is what is tested: longer than `within`, however quick the machine.
        std::thread::sleep(Duration::from_millis(50));
        write!(stream, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    });
    let good = named("good");
    for (within, refused) in [("1ms", 5), ("1min", 0)] {
        let fields =
            format!("    ejection: {{failures: 0}}\n    retries: {{within: {within}, budget_percent: 100}}");
        let gateway = gateway(&[&late, &good], &fields);
        let statuses: Vec<u16> = (0..10).map(|_| get(&gateway, "").status).collect();
        assert_eq!(
            statuses.iter().filter(|&&status| status == 503).count(),
            refused,
            "{within}: {statuses:?}"
        );
    }
}

#[test]
fn a_response_that_does_not_begin_is_504_and_says_so() {
    let origin = silent();
    let gateway = gateway(&[&origin], "    timeouts: {first_byte: 100ms}");
    let response = get(&gateway, "");
    assert_eq!((response.status, response.error_code()), (504, Some("upstream_first_byte_timeout")));
}

#[test]
fn a_request_that_takes_too_long_in_all_is_504_and_says_so() {
    let origin = silent();
    let gateway = gateway(&[&origin], "    timeouts: {total: 100ms}");
    let response = get(&gateway, "");
    assert_eq!((response.status, response.error_code()), (504, Some("request_timeout")));
}

#[test]
fn a_handshake_that_takes_too_long_is_504_and_says_so() {
    // Takes the connection and never speaks TLS.
    let origin = silent();
    let gateway = gateway(&[&origin], "    tls: true\n    sni: t.example\n    timeouts: {connect: 200ms}");
    let response = get(&gateway, "");
    assert_eq!((response.status, response.error_code()), (504, Some("upstream_tls_timeout")));
}

#[test]
fn a_stream_may_begin_late_and_then_not_fall_silent() {
    let origin = Origin::answering(|_, stream| {
        // Slow by its nature; nothing waits for this.
        std::thread::park_timeout(Duration::from_millis(600));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")?;
        let _ = stream.read(&mut [0]);
        Err(std::io::ErrorKind::ConnectionAborted.into())
    });
    let gateway = gateway(&[&origin], "    timeouts: {first_byte: 10min, read: 200ms}");
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(client.read_head().starts_with("HTTP/1.1 200"));
    assert_eq!(client.read_to_end(), b"only this", "broken off for its silence, long before `first_byte`");
}

#[test]
fn a_response_has_begun_with_its_header_section() {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")?;
        // Longer than `first_byte`; nothing waits for this.
        std::thread::park_timeout(Duration::from_millis(600));
        stream.write_all(b"late")
    });
    let gateway = gateway(&[&origin], "    timeouts: {first_byte: 200ms, read: 30s}");
    let response = get(&gateway, "");
    assert_eq!((response.status, response.body.as_slice()), (200, b"late".as_slice()));
}

#[test]
fn a_shorter_limit_counts_beside_a_longer_one() {
    let origin = silent();
    let text = config(&[&origin], "    timeouts: {first_byte: 10min, total: 20min}")
        .replace("proxy: {", "proxy: {threads: 1, ")
        .replace(
            "routes: [",
            "routes: [{path_prefix: /fast, upstream: o, timeouts: {first_byte: 200ms}}, \
             {path_prefix: /short, upstream: o, timeouts: {total: 100ms}}, ",
        );
    let gateway = Gateway::start(&text);
    let mut patient = gateway.connect();
    patient.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait_for("its request", || (!origin.received().is_empty()).then_some(()));
    for (path, code) in [
        ("/fast", "upstream_first_byte_timeout"),
        ("/short", "request_timeout"),
        ("/fast", "upstream_first_byte_timeout"),
    ] {
        let response = gateway.exchange(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!((response.status, response.error_code()), (504, Some(code)), "{path}");
    }
    assert!(!patient.has_answer());
}

#[test]
fn a_stream_that_has_begun_ends_when_the_whole_takes_too_long() {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        // Never silent for long, and without end.
        loop {
            stream.write_all(b"1\r\nx\r\n")?;
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    let gateway = gateway(&[&origin], "    timeouts: {read: 30s, total: 500ms}");
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(client.read_head().starts_with("HTTP/1.1 200"));
    let rest = client.read_to_end();
    assert!(rest.starts_with(b"1\r\nx\r\n"), "{}", rest.escape_ascii());
    assert!(!rest.ends_with(b"0\r\n\r\n"), "no client takes it for whole");
}

#[test]
fn a_route_has_time_outs_of_its_own() {
    let origin = silent();
    let gateway = Gateway::start(&config(&[&origin], "").replace(
        "routes: [",
        "routes: [{path_prefix: /fast, upstream: o, timeouts: {first_byte: 100ms}}, \
         {path_prefix: /short, upstream: o, timeouts: {read: 100ms}}, ",
    ));
    for (path, code) in [("/fast", "upstream_first_byte_timeout"), ("/short", "upstream_read_timeout")] {
        let response = gateway.exchange(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!((response.status, response.error_code()), (504, Some(code)));
    }
}

/// An origin whose `/health` answers what it is told to; everything else is 200.
fn checked(healthy: &Arc<AtomicBool>) -> Origin {
    let healthy = Arc::clone(healthy);
    Origin::answering(move |request: &ReceivedRequest, stream| {
        let sick = request.head.starts_with("GET /health ") && !healthy.load(Ordering::SeqCst);
        respond(stream, if sick { 500 } else { 200 }, "checked")
    })
}

#[test]
fn a_peer_that_fails_its_health_check_gets_no_requests_until_it_passes() {
    let healthy = Arc::new(AtomicBool::new(true));
    let (checked, other) = (checked(&healthy), Origin::start());
    let check = "    health_check: {path: /health, interval: 100ms, healthy_after: 1, unhealthy_after: 2}";
    let gateway = gateway(&[&checked, &other], check);
    wait_for("a request to it", || (get(&gateway, "").body == b"checked").then_some(()));
    healthy.store(false, Ordering::SeqCst);
    let failing = format!("{} fails its health check", checked.address);
    gateway.program().wait_for_log("the failure", |line| line.contains(&failing));
    assert!((0..20).all(|_| get(&gateway, "").body == b"ok"), "all to the other one");
    // What was found stays found over a reload.
    gateway.replace_config(&config(&[&other, &checked], check));
    gateway.wait_for_generation(2);
    assert!((0..20).all(|_| get(&gateway, "").body == b"ok"));
    healthy.store(true, Ordering::SeqCst);
    wait_for("its return", || (get(&gateway, "").body == b"checked").then_some(()));
    let asked = checked.received().into_iter().find(|request| request.head.starts_with("GET /health "));
    assert_eq!(asked.unwrap().header("host"), Some(checked.address.to_string().as_str()));
}

#[test]
fn without_a_path_a_connection_is_enough_and_where_none_is_well_all_are_asked() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let refusing = socket.local_addr().unwrap().as_socket().unwrap();
    let check = "health_check: {interval: 100ms, unhealthy_after: 1, healthy_after: 1}";
    let gateway = Gateway::start(&format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: off}}\nupstreams: {{o: {{peers: ['{refusing}'], {check}}}}}\n\
         routes: [{{path_prefix: /, upstream: o}}]\n"
    ));
    gateway.program().wait_for_log("the failure", |line| line.contains("fails its health check"));
    let response = get(&gateway, "");
    assert_eq!((response.status, response.error_code()), (502, Some("upstream_failed")), "it was tried");
    socket.listen(16).unwrap();
    gateway.program().wait_for_log("its return", |line| line.contains("passes its health check again"));
}

#[test]
fn what_cannot_be_is_refused_at_its_line() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("k.yaml");
    for (fields, message) in [
        ("balance: random", "expected one of `round_robin`"),
        ("balance: hash", "needs `hash_by`"),
        ("balance: hash, hash_by: cookie", "`cookie` is none of"),
        ("hash_by: key", "counts with `balance: hash` only"),
        ("retries: {statuses: [404]}", "404 is no status of a failed server"),
        ("timeouts: {first_byte: 11s, total: 10s}", "`first_byte` is longer than `total`"),
        ("ejection: {time: 1h}", "`max_time` is shorter than `time`"),
        ("health_check: {path: health}", "`health` is no path"),
        ("health_check: {host: x}", "`host` counts with `path` only"),
        ("health_check: {statuses: [20]}", "20 is no status"),
    ] {
        let text = format!(
            "routes: [{{path_prefix: /, upstream: o}}]\nupstreams:\n  o: {{peers: ['127.0.0.1:1'], {fields}}}\n"
        );
        std::fs::write(&file, text).unwrap();
        let output = run_to_end(keygate(["check".as_ref(), "-c".as_ref(), file.as_os_str()]));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(2), "{fields}: {said}");
        assert!(said.contains("k.yaml:3:") && said.contains(message), "{fields}: {said}");
    }
}
