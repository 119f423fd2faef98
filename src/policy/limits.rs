//! Limits on requests and connections, as the data plane needs them.

use std::time::Duration;

/// How large a request may be, and how slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Bytes of the header section with the request line.
    pub header_bytes: usize,
    /// Field lines.
    pub header_count: usize,
    /// Bytes of the request-target.
    pub uri_bytes: usize,
    /// Bytes of the body.
    pub body_bytes: u64,
    /// The same, of the route that allows most.
    pub largest_body_bytes: u64,
    /// How long a client may be silent in a body.
    pub body_timeout: Duration,
    /// Without anything of an answer taken.
    pub send_timeout: Duration,
    /// Bytes a second that a body must come with, once it has taken a while.
    pub body_min_rate: u64,
}

/// How many connections there may be, and how long one may take for its requests. Only a restart changes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections in all.
    pub total: usize,
    /// Connections from one address.
    pub per_client: usize,
    /// From the connection, or from the first byte of a later request, to the end of a header section.
    pub header_timeout: Duration,
    /// Requests on one connection.
    pub requests: u32,
    /// Streams at the same time on one connection of HTTP/2.
    pub http2_streams: u32,
}
