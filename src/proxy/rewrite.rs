//! What a route changes on the way: the path, fields of the request, fields of the response.

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
        request.set_raw_path(&rewrite.apply(request.raw_path()))?;
    }
    Ok(())
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
