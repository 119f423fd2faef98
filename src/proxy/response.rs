//! What a peer may answer, before anything of it is looked at: a header section of a size that clients can take.
//!
//! Pingora reads up to 1 MiB over HTTP/1.1 and 16 MiB over HTTP/2.

use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};

use super::Ctx;
use super::fault::Fault;

/// What a field line takes beside name and value: `: ` and CR LF.
const AROUND_A_FIELD: usize = 4;

/// Refuses a header section that is larger than its upstream may send.
///
/// # Errors
/// It is; `ctx` has the fault.
pub(super) fn check_size(response: &ResponseHeader, ctx: &mut Ctx) -> Result<()> {
    let fields = response.headers.iter();
    let bytes: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + AROUND_A_FIELD).sum();
    if ctx.upstream_spec().is_none_or(|upstream| bytes <= upstream.response_header_bytes) {
        return Ok(());
    }
    ctx.fault = Some(Fault::UpstreamHeaderTooLarge);
    let mut error = Error::explain(ErrorType::InvalidHTTPHeader, "the header section is too large");
    error.as_up();
    Err(error)
}
