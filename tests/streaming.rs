//! Streams pass event by event: nothing waits for the end.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::support::{Gateway, Origin, config};

/// An origin that sends one event for each message of the channel, and ends the stream with the channel.
fn event_origin() -> (Sender<&'static str>, Origin) {
    let (sender, events): (_, Receiver<&'static str>) = channel();
    let events = Mutex::new(Some(events));
    let origin = Origin::answering(move |_, stream| {
        let events = events.lock().unwrap().take().unwrap();
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        for event in events {
            write!(stream, "{:x}\r\n{event}\r\n", event.len())?;
        }
        stream.write_all(b"0\r\n\r\n")
    });
    (sender, origin)
}

#[test]
fn each_event_arrives_before_the_next_one_is_sent() {
    let (events, origin) = event_origin();
    let gateway = Gateway::start(&config("off", &origin));
    let mut client = gateway.connect();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    assert!(
        client.read_head().starts_with("HTTP/1.1 200 "),
        "the header section comes before the first event"
    );
    for event in ["data: one\n\n", "data: two\n\n", "data: [DONE]\n\n"] {
        events.send(event).unwrap();
        assert_eq!(client.read_chunk().unwrap(), event.as_bytes());
    }
    drop(events);
    assert_eq!(client.read_chunk(), None);
    let next = client.exchange("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(next.status, 200, "the connection goes on behind the stream");
}

#[test]
fn a_request_body_is_passed_on_while_it_is_being_sent() {
    let (sender, parts) = channel();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        }
    });
    let text = format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: off}}\nupstreams: {{o: {{peers: ['{address}']}}}}\n\
         routes: [{{path_prefix: /, upstream: o}}]\n"
    );
    let gateway = Gateway::start(&text);
    for (field, pieces) in [
        ("Transfer-Encoding: chunked", ["5\r\nfirst\r\n", "6\r\nsecond\r\n"]),
        ("Content-Length: 100", ["first", "second"]),
    ] {
        let mut client = gateway.connect();
        let mut received = Vec::new();
        let mut receive_until = |end: &[u8]| {
            while !received.ends_with(end) {
                received.extend(parts.recv_timeout(crate::support::PATIENCE).unwrap());
            }
        };
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n"));
        for piece in pieces {
            client.send(piece);
            receive_until(piece.as_bytes());
        }
    }
}

/// Nothing says of a body whose length is known that it is a stream; it passes like one all the same.
#[test]
fn a_part_of_an_answer_arrives_before_the_next_one_is_sent() {
    for (version, fields) in [
        ("1.1", "Content-Length: 10\r\n"),
        ("1.1", "Connection: close\r\n"),
        ("1.0", "Content-Length: 10\r\n"),
        ("1.0", "Connection: close\r\n"),
    ] {
        let (sender, parts): (_, Receiver<&'static str>) = channel();
        let parts = Mutex::new(Some(parts));
        let origin = Origin::answering(move |_, stream| {
            let parts = parts.lock().unwrap().take().unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\n{fields}\r\n")?;
            for part in parts {
                stream.write_all(part.as_bytes())?;
            }
            Err(std::io::ErrorKind::ConnectionAborted.into())
        });
        let gateway = Gateway::start(&config("off", &origin));
        let mut client = gateway.connect();
        client.send(format!("GET / HTTP/{version}\r\nHost: localhost\r\n\r\n"));
        let head = client.read_head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        for part in ["first", "next "] {
            sender.send(part).unwrap();
            let came = match head.contains("chunked") {
                true => client.read_chunk().unwrap(),
                false => client.read_exactly(part.len()),
            };
            assert_eq!(came, part.as_bytes(), "{head}");
        }
    }
}

#[test]
fn a_client_that_goes_away_ends_the_request_at_the_upstream() {
    let (gone_sender, gone) = channel();
    let gone_sender = Mutex::new(gone_sender);
    let origin = Origin::answering(move |_, stream| {
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        )?;
        // Nothing more is sent: only the close can end this read.
        let end = stream.read(&mut [0]);
        gone_sender.lock().unwrap().send(end.is_err() || end.is_ok_and(|read| read == 0)).unwrap();
        Err(std::io::ErrorKind::ConnectionAborted.into())
    });
    let gateway = Gateway::start(&config("off", &origin));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.read_head();
    assert_eq!(client.read_chunk().unwrap(), b"x");
    client.abort();
    assert!(gone.recv_timeout(crate::support::PATIENCE).unwrap(), "the upstream connection is closed");
}
