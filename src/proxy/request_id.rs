//! `x-request-id`: the client's if it is well-formed, else one of ours.

use std::cell::Cell;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::headers::X_REQUEST_ID;

/// A client's id is echoed in headers, bodies and logs, so it may not be long or odd.
const LONGEST: usize = 128;

/// The id of a request.
pub(super) fn of(headers: &HeaderMap) -> HeaderValue {
    let mut lines = headers.get_all(&X_REQUEST_ID).iter();
    match (lines.next(), lines.next()) {
        (Some(id), None) if is_well_formed(id.as_bytes()) => id.clone(),
        _ => generate(),
    }
}

fn is_well_formed(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
}

/// 32 hex digits, different for each request. They name a request and protect nothing, so a random start for each
/// thread and a mixed counter do; a system call for each would cost more than the rest of the id.
fn generate() -> HeaderValue {
    let (high, low) = (next_random(), next_random());
    let mut hex = Vec::with_capacity(32);
    for byte in high.to_be_bytes().into_iter().chain(low.to_be_bytes()) {
        hex.extend(
            [byte >> 4, byte & 15].map(|digit| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }),
        );
    }
    HeaderValue::from_maybe_shared(Bytes::from(hex)).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
fn next_random() -> u64 {
    thread_local!(static STATE: Cell<u64> = Cell::new(seed()));
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// From the system, or, should it have none, from where the thread's memory lies.
fn seed() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        let here = 0_u8;
        std::ptr::from_ref(&here).addr() as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(lines: &[&'static str]) -> HeaderValue {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&X_REQUEST_ID, HeaderValue::from_static(line));
        }
        of(&headers)
    }

    #[test]
    fn a_well_formed_id_is_kept_and_another_replaced() {
        assert_eq!(id_for(&["req_01-A.b:c"]), "req_01-A.b:c");
        for wrong in [&[""][..], &["a b"], &["a\tb"], &["<x>"], &["a", "b"], &[]] {
            let id = id_for(wrong);
            assert_eq!(id.len(), 32, "{wrong:?}");
            assert!(id.as_bytes().iter().all(u8::is_ascii_hexdigit));
        }
    }

    #[test]
    fn ids_differ() {
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| generate()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
