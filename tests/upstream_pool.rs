//! Connections to upstreams between two requests: used again, closed in time, and never with an answer that is not theirs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::support::{Gateway, PATIENCE};

/// A peer whose connections the test answers by hand, one request after another.
struct Peer {
    connections: Receiver<TcpStream>,
    gateway: Gateway,
}

impl Peer {
    fn start(timeouts: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, connections): (Sender<TcpStream>, _) = channel();
        thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| accepted.send(stream)));
        // One thread: each thread keeps connections of its own.
        let gateway = Gateway::start(&format!(
            "proxy: {{listen: ['127.0.0.1:0'], auth_mode: off, threads: 1}}\n\
             upstreams: {{o: {{peers: ['{address}'], timeouts: {{{timeouts}}}}}}}\nroutes: [{{path_prefix: /, upstream: o}}]\n"
        ));
        Self { connections, gateway }
    }

    fn accept(&self) -> TcpStream {
        let stream = self.connections.recv_timeout(PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

/// Reads a request for `path` to its end, and answers it with its path.
fn answer(stream: &mut TcpStream, path: &str) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && !request.ends_with(b"the body") {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&request));
        request.extend(&bytes[..read]);
    }
    assert!(String::from_utf8_lossy(&request).contains(&format!(" {path} HTTP/1.1\r\n")));
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()).unwrap();
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn post(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nthe body")
}

#[test]
fn an_idle_connection_is_closed_when_its_time_is_over() {
    let peer = Peer::start("idle: 1s");
    let mut client = peer.gateway.connect();
    client.send(get("/a"));
    let mut stream = peer.accept();
    answer(&mut stream, "/a");
    assert_eq!(client.response().body, b"/a");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn one_that_the_peer_has_closed_is_not_used_again() {
    let peer = Peer::start("");
    let mut client = peer.gateway.connect();
    for number in 0..50 {
        let path = format!("/{number}");
        client.send(post(&path));
        answer(&mut peer.accept(), &path);
        assert_eq!(client.response().body, path.as_bytes());
    }
}

/// As behind a load balancer that went away: every idle connection is dead, and nobody has been told.
#[test]
fn when_one_is_closed_as_it_is_used_again_the_others_are_not_tried() {
    let peer = Peer::start("");
    let mut clients: Vec<_> = (0..4).map(|_| peer.gateway.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/a")));
    let mut streams: Vec<_> = clients.iter().map(|_| peer.accept()).collect();
    streams.iter_mut().for_each(|stream| answer(stream, "/a"));
    for client in &mut clients {
        assert_eq!(client.response().body, b"/a");
    }
    for mut stream in streams {
        thread::spawn(move || stream.read(&mut [0; 4096]).map(drop));
    }
    clients[0].send(get("/b"));
    answer(&mut peer.accept(), "/b");
    assert_eq!(clients[0].response().body, b"/b");
}

#[test]
fn what_a_peer_sends_unasked_is_nobodys_answer() {
    for unasked in ["x", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"] {
        let peer = Peer::start("");
        let mut client = peer.gateway.connect();
        client.send(get("/a"));
        let mut stream = peer.accept();
        answer(&mut stream, "/a");
        assert_eq!(client.response().body, b"/a");
        stream.write_all(unasked.as_bytes()).unwrap();
        client.send(get("/b"));
        answer(&mut peer.accept(), "/b");
        assert_eq!(client.response().body, b"/b");
    }
}
