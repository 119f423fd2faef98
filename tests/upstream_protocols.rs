//! TLS and HTTP/2 toward the peers. The peer is a second gateway where TLS is what counts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, Response};
use tempfile::TempDir;

use crate::support::{
    Authority, Gateway, Origin, config, exchange_over_http2, keygate, try_exchange_over_http2, wait_for,
};

pub(crate) const REQUEST: &str = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A gateway with TLS in front of `origin`, to be the peer of another.
fn peer(origin: &Origin, authority: &Authority, more: &str) -> Gateway {
    let directory = TempDir::new().unwrap();
    authority.write(directory.path(), "peer", &["peer.test"]);
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let tls = format!("proxy:\n  tls:\n    certificates: [{{cert: peer.pem, key: peer.key}}]\n{more}");
    start(directory, &config("off", origin).replacen("proxy:\n", &tls, 1))
}

/// A gateway whose peer at `address` is described by `upstream` (with `ca.pem` and `client.pem` at hand).
fn in_front_of(address: SocketAddr, authority: &Authority, upstream: &str) -> Gateway {
    in_front_of_with(address, authority, upstream, |_, _| {})
}

/// The same, with a change to the command, which is told its directory.
pub(crate) fn in_front_of_with(
    address: SocketAddr,
    authority: &Authority,
    upstream: &str,
    change: impl FnOnce(&mut Command, &Path),
) -> Gateway {
    let directory = TempDir::new().unwrap();
    authority.write(directory.path(), "client", &["client"]);
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let text = format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: off, h2c: true}}\n\
         upstreams:\n  peer: {{peers: ['{address}'], {upstream}}}\n\
         routes: [{{path_prefix: /, upstream: peer}}]\n"
    );
    start_with(directory, &text, change)
}

pub(crate) fn start(directory: TempDir, text: &str) -> Gateway {
    start_with(directory, text, |_, _| {})
}

fn start_with(directory: TempDir, text: &str, change: impl FnOnce(&mut Command, &Path)) -> Gateway {
    let file = directory.path().join("keygate.yaml");
    std::fs::write(&file, text).unwrap();
    let mut command = keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]);
    change(&mut command, directory.path());
    Gateway::run(command, directory)
}

#[test]
fn a_peer_is_verified_by_its_name_and_its_authority() {
    let (origin, authority, other) = (Origin::start(), Authority::new(), Authority::new());
    let peer = peer(&origin, &authority, "");
    for (signer, upstream, status) in [
        (&authority, "tls: true, sni: peer.test, tls_ca: ca.pem", 200),
        (&authority, "tls: true, sni: peer.test, tls_ca: ca.pem, protocol: auto", 200),
        (&authority, "tls: true, sni: peer.test, tls_ca: ca.pem, protocol: http2", 200),
        (&authority, "tls: true, sni: else.test, tls_ca: ca.pem", 502),
        // The name is the address then, which the certificate does not have.
        (&authority, "tls: true, tls_ca: ca.pem", 502),
        (&other, "tls: true, sni: peer.test, tls_ca: ca.pem", 502),
        // The system's authorities do not know it.
        (&authority, "tls: true, sni: peer.test", 502),
        (&authority, "tls: true, sni: peer.test, tls_verify: false", 200),
    ] {
        let gateway = in_front_of(peer.address(), signer, upstream);
        let response = gateway.exchange(REQUEST);
        assert_eq!(response.status, status, "{upstream}");
        assert_eq!(response.error_code(), (status == 502).then_some("upstream_failed"), "{upstream}");
    }
    assert_eq!(origin.received().len(), 4);
    assert!(origin.received().iter().all(|request| request.header("x-forwarded-proto") == Some("https")));
}

#[test]
fn a_health_check_goes_over_tls_and_verifies_like_a_request() {
    let (origin, authority, other) = (Origin::start(), Authority::new(), Authority::new());
    let peer = peer(&origin, &authority, "");
    let upstream = "tls: true, sni: peer.test, tls_ca: ca.pem, \
                    health_check: {path: /health, interval: 100ms, unhealthy_after: 1}";
    let distrusting = in_front_of(peer.address(), &other, upstream);
    distrusting.program().wait_for_log("a failure", |line| line.contains("fails its health check"));
    assert!(origin.received().is_empty(), "nothing is asked of a peer that is not verified");
    let trusting = in_front_of(peer.address(), &authority, upstream);
    wait_for("two checks", || (origin.received().len() >= 2).then_some(()));
    for request in origin.received() {
        assert!(request.head.starts_with("GET /health "), "{}", request.head);
        assert_eq!(request.header("x-forwarded-proto"), Some("https"));
    }
    let failed = trusting.program().log().iter().any(|line| line.contains("fails its health check"));
    assert!(!failed, "{:?}", trusting.program().log());
}

#[test]
fn a_peer_that_asks_for_a_certificate_gets_ours() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let peer = peer(&origin, &authority, "    client_ca: ca.pem\n");
    let verified = "tls: true, sni: peer.test, tls_ca: ca.pem";
    let with = format!("{verified}, tls_client_certificate: {{cert: client.pem, key: client.key}}");
    assert_eq!(in_front_of(peer.address(), &authority, &with).exchange(REQUEST).status, 200);
    assert_eq!(in_front_of(peer.address(), &authority, verified).exchange(REQUEST).status, 502);
}

#[test]
fn what_says_something_about_tls_needs_tls() {
    let directory = TempDir::new().unwrap();
    let authority = Authority::new();
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let file = directory.path().join("keygate.yaml");
    for (field, problem) in [
        ("tls_ca: ca.pem", "upstream `o`: `tls_ca` counts with TLS only"),
        ("tls_verify: false", "upstream `o`: `tls_verify` counts with TLS only"),
        ("protocol: auto", "upstream `o`: `protocol: auto` counts with TLS only"),
        ("protocol: http3", "did you mean `http"),
        ("tls: true, tls_ca: none.pem", "cannot read `"),
    ] {
        let text = format!("upstreams: {{o: {{peers: ['127.0.0.1:9001'], {field}}}}}\n");
        std::fs::write(&file, text).unwrap();
        let output = crate::support::run_to_end(keygate(["check".as_ref(), "-c".as_ref(), file.as_os_str()]));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("keygate.yaml:1:") && said.contains(problem), "{field}: {said}");
        assert_eq!(output.status.code(), Some(2), "{field}");
    }
}

/// A server on a thread of its own that hands each connection to `serve`.
fn http2_peer<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(tokio::net::TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket));
            }
        });
    });
    address
}

/// A server that speaks HTTP/2 alone, and ends its answers with trailers, as gRPC does.
fn grpc_peer() -> SocketAddr {
    http2_peer(answer_with_trailers)
}

async fn answer_with_trailers(socket: tokio::net::TcpStream) {
    let mut connection = h2::server::handshake(socket).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(request.headers().get("te").map(http::HeaderValue::as_bytes), Some(&b"trailers"[..]));
        let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let mut stream = respond.send_response(head, false).unwrap();
        stream.send_data("message".into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        trailers.insert("x-keygate-error", "forged".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
    }
}

#[test]
fn grpc_passes_with_its_trailers() {
    let gateway = in_front_of(grpc_peer(), &Authority::new(), "protocol: http2");
    let call = "POST /service/Method HTTP/1.1\r\nHost: localhost\r\nte: trailers\r\ncontent-type: application/grpc\r\n\r\nhello";
    let response = exchange_over_http2(gateway.address(), call.as_bytes()).unwrap();
    assert_eq!((response.status, response.body.as_slice()), (200, &b"message"[..]));
    let trailers = response.trailers.unwrap();
    assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    assert_eq!(trailers.get("x-keygate-error"), None, "only the gateway says that");
}

/// A server that begins each answer over HTTP/2 and breaks it off, with these last bytes on stream 1, and the connection's
/// end behind them.
fn breaking_peer(last: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).unwrap();
            // SETTINGS, empty, and the acknowledgement of the client's (RFC 9113 §6.5).
            stream.write_all(b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0").unwrap();
            let mut head = [0; 9];
            // Up to the request's HEADERS.
            while stream.read_exact(&mut head).is_ok() && head[3] != 1 {
                let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
                stream.read_exact(&mut payload).unwrap();
            }
            // HEADERS with `:status: 200` (RFC 7541, static table), DATA.
            stream.write_all(b"\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x05\0\0\0\0\0\x01begun").unwrap();
            stream.write_all(last).unwrap();
        }
    });
    address
}

#[test]
fn an_answer_that_breaks_off_over_http2_never_ends_cleanly() {
    // RST_STREAM with INTERNAL_ERROR; nothing but the end of the connection; half a frame of DATA.
    for last in [&b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x02"[..], b"", b"\0\0\x05\0\0\0\0\0\x01be"] {
        let gateway = in_front_of(breaking_peer(last), &Authority::new(), "protocol: http2");
        let mut client = gateway.connect();
        client.send(REQUEST);
        let head = client.read_head().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 ") && head.contains("transfer-encoding: chunked"), "{head}");
        let rest = client.read_to_end();
        assert!(rest.starts_with(b"5\r\nbegun\r\n"), "what there is comes: {}", rest.escape_ascii());
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{}", rest.escape_ascii());
        let outcome = try_exchange_over_http2(gateway.address(), REQUEST.as_bytes()).unwrap();
        assert!(outcome.as_ref().is_err_and(h2::Error::is_reset), "{outcome:?}");
    }
}

#[test]
fn a_peer_without_http2_is_no_peer_for_it() {
    let origin = Origin::start();
    let gateway = in_front_of(origin.address, &Authority::new(), "protocol: http2");
    let response = gateway.exchange(REQUEST);
    assert_eq!((response.status, response.error_code()), (502, Some("upstream_failed")));
}

/// A server that speaks HTTP/2 alone. `/silent` gets no answer, `/endless` one byte after the other, `/held` one when `/release`
/// comes, all else one at once.
fn slow_peer(seen: &'static SlowSeen) -> SocketAddr {
    http2_peer(move |socket| async move {
        seen.connections.fetch_add(1, Ordering::SeqCst);
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            let path = request.uri().path().rsplit('/').next().unwrap().to_owned();
            tokio::spawn(answer_slowly(path, respond, seen));
        }
    })
}

struct SlowSeen {
    connections: AtomicUsize,
    held: AtomicUsize,
    release: tokio::sync::Notify,
}

impl SlowSeen {
    const fn new() -> Self {
        Self {
            connections: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            release: tokio::sync::Notify::const_new(),
        }
    }
}

async fn answer_slowly(
    path: String,
    mut respond: h2::server::SendResponse<bytes::Bytes>,
    seen: &SlowSeen,
) -> Option<()> {
    match path.as_str() {
        "silent" => return std::future::pending().await,
        "held" => {
            seen.held.fetch_add(1, Ordering::SeqCst);
            seen.release.notified().await;
        }
        "release" => seen.release.notify_one(),
        _ => {}
    }
    let mut stream = respond.send_response(Response::new(()), false).ok()?;
    if path == "endless" {
        loop {
            stream.send_data("x".into(), false).ok()?;
            // The pace of the stream, not a wait for something.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    stream.send_data("ok".into(), true).ok()
}

#[test]
fn time_outs_count_toward_peers_of_http2_and_end_nobody_elses_request() {
    static SEEN: SlowSeen = SlowSeen::new();
    let peer = slow_peer(&SEEN);
    let gateway = Gateway::start(&format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: off, threads: 1}}\n\
         upstreams: {{peer: {{peers: ['{peer}'], protocol: http2}}}}\n\
         routes:\n  - {{path_prefix: /, upstream: peer}}\n  \
         - {{path_prefix: /begin, upstream: peer, timeouts: {{first_byte: 100ms}}}}\n  \
         - {{path_prefix: /end, upstream: peer, timeouts: {{total: 300ms}}}}\n"
    ));
    let get = |path: &str| gateway.exchange(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let mut held = gateway.connect();
    held.send("GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait_for("the held request", || (SEEN.held.load(Ordering::SeqCst) == 1).then_some(()));
    for (path, code) in [("/begin/silent", "upstream_first_byte_timeout"), ("/end/silent", "request_timeout")]
    {
        let response = get(path);
        assert_eq!((response.status, response.error_code()), (504, Some(code)), "{path}");
    }
    let mut endless = gateway.connect();
    endless.send("GET /end/endless HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(endless.read_head().starts_with("HTTP/1.1 200"));
    let rest = endless.read_to_end();
    assert!(rest.ends_with(b"x\r\n") && !rest.ends_with(b"0\r\n\r\n"), "{}", rest.escape_ascii());
    assert_eq!(SEEN.connections.load(Ordering::SeqCst), 4, "one that is shared, three that were closed");
    // What came in time leaves its connection to the next of its kind.
    for path in ["/begin/quick", "/end/quick", "/begin/quick"] {
        assert_eq!(get(path).status, 200, "{path}");
    }
    assert_eq!(get("/release").status, 200);
    assert!(held.read_head().starts_with("HTTP/1.1 200"), "nobody ended it");
    assert_eq!(SEEN.connections.load(Ordering::SeqCst), 5);
}

/// What a [`large_peer`] has seen.
struct Seen {
    connections: AtomicUsize,
    /// Bytes of large answers that it was allowed to send.
    sent: AtomicUsize,
}

/// A server that speaks HTTP/2 alone; `/large` has 64 MiB, which it sends as fast as it may.
fn large_peer(seen: &'static Seen) -> SocketAddr {
    http2_peer(move |socket| async move {
        seen.connections.fetch_add(1, Ordering::SeqCst);
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            let bytes = if request.uri().path() == "/large" { LARGE } else { 2 };
            tokio::spawn(send(respond, bytes, &seen.sent));
        }
    })
}

const LARGE: usize = 64 << 20;

async fn send(
    mut respond: h2::server::SendResponse<bytes::Bytes>,
    mut bytes: usize,
    sent: &AtomicUsize,
) -> Option<()> {
    let large = bytes == LARGE;
    let mut stream = respond.send_response(Response::new(()), false).ok()?;
    while bytes > 0 {
        stream.reserve_capacity(bytes.min(64 * 1024));
        let capacity = std::future::poll_fn(|context| stream.poll_capacity(context)).await?.ok()?;
        let part = capacity.min(bytes);
        bytes -= part;
        stream.send_data(vec![b'x'; part].into(), bytes == 0).ok()?;
        sent.fetch_add(if large { part } else { 0 }, Ordering::SeqCst);
    }
    Some(())
}

#[test]
fn clients_that_do_not_read_hold_up_nobody_else_on_their_connection_upstream() {
    static SEEN: Seen = Seen { connections: AtomicUsize::new(0), sent: AtomicUsize::new(0) };
    let peer = large_peer(&SEEN);
    let gateway = Gateway::start(&format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: off, threads: 1}}\n\
         upstreams: {{peer: {{peers: ['{peer}'], protocol: http2}}}}\nroutes: [{{path_prefix: /, upstream: peer}}]\n"
    ));
    let slow = || {
        let mut slow = gateway.connect();
        slow.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
        slow.read_head();
        slow
    };
    let mut slow = [slow(), slow(), slow()];
    let mut other = gateway.connect();
    let (mut sent, mut since) = (0, 0);
    // Until the large answers stand still while others pass.
    while since < 300 {
        let response = other.exchange("GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!((response.status, response.body.as_slice()), (200, &b"xx"[..]));
        let now = SEEN.sent.load(Ordering::SeqCst);
        since = if now == sent { since + 1 } else { 0 };
        sent = now;
    }
    assert!((1..LARGE).contains(&sent), "{sent} bytes were sent");
    assert_eq!(SEEN.connections.load(Ordering::SeqCst), 1, "they share a connection");
    let mut read = 0;
    while let Some(chunk) = slow[0].read_chunk() {
        read += chunk.len();
    }
    assert_eq!(read, LARGE, "what was held back comes once it is read");
}

#[test]
fn a_header_section_of_an_upstream_has_a_limit() {
    let origin = Origin::answering(|request, stream| {
        let bytes: usize = request.head.split(' ').nth(1).unwrap()[1..].parse().unwrap();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-large: {}\r\n\r\nok", "x".repeat(bytes))
    });
    let default = config("off", &origin);
    let small = default.replace("peers:", "response_header_bytes: 1KiB\n    peers:");
    for (text, bytes, passes) in [
        (&default, 60_000, true),
        (&default, 66_000, false),
        (&default, 2_000_000, false),
        (&small, 900, true),
        (&small, 1_100, false),
    ] {
        let gateway = Gateway::start(text);
        let mut client = gateway.connect();
        let response = client.exchange(format!("GET /{bytes} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let expected = if passes { (200, None) } else { (502, Some("upstream_header_too_large")) };
        assert_eq!((response.status, response.error_code()), expected, "{bytes}");
        assert_eq!(response.header("x-large").is_some(), passes, "{bytes}");
        assert_eq!(
            gateway.exchange("GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n").status,
            200,
            "the next one"
        );
    }
}
