//! Routes: host and path to upstream, at a cost that does not grow with their number.
//!
//! Priority: a route with the request's host before one without; within these an exact path, then the longest
//! prefix. A prefix ends at a `/` of the path: `/v1` covers `/v1` and `/v1/models`, never `/v1beta`, for the
//! providers' APIs differ in just that.

use std::collections::HashMap;
use std::sync::Arc;

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

/// One route, beside what it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// Its name, if it was given one.
    pub name: Option<Arc<str>>,
    /// What metrics and logs call it: its name, or the host and path that it matches.
    pub label: Arc<str>,
    /// Where it leads.
    pub upstream: UpstreamId,
}

/// How a route takes paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteMatch {
    /// Exactly this path.
    Exact(Vec<u8>),
    /// This path and everything below it.
    Prefix(Vec<u8>),
}

/// Every route, indexed.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    specs: Vec<RouteSpec>,
    any_host: HostRoutes,
    by_host: HashMap<Vec<u8>, HostRoutes>,
}

/// The routes of one host.
#[derive(Clone, Debug, Default)]
struct HostRoutes {
    exact: HashMap<Vec<u8>, RouteId>,
    /// By prefix without its last `/`; the value tells the two forms apart.
    prefixes: HashMap<Vec<u8>, Prefix>,
    /// No longer prefix of a path needs to be looked up.
    longest_prefix: usize,
}

/// `/v1` covers `/v1` and below, `/v1/` only what is below; both may be there.
#[derive(Clone, Copy, Debug, Default)]
struct Prefix {
    with_itself: Option<RouteId>,
    below_only: Option<RouteId>,
}

impl RouteTable {
    /// Adds a route. `host` is lower-case, without port.
    ///
    /// # Errors
    /// The same host and path have a route already.
    pub fn insert(
        &mut self,
        host: Option<&str>,
        path: RouteMatch,
        spec: RouteSpec,
    ) -> Result<(), DuplicateRoute> {
        let to = RouteId(self.specs.len());
        self.specs.push(spec);
        let routes = match host {
            Some(host) => self.by_host.entry(host.as_bytes().to_vec()).or_default(),
            None => &mut self.any_host,
        };
        let before = match path {
            RouteMatch::Exact(path) => routes.exact.insert(path, to),
            RouteMatch::Prefix(path) => routes.insert_prefix(path, to),
        };
        before.map_or(Ok(()), |_| Err(DuplicateRoute))
    }

    /// What a route of this table says.
    pub fn route(&self, id: RouteId) -> Option<&RouteSpec> {
        self.specs.get(id.0)
    }

    /// What each route says, in the order of the config.
    pub fn specs(&self) -> impl Iterator<Item = &RouteSpec> {
        self.specs.iter()
    }

    /// The route for a request: `host` as in its `Host` field, `path` as it stands in the request, before `?`.
    pub fn find(&self, host: Option<&[u8]>, path: &[u8]) -> Option<RouteId> {
        let own = match host {
            Some(host) if !self.by_host.is_empty() => {
                self.find_host(host).and_then(|routes| routes.find(path))
            }
            _ => None,
        };
        own.or_else(|| self.any_host.find(path))
    }

    /// Host names are compared without case and port (RFC 9110 §4.2.3); no name is longer than 255 bytes.
    fn find_host(&self, host: &[u8]) -> Option<&HostRoutes> {
        let name = without_port(host);
        let mut lower = [0_u8; 255];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.by_host.get(&*lower)
    }
}

/// The same host and path stand in two routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuplicateRoute;

impl HostRoutes {
    fn insert_prefix(&mut self, mut path: Vec<u8>, to: RouteId) -> Option<RouteId> {
        let below_only = path.len() > 1 && path.last() == Some(&b'/');
        if path.last() == Some(&b'/') {
            path.pop();
        }
        self.longest_prefix = self.longest_prefix.max(path.len());
        let prefix = self.prefixes.entry(path).or_default();
        if below_only { prefix.below_only.replace(to) } else { prefix.with_itself.replace(to) }
    }

    fn find(&self, path: &[u8]) -> Option<RouteId> {
        self.exact.get(path).copied().or_else(|| self.find_prefix(path))
    }

    /// Tries the path itself and what stands before each of its `/`, the longest first. The number of look-ups is
    /// bounded by the longest configured prefix, not by what a caller sends.
    fn find_prefix(&self, path: &[u8]) -> Option<RouteId> {
        if let Some(prefix) = self.lookup(path) {
            // `/v1/` itself is looked up here only without its last slash, in the loop below.
            if let Some(found) = prefix.with_itself {
                return Some(found);
            }
        }
        let mut head = path.get(..=self.longest_prefix).unwrap_or(path);
        while let Some(slash) = head.iter().rposition(|&byte| byte == b'/') {
            head = head.get(..slash).unwrap_or_default();
            if let Some(found) = self.lookup(head).and_then(|prefix| prefix.below_only.or(prefix.with_itself))
            {
                return Some(found);
            }
        }
        None
    }

    fn lookup(&self, prefix: &[u8]) -> Option<&Prefix> {
        if prefix.len() > self.longest_prefix { None } else { self.prefixes.get(prefix) }
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
mod tests {
    use super::*;

    fn table(routes: &[(Option<&str>, RouteMatch)]) -> RouteTable {
        let mut table = RouteTable::default();
        for (number, (host, path)) in routes.iter().enumerate() {
            table.insert(*host, path.clone(), to(number)).unwrap();
        }
        table
    }

    fn to(number: usize) -> RouteSpec {
        RouteSpec { name: None, label: "".into(), upstream: UpstreamId(number) }
    }

    fn prefix(path: &str) -> RouteMatch {
        RouteMatch::Prefix(path.into())
    }

    fn exact(path: &str) -> RouteMatch {
        RouteMatch::Exact(path.into())
    }

    #[track_caller]
    fn leads(table: &RouteTable, host: &str, path: &str, to: Option<usize>) {
        assert_eq!(table.find(Some(host.as_bytes()), path.as_bytes()), to.map(RouteId), "{host}{path}");
    }

    #[test]
    fn exact_beats_prefix_and_long_beats_short() {
        let table = table(&[
            (None, prefix("/")),
            (None, prefix("/v1")),
            (None, exact("/v1/models")),
            (None, prefix("/v1/models")),
        ]);
        leads(&table, "h", "/", Some(0));
        leads(&table, "h", "/other", Some(0));
        leads(&table, "h", "/v1", Some(1));
        leads(&table, "h", "/v1/", Some(1));
        leads(&table, "h", "/v1/chat/completions", Some(1));
        leads(&table, "h", "/v1/models", Some(2));
        leads(&table, "h", "/v1/models/x", Some(3));
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        let table = table(&[(None, prefix("/v1")), (None, prefix("/v2/"))]);
        leads(&table, "h", "/v1beta/models", None);
        leads(&table, "h", "/v2", None);
        leads(&table, "h", "/v2/", Some(1));
        leads(&table, "h", "/v2/x", Some(1));
        leads(&table, "h", "/", None);
    }

    #[test]
    fn a_route_with_the_host_comes_first_and_falls_back() {
        let table =
            table(&[(None, prefix("/")), (Some("a.example"), prefix("/v1")), (Some("[::1]"), exact("/x"))]);
        leads(&table, "a.example", "/v1/x", Some(1));
        leads(&table, "A.Example:8045", "/v1/x", Some(1));
        leads(&table, "a.example", "/other", Some(0));
        leads(&table, "b.example", "/v1/x", Some(0));
        leads(&table, "[::1]:8045", "/x", Some(2));
        leads(&table, &"h".repeat(300), "/v1/x", Some(0));
        assert_eq!(table.find(None, b"/v1/x"), Some(RouteId(0)));
    }

    #[test]
    fn the_same_route_twice_is_refused() {
        let mut table = RouteTable::default();
        for path in [prefix("/v1"), prefix("/v1/"), exact("/v1"), prefix("/")] {
            assert_eq!(table.insert(None, path.clone(), to(0)), Ok(()));
            assert_eq!(table.insert(None, path, to(1)), Err(DuplicateRoute));
        }
    }

    #[test]
    fn a_path_of_slashes_costs_no_more_than_the_longest_prefix() {
        let table = table(&[(None, prefix("/a"))]);
        leads(&table, "h", &"/".repeat(60_000), None);
    }
}
