//! Sections `proxy.request_limits` and `proxy.connection_limits`: how much one request, and one client, may take.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Size, Span, units};

/// How large a request may be, and how slow.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequestLimits {
    /// The whole header section with the request line; more is answered 431.
    #[serde(deserialize_with = "units::size::<1024, { 1024 * 1024 }, _>")]
    pub header_bytes: Size,
    /// Field lines; more are answered 431.
    #[serde(deserialize_with = "units::number::<1, 256, _, _>")]
    #[schemars(range(min = 1, max = 256))]
    pub header_count: usize,
    /// The request-target: path and query; a longer one is answered 414.
    #[serde(deserialize_with = "units::size::<16, { 1024 * 1024 }, _>")]
    pub uri_bytes: Size,
    /// The body, announced or not; more is answered 413.
    #[serde(deserialize_with = "units::size::<0, { 1 << 50 }, _>")]
    pub body: Size,
    /// How long a client may be silent in the middle of a body; then 408.
    #[serde(deserialize_with = "units::span::<1, { 24 * units::HOUR }, _>")]
    pub body_timeout: Span,
    /// The slowest average rate of a body, per second, once it has taken 10 seconds; a slower one is answered 408.
    #[serde(deserialize_with = "units::size::<0, { 1 << 30 }, _>")]
    pub body_min_rate: Size,
    /// How long a client may take nothing of an answer while there is more of it than fits in the buffers on the way; then it is cut off. TCP gives up such a client after 2 minutes by itself, so it cannot be longer.
    #[serde(deserialize_with = "units::span::<1, { 2 * units::MINUTE }, _>")]
    pub send_timeout: Span,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            header_bytes: Size(32 * 1024),
            header_count: 100,
            uri_bytes: Size(8 * 1024),
            body: Size(1024 * 1024 * 1024),
            body_timeout: Span::seconds(30),
            body_min_rate: Size(256),
            send_timeout: Span::seconds(60),
        }
    }
}

/// How many connections there may be, and how long one may idle. Changing these needs a restart.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionLimits {
    /// Connections in all; more are closed as they come.
    #[serde(deserialize_with = "units::number::<1, 10_000_000, _, _>")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub total: usize,
    /// Connections from one address (IPv6: one /64); more are closed as they come. Behind a load balancer that is one address for all.
    #[serde(deserialize_with = "units::number::<1, 10_000_000, _, _>")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub per_client: usize,
    /// How long a client may take from its connection, or from the first byte of a later request, to the end of a header section.
    #[serde(deserialize_with = "units::span::<1, { units::HOUR }, _>")]
    pub header_timeout: Span,
    /// Requests on one connection; then it is closed, so that clients behind a load balancer spread again.
    #[serde(deserialize_with = "units::number::<1, 4_294_967_295, _, _>")]
    #[schemars(range(min = 1, max = 4_294_967_295_u64))]
    pub requests: u32,
    /// Streams at the same time on one connection of HTTP/2.
    #[serde(deserialize_with = "units::number::<1, 10_000, _, _>")]
    #[schemars(range(min = 1, max = 10_000))]
    pub http2_streams: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total: 16_384,
            per_client: 4096,
            header_timeout: Span::seconds(10),
            requests: 100_000,
            http2_streams: 100,
        }
    }
}
