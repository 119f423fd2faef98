//! A case over HTTP/2 by prior knowledge: frames byte for byte (RFC 9113 §4.1), as no library would send them.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use super::case::{CLOSE, GOAWAY, Http2Request, Outcome, RST, TIMEOUT, expand};
use super::exchange::connect;
use crate::support::PATIENCE;

/// The types of frames (RFC 9113 §6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
const GO_AWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// Their flags.
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// SETTINGS_HEADER_TABLE_SIZE (§6.5.2) of 0: a response's `:status` then stands in its header block as it is.
const NO_TABLE: [u8; 6] = [0, 1, 0, 0, 0, 0];

/// SETTINGS_INITIAL_WINDOW_SIZE of 0: nothing of a body may be sent.
pub(super) const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

pub(super) type Fields = [(Vec<u8>, Vec<u8>)];

pub(super) struct Connection {
    socket: TcpStream,
    unread: VecDeque<u8>,
}

/// What a frame says of what became of a stream.
enum Event {
    On(u32, Outcome),
    OfAll(Outcome),
    Nothing,
}

impl Connection {
    /// Connects, and sends the preface with these settings.
    pub(super) fn open(address: SocketAddr, settings: &[u8]) -> Self {
        let socket = connect(address);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let settings = [&NO_TABLE[..], settings].concat();
        let first = [PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat();
        (&socket).write_all(&first).unwrap();
        Self { socket, unread: VecDeque::new() }
    }

    /// Sends these frames, and reads what comes meanwhile until it is known what becomes of the stream.
    pub(super) fn play(&mut self, frames: impl Iterator<Item = Vec<u8>> + Send, stream: u32) -> Outcome {
        let socket = self.socket.try_clone().unwrap();
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || {
                let mut buffered = std::io::BufWriter::with_capacity(64 * 1024, &socket);
                for frame in frames {
                    buffered.write_all(&frame)?;
                }
                buffered.flush()
            });
            let outcome = self.outcome(stream);
            if !matches!(outcome, Outcome::Status(_) | RST) {
                let _ = self.socket.shutdown(Shutdown::Both);
            }
            // What the gateway does not take any more is no fault.
            let _ = sender.join().unwrap();
            outcome
        })
    }

    fn outcome(&mut self, stream: u32) -> Outcome {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match self.read_event() {
                Ok(Event::On(on, outcome)) if on == stream => return outcome,
                Ok(Event::OfAll(outcome)) => return outcome,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(_) => return CLOSE,
            }
        }
        TIMEOUT
    }

    fn read_event(&mut self) -> std::io::Result<Event> {
        let head = self.read_exactly(9)?;
        let payload =
            self.read_exactly(usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]))?;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Ok(match head[3] {
            // A response of 1xx is not the answer yet, and trailers have no status.
            HEADERS => match status(&payload) {
                Some(status @ 200..) => Event::On(stream, Outcome::Status(status)),
                _ => Event::Nothing,
            },
            RST_STREAM => Event::On(stream, RST),
            GO_AWAY => Event::OfAll(GOAWAY),
            _ => Event::Nothing,
        })
    }

    fn read_exactly(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        let mut buffer = [0; 16 * 1024];
        while self.unread.len() < length {
            match self.socket.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => self.unread.extend(&buffer[..read]),
            }
        }
        Ok(self.unread.drain(..length).collect())
    }
}

/// Sends requests, one after the other on one connection, and tells what became of each.
pub(super) fn send_requests(requests: &[Http2Request], address: SocketAddr) -> Vec<Outcome> {
    let host = address.to_string();
    let mut connection = Connection::open(address, &[]);
    let streams = (1..).step_by(2);
    let played = requests
        .iter()
        .zip(streams)
        .map(|(request, stream)| connection.play(frames_of(request, &host, stream).into_iter(), stream));
    played.collect()
}

fn frames_of(request: &Http2Request, host: &str, stream: u32) -> Vec<Vec<u8>> {
    let fields = |fields: &[(String, String)]| {
        let expanded = |text: &String| expand(text, host, 0);
        fields.iter().map(|(name, value)| (expanded(name), expanded(value))).collect::<Vec<_>>()
    };
    let mut parts = vec![(HEADERS, END_HEADERS, header_block(&fields(&request.headers)))];
    parts.extend(request.data.iter().map(|data| (DATA, 0, expand(data, host, 0))));
    if !request.trailers.is_empty() {
        parts.push((HEADERS, END_HEADERS, header_block(&fields(&request.trailers))));
    }
    parts.last_mut().unwrap().1 |= END_STREAM;
    parts.into_iter().map(|(kind, flags, payload)| frame(kind, flags, stream, &payload)).collect()
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Each field as a literal that is not indexed, with a name of its own and without Huffman's code (RFC 7541 §6.2.2).
pub(super) fn header_block(fields: &Fields) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.extend(length(text.len()));
            block.extend(text);
        }
    }
    block
}

/// A number with a prefix of seven bits (RFC 7541 §5.1).
pub(super) fn length(length: usize) -> Vec<u8> {
    let Some(mut rest) = length.checked_sub(127) else { return vec![u8::try_from(length).unwrap()] };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// The `:status` that a header block begins with, where the encoder has no dynamic table (RFC 7541 §6, appendix A).
fn status(block: &[u8]) -> Option<u16> {
    let updates = block.iter().take_while(|&&byte| byte & 0xe0 == 0x20).count();
    match block[updates..] {
        [index @ 0x88..=0x8e, ..] => Some([200, 204, 206, 304, 400, 404, 500][usize::from(index - 0x88)]),
        // A literal with the name of entry 8, however the encoder wants it to be indexed.
        [0x08 | 0x18 | 0x48, 3, ref digits @ ..] => std::str::from_utf8(digits.get(..3)?).ok()?.parse().ok(),
        [0x08 | 0x18 | 0x48, length, ref code @ ..] if length & 0x80 != 0 => {
            digits(code.get(..usize::from(length & 0x7f))?)
        }
        _ => None,
    }
}

/// Three digits in Huffman's code, which has 5 bits for `0` to `2` and 6 for the others (RFC 7541 appendix B).
fn digits(code: &[u8]) -> Option<u16> {
    let bit = |at: usize| code.get(at / 8).map(|byte| u16::from(byte >> (7 - at % 8) & 1));
    let bits =
        |from: usize, count: usize| (from..from + count).try_fold(0, |sum, at| Some(sum * 2 + bit(at)?));
    let mut at = 0;
    (0..3).try_fold(0, |number, _| {
        let short = bits(at, 5)?;
        let (digit, length) = if short < 3 { (short, 5) } else { (bits(at, 6)?.checked_sub(0x16)?, 6) };
        at += length;
        (digit < 10).then_some(number * 10 + digit)
    })
}

#[test]
fn the_status_of_a_response_is_read_however_it_is_written() {
    for (block, read) in [
        (&b"\x20\x88"[..], Some(200)),
        (b"\x8d", Some(404)),
        (b"\x48\x03401", Some(401)),
        (b"\x48\x82\x68\x01", Some(401)),
        (b"\x08\x83\x69\x90\xff", Some(431)),
        (b"\x00\x01a\x01b", None),
    ] {
        assert_eq!(status(block), read, "{}", block.escape_ascii());
    }
}
