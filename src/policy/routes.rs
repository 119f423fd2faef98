//! Routes: host, path, method and headers to upstream, at a cost that does not grow with their number.
//!
//! Priority: the exact host, then the longest `*.` suffix of it, then any host; within these an exact path, then the
//! longest prefix; within these more headers, then methods, then the order of the config. A prefix ends at a `/` of the
//! path: `/v1` covers `/v1` and `/v1/models`, never `/v1beta`, for the providers' APIs differ in just that.

mod ambiguity;
mod index;
mod rules;

pub use ambiguity::{Ambiguity, ambiguity, normalized};
pub use rules::{Conditions, HeaderChanges, Rewrite, RouteTimeouts};

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderMap, Method};

use index::HostRoutes;

/// Position of an upstream in its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamId(pub usize);

/// Position of a route in its [`RouteTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteId(usize);

impl RouteId {
    /// Its place in the order of [`RouteTable::specs`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// One route, beside where it stands in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// Its name, if it was given one.
    pub name: Option<Arc<str>>,
    /// What metrics and logs call it: its name, or the host and path that it matches.
    pub label: Arc<str>,
    /// Where it leads.
    pub upstream: UpstreamId,
    /// What it asks of a request beside host and path.
    pub conditions: Conditions,
    /// Whether a path with an encoded slash may take it.
    pub encoded_slashes: bool,
    /// The path that is forwarded, if it is another.
    pub rewrite: Option<Rewrite>,
    /// Changes to what the upstream receives.
    pub request_headers: HeaderChanges,
    /// Changes to what the client receives.
    pub response_headers: HeaderChanges,
    /// Time-outs in place of the upstream's.
    pub timeouts: RouteTimeouts,
    /// Bytes of a body, in place of the limit for all.
    pub max_body_bytes: Option<u64>,
}

impl RouteSpec {
    /// A route that changes nothing.
    pub fn to(upstream: UpstreamId) -> Self {
        Self {
            name: None,
            label: "".into(),
            upstream,
            conditions: Conditions::default(),
            encoded_slashes: false,
            rewrite: None,
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
            timeouts: RouteTimeouts::default(),
            max_body_bytes: None,
        }
    }
}

/// Which hosts a route takes; names are lower-case and without port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostMatch<'a> {
    /// Every host.
    Any,
    /// This host.
    Exact(&'a str),
    /// Every name below this one: `example.com` for `*.example.com`.
    Below(&'a str),
}

/// How a route takes paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteMatch {
    /// Exactly this path.
    Exact(Vec<u8>),
    /// This path and everything below it.
    Prefix(Vec<u8>),
}

/// What of a request decides on its route.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// As in the `Host` field.
    pub host: Option<&'a [u8]>,
    /// As it stands in the request, before `?`.
    pub path: &'a [u8],
    /// The method.
    pub method: &'a Method,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

/// Every route, indexed.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    specs: Vec<RouteSpec>,
    any_host: HostRoutes,
    by_host: HashMap<Vec<u8>, HostRoutes>,
    by_suffix: HashMap<Vec<u8>, HostRoutes>,
    /// No longer suffix of a host needs to be looked up.
    longest_suffix: usize,
}

/// A route cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// Another one takes exactly the same requests.
    Duplicate,
    /// [`RouteTable::MOST_AT_ONE_PLACE`] have this host and path.
    TooMany,
}

impl RouteTable {
    /// Routes with the same host and path, which are told apart by methods and headers one by one.
    pub const MOST_AT_ONE_PLACE: usize = 64;

    /// Adds a route.
    ///
    /// # Errors
    /// The same host and path have such a route already, or too many.
    pub fn insert(
        &mut self,
        host: HostMatch<'_>,
        path: RouteMatch,
        spec: RouteSpec,
    ) -> Result<(), InsertError> {
        let to = RouteId(self.specs.len());
        self.specs.push(spec);
        let routes = match host {
            HostMatch::Any => &mut self.any_host,
            HostMatch::Exact(host) => self.by_host.entry(host.as_bytes().to_vec()).or_default(),
            HostMatch::Below(suffix) => {
                self.longest_suffix = self.longest_suffix.max(suffix.len());
                self.by_suffix.entry(suffix.as_bytes().to_vec()).or_default()
            }
        };
        let place = routes.place(path);
        if place.len() >= Self::MOST_AT_ONE_PLACE {
            return Err(InsertError::TooMany);
        }
        let conditions = |id: &RouteId| self.specs.get(id.0).map(|spec| &spec.conditions);
        if place.iter().any(|other| conditions(other) == conditions(&to)) {
            return Err(InsertError::Duplicate);
        }
        place.push(to);
        // Stable: of equals the first in the config comes first.
        place.sort_by_key(|id| Reverse(conditions(id).map(Conditions::rank)));
        Ok(())
    }

    /// What a route of this table says.
    pub fn route(&self, id: RouteId) -> Option<&RouteSpec> {
        self.specs.get(id.0)
    }

    /// What each route says, in the order of the config.
    pub fn specs(&self) -> impl Iterator<Item = &RouteSpec> {
        self.specs.iter()
    }

    /// The route for a request.
    pub fn find(&self, asked: &Asked<'_>) -> Option<RouteId> {
        let own = match asked.host {
            Some(host) if !(self.by_host.is_empty() && self.by_suffix.is_empty()) => {
                self.find_by_host(host, asked)
            }
            _ => None,
        };
        own.or_else(|| self.find_in(&self.any_host, asked))
    }

    /// Host names are compared without case and port (RFC 9110 §4.2.3); no name is longer than 255 bytes.
    fn find_by_host(&self, host: &[u8], asked: &Asked<'_>) -> Option<RouteId> {
        let name = without_port(host);
        let mut lower = [0_u8; 255];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let exact = self.by_host.get(&*lower).and_then(|routes| self.find_in(routes, asked));
        exact.or_else(|| self.find_by_suffix(lower, asked))
    }

    /// What stands behind each `.`, the longest first, as far as a suffix of that length is configured.
    fn find_by_suffix(&self, host: &[u8], asked: &Asked<'_>) -> Option<RouteId> {
        if self.by_suffix.is_empty() {
            return None;
        }
        let nothing_longer = host.len().saturating_sub(self.longest_suffix + 1);
        let mut tail = host.get(nothing_longer..)?;
        while let Some(dot) = tail.iter().position(|&byte| byte == b'.') {
            tail = tail.get(dot + 1..)?;
            let found = self.by_suffix.get(tail).and_then(|routes| self.find_in(routes, asked));
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn find_in(&self, routes: &HostRoutes, asked: &Asked<'_>) -> Option<RouteId> {
        routes.find(asked.path, |place| {
            place.iter().copied().find(|id| {
                let holds = |spec: &RouteSpec| spec.conditions.hold(asked.method, asked.headers);
                self.specs.get(id.0).is_some_and(holds)
            })
        })
    }
}

/// `example.com:8045` → `example.com`, `[::1]:8045` → `[::1]`.
fn without_port(host: &[u8]) -> &[u8] {
    let after_bracket = host.iter().rposition(|&byte| byte == b']').unwrap_or(0);
    match host.iter().rposition(|&byte| byte == b':') {
        Some(colon) if colon > after_bracket => host.get(..colon).unwrap_or(host),
        _ => host,
    }
}

#[cfg(test)]
mod tests;
