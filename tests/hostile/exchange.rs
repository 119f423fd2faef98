//! A case over HTTP/1.1: bytes out, and what came back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::case::{Case, Close, KEY, Outcome, expand};
use crate::support::{Client, PATIENCE, find};

/// How long something more may take to come that should not come at all: a second response, an end. Only a fault could
/// be missed by it.
const SETTLE: Duration = Duration::from_millis(100);

/// What a client has seen of a connection.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What became of each request; over HTTP/1.1 the final responses in their order.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) is_closed: bool,
    /// All bytes, over HTTP/1.1.
    pub(super) bytes: Vec<u8>,
}

/// Sends this and reads until all is there that the case expects, and then what comes at once.
pub(super) fn send(case: &Case, address: SocketAddr, request: &[u8]) -> Seen {
    let socket = connect(address);
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        // Beside reading: the gateway may answer, and close, before it has read all.
        scope.spawn(|| {
            let _ = (&socket).write_all(request);
            if case.note.contains("half-closes") {
                let _ = socket.shutdown(Shutdown::Write);
            }
        });
        let is_head = request.starts_with(b"HEAD");
        let begun = Instant::now();
        while !seen.is_closed && begun.elapsed() < PATIENCE && seen.read(&socket, wait(case, &seen), is_head)
        {
        }
        let _ = socket.shutdown(Shutdown::Both);
    });
    seen
}

/// Sends piece after piece, each at its time, until the gateway closes. What is not over by then counts as it is.
pub(super) fn send_steps(case: &Case, address: SocketAddr) -> Seen {
    let socket = connect(address);
    let mut seen = Seen::default();
    let host = address.to_string();
    for step in case.steps.iter().flat_map(|step| std::iter::repeat_n(step, step.times)) {
        let sent = (&socket).write_all(&expand(&step.send, &host, 0));
        // The pace of the client.
        let until = Instant::now() + Duration::from_millis(step.wait_ms);
        let left = || until.saturating_duration_since(Instant::now());
        while !seen.is_closed && seen.read(&socket, left(), false) {}
        if seen.is_closed || sent.is_err() {
            break;
        }
    }
    while !seen.is_closed && seen.read(&socket, SETTLE, false) {}
    seen
}

/// The path of the requests that are none of a case.
pub(super) const OF_ANOTHER: &str = "/of-another";

/// Asks with the key, as a client that has done nothing.
pub(super) fn ask_as_another(address: SocketAddr) -> Outcome {
    let request = format!("GET {OF_ANOTHER} HTTP/1.1\r\nHost: {address}\r\nx-api-key: {KEY}\r\n\r\n");
    Outcome::Status(Client::connect(address).exchange(request).status)
}

pub(super) fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// How long to wait for more.
fn wait(case: &Case, seen: &Seen) -> Duration {
    let expected = if case.expect.second.is_some() { 2 } else { 1 };
    let must_close = case.expect.close == Close::Must && seen.outcomes.first() != Some(&Outcome::Status(101));
    if seen.outcomes.len() < expected || must_close { PATIENCE } else { SETTLE }
}

impl Seen {
    /// Whether anything came in time, an end too.
    fn read(&mut self, socket: &TcpStream, limit: Duration, is_head: bool) -> bool {
        socket.set_read_timeout(Some(limit.max(Duration::from_millis(1)))).unwrap();
        let mut buffer = [0; 64 * 1024];
        let mut reader = socket;
        match reader.read(&mut buffer) {
            Ok(0) => self.is_closed = true,
            Ok(read) => {
                self.bytes.extend(&buffer[..read]);
                self.outcomes = statuses(&self.bytes, is_head).into_iter().map(Outcome::Status).collect();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            Err(_) => self.is_closed = true,
        }
        true
    }
}

/// The final responses whose header sections are there.
fn statuses(mut bytes: &[u8], is_head: bool) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some((status, length)) = response(bytes, is_head) {
        if status != 100 {
            statuses.push(status);
        }
        // Behind a 101 there are no responses.
        let Some(rest) = length.filter(|_| status != 101).and_then(|length| bytes.get(length..)) else {
            break;
        };
        bytes = rest;
    }
    statuses
}

/// The status of the first response, and how long it is with its body if it says so and that is there.
fn response(bytes: &[u8], is_head: bool) -> Option<(u16, Option<usize>)> {
    let end = find(bytes, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status: u16 = head.strip_prefix("http/1.1 ")?.get(..3)?.parse().ok()?;
    let field = |name: &str| {
        let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| *field == name).map(|(_, value)| value.trim())
    };
    let content = end + 4;
    let length = if is_head || matches!(status, 100..=199 | 204 | 304) {
        Some(content)
    } else if field("transfer-encoding").is_some() {
        find(&bytes[content..], b"0\r\n\r\n").map(|last| content + last + 5)
    } else {
        field("content-length").map(|length| content + length.parse::<usize>().unwrap())
    };
    Some((status, length))
}
