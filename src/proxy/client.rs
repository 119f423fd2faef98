//! Who sent the request: the address of the connection, or what trusted proxies say of it.
//!
//! Lists of hops are read from the right, where the nearest proxy has written. Each trusted proxy vouches for the
//! address before its own and for nothing else, so what stands left of the first untrusted address may have been
//! written by anybody: it is neither read nor passed on.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora_proxy::Session;

use super::fault::Fault;
use super::headers::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use super::{Ctx, guard};
use crate::policy::Snapshot;

/// Proxies in a row that are read; who has more of them is not known.
const MOST_HOPS: usize = 32;

/// Who sent the request.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// The address; `None` where the connection is not of the internet.
    pub(super) address: Option<IpAddr>,
    /// The trusted proxies that the request has passed, the first one first.
    proxies: Vec<IpAddr>,
    /// What the client asked these for.
    pub(super) told: Told,
    /// Whether a trusted proxy sent the request, and so all that only proxies say.
    pub(super) by_trusted: bool,
}

/// What a trusted proxy says of the request that it got.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// `http` or `https`.
    pub(super) scheme: Option<&'static str>,
    /// Its `Host`.
    pub(super) host: Option<HeaderValue>,
}

impl Client {
    /// The value of `x-forwarded-for`: the client and the proxies after it.
    pub(super) fn forwarded_for(&self) -> Option<String> {
        let mut text = self.address?.to_string();
        for proxy in &self.proxies {
            text.push_str(", ");
            text.push_str(&proxy.to_string());
        }
        Some(text)
    }
}

/// Notes who sent the request.
///
/// # Errors
/// A trusted proxy says it in two ways that do not agree: it sets one of them and lets the client set the other.
pub(super) fn identify(session: &Session, ctx: &mut Ctx) -> Result<(), Fault> {
    let peer = session.client_addr().and_then(|address| Some(address.as_inet()?.ip().to_canonical()));
    ctx.client.address = peer;
    let policy = &ctx.live.policy;
    match peer.filter(|peer| policy.trusts(*peer)) {
        Some(proxy) => {
            ctx.client = told_by(proxy, &session.req_header().headers, policy)?;
            Ok(())
        }
        None => Ok(()),
    }
}

/// Who sent the request, as `proxy` has it.
fn told_by(proxy: IpAddr, headers: &HeaderMap, policy: &Snapshot) -> Result<Client, Fault> {
    let elements = || list(headers, &header::FORWARDED);
    let listed = hops(proxy, list(headers, &X_FORWARDED_FOR).map(node), policy);
    let forwarded = hops(proxy, elements().map(|element| node(parameter(element, "for")?)), policy);
    let mut proxies = match (headers.contains_key(&X_FORWARDED_FOR), headers.contains_key(header::FORWARDED))
    {
        (true, true) if listed != forwarded => {
            return Err(Fault::BadRequest("`X-Forwarded-For` and `Forwarded` do not name the same client."));
        }
        (true, _) => listed,
        (false, _) => forwarded,
    };
    // The element that names the client was written by the proxy that the client asked.
    let element = proxies.len().checked_sub(2).and_then(|at| elements().nth(at));
    let address = proxies.pop();
    proxies.reverse();
    let said = |name| parameter(element?, name);
    let told = Told {
        scheme: only(headers, &X_FORWARDED_PROTO).or_else(|| said("proto")).and_then(scheme),
        host: only(headers, &X_FORWARDED_HOST).or_else(|| said("host")).and_then(host),
    };
    Ok(Client { address, proxies, told, by_trusted: true })
}

/// `proxy`, and whom it and those before it name, up to the first that is not trusted, or whose name cannot be read.
fn hops(proxy: IpAddr, named: impl Iterator<Item = Option<IpAddr>>, policy: &Snapshot) -> Vec<IpAddr> {
    let mut hops = vec![proxy];
    for address in named.take(MOST_HOPS).map_while(|address| address) {
        hops.push(address);
        if !policy.trusts(address) {
            break;
        }
    }
    hops
}

/// The entries of a list field from its end, over all its lines (RFC 9110 §5.3); empty ones do not count (§5.6.1).
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).iter().rev();
    lines.flat_map(|line| parts(line.as_bytes(), b',')).filter(|entry| !entry.trim_ascii().is_empty())
}

/// The parts from the end; a separator within quotes parts nothing. From the end, because the beginning may be the
/// client's: a quote that it leaves open must not swallow what a proxy has added.
fn parts(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    text.rsplit(move |&byte| {
        quoted ^= byte == b'"';
        byte == separator && !quoted
    })
}

/// The parameter of an element of `Forwarded`, which may have each only once (RFC 7239 §4).
fn parameter<'a>(element: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut values = parts(element, b';').filter_map(|pair| {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (pair.get(..at)?, pair.get(at + 1..)?.trim_ascii());
        key.trim_ascii().eq_ignore_ascii_case(name.as_bytes()).then_some(value)
    });
    let value = values.next().filter(|_| values.next().is_none())?;
    let inside = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    Some(inside.unwrap_or(value))
}

/// An address with or without port, as RFC 7239 §6 writes it, or bare. `unknown` and made-up names are none.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|with_port| with_port.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// The value of a field that stands once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).map(|value| value.as_bytes().trim_ascii())
}

fn scheme(text: &[u8]) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|name| text.eq_ignore_ascii_case(name.as_bytes()))
}

fn host(text: &[u8]) -> Option<HeaderValue> {
    guard::is_host(text).then(|| HeaderValue::from_bytes(text).ok()).flatten()
}
