//! What a route asks of a request beside host and path, and what it changes on the way.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// What a request must have for a route. Empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// One of these methods; none given: any.
    pub methods: Vec<Method>,
    /// Each of these fields, with this value or (`None`) any.
    pub headers: Vec<(HeaderName, Option<HeaderValue>)>,
}

impl Conditions {
    pub(super) fn hold(&self, method: &Method, headers: &HeaderMap) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && self.headers.iter().all(|(name, expected)| match expected {
                None => headers.contains_key(name),
                Some(expected) => headers.get_all(name).iter().any(|value| value == expected),
            })
    }

    /// Which of two routes is asked first; more is more specific.
    pub(super) fn rank(&self) -> (usize, bool) {
        (self.headers.len(), !self.methods.is_empty())
    }
}

/// The path that is forwarded in place of the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// The first `matched` bytes are replaced by this, which does not end in `/`.
    Prefix {
        /// Length of the prefix, without a `/` at its end.
        matched: usize,
        /// What comes in its place; may be empty.
        replacement: Box<str>,
    },
    /// The whole path.
    Path(Box<str>),
}

impl Rewrite {
    /// The new request-target for the old one. The query stays as it is.
    pub fn apply(&self, target: &[u8]) -> Vec<u8> {
        let path_end = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
        let (path, query) = target.split_at_checked(path_end).unwrap_or((target, b""));
        let (head, tail) = match self {
            Self::Path(path) => (path, &b""[..]),
            Self::Prefix { matched, replacement } => (replacement, path.get(*matched..).unwrap_or_default()),
        };
        let mut new = Vec::with_capacity(1 + head.len() + tail.len() + query.len());
        new.extend(head.as_bytes());
        new.extend(tail);
        if new.is_empty() {
            new.push(b'/');
        }
        new.extend(query);
        new
    }
}

/// Changes to header fields, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Left out.
    pub remove: Vec<HeaderName>,
    /// In place of what is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Beside what is there.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// Time-outs of a route in place of the upstream's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// To the first byte of the response.
    pub first_byte: Option<Duration>,
    /// Between two reads of the response.
    pub read: Option<Duration>,
    /// For the whole request.
    pub total: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn becomes(rewrite: &Rewrite, target: &str, expected: &str) {
        assert_eq!(String::from_utf8(rewrite.apply(target.as_bytes())).unwrap(), expected);
    }

    #[test]
    fn a_prefix_is_taken_off_or_replaced() {
        let strip = Rewrite::Prefix { matched: "/openai".len(), replacement: "".into() };
        becomes(&strip, "/openai/v1/models?a=/openai", "/v1/models?a=/openai");
        becomes(&strip, "/openai", "/");
        becomes(&strip, "/openai?x", "/?x");
        becomes(&strip, "/openai/", "/");
        let replace = Rewrite::Prefix { matched: "/v1".len(), replacement: "/api/v2".into() };
        becomes(&replace, "/v1/x", "/api/v2/x");
        becomes(&replace, "/v1", "/api/v2");
        let all = Rewrite::Prefix { matched: 0, replacement: "/base".into() };
        becomes(&all, "/x?y", "/base/x?y");
    }

    #[test]
    fn a_path_is_replaced_and_its_query_stays() {
        let rewrite = Rewrite::Path("/fixed".into());
        becomes(&rewrite, "/a/b?c=d?e", "/fixed?c=d?e");
        becomes(&rewrite, "/", "/fixed");
    }
}
