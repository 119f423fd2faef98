//! All that a decision may look at, borrowed from the request.

use http::{HeaderMap, Method};

/// What is known of a request before it is routed.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The method as sent; methods are case-sensitive (RFC 9110 §9.1).
    pub method: &'a Method,
    /// The raw bytes of the request-target before `?`.
    pub path: &'a [u8],
    /// The header section.
    pub headers: &'a HeaderMap,
    /// Whether the request carries content.
    pub content: Content,
}

/// Whether a request carries content (RFC 9110 §6.4): a `Content-Length` above 0, or a transfer coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It ends with its header section.
    None,
    /// There is, or may be, more.
    Some,
}
