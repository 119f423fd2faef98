//! What the gateway tells an upstream: who the caller is, and who the gateway is.
//!
//! Added after the client's own fields of these names were removed, and after Pingora stripped what the client's
//! `Connection` names: no client can forge or strip any of it.

use http::{HeaderName, HeaderValue, Method};
use pingora::Result;
use pingora::http::RequestHeader;

use super::{Ctx, headers};
use crate::auth::{Grounds, Permit};

/// The name of the caller's key.
static X_KEYGATE_KEY: HeaderName = HeaderName::from_static("x-keygate-key");

/// Tells the name of the caller's key and those of its labels that the upstream is to know.
pub(super) fn caller(request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    let (Some(Grounds::Key(id)), Some(upstream)) =
        (ctx.permit.as_ref().map(Permit::grounds), ctx.upstream_spec())
    else {
        return Ok(());
    };
    let Some(key) = ctx.live.policy.keys.record(id) else { return Ok(()) };
    if upstream.forward_key_name
        && let Ok(name) = HeaderValue::from_str(key.name())
    {
        request.insert_header(X_KEYGATE_KEY.as_str(), name)?;
    }
    for (label, field) in &upstream.forward_labels {
        if let Some((_, value)) = key.rules.labels.iter().find(|(name, _)| name == label)
            && let Ok(value) = HeaderValue::from_str(value)
        {
            request.insert_header(field, value)?;
        }
    }
    Ok(())
}

/// Shows the gateway's own credential, in place of whatever stands in its field; whether there is one. An
/// `OPTIONS` goes without: whoever sends it may be unknown.
pub(super) fn gateway(request: &mut RequestHeader, ctx: &Ctx) -> Result<bool> {
    let Some(credential) = ctx.upstream_spec().and_then(|upstream| upstream.credential.as_ref()) else {
        return Ok(false);
    };
    headers::remove_aliases(request, &credential.header);
    if request.method == Method::OPTIONS || ctx.permit.is_none() {
        request.remove_header(&credential.header);
        return Ok(false);
    }
    request.insert_header(&credential.header, &credential.value)?;
    Ok(true)
}
