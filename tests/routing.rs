//! Host, exact path, longest prefix; then whose turn it is; then what happens when a peer fails.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};

use crate::support::{Gateway, KEY, Origin, Response};

/// An origin that says its name.
fn named(name: &'static str) -> Origin {
    Origin::answering(move |_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len())
    })
}

/// An address where nobody listens: the socket is bound, so that nobody else takes it, but refuses connections.
fn refusing() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// A config in mode `off`.
fn config(upstreams: &str, routes: &str) -> String {
    format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: off,\n  allowed_hosts: [api.example, api.example.org, gateway.example]}}\nupstreams:\n{upstreams}\nroutes:\n{routes}\n"
    )
}

fn get(gateway: &Gateway, path: &str, host: &str) -> Response {
    gateway.exchange(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

#[test]
fn the_most_specific_route_wins() {
    let names = ["all", "v1", "chat", "exact", "host"];
    let origins: Vec<Origin> = names.into_iter().map(named).collect();
    let upstreams: Vec<String> = names
        .iter()
        .zip(&origins)
        .map(|(name, origin)| format!("  {name}: {{peers: ['{}']}}", origin.address))
        .collect();
    let routes = "  - {path_prefix: /, upstream: all}\n  - {path_prefix: /v1, upstream: v1}\n  \
                  - {path_prefix: /v1/chat/, upstream: chat}\n  - {path: /v1/chat/exact, upstream: exact}\n  \
                  - {host: api.example, path_prefix: /, upstream: host}";
    let gateway = Gateway::start(&config(&upstreams.join("\n"), routes));
    for (path, host, expected) in [
        ("/", "localhost", "all"),
        ("/v2", "localhost", "all"),
        ("/v1", "localhost", "v1"),
        ("/v1/", "localhost", "v1"),
        ("/v1?a=/v1/chat/exact", "localhost", "v1"),
        // A prefix ends at a path segment.
        ("/v1beta", "localhost", "all"),
        ("/v1/chat", "localhost", "v1"),
        ("/v1/chat/completions", "localhost", "chat"),
        ("/v1/chat/exact", "localhost", "exact"),
        ("/v1/chat/exact?x", "localhost", "exact"),
        ("/v1/chat/exact/", "localhost", "chat"),
        // Host first, in any letter case and with any port; then the path.
        ("/v1/chat/exact", "api.example", "host"),
        ("/", "API.Example:8045", "host"),
        ("/", "api.example.org", "all"),
    ] {
        assert_eq!(get(&gateway, path, host).body, expected.as_bytes(), "{host} {path}");
    }
}

#[test]
fn without_a_route_there_is_a_404_in_the_caller_s_dialect() {
    let origin = Origin::start();
    let upstreams = format!("  o: {{peers: ['{}']}}", origin.address);
    let gateway = Gateway::start(&config(&upstreams, "  - {path_prefix: /v1/chat, upstream: o}"));
    let response = get(&gateway, "/v2", "localhost");
    assert_eq!((response.status, response.error_code()), (404, Some("route_not_found")));
    assert!(response.json()["error"]["message"].is_string());
    let response = get(&gateway, "/v1/messages", "localhost");
    assert_eq!(response.json()["type"], "error", "Anthropic's shape");
    assert_eq!(response.json()["error"]["type"], "not_found_error");
    let response = get(&gateway, "/v1beta/models", "localhost");
    assert_eq!(response.json()["error"]["status"], "NOT_FOUND", "Gemini's shape");
    assert!(origin.received().is_empty());
}

#[test]
fn requests_are_shared_out_by_weight() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let upstreams = format!(
        "  o:\n    peers: ['{}', {{address: '{}', weight: 3}}, {{address: '{}', weight: 1}}]",
        a.address, b.address, c.address
    );
    let gateway = Gateway::start(&config(&upstreams, "  - {path_prefix: /, upstream: o}"));
    let mut turns = BTreeMap::<Vec<u8>, usize>::new();
    for _ in 0..50 {
        *turns.entry(get(&gateway, "/", "localhost").body).or_default() += 1;
    }
    assert_eq!(turns, BTreeMap::from([(b"a".to_vec(), 10), (b"b".to_vec(), 30), (b"c".to_vec(), 10)]));
}

#[test]
fn a_peer_that_refuses_is_passed_over_without_the_client_noticing() {
    let good = named("good");
    let ((_one, refuses), (_other, refuses_too)) = (refusing(), refusing());
    let upstreams = format!("  o: {{peers: ['{refuses}', '{}', '{refuses_too}']}}", good.address);
    let gateway = Gateway::start(&config(&upstreams, "  - {path_prefix: /, upstream: o}"));
    let mut client = gateway.connect();
    for _ in 0..30 {
        // A POST too: nothing of it was sent to the peer that refused.
        let response =
            client.exchange("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!((response.status, &response.body[..]), (200, &b"good"[..]));
    }
    assert!(good.received().iter().all(|request| request.body == b"hello"));
    assert_eq!(good.received().len(), 30, "each request once");
}

#[test]
fn when_every_peer_refuses_the_answer_is_502() {
    let ((_one, a), (_other, b)) = (refusing(), refusing());
    let upstreams = format!("  o: {{peers: ['{a}', '{b}']}}");
    let gateway = Gateway::start(&config(&upstreams, "  - {path_prefix: /, upstream: o}"));
    for _ in 0..3 {
        let mut client = gateway.connect();
        let response = client.exchange("GET /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(response.header("connection"), Some("close"));
        client.expect_close();
        assert_eq!((response.status, response.error_code()), (502, Some("upstream_failed")));
        assert!(response.json()["error"]["message"].is_string());
        assert!(!String::from_utf8_lossy(&response.body).contains(&a.port().to_string()), "no address leaks");
    }
}

#[test]
fn an_upstream_without_any_known_address_is_503() {
    // RFC 6761 §6.4: names under `invalid` never resolve.
    let upstreams = "  o: {peers: ['nowhere.invalid:80']}";
    let gateway = Gateway::start(&config(upstreams, "  - {path_prefix: /, upstream: o}"));
    let response = get(&gateway, "/v1/messages", "localhost");
    assert_eq!((response.status, response.error_code()), (503, Some("upstream_no_peer")));
    assert_eq!(response.json()["error"]["type"], "overloaded_error", "{:?}", response.json());
    gateway.program().wait_for_log("a warning", |line| line.contains("nowhere.invalid:80"));
}

#[test]
fn a_peer_s_name_is_resolved() {
    let origin = named("named");
    let upstreams = format!("  o: {{peers: ['localhost:{}']}}", origin.address.port());
    let gateway = Gateway::start(&config(&upstreams, "  - {path_prefix: /, upstream: o}"));
    assert_eq!(get(&gateway, "/", "localhost").body, b"named");
}

#[test]
fn a_peer_that_breaks_off_is_502_and_a_post_is_not_sent_twice() {
    let origin = Origin::answering(|_, _| Err(std::io::ErrorKind::ConnectionAborted.into()));
    let upstreams = format!("  o: {{peers: ['{}']}}", origin.address);
    let gateway = Gateway::start(&config(&upstreams, "  - {path_prefix: /, upstream: o}"));
    let response = gateway.exchange("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!((response.status, response.error_code()), (502, Some("upstream_failed")));
    assert_eq!(origin.received().len(), 1);
}

#[test]
fn a_response_that_breaks_off_is_not_passed_off_as_whole() {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")?;
        Err(std::io::ErrorKind::ConnectionAborted.into())
    });
    let upstreams = format!("  o: {{peers: ['{}']}}", origin.address);
    let gateway = Gateway::start(&config(&upstreams, "  - {path_prefix: /, upstream: o}"));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(client.read_head().contains("Content-Length: 100"));
    assert_eq!(client.read_to_end(), b"only this");
}

#[test]
fn a_silent_peer_is_504() {
    let origin = Origin::answering(|_, stream| {
        // Says nothing until the gateway gives up and closes.
        let _ = std::io::Read::read(stream, &mut [0]);
        Err(std::io::ErrorKind::ConnectionAborted.into())
    });
    let upstreams = format!("  o: {{peers: ['{}'], timeouts: {{read: 100ms}}}}", origin.address);
    let gateway = Gateway::start(&config(&upstreams, "  - {path_prefix: /, upstream: o}"));
    let response =
        gateway.exchange("POST /v1beta/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((response.status, response.error_code()), (504, Some("upstream_read_timeout")));
    assert_eq!(response.json()["error"]["status"], "DEADLINE_EXCEEDED");
}

#[test]
fn a_peer_that_takes_no_more_of_a_request_is_504() {
    // Connections wait in its backlog, and nobody reads from them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let upstreams = format!("  o: {{peers: ['{address}'], timeouts: {{write: 200ms}}}}");
    let gateway = Gateway::start(&config(&upstreams, "  - {path_prefix: /, upstream: o}"));
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n");
    let part = vec![b'x'; 64 * 1024];
    // More than all buffers on the way can hold.
    while !client.has_answer() && client.try_send(&part).is_ok() {}
    let response = client.response();
    assert_eq!((response.status, response.error_code()), (504, Some("upstream_write_timeout")));
    drop(listener);
}

#[test]
fn a_peer_that_never_accepts_is_504() {
    // A backlog that is full: the kernel drops further handshakes.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut fillers = Vec::new();
    while let Ok(stream) =
        std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200))
    {
        fillers.push(stream);
        assert!(fillers.len() < 64, "the backlog does not fill");
    }
    let upstreams = format!("  o: {{peers: ['{address}'], timeouts: {{connect: 100ms}}}}");
    let gateway = Gateway::start(&config(&upstreams, "  - {path_prefix: /, upstream: o}"));
    let response = get(&gateway, "/", "localhost");
    assert_eq!((response.status, response.error_code()), (504, Some("upstream_connect_timeout")));
}

#[test]
fn an_upstream_can_have_a_host_of_its_own() {
    let origin = Origin::start();
    let upstreams = format!("  o: {{peers: ['{}'], host: api.openai.com}}", origin.address);
    let gateway = Gateway::start(&config(&upstreams, "  - {path_prefix: /, upstream: o}"));
    get(&gateway, "/", "gateway.example");
    let received = origin.only_request();
    assert_eq!(received.header("host"), Some("api.openai.com"));
    assert_eq!(received.header("x-forwarded-host"), Some("gateway.example"));
    assert!(!received.head.contains(KEY));
}
