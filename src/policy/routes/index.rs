//! The routes of one host by path.

use std::collections::HashMap;

use super::{RouteId, RouteMatch};

/// The routes of one host.
#[derive(Clone, Debug, Default)]
pub(super) struct HostRoutes {
    exact: HashMap<Vec<u8>, Place>,
    /// By prefix without its last `/`; the value tells the two forms apart.
    prefixes: HashMap<Vec<u8>, Prefix>,
    /// No longer prefix of a path needs to be looked up.
    longest_prefix: usize,
}

/// The routes of one host and path, the most specific first.
pub(super) type Place = Vec<RouteId>;

/// `/v1` covers `/v1` and below, `/v1/` only what is below; both may be there.
#[derive(Clone, Debug, Default)]
struct Prefix {
    with_itself: Place,
    below_only: Place,
}

impl HostRoutes {
    /// Where routes for this path stand.
    pub(super) fn place(&mut self, path: RouteMatch) -> &mut Place {
        let mut path = match path {
            RouteMatch::Exact(path) => return self.exact.entry(path).or_default(),
            RouteMatch::Prefix(path) => path,
        };
        let below_only = path.len() > 1 && path.last() == Some(&b'/');
        if path.last() == Some(&b'/') {
            path.pop();
        }
        self.longest_prefix = self.longest_prefix.max(path.len());
        let prefix = self.prefixes.entry(path).or_default();
        if below_only { &mut prefix.below_only } else { &mut prefix.with_itself }
    }

    /// The first route that `pick` takes, of the places for this path, the most specific first.
    pub(super) fn find(&self, path: &[u8], pick: impl Fn(&Place) -> Option<RouteId>) -> Option<RouteId> {
        self.exact.get(path).and_then(&pick).or_else(|| self.find_prefix(path, pick))
    }

    /// Tries the path itself and what stands before each of its `/`, the longest first. The number of look-ups is
    /// bounded by the longest configured prefix, not by what a caller sends.
    fn find_prefix(&self, path: &[u8], pick: impl Fn(&Place) -> Option<RouteId>) -> Option<RouteId> {
        // `/v1/` itself is looked up here only without its last slash, in the loop below.
        if let Some(found) = self.lookup(path).and_then(|prefix| pick(&prefix.with_itself)) {
            return Some(found);
        }
        let mut head = path.get(..=self.longest_prefix).unwrap_or(path);
        while let Some(slash) = head.iter().rposition(|&byte| byte == b'/') {
            head = head.get(..slash).unwrap_or_default();
            let found = self
                .lookup(head)
                .and_then(|prefix| pick(&prefix.below_only).or_else(|| pick(&prefix.with_itself)));
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn lookup(&self, prefix: &[u8]) -> Option<&Prefix> {
        if prefix.len() > self.longest_prefix { None } else { self.prefixes.get(prefix) }
    }
}
