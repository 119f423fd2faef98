//! How streams end, and what they cost meanwhile: clients that go away, peers that die, readers that are slow.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::support::{Client, Gateway, KEY, Origin, PATIENCE, config, find, wait_for};

const MIB: usize = 1 << 20;

fn with_h2c(config: &str) -> String {
    config.replacen("proxy:\n", "proxy:\n  h2c: true\n", 1)
}

/// Something that happens to a client while it waits.
type Departure = fn(Client);

/// An origin that answers with `answer` and no more, and tells when its connection is closed.
fn silent_origin(answer: &'static [u8]) -> (Receiver<()>, Origin) {
    let (sender, gone) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::answering(move |_, stream| {
        stream.write_all(answer)?;
        // Nothing comes any more: only the close can end this read.
        if !matches!(stream.read(&mut [0]), Ok(read) if read > 0) {
            sender.lock().unwrap().send(()).unwrap();
        }
        Err(ErrorKind::ConnectionAborted.into())
    });
    (gone, origin)
}

/// A gateway that says also what nobody needs to mend.
fn talkative(config: &str) -> Gateway {
    Gateway::start_with(config, |command| {
        command.env("RUST_LOG", "info,keygate=debug");
    })
}

/// Clients may leave: so many have, and nobody is called for that at night.
fn check_that_it_has_left(gateway: &Gateway, times: usize) {
    gateway.program().wait_for("what the log says", |log| {
        (log.iter().filter(|line| line.contains("the client has left")).count() >= times).then_some(())
    });
    let log = gateway.program().log();
    assert!(!log.iter().any(|line| line.contains("ERROR")), "{log:?}");
}

#[test]
fn a_client_that_goes_away_before_the_first_byte_ends_the_request_at_the_upstream() {
    let (gone, origin) = silent_origin(b"");
    let gateway = talkative(&config("off", &origin));
    let departures: [Departure; 2] = [Client::abort, drop];
    for (number, leave) in departures.into_iter().enumerate() {
        let mut client = gateway.connect();
        client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
        wait_for("the request", || (origin.received().len() > number).then_some(()));
        leave(client);
        gone.recv_timeout(PATIENCE).expect("the upstream connection is closed");
        check_that_it_has_left(&gateway, number + 1);
    }
}

#[test]
fn an_http2_client_that_gives_up_ends_the_request_at_the_upstream() {
    for begun in [&b""[..], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"] {
        let (gone, origin) = silent_origin(begun);
        let gateway = talkative(&with_h2c(&config("off", &origin)));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let request = http::Request::get(format!("http://{}/", gateway.address())).body(()).unwrap();
        let (mut sender, response) = runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
            let (sender, connection) = h2::client::handshake(socket).await.unwrap();
            tokio::spawn(connection);
            let mut sender = sender.ready().await.unwrap();
            let (response, _) = sender.send_request(request, true).unwrap();
            (sender, response)
        });
        wait_for("the request", || origin.received().first().map(drop));
        if begun.is_empty() {
            drop(response);
        } else {
            let mut body = runtime.block_on(response).unwrap().into_body();
            assert_eq!(runtime.block_on(body.data()).unwrap().unwrap(), "x");
            drop(body);
        }
        gone.recv_timeout(PATIENCE).expect("the upstream connection is closed");
        check_that_it_has_left(&gateway, 1);
        // The stream was given up, not the connection.
        let health = http::Request::get(format!("http://{}/healthz", gateway.address())).body(()).unwrap();
        let (answer, _) = sender.send_request(health, true).unwrap();
        assert_eq!(runtime.block_on(answer).unwrap().status(), 200);
    }
}

/// Answers that break off: by length, in chunks, in a chunk.
const BROKEN: [&[u8]; 3] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n5\r\nbe",
];

/// An origin that sends one of them, whichever the path names, and closes.
fn breaking_origin() -> Origin {
    Origin::answering(|request, stream| {
        let number: usize = request.head.split(' ').nth(1).unwrap()[1..].parse().unwrap();
        stream.write_all(BROKEN[number])?;
        Err(ErrorKind::ConnectionAborted.into())
    })
}

#[test]
fn an_upstream_that_dies_within_its_answer_never_ends_it_cleanly_over_http1() {
    let origin = breaking_origin();
    let gateway = Gateway::start(&config("off", &origin));
    for number in 0..BROKEN.len() {
        let mut client = gateway.connect();
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let head = client.read_head().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        let rest = client.read_to_end();
        assert!(find(&rest, b"begun").is_some(), "what there is comes: {}", rest.escape_ascii());
        if head.contains("content-length: 10") {
            assert!(rest.len() < 10, "{}", rest.escape_ascii());
        } else {
            assert!(head.contains("transfer-encoding: chunked"), "{head}");
            assert!(!rest.ends_with(b"0\r\n\r\n"), "{}", rest.escape_ascii());
        }
    }
}

#[test]
fn an_upstream_that_dies_within_its_answer_never_ends_it_cleanly_over_http2() {
    let origin = breaking_origin();
    let gateway = Gateway::start(&with_h2c(&config("off", &origin)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for number in 0..BROKEN.len() {
        let request = http::Request::get(format!("http://{}/{number}", gateway.address())).body(()).unwrap();
        let exchange = async {
            let socket = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
            let (sender, connection) = h2::client::handshake(socket).await.unwrap();
            tokio::spawn(connection);
            let (response, _) = sender.ready().await.unwrap().send_request(request, true).unwrap();
            let mut body = response.await?.into_body();
            while let Some(part) = body.data().await {
                part?;
            }
            Ok::<(), h2::Error>(())
        };
        let outcome = runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange).await.unwrap() });
        assert!(outcome.as_ref().is_err_and(h2::Error::is_reset), "{number}: {outcome:?}");
    }
}

/// The most memory that the gateway has had resident, in bytes.
fn peak_memory(gateway: &Gateway) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.program().id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Or a buffer of 64 KiB that holds one event takes 64 KiB.
#[test]
fn memory_is_given_in_small_pages() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("off", &origin));
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.program().id())).unwrap();
    assert!(status.contains("\nTHP_enabled:\t0\n"), "{status}");
}

#[test]
fn a_slow_reader_holds_back_the_upstream_and_not_the_memory() {
    const WHOLE: usize = 192 * MIB;
    static HELD_BACK_AT: AtomicUsize = AtomicUsize::new(0);
    let origin = Origin::answering(|_, stream| {
        // What tells that nothing is taken any more: a write that waits for so long.
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {WHOLE}\r\n\r\n")?;
        let part = vec![b'x'; 64 * 1024];
        let mut written = 0;
        while written < WHOLE {
            match stream.write(&part[..part.len().min(WHOLE - written)]) {
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let _ = HELD_BACK_AT.compare_exchange(0, written, Ordering::SeqCst, Ordering::SeqCst);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    });
    let gateway = Gateway::start(&config("off", &origin));
    assert_eq!(gateway.exchange("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    let before = peak_memory(&gateway);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.read_head();
    let held_back_at = wait_for("the upstream to wait", || {
        Some(HELD_BACK_AT.load(Ordering::SeqCst)).filter(|&bytes| bytes > 0)
    });
    assert!(held_back_at < 64 * MIB, "{held_back_at} bytes are in buffers, of the kernel's mostly");
    let mut taken = 0;
    while taken < WHOLE {
        taken += client.read_exactly((WHOLE - taken).min(64 * 1024)).len();
    }
    let grown = peak_memory(&gateway) - before;
    assert!(grown < 24 * MIB, "{grown} bytes more");
}

/// A server that reads a head, says `first` if it is anything, counts the body that is announced and answers with its
/// length.
fn counting_server(first: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || count(&mut stream, first));
        }
    });
    address
}

fn count(stream: &mut TcpStream, first: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut buffer, mut head) = (vec![0; 64 * 1024], Vec::new());
    let end = loop {
        if let Some(end) = find(&head, b"\r\n\r\n") {
            break end + 4;
        }
        let read = stream.read(&mut buffer)?;
        head.extend(&buffer[..read]);
    };
    let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let length: usize = length.parse().unwrap();
    if text.contains("expect: 100-continue") {
        assert_eq!(head.len(), end, "no content before it was asked for");
        stream.write_all(first)?;
    }
    let mut counted = head.len() - end;
    while counted < length {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => counted += read,
        }
    }
    let answer = counted.to_string();
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())
}

fn gateway_before(address: SocketAddr) -> Gateway {
    Gateway::start(&format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: strict, api_key: {KEY}}}\n\
         upstreams: {{o: {{peers: ['{address}']}}}}\nroutes: [{{path_prefix: /, upstream: o}}]\n"
    ))
}

#[test]
fn a_large_upload_takes_no_memory() {
    const WHOLE: usize = 192 * MIB;
    let gateway = gateway_before(counting_server(b""));
    let before = peak_memory(&gateway);
    let mut client = gateway.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\nContent-Length: {WHOLE}\r\n\r\n"
    ));
    let part = vec![b'x'; 64 * 1024];
    for _ in 0..WHOLE / part.len() {
        client.send(&part);
    }
    assert_eq!(client.response().body, WHOLE.to_string().into_bytes());
    let grown = peak_memory(&gateway) - before;
    assert!(grown < 24 * MIB, "{grown} bytes more");
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it_from_the_upstream() {
    let gateway = gateway_before(counting_server(b"HTTP/1.1 100 Continue\r\n\r\n"));
    let head = |key: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
    };
    let mut client = gateway.connect();
    client.send(head(KEY));
    assert!(client.read_head().starts_with("HTTP/1.1 100 "));
    client.send("hello");
    let response = client.response();
    assert_eq!((response.status, response.body.as_slice()), (200, &b"5"[..]));
    assert_eq!(response.header("connection"), Some("keep-alive"), "it may ask again");
    client.send(head(KEY));
    assert!(client.read_head().starts_with("HTTP/1.1 100 "));
    client.send("hello");
    assert_eq!(client.response().status, 200);
    let refused = gateway.exchange(head("sk-wrong"));
    assert_eq!(refused.status, 401, "no content is asked for in vain");
}

#[test]
fn a_refusal_in_place_of_100_continue_reaches_the_client() {
    let refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    let gateway = gateway_before(counting_server(refusal));
    let response = gateway.exchange(format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    ));
    assert_eq!((response.status, response.body.as_slice()), (413, &b"no"[..]));
}
