//! Limits: each is in its range already, so this only translates.

use crate::config;
use crate::policy::{ConnectionLimits, RequestLimits};

pub(super) fn request_limits(limits: &config::RequestLimits) -> RequestLimits {
    // The config allows no size that a 64-bit machine cannot address; a smaller one has a lower limit by itself.
    let bytes = |size: config::Size| usize::try_from(size.0).unwrap_or(usize::MAX);
    RequestLimits {
        header_bytes: bytes(limits.header_bytes),
        header_count: limits.header_count,
        uri_bytes: bytes(limits.uri_bytes),
        body_bytes: limits.body.0,
        body_timeout: limits.body_timeout.0,
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
