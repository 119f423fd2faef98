//! How many connections there may be, and how long each may take to ask for something.

use std::io::Write;

use crate::support::{Client, Gateway, Origin, config, wait_for};

fn limited(origin: &Origin, limits: &str) -> Gateway {
    let section = format!("proxy:\n  keepalive_timeout: 1s\n  connection_limits: {{{limits}}}\n");
    Gateway::start(&config("off", origin).replacen("proxy:\n", &section, 1))
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_header_section_that_never_ends_is_not_waited_for() {
    let origin = Origin::start();
    let gateway = limited(&origin, "header_timeout: 300ms");
    for start in ["", "G", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut slow = gateway.connect();
        slow.send(start);
        slow.expect_close();
    }
    // A byte now and then makes no difference.
    let mut dripping = gateway.connect();
    for byte in REQUEST.bytes().cycle() {
        if dripping.try_send(&[byte]).is_err() {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    assert!(origin.received().len() <= 1, "{:?}", origin.received());
}

#[test]
fn the_next_request_of_a_connection_has_a_limit_too() {
    let origin = Origin::start();
    let gateway = limited(&origin, "header_timeout: 300ms");
    let mut client = gateway.connect();
    assert_eq!(client.exchange(REQUEST).status, 200);
    client.send("GET / HTTP/1.1\r\n");
    client.expect_close();
}

#[test]
fn a_byte_at_the_last_moment_does_not_begin_the_time_anew() {
    let origin = Origin::start();
    let gateway = limited(&origin, "header_timeout: 1500ms");
    let wait = |millis| std::thread::park_timeout(std::time::Duration::from_millis(millis));
    let mut late = gateway.connect();
    wait(800);
    let mut silent = gateway.connect();
    wait(200);
    late.send("G");
    late.expect_close();
    assert_eq!(silent.exchange(REQUEST).status, 200, "that one came later, and has time left");
}

#[test]
fn an_answer_may_take_longer_than_a_header_section() {
    let origin = Origin::answering(|_, stream| {
        std::thread::park_timeout(std::time::Duration::from_millis(700));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let gateway = limited(&origin, "header_timeout: 200ms");
    assert_eq!(gateway.exchange(REQUEST).body, b"ok");
}

/// Whether a new connection is served; its client is kept.
fn served(gateway: &Gateway) -> Option<Client> {
    let mut client = gateway.connect();
    client.try_exchange(REQUEST).map(|response| {
        assert_eq!(response.status, 200);
        client
    })
}

#[test]
fn there_are_so_many_connections_and_no_more() {
    let origin = Origin::start();
    for limits in ["total: 2", "per_client: 2"] {
        let gateway = limited(&origin, limits);
        let (first, second) = (served(&gateway), served(&gateway));
        assert!(first.is_some() && second.is_some(), "{limits}");
        assert!(served(&gateway).is_none(), "{limits}: a third");
        drop(first);
        wait_for("a free place", || served(&gateway));
    }
}

#[test]
fn a_connection_ends_after_its_last_request() {
    let origin = Origin::start();
    let gateway = limited(&origin, "requests: 3");
    let mut client = gateway.connect();
    let connection: Vec<_> = (0..3)
        .map(|_| client.exchange(REQUEST).header("connection").unwrap_or("keep-alive").to_owned())
        .collect();
    assert_eq!(connection.last().map(String::as_str), Some("close"), "{connection:?}");
    client.expect_close();
}
