//! Where a request of HTTP/1 ends among the bytes of its connection: its header section, and a chunked body.
//!
//! Both are looked for in bytes as they come, in pieces of any size. A line of chunks ends at CR LF and nowhere else: a
//! parser that goes on behind a bare LF, as Pingora's does, and one that does not read two bodies in the same bytes, and what
//! one takes for a body is a second request to the other.

use std::io;

use memchr::memchr;

use crate::proxy::{MalformedChunks, arrival, is_token_byte};

/// The request that is under way on a connection.
#[derive(Debug, Default)]
pub(super) struct Framing {
    pub(super) header_section: HeaderSection,
    body: Chunks,
}

impl Framing {
    /// Goes on behind what was looked at before. How many of these bytes belong to what Pingora reads now: the header section, or
    /// the body. Where that has a length, Pingora asks for no more of them.
    ///
    /// # Errors
    /// `InvalidData`: no chunked body goes on like this.
    pub(super) fn own(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if arrival::is_awaited() {
            Ok(self.header_section.own(bytes))
        } else if arrival::is_chunked() {
            self.body.own(bytes)
        } else {
            Ok(bytes.len())
        }
    }
}

/// Finds the end of a header section. Empty lines before it are not part of it.
#[derive(Debug, Default)]
pub(super) struct HeaderSection {
    at: Line,
    lines: usize,
    bytes: usize,
}

/// Where in a line the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Inside,
    Start,
    /// Behind a CR that began it.
    StartCr,
    /// Behind the empty one.
    Over,
}

/// What Pingora reads of a header section.
const MOST_LINES: usize = 256;
const MOST_BYTES: usize = (1 << 20) - 1;

impl HeaderSection {
    /// Goes on behind what was looked at before. How many of these bytes belong to the section: all, unless it ends among them, behind
    /// the first empty line, whether its lines end with CR LF or with LF (RFC 9112 §2.2).
    pub(super) fn own(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while self.at != Line::Over {
            if self.at == Line::Inside {
                let Some(end) = memchr(b'\n', rest) else {
                    rest = &[];
                    break;
                };
                rest = rest.get(end + 1..).unwrap_or_default();
                self.at = Line::Start;
                self.lines += 1;
            }
            let Some((&byte, behind)) = rest.split_first() else { break };
            self.at = match (self.at, byte) {
                (_, b'\n') => Line::Over,
                (Line::Start, b'\r') => Line::StartCr,
                _ => Line::Inside,
            };
            rest = behind;
        }
        let own = bytes.len() - rest.len();
        self.bytes += own;
        own
    }

    /// Whether the empty line at its end has come.
    pub(super) fn is_over(&self) -> bool {
        self.at == Line::Over
    }

    /// The lines that have ended: of the request, and of its fields.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// Whether it is more than Pingora reads.
    pub(super) fn is_too_large(&self) -> bool {
        self.lines > MOST_LINES || self.bytes > MOST_BYTES
    }
}

/// Finds the end of a chunked body (RFC 9112 §7.1), and what cannot stand in one.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: Chunk,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Size {
        digits: u8,
        size: u64,
    },
    /// Spaces and extensions behind it.
    Extension {
        size: u64,
    },
    /// The LF behind the CR.
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// The trailer section, at the begin of a line.
    TrailerLine,
    TrailerName,
    TrailerValue,
    TrailerLf,
    /// The LF of the empty line at the end.
    LastLf,
    Over,
}

impl Default for Chunk {
    fn default() -> Self {
        Self::Size { digits: 0, size: 0 }
    }
}

impl Chunks {
    /// Goes on behind what was looked at before. How many of these bytes belong to the body: all, unless it ends among them.
    ///
    /// # Errors
    /// `InvalidData`: no chunked body goes on like this.
    pub(super) fn own(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while self.at != Chunk::Over {
            if let Chunk::Data { left } = &mut self.at {
                let now = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                rest = rest.get(now..).unwrap_or_default();
                *left -= now as u64;
                if *left == 0 {
                    self.at = Chunk::DataCr;
                }
            }
            let Some((&byte, behind)) = rest.split_first() else { break };
            self.at = self.at.behind(byte).ok_or_else(malformed)?;
            rest = behind;
        }
        Ok(bytes.len() - rest.len())
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, MalformedChunks)
}

impl Chunk {
    /// Sixteen are 64 bits.
    const MOST_DIGITS: u8 = 16;

    /// What follows this byte, or `None` where it cannot stand.
    fn behind(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                let digit = u64::from(char::from(byte).to_digit(16)?);
                let digits = digits + 1;
                if digits > Self::MOST_DIGITS {
                    return None;
                }
                Self::Size { digits, size: size << 4 | digit }
            }
            (Self::Size { digits: 0, .. }, _) => return None,
            (Self::Size { size, .. }, b';' | b' ' | b'\t') => Self::Extension { size },
            (Self::Size { size, .. } | Self::Extension { size }, b'\r') => Self::SizeLf { size },
            (Self::Extension { .. } | Self::TrailerValue, _) if may_stand_in_a_field(byte) => self,
            (Self::SizeLf { size: 0 } | Self::TrailerLf, b'\n') => Self::TrailerLine,
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::default(),
            (Self::TrailerLine, b'\r') => Self::LastLf,
            (Self::TrailerName, b':') => Self::TrailerValue,
            (Self::TrailerLine | Self::TrailerName, _) if is_token_byte(byte) => Self::TrailerName,
            (Self::TrailerValue, b'\r') => Self::TrailerLf,
            (Self::LastLf, b'\n') => Self::Over,
            _ => return None,
        })
    }
}

/// Visible characters, spaces, and `obs-text` (RFC 9110 §5.5).
fn may_stand_in_a_field(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where it ends, if it does; the same however the bytes are cut in two.
    fn end(section: &str) -> Option<usize> {
        let bytes = section.as_bytes();
        let mut whole = HeaderSection::default();
        let own = whole.own(bytes);
        for cut in 0..bytes.len() {
            let mut pieces = HeaderSection::default();
            let (first, second) = bytes.split_at(cut);
            let of_both = pieces.own(first) + pieces.own(second);
            assert_eq!((of_both, pieces.is_over()), (own, whole.is_over()), "{section:?} cut at {cut}");
        }
        whole.is_over().then_some(own)
    }

    #[test]
    fn a_header_section_ends_with_its_first_empty_line() {
        for (section, behind) in [
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"),
            ("GET / HTTP/1.1\nhost: a\n\n", "\n\n"),
            ("GET / HTTP/1.1\r\nhost: a\n\r\n", "body"),
            ("GET / HTTP/1.1\r\n\n", "\r\n\r\n"),
            ("GET / HTTP/1.1\r\nhost: \r\r\n\r\n", ""),
        ] {
            assert_eq!(end(&format!("{section}{behind}")), Some(section.len()), "{section:?}");
        }
        for unended in
            ["", "GET / HTTP/1.1", "GET / HTTP/1.1\r\nhost: a\r\n\r", "a\n\r\r\na\n\rb\n", "a\r\r\n"]
        {
            assert_eq!(end(unended), None, "{unended:?}");
        }
        let mut section = HeaderSection::default();
        section.own(b"GET / HTTP/1.1\r\na: b\r\nc: d\r\n\r\n");
        assert_eq!(section.lines(), 3);
    }

    /// However the bytes are cut in two, the same is found; `None` for what is malformed.
    fn own(body: &str) -> Option<usize> {
        let bytes = body.as_bytes();
        let whole = Chunks::default().own(bytes).ok();
        for cut in 0..bytes.len() {
            let mut pieces = Chunks::default();
            let (first, second) = bytes.split_at(cut);
            let found = pieces.own(first).and_then(|own| Ok(own + pieces.own(second)?)).ok();
            assert_eq!(found, whole, "{body:?} cut at {cut}");
        }
        whole
    }

    #[test]
    fn a_chunked_body_ends_behind_its_trailers() {
        for body in [
            "0\r\n\r\n",
            "4\r\nbody\r\n0\r\n\r\n",
            "00A ;a=\"b\"\r\n0\r\n\r\n12345\r\n1;\r\n\r\r\n000\r\n\r\n",
            "1\t\r\na\r\n0;last\r\nx-sum: 1\r\ny:\r\n\r\n",
        ] {
            assert_eq!(own(&format!("{body}GET /next HTTP/1.1\r\n")), Some(body.len()), "{body:?}");
        }
        for unended in
            ["", "f", "4\r\nbody\r\n", "4\r\nbo", "0\r\n", "0\r\na: b\r\n\r", "ffffffffffffffff\r\na"]
        {
            assert_eq!(own(unended), Some(unended.len()), "{unended:?}");
        }
    }

    #[test]
    fn nothing_that_two_parsers_read_in_two_ways_is_a_chunk() {
        for malformed in [
            "2;\nxx\r\n58\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            "5;a\0\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello!\r\n0\r\n\r\n",
            "\r\n",
            ";\r\n",
            " 5\r\nhello\r\n",
            "+5\r\nhello\r\n",
            "0x5\r\nhello\r\n",
            "-1\r\n",
            "10000000000000000\r\n",
            "0\n\r\n",
            "0\r\n\n",
            "0\r\na: b\n\r\n",
            "0\r\na: b\rc\r\n\r\n",
            "0\r\n\rGET / HTTP/1.1\r\n",
            "0\r\nGET / HTTP/1.1\r\n\r\n",
            "0\r\nabc\r\n\r\n",
            "0\r\na: b\r\n c\r\n\r\n",
            "0\r\na : b\r\n\r\n",
            "0\r\n: b\r\n\r\n",
        ] {
            assert_eq!(own(malformed), None, "{malformed:?}");
        }
    }
}
