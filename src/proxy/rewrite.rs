//! What a route changes on the way: the path, fields of the request, fields of the response.

use http::{HeaderValue, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

use super::headers;
use crate::policy::{HeaderChanges, RouteSpec};

/// Makes of the client's request what the route says.
pub(super) fn request(route: &RouteSpec, request: &mut RequestHeader) -> Result<()> {
    let HeaderChanges { remove, set, add } = &route.request_headers;
    for name in remove {
        headers::remove_aliases(request, name);
        request.remove_header(name);
    }
    for (name, value) in set {
        headers::remove_aliases(request, name);
        request.insert_header(name, value)?;
    }
    for (name, value) in add {
        request.append_header(name, value)?;
    }
    if let Some(rewrite) = &route.rewrite {
        keep_host(request)?;
        request.set_raw_path(&rewrite.apply(request.raw_path()))?;
    }
    Ok(())
}

/// In HTTP/2 the host stands beside the path (`:authority`), and goes with the old one.
fn keep_host(request: &mut RequestHeader) -> Result<()> {
    if request.headers.contains_key(header::HOST) {
        return Ok(());
    }
    let authority = request.uri.authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    let Some(Ok(host)) = authority else { return Ok(()) };
    request.insert_header(header::HOST, host)
}

/// The same for the upstream's response.
pub(super) fn response(route: &RouteSpec, response: &mut ResponseHeader) -> Result<()> {
    let HeaderChanges { remove, set, add } = &route.response_headers;
    for name in remove {
        response.remove_header(name);
    }
    for (name, value) in set {
        response.insert_header(name, value)?;
    }
    for (name, value) in add {
        response.append_header(name, value)?;
    }
    Ok(())
}
