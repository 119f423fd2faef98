//! The attacks over HTTP/2 that the cases name, frame by frame.

use std::iter::{once, repeat_n};
use std::net::SocketAddr;

use super::case::{Attack, Http2, KEY, Outcome};
use super::http2::{
    CONTINUATION, Connection, DATA, END_HEADERS, END_STREAM, HEADERS, NO_WINDOW, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, header_block, length,
};

/// What a frame may hold unless a peer allows more (RFC 9113 §6.5.2).
const FRAME: usize = 16_384;

/// Attacks, and tells what became of the stream that came last, or of the connection.
pub(super) fn run(attack: Attack, case: &Http2, address: SocketAddr) -> Outcome {
    let settings: &[u8] = if attack == Attack::ZeroWindow { &NO_WINDOW } else { &[] };
    let (frames, last) = frames(attack, case, &Requests { host: address.to_string() });
    Connection::open(address, settings).play(frames, last)
}

type Frames = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// What is sent, and the stream whose end is waited for.
fn frames(attack: Attack, case: &Http2, requests: &Requests) -> (Frames, u32) {
    let count = case.count;
    let streams = (1..).step_by(2).take(usize::try_from(count).unwrap());
    let last = (2 * count).saturating_sub(1);
    // A request behind a flood: the connection ends, or it is answered.
    let behind = move |frames: Frames, requests: &Requests| -> (Frames, u32) {
        let stream = last + 2;
        (Box::new(frames.chain(once(requests.get(stream, "/v1/models")))), stream)
    };
    let each = |requests: &Requests, frames: fn(&Requests, u32) -> Vec<u8>| -> Frames {
        let requests = requests.clone();
        Box::new(streams.map(move |stream| frames(&requests, stream)))
    };
    let times = |frame: Vec<u8>| -> Frames { Box::new(repeat_n(frame, usize::try_from(count).unwrap())) };
    match attack {
        Attack::RapidReset => behind(each(requests, reset), requests),
        Attack::MadeYouResetZero => {
            (each(requests, |requests, stream| made_to_reset(requests, stream, &[0])), last)
        }
        Attack::MadeYouResetOverflow => {
            (each(requests, |requests, stream| made_to_reset(requests, stream, &[MOST; 2])), last)
        }
        Attack::ContinuationFlood => (continuations(requests, case.bytes), 1),
        // A window of 65,535 bytes, which is what it is, so that none can be left out.
        Attack::SettingsFlood => behind(times(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])), requests),
        Attack::PingFlood => behind(times(frame(PING, 0, 0, &[0; 8])), requests),
        Attack::EmptyData => {
            let end = frame(DATA, END_STREAM, 1, b"");
            let flood = times(frame(DATA, 0, 1, b""));
            (Box::new(once(requests.post(1)).chain(flood).chain(once(end))), 1)
        }
        Attack::HpackBomb => (Box::new(once(bomb(requests))), 1),
        Attack::ZeroWindow => (each(requests, |requests, stream| requests.get(stream, "/large")), last),
        Attack::TooManyStreams => (each(requests, Requests::post), last),
        Attack::EvenStreamId => (Box::new(once(requests.get(2, "/v1/models"))), 2),
        Attack::OversizedFrame => {
            (Box::new([requests.post(1), frame(DATA, 0, 1, &[0; FRAME + 1])].into_iter()), 1)
        }
        Attack::HalfHeaders => {
            (Box::new(once(frame(HEADERS, END_STREAM, 1, &requests.block("GET", "/")))), 1)
        }
        Attack::MalformedStreams => (each(requests, malformed), last),
    }
}

/// The largest that a window may be, and be increased by (RFC 9113 §6.9).
const MOST: u32 = (1 << 31) - 1;

/// A request that its client gives up at once: CANCEL.
fn reset(requests: &Requests, stream: u32) -> Vec<u8> {
    [requests.get(stream, "/v1/models"), frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
}

/// A request whose client breaks the rules of flow control, so that the gateway has to reset it.
fn made_to_reset(requests: &Requests, stream: u32, increments: &[u32]) -> Vec<u8> {
    let updates = increments.iter().flat_map(|by| frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes()));
    requests.get(stream, "/v1/models").into_iter().chain(updates).collect()
}

/// A header section that does not end.
fn continuations(requests: &Requests, bytes: usize) -> Frames {
    let field = header_block(&[(b"x-filler".to_vec(), vec![b'a'; FRAME / 2])]);
    let start = frame(HEADERS, END_STREAM, 1, &requests.block("GET", "/v1/models"));
    Box::new(once(start).chain(repeat_n(frame(CONTINUATION, 0, 1, &field), bytes / field.len())))
}

/// A field of 4 KiB, put into the dynamic table, and named ten thousand times with a byte each (RFC 7541 §6.1, §6.2.1).
fn bomb(requests: &Requests) -> Vec<u8> {
    const VALUE: usize = 4096 - 32 - 1;
    let mut block = requests.block("GET", "/v1/models");
    block.extend(b"\x40\x01x");
    block.extend(length(VALUE));
    block.extend([b'a'; VALUE]);
    block.extend([0x80 | 62; 10_000]);
    assert!(block.len() <= FRAME);
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
}

/// A request without a path (RFC 9113 §8.3.1).
fn malformed(requests: &Requests, stream: u32) -> Vec<u8> {
    let fields =
        requests.fields("GET", "").into_iter().filter(|(name, _)| name != b":path").collect::<Vec<_>>();
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &header_block(&fields))
}

/// Requests that may pass.
#[derive(Clone)]
struct Requests {
    host: String,
}

impl Requests {
    fn get(&self, stream: u32, path: &str) -> Vec<u8> {
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &self.block("GET", path))
    }

    /// One whose body is to come.
    fn post(&self, stream: u32) -> Vec<u8> {
        frame(HEADERS, END_HEADERS, stream, &self.block("POST", "/v1/chat/completions"))
    }

    fn block(&self, method: &str, path: &str) -> Vec<u8> {
        header_block(&self.fields(method, path))
    }

    fn fields(&self, method: &str, path: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        [
            (":method", method),
            (":scheme", "http"),
            (":path", path),
            (":authority", &self.host),
            ("authorization", &format!("Bearer {KEY}")),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into()
    }
}
