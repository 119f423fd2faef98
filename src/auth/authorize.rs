//! May this key do this? Asked of a request that was admitted, once its route is known. Pure, as the decision is.

use std::net::IpAddr;

use http::{HeaderMap, Method};

use super::credential::HeaderSet;
use super::deny::{Cause, Deny};
use super::permit::{Grounds, Permit};
use crate::clock::UnixSeconds;
use crate::policy::{KeyRecord, Snapshot};

/// What is to be done with the key.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The method, case-sensitive.
    pub method: &'a Method,
    /// The raw bytes of the path.
    pub path: &'a [u8],
    /// The name of the route, if it has one.
    pub route: Option<&'a str>,
    /// Who asks; unknown where the client has no address.
    pub client: Option<IpAddr>,
}

/// Decides whether the key that a request was admitted with may be used for this. Who was admitted without one may do
/// whatever the routes allow.
///
/// # Errors
/// The rule that forbids it, the first of: time, address, method, route.
pub fn authorize(
    policy: &Snapshot,
    permit: &Permit,
    access: &Access<'_>,
    headers: &HeaderMap,
    now: UnixSeconds,
) -> Result<(), Deny> {
    let Grounds::Key(id) = permit.grounds() else { return Ok(()) };
    match policy.keys.record(id).and_then(|key| forbidden(&key, access, now)) {
        None => Ok(()),
        Some(cause) => Err(Deny { cause, present: HeaderSet::of(headers, policy.protocol_keys) }),
    }
}

fn forbidden(key: &KeyRecord<'_>, access: &Access<'_>, now: UnixSeconds) -> Option<Cause> {
    let rules = key.rules;
    if key.not_before.is_some_and(|begin| now < begin) {
        return Some(Cause::KeyNotYetValid);
    }
    if let Some(ranges) = &rules.addresses
        && !access.client.is_some_and(|client| ranges.iter().any(|range| range.contains(client)))
    {
        return Some(Cause::AddressNotAllowed);
    }
    if let Some(methods) = &rules.methods
        && !methods.contains(access.method)
    {
        return Some(Cause::MethodNotAllowed);
    }
    if let Some(routes) = &rules.routes
        && (has_dot_segment(access.path) || !routes.iter().any(|rule| rule.covers(access.route, access.path)))
    {
        return Some(Cause::RouteNotAllowed);
    }
    None
}

/// Whether a segment of the path is `.` or `..`, however it is written: an upstream that resolves it would serve
/// another path than the one that was looked at. (RFC 3986 §5.2.4; `%2e`, `%2f`, `%5c`; `..;x` as servlets take it.)
fn has_dot_segment(path: &[u8]) -> bool {
    let mut rest = path;
    // How many dots the segment consists of so far; `None` once there is anything else in it.
    let mut dots = None;
    while let Some((byte, tail)) = decoded(rest) {
        match byte {
            b'/' | b'\\' | b';' if matches!(dots, Some(1 | 2)) => return true,
            b'/' | b'\\' => dots = Some(0),
            b'.' => dots = dots.map(|dots: usize| dots + 1),
            _ => dots = None,
        }
        rest = tail;
    }
    matches!(dots, Some(1 | 2))
}

/// The first byte of a path, and what is behind it.
fn decoded(path: &[u8]) -> Option<(u8, &[u8])> {
    match path {
        [b'%', b'2', b'e' | b'E', rest @ ..] => Some((b'.', rest)),
        [b'%', b'2', b'f' | b'F', rest @ ..] => Some((b'/', rest)),
        [b'%', b'5', b'c' | b'C', rest @ ..] => Some((b'\\', rest)),
        [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_that_lead_elsewhere_are_seen_and_others_are_not() {
        for path in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/a/..;x/b",
            "/a%5c..",
        ] {
            assert!(has_dot_segment(path.as_bytes()), "{path}");
        }
        for path in ["/", "/a..b", "/...", "/..a", "/a./b", "/.well-known", "/a;b", "/%2e%2e%2e", "*", ""] {
            assert!(!has_dot_segment(path.as_bytes()), "{path}");
        }
    }
}
