//! What comes before there is a request: bytes that Pingora's parser would refuse by itself.
//!
//! It answers them with a bare 400, of which nobody learns anything, and none of the phases is asked. So a key with a byte
//! that no field value may hold gets another one here that the parser takes and no key has, and the decision refuses it, with its
//! reason; and the 400 for all else is written anew (`reply`).

use crate::auth::CREDENTIAL_HEADERS;

/// Stands for a byte that no field value may hold. The grammar has it for compatibility alone (`obs-text`, RFC 9110 §5.5),
/// and a key is of visible ASCII.
const NO_KEY_HAS: u8 = 0x80;

/// Takes what no field value may hold out of the credentials in these first bytes of a request. RFC 9110 §5.5 leaves a
/// recipient that and the refusal of the whole.
pub fn make_readable(first: &mut [u8]) {
    // Nearly always it ends here, at some bytes in a nanosecond.
    if !first.iter().fold(false, |any, &byte| any | is_forbidden(byte)) {
        return;
    }
    for line in first.split_mut(|&byte| byte == b'\n').skip(1) {
        if matches!(line, [] | [b'\r']) {
            return;
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let Some((name, value)) = line.split_at_mut_checked(colon) else { continue };
        if CREDENTIAL_HEADERS.iter().any(|header| name.eq_ignore_ascii_case(header.label().as_bytes())) {
            for byte in value.iter_mut().filter(|byte| is_forbidden(**byte)) {
                *byte = NO_KEY_HAS;
            }
        }
    }
}

/// Control characters other than those that end a line or stand for a space (RFC 9110 §5.5).
fn is_forbidden(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t' && byte != b'\r' && byte != b'\n') || byte == 0x7f
}

/// The target in these first bytes of a request, as far as there is one.
pub(super) fn target(first: &[u8]) -> &str {
    let line = first.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let target = line.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    std::str::from_utf8(target).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable(first: &str) -> String {
        let mut first = first.as_bytes().to_vec();
        make_readable(&mut first);
        first.iter().map(|&byte| char::from(byte)).collect()
    }

    #[test]
    fn credentials_lose_what_no_field_value_may_hold() {
        let first = "GET / HTTP/1.1\r\nAUTHORIZATION: Bearer a\x7fb\x01\r\nX-Api-Key:\0\r\n\r\n";
        let expected = "GET / HTTP/1.1\r\nAUTHORIZATION: Bearer a\u{80}b\u{80}\r\nX-Api-Key:\u{80}\r\n\r\n";
        assert_eq!(readable(first), expected);
    }

    #[test]
    fn nothing_else_is_touched() {
        for first in [
            "GET /\x7f HTTP/1.1\r\nhost: a\x7f\r\nauthorization\x7f: a\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 30\r\n\r\nauthorization: \x7f\r\n",
            "GET / HTTP/1.1\nauthorization: a\n\nauthorization: \x7f\n",
            "GET / HTTP/1.1\r\nauthorization: a\tb\r\n\r\n",
            "authorization: \x7f\r\n\r\n",
            "\x7f",
            "",
        ] {
            assert_eq!(readable(first), first);
        }
    }

    #[test]
    fn a_target_is_found_where_there_is_one() {
        assert_eq!(target(b"GET /v1/messages?a HTTP/1.1\r\n\"\r\n\r\n"), "/v1/messages?a");
        assert_eq!(target(b"GET / HTTP/1.1"), "/");
        for none in [b"".as_slice(), b"GET", b"\r\n\r\n", b"GET \xff HTTP/1.1\r\n"] {
            assert_eq!(target(none), "");
        }
    }
}
