//! Paths that two servers may read in two ways.
//!
//! A route is matched on the bytes that are forwarded. Where the server behind resolves `..`, decodes `%2F` or joins `//`
//! it sees another path than the one that was matched here, and a rule for one resource reaches another. Such a path is
//! refused, not normalised: a client that sends one by mistake hears of it, and what is forwarded stays what was sent.

/// What makes a path ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// `//`, `\`, a segment `.` or `..` (encoded or with parameters too), an encoded NUL.
    Structure,
    /// An encoded slash or backslash, in a path that is plain otherwise.
    EncodedSlash,
}

/// Looks for an ambiguity in a path, as it stands before `?`.
pub fn ambiguity(path: &[u8]) -> Option<Ambiguity> {
    let plain = |&byte: &u8| !matches!(byte, b'%' | b'.' | b'\\');
    if path.iter().all(plain) && !path.windows(2).any(|pair| pair == b"//") {
        return None;
    }
    let decoded = decode(path);
    let text = decoded.bytes.as_slice();
    let slash = |byte: u8| byte == b'/' || byte == b'\\';
    if path.contains(&b'\\') || text.contains(&0) || path.windows(2).any(|pair| pair == b"//") {
        return Some(Ambiguity::Structure);
    }
    let is_dots = |segment: &[u8]| {
        // A parameter (`..;x`) is cut off by some servers before they look.
        let name = segment.split(|&byte| byte == b';').next().unwrap_or_default();
        name == b"." || name == b".."
    };
    if text.split(|&byte| slash(byte)).any(is_dots) {
        return Some(Ambiguity::Structure);
    }
    decoded.slash.then_some(Ambiguity::EncodedSlash)
}

/// The path as it is compared (RFC 3986 §6.2.2): what may stand as it is stands so, all else is `%XX`. Slashes stay as they are
/// written. `None` where it is written like that already, as nearly all are.
pub fn normalized(path: &[u8]) -> Option<Vec<u8>> {
    if path.iter().all(|&byte| byte == b'/' || is_pchar(byte)) {
        return None;
    }
    let mut normal = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, tail)) = rest.split_first() {
        let encoded = (first == b'%').then(|| tail.get(..2)).flatten().and_then(hex);
        rest = if encoded.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
        match encoded.unwrap_or(first) {
            byte if is_pchar(byte) => normal.push(byte),
            byte @ (b'/' | b'%') if encoded.is_none() => normal.push(byte),
            byte => normal.extend([b'%', hex_digit(byte >> 4), hex_digit(byte & 0xf)]),
        }
    }
    (normal != path).then_some(normal)
}

/// What may stand in a segment (RFC 3986 §3.3), not encoded.
fn is_pchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

struct Decoded {
    bytes: Vec<u8>,
    /// A `/` or `\` was encoded.
    slash: bool,
}

/// Decodes every `%XX` once, as a server would. A `%` that begins no such triple stands for itself.
fn decode(path: &[u8]) -> Decoded {
    let mut decoded = Decoded { bytes: Vec::with_capacity(path.len()), slash: false };
    let mut rest = path;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let byte = (first == b'%').then(|| tail.get(..2)).flatten().and_then(hex);
        if let Some(byte) = byte {
            rest = tail.get(2..).unwrap_or_default();
            decoded.slash |= byte == b'/' || byte == b'\\';
        }
        decoded.bytes.push(byte.unwrap_or(first));
    }
    decoded
}

/// RFC 3986 §2.1 wants upper case.
const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

fn hex(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_server_may_read_otherwise_is_found() {
        for path in [
            "//",
            "/a//b",
            "/a/",
            "/..",
            "/a/../b",
            "/a/.",
            "/./a",
            "/%2e%2E/a",
            "/a/.%2e",
            "/a/..;x/b",
            "/a/%2e;/b",
            "/a\\b",
            "/..%2fa",
            "/a%2f..",
            "/a%5c..%5cb",
            "/a%00",
        ] {
            let expected = (path != "/a/").then_some(Ambiguity::Structure);
            assert_eq!(ambiguity(path.as_bytes()), expected, "{path}");
        }
        for path in ["/a%2fb", "/a%2Fb", "/a%5Cb", "/v1/models/org%2Fname"] {
            assert_eq!(ambiguity(path.as_bytes()), Some(Ambiguity::EncodedSlash), "{path}");
        }
    }

    #[test]
    fn what_is_plain_passes() {
        for path in [
            "/",
            "/v1/models",
            "/v1/",
            "/a.b",
            "/...",
            "/.well-known/x",
            "/a%20b",
            "/%zz",
            "/100%",
            "/%252f",
            "/a;x",
            "/v1beta/models/gemini-2.5-pro:generateContent",
            "*",
        ] {
            assert_eq!(ambiguity(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn one_path_is_compared_in_one_way() {
        for (path, normal) in [
            ("/%61dmin", "/admin"),
            ("/ft%3Agpt", "/ft:gpt"),
            ("/%c3%a9%20", "/%C3%A9%20"),
            ("/\u{e9}\"", "/%C3%A9%22"),
            ("/org%2fname", "/org%2Fname"),
            ("/%7e%", "/~%"),
        ] {
            assert_eq!(normalized(path.as_bytes()).as_deref(), Some(normal.as_bytes()), "{path}");
            assert_eq!(normalized(normal.as_bytes()), None, "{normal}");
        }
        for path in ["/", "*", "/v1/models/a:b", "/%zz", "/100%", "/%2561"] {
            assert_eq!(normalized(path.as_bytes()), None, "{path}");
        }
    }
}
