//! Limits: each is in its range already, so this only translates.

use crate::config::{self, Config};
use crate::policy::{ConnectionLimits, RequestLimits};

pub(super) fn request_limits(config: &Config) -> RequestLimits {
    let limits = &config.proxy.request_limits;
    let of_routes = config.routes.iter().filter_map(|route| route.max_body);
    // The config allows no size that a 64-bit machine cannot address; a smaller one has a lower limit by itself.
    let bytes = |size: config::Size| usize::try_from(size.0).unwrap_or(usize::MAX);
    RequestLimits {
        header_bytes: bytes(limits.header_bytes),
        header_count: limits.header_count,
        uri_bytes: bytes(limits.uri_bytes),
        body_bytes: limits.body.0,
        largest_body_bytes: of_routes.map(|size| size.0).fold(limits.body.0, u64::max),
        body_timeout: limits.body_timeout.0,
        send_timeout: limits.send_timeout.0,
        body_min_rate: limits.body_min_rate.0,
    }
}

pub(super) fn connection_limits(limits: &config::ConnectionLimits) -> ConnectionLimits {
    ConnectionLimits {
        total: limits.total,
        per_client: limits.per_client,
        header_timeout: limits.header_timeout.0,
        requests: limits.requests,
        http2_streams: limits.http2_streams,
    }
}
