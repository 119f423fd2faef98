//! The upstream that records: header sections byte for byte, and whether each request was whole. Strict, so that what is
//! smuggled to it in a body is none of its requests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::exchange::OF_ANOTHER;
use crate::support::find;

/// What an answer to `/large` holds: pieces, and bytes in each.
const LARGE: (usize, usize) = (64, 64 * 1024);

/// Where the recording upstream listens, and what has come; it lives as long as the test's process.
pub(super) struct Recorder {
    pub(super) address: SocketAddr,
    records: Arc<Mutex<Vec<Shared>>>,
}

type Shared = Arc<Mutex<Record>>;

/// A request, or the beginning of one.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// The request line and the field lines, one character a byte, without the empty line.
    pub(super) head: String,
    /// Whether the header section ended.
    pub(super) has_head: bool,
    /// Whether all of it came, with its body.
    pub(super) is_whole: bool,
}

impl Record {
    pub(super) fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    /// The values of all lines of a field.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        self.head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(field, _)| field.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }
}

impl Recorder {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let recorder = Self { address: listener.local_addr().unwrap(), records: Arc::default() };
        let records = Arc::clone(&recorder.records);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let records = Arc::clone(&records);
                std::thread::spawn(move || Connection { stream, unread: Vec::new() }.serve(&records));
            }
        });
        recorder
    }

    /// What has come since it was asked last, without the requests of others.
    pub(super) fn take(&self) -> Vec<Record> {
        let records = std::mem::take(&mut *self.records.lock().unwrap());
        let records = records.iter().map(|record| record.lock().unwrap().clone());
        records.filter(|record| !record.line().contains(OF_ANOTHER)).collect()
    }
}

struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    /// Until the gateway closes, or sends what is no request.
    fn serve(mut self, records: &Mutex<Vec<Shared>>) -> Option<()> {
        loop {
            while self.unread.is_empty() {
                self.read_more()?;
            }
            let record = Shared::default();
            records.lock().unwrap().push(Arc::clone(&record));
            let end = loop {
                record.lock().unwrap().head = characters(&self.unread);
                match find(&self.unread, b"\r\n\r\n") {
                    Some(end) => break end,
                    None => self.read_more()?,
                }
            };
            let head: Vec<u8> = self.unread.drain(..end + 4).collect();
            let came = Record { head: characters(&head[..end]), has_head: true, is_whole: false };
            record.lock().unwrap().clone_from(&came);
            self.read_body(&came)?;
            record.lock().unwrap().is_whole = true;
            self.answer(&came)?;
        }
    }

    fn read_body(&mut self, request: &Record) -> Option<()> {
        if request.values("transfer-encoding").join(",").to_ascii_lowercase().contains("chunked") {
            return self.read_chunks();
        }
        let lengths = request.values("content-length");
        let Some((&length, others)) = lengths.split_first() else { return Some(()) };
        let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || others.iter().any(|&other| other != length) {
            return None;
        }
        self.skip(length.parse().ok()?)
    }

    fn read_chunks(&mut self) -> Option<()> {
        loop {
            let line = self.read_line()?;
            let size = line.split(|&byte| byte == b';').next()?;
            let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
            if size == 0 {
                while !self.read_line()?.is_empty() {}
                return Some(());
            }
            self.skip(size.checked_add(2)?)?;
        }
    }

    fn read_line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let line = self.unread[..end].to_vec();
                self.unread.drain(..end + 2);
                return Some(line);
            }
            self.read_more()?;
        }
    }

    fn skip(&mut self, mut length: usize) -> Option<()> {
        while length > self.unread.len() {
            length -= self.unread.len();
            self.unread.clear();
            self.read_more()?;
        }
        self.unread.drain(..length);
        Some(())
    }

    /// `None` once the gateway has closed.
    fn read_more(&mut self) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        let read = self.stream.read(&mut buffer).ok().filter(|&read| read > 0)?;
        self.unread.extend(&buffer[..read]);
        Some(())
    }

    fn answer(&mut self, request: &Record) -> Option<()> {
        const SWITCHING: &str =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
        let path = request.line().split(' ').nth(1).unwrap_or_default();
        let asks = request.values("upgrade").iter().any(|value| value.eq_ignore_ascii_case("websocket"));
        if path.starts_with("/ws101") && asks {
            self.send(&format!("{SWITCHING}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"))?;
            // What comes now are no requests.
            loop {
                self.read_more()?;
            }
        }
        if path.starts_with("/force101") {
            return self.send(&format!("{SWITCHING}\r\n"));
        }
        if path.starts_with("/ws426") {
            return self.send("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
        }
        if path.starts_with("/large") {
            let (pieces, bytes) = LARGE;
            self.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", pieces * bytes))?;
            let piece = "x".repeat(bytes);
            return (0..pieces).try_for_each(|_| self.send(&piece));
        }
        let body = if request.line().starts_with("HEAD") { "" } else { "ok" };
        self.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}"))
    }

    fn send(&mut self, answer: &str) -> Option<()> {
        self.stream.write_all(answer.as_bytes()).ok()
    }
}

fn characters(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}
