//! What comes before there is a request: bytes that Pingora's parser would refuse by itself, or mend.
//!
//! It answers them with a bare 400, of which nobody learns anything, and none of the phases is asked. So a key with a byte
//! that no field value may hold gets another one here that the parser takes and no key has, and the decision refuses it, with its
//! reason; and the 400 for all else is written anew (`reply`), with what is wrong. A request line with a space too many it
//! would percent-encode, and so decide on another target than the one that was sent (RFC 9112 §3.2); that is refused.

use http::Uri;
use http::uri::Authority;

use super::fault::Fault;
use super::guard::is_token_byte;
use crate::auth::CREDENTIAL_HEADERS;

/// Stands for a byte that no field value may hold. The grammar has it for compatibility alone (`obs-text`, RFC 9110 §5.5),
/// and a key is of visible ASCII. No method has it either.
const NO_KEY_HAS: u8 = 0x80;

/// About what Pingora takes: a target of 64 KiB (`http::Uri`).
const LONGEST_LINE: usize = u16::MAX as usize;

/// Takes what no field value may hold out of the credentials in these first bytes of a request; RFC 9110 §5.5 leaves a
/// recipient that and the refusal of the whole. Where the request line is none, Pingora will find no method in it.
pub fn make_readable(first: &mut [u8]) {
    if !is_request_line(request_line(first)) {
        first.iter_mut().take(1).for_each(|byte| *byte = NO_KEY_HAS);
        return;
    }
    // Nearly always it ends here, at some bytes in a nanosecond.
    if !has_forbidden(first) {
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

/// Whether no request can begin like this, whatever follows: a TLS handshake, or a line of another protocol. The request line was
/// looked at before up to `seen`.
pub fn is_hopeless(first: &[u8], seen: usize) -> bool {
    let unseen = first.get(seen..).unwrap_or_default();
    match memchr::memchr(b'\n', unseen) {
        Some(_) => !is_request_line(request_line(first)),
        None => has_forbidden(unseen),
    }
}

/// What is wrong with a header section that Pingora does not take, of which these are the first bytes.
pub(super) fn fault(first: &[u8], is_too_large: bool) -> Fault {
    let line = request_line(first);
    if line.len() > LONGEST_LINE {
        return Fault::UriTooLong;
    }
    let what = request_line_fault(line).or_else(|| field_line_fault(first)).or_else(|| fields_fault(first));
    match what {
        Some(what) => Fault::BadRequest(what),
        None if is_too_large => Fault::HeaderTooLarge,
        None => Fault::BadRequest("This is no request of HTTP/1.1."),
    }
}

fn request_line_fault(line: &[u8]) -> Option<&'static str> {
    if !is_request_line(line) {
        return Some(
            "The request line is not a method, a target and a version with one space between them. A space in the target \
             must be sent as `%20`.",
        );
    }
    let mut words = line.split(|&byte| byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if method.is_empty() || !method.iter().all(|&byte| is_token_byte(byte)) {
        Some("The method is no word of HTTP.")
    } else if !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        Some("The version is neither `HTTP/1.1` nor `HTTP/1.0`.")
    } else if target.iter().any(|byte| b"\"<>\\^`{|}".contains(byte)) {
        Some("The target has a character that must be percent-encoded: `\"` is `%22`.")
    } else {
        None
    }
}

fn field_line_fault(first: &[u8]) -> Option<&'static str> {
    field_lines(first).find_map(|line| {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Some("A field line begins with a space.");
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            return Some("A field line has no colon.");
        };
        let (name, value) = line.split_at_checked(colon)?;
        if name.is_empty() || !name.iter().all(|&byte| is_token_byte(byte)) {
            Some("The name of a field has a character that may not stand in it.")
        } else if has_forbidden(value) || value.contains(&b'\r') {
            Some("The value of a field has a control character.")
        } else {
            None
        }
    })
}

fn fields_fault(first: &[u8]) -> Option<&'static str> {
    let mut hosts = values(first, "host");
    if let Some(host) = hosts.next() {
        if hosts.next().is_some() {
            return Some("`Host` stands on more than one line.");
        }
        let target: Option<Uri> = target(first).parse().ok();
        let authority = target.as_ref().and_then(Uri::authority).map(Authority::as_str);
        if authority.is_some_and(|authority| !authority.as_bytes().eq_ignore_ascii_case(host)) {
            return Some("`Host` is another one than that of the target.");
        }
    }
    if let Some(coding) = values(first, "transfer-encoding").last() {
        return if request_line(first).ends_with(b"HTTP/1.0") {
            Some("`Transfer-Encoding` does not stand in a request of HTTP/1.0.")
        } else if !coding.to_ascii_lowercase().ends_with(b"chunked") {
            Some("`Transfer-Encoding` does not end with `chunked`.")
        } else {
            None
        };
    }
    let mut lengths = values(first, "content-length");
    let length = lengths.next()?;
    let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    let is_one = is_number && lengths.all(|other| other == length);
    (!is_one).then_some("`Content-Length` is not one number.")
}

/// The values of a field, its name given in lower case.
fn values<'a>(first: &'a [u8], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    field_lines(first).filter_map(move |line| {
        let (of, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        of.eq_ignore_ascii_case(name.as_bytes()).then_some(value.trim_ascii())
    })
}

/// The lines of the fields, without their ends, as far as they are there.
fn field_lines(first: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = first.split_inclusive(|&byte| byte == b'\n').skip(1);
    lines.map_while(|line| line.strip_suffix(b"\n")).map(without_cr).take_while(|line| !line.is_empty())
}

/// The request line, without its end, as far as it is there.
fn request_line(first: &[u8]) -> &[u8] {
    let line = memchr::memchr(b'\n', first).and_then(|end| first.get(..end));
    line.map_or(first, without_cr)
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether it has three words, each one space apart (RFC 9112 §3).
fn is_request_line(line: &[u8]) -> bool {
    let is_space = |byte: &&u8| **byte <= b' ' || **byte == 0x7f;
    let mut spaces = line.iter().filter(is_space);
    matches!((spaces.next(), spaces.next(), spaces.next()), (Some(b' '), Some(b' '), None))
}

fn has_forbidden(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |any, &byte| any | is_forbidden(byte))
}

/// Control characters other than those that end a line or stand for a space (RFC 9110 §5.5).
fn is_forbidden(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t' && byte != b'\r' && byte != b'\n') || byte == 0x7f
}

/// The target in these first bytes of a request, as far as there is one.
pub(super) fn target(first: &[u8]) -> &str {
    let target = request_line(first).split(|&byte| byte == b' ').nth(1).unwrap_or_default();
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
            "GET / HTTP/1.1\r\nhost: a\x7f\r\nauthorization\x7f: a\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 30\r\n\r\nauthorization: \x7f\r\n",
            "GET / HTTP/1.1\nauthorization: a\n\nauthorization: \x7f\n",
            "GET / HTTP/1.1\r\nauthorization: a\tb\r\n\r\n",
            "",
        ] {
            assert_eq!(readable(first), first);
        }
    }

    #[test]
    fn a_request_line_that_is_none_has_no_method() {
        for first in [
            "GET /a b HTTP/1.1\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "GET\t/ HTTP/1.1\r\n\r\n",
            "GET / \tHTTP/1.1\r\n\r\n",
            "GET /\x7f HTTP/1.1\r\n\r\n",
            "GET /\r HTTP/1.1\r\n\r\n",
            "GET /\r\n\r\n",
            "authorization: \x7f\r\n\r\n",
            "\x16\x03\x01",
        ] {
            assert_eq!(readable(first), format!("\u{80}{}", &first[1..]), "{first:?}");
        }
    }

    #[test]
    fn what_can_be_no_request_is_seen_as_soon_as_it_can_be() {
        for (first, seen) in [("hello\r\n", 0), ("PING\r\n", 4), ("\x16\x03\x01", 0), ("GET /\x01", 5)] {
            assert!(is_hopeless(first.as_bytes(), seen), "{first:?}");
        }
        for (first, seen) in [("", 0), ("hello", 0), ("GET / HTTP/1.1\r", 3), ("GET / HTTP/1.1\r\n\x01", 9)] {
            assert!(!is_hopeless(first.as_bytes(), seen), "{first:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let about = |first: &str| match fault(first.as_bytes(), false) {
            Fault::BadRequest(what) => what.to_owned(),
            other => other.code().to_owned(),
        };
        for (first, word) in [
            ("GET /a b HTTP/1.1\r\n\r\n", "one space"),
            ("G(T / HTTP/1.1\r\n\r\n", "method"),
            ("GET / HTTP/1.2\r\n\r\n", "version"),
            ("GET /\" HTTP/1.1\r\n\r\n", "%22"),
            ("GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n", "begins with a space"),
            ("GET / HTTP/1.1\r\nabc\r\n\r\n", "no colon"),
            ("GET / HTTP/1.1\r\na : b\r\n\r\n", "name of a field"),
            ("GET / HTTP/1.1\r\na: \0\r\n\r\n", "control character"),
            ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", "more than one line"),
            ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "that of the target"),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", "`Content-Length`"),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "`Content-Length`"),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", "`chunked`"),
            ("GET http://a/ HTTP/1.1\r\nHost: A\r\n\r\nabc\r\n", "no request"),
            ("", "one space"),
        ] {
            assert!(about(first).contains(word), "{first:?}: {}", about(first));
        }
        assert_eq!(about(&"a".repeat(70_000)), "uri_too_long");
        assert_eq!(fault(b"GET / HTTP/1.1\r\na: b\r\n", true), Fault::HeaderTooLarge);
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
