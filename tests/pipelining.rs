//! Requests that a client sends before the answer to the one before: served in order, each decided by itself.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Gateway, KEY, Origin, config, wait_for};

/// An origin that answers with the path it was asked for.
fn echoing() -> Origin {
    Origin::answering(|request, stream| {
        let path = request.head.split(' ').nth(1).unwrap();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len())
    })
}

/// An origin that answers a request for `/held` once it may, others at once.
fn holding(released: &'static AtomicBool) -> Origin {
    Origin::answering(|request, stream| {
        if request.head.starts_with("GET /held ") {
            wait_for("the release", || released.load(Ordering::SeqCst).then_some(()));
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    })
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n\r\n")
}

fn post(path: &str, framing: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n{framing}\r\n\r\n{body}")
}

fn paths(origin: &Origin) -> Vec<String> {
    origin.received().iter().map(|request| request.head.split(' ').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn requests_in_one_packet_are_answered_in_order() {
    let origin = echoing();
    let gateway = Gateway::start(&config("strict", &origin));
    let mut client = gateway.connect();
    let chunked = post("/4", "Transfer-Encoding: chunked", "4\r\nbody\r\n0\r\n\r\n");
    client.send("\r\n".to_owned() + &get("/1") + &get("/2") + "\r\n\r\n" + &get("/3") + &chunked);
    for path in ["/1", "/2", "/3", "/4"] {
        let response = client.response();
        assert_eq!((response.status, response.body.as_slice()), (200, path.as_bytes()));
    }
    assert_eq!(client.exchange(get("/5")).body, b"/5", "the connection goes on");
    assert_eq!(paths(&origin), ["/1", "/2", "/3", "/4", "/5"]);
}

#[test]
fn each_ends_where_the_next_begins_in_one_packet_and_in_pieces() {
    let origin = echoing();
    let gateway = Gateway::start(&config("strict", &origin));
    let delete = get("/3").replacen("GET", "DELETE", 1);
    let large = get("/6").replacen("\r\n", &format!("\r\nx-large: {}\r\n", "a".repeat(10_000)), 1);
    let chunked = post("/4", "Transfer-Encoding: chunked", "4;a=b\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n");
    let all = post("/1", "Content-Length: 4", "body")
        + &post("/2", "Content-Length: 0", "")
        + &delete
        + &chunked
        + &get("/5").replace("\r\n", "\n")
        + &large
        + &get("/7");
    let in_pieces = |piece: usize| {
        let mut client = gateway.connect();
        for bytes in all.as_bytes().chunks(piece) {
            client.send(bytes);
        }
        for path in 1..=7 {
            let response = client.response();
            assert_eq!(response.body, format!("/{path}").as_bytes(), "pieces of {piece}");
            assert_ne!(response.header("connection"), Some("close"), "pieces of {piece}");
        }
        assert_eq!(client.exchange(get("/8")).body, b"/8", "the connection goes on");
    };
    for piece in [1, 7, 64, 1000, all.len()] {
        in_pieces(piece);
    }
    assert_eq!(paths(&origin).len(), 5 * 8);
}

#[test]
fn an_empty_line_too_many_may_come_in_two() {
    let origin = echoing();
    let gateway = Gateway::start(&config("strict", &origin));
    let mut client = gateway.connect();
    assert_eq!(client.exchange(post("/1", "Content-Length: 4", "body") + "\r").body, b"/1");
    assert_eq!(client.exchange("\n".to_owned() + &get("/2")).body, b"/2");
}

/// A front that ends a line of chunks at its LF takes all of this for the body of one request.
#[test]
fn a_line_of_chunks_that_two_parsers_end_in_two_places_is_refused() {
    let origin = echoing();
    let gateway = Gateway::start(&config("strict", &origin));
    let smuggled = get("/smuggled");
    let hidden = format!("2;\nxx\r\n{:x}\r\n0\r\n\r\n", smuggled.len() + 5);
    for first in [1, 3, 4, 8, hidden.len() - 5, hidden.len()] {
        let mut client = gateway.connect();
        client.send(post("/first", "Transfer-Encoding: chunked", &hidden[..first]));
        client.send(hidden[first..].to_owned() + &smuggled + "\r\n0\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status, response.header("x-keygate-error")), (400, Some("bad_request")));
        let body = String::from_utf8(response.body).unwrap();
        assert!(body.contains("chunked body is malformed"), "{body}");
        client.expect_close();
    }
    // The same where the answer does not wait for the body.
    let refused = post("/first", "Transfer-Encoding: chunked", &hidden).replacen("POST", "TRACE", 1);
    let mut client = gateway.connect();
    assert_eq!(client.exchange(refused).status, 405);
    let _ = client.try_send((smuggled + "\r\n0\r\n\r\n").as_bytes());
    client.expect_close();
    assert!(paths(&origin).iter().all(|path| path == "/first"), "{:?}", paths(&origin));
}

#[test]
fn a_large_one_waits_for_its_turn_too() {
    static RELEASED: AtomicBool = AtomicBool::new(false);
    let origin = holding(&RELEASED);
    let gateway = Gateway::start(&config("strict", &origin));
    let mut client = gateway.connect();
    let body = "a".repeat(1 << 20);
    client.send(get("/held"));
    wait_for("the first", || (origin.received().len() == 1).then_some(()));
    client.send(post("/large", &format!("Content-Length: {}", body.len()), ""));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(gateway.exchange(get("/other")).status, 200);
            RELEASED.store(true, Ordering::SeqCst);
        });
        client.send(&body);
    });
    for _ in 0..2 {
        assert_eq!(client.response().status, 200);
    }
    let received = origin.received();
    assert_eq!(received.last().unwrap().body.len(), body.len());
}

#[test]
fn one_that_comes_while_the_first_is_under_way_disturbs_nothing() {
    static RELEASED: AtomicBool = AtomicBool::new(false);
    let origin = holding(&RELEASED);
    let gateway = Gateway::start(&config("strict", &origin));
    let mut client = gateway.connect();
    client.send(get("/held"));
    wait_for("the first", || (origin.received().len() == 1).then_some(()));
    client.send(get("/next"));
    // Another connection's request that came later is done: what was sent before has been read.
    assert_eq!(gateway.exchange(get("/other")).status, 200);
    assert_eq!(paths(&origin), ["/held", "/other"], "the second waits for its turn");
    RELEASED.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(paths(&origin), ["/held", "/other", "/next"]);
}

#[test]
fn each_is_decided_by_itself() {
    let origin = echoing();
    let gateway = Gateway::start(&config("strict", &origin));
    let mut client = gateway.connect();
    let keyless = "GET /no HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // The body of one that is refused is no request, whatever it looks like.
    let refused = format!(
        "POST /no HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}",
        get("/smuggled").len(),
        get("/smuggled")
    );
    client.send(get("/1") + keyless + &get("/2") + &refused);
    let statuses: Vec<u16> = (0..4).map(|_| client.response().status).collect();
    assert_eq!(statuses, [200, 401, 200, 401]);
    assert_eq!(paths(&origin), ["/1", "/2"]);
}

#[test]
fn behind_one_that_can_be_read_in_two_ways_nothing_is_a_request() {
    let origin = echoing();
    let gateway = Gateway::start(&config("strict", &origin));
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding : chunked",
        "Connection: close\r\nContent-Length: 5",
    ] {
        let mut client = gateway.connect();
        client.send(post("/first", framing, "0\r\n\r\n") + &get("/smuggled"));
        let status = client.response().status;
        assert!(matches!(status, 200 | 400 | 501), "{framing}: {status}");
        client.expect_close();
    }
    assert_eq!(paths(&origin), ["/first"], "the last of them alone is a request");
}
