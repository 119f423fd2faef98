//! A key where the gateway does not look. It counts for nothing there; a request without another is told so.

use http::HeaderMap;

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// In the query of the URL.
    Query,
    /// In this header.
    Header(&'static str),
}

/// Names under which clients put a key into a query: Gemini's `?key=`, and what others have.
const IN_QUERIES: [&str; 5] = ["key", "api_key", "apikey", "api-key", "access_token"];

/// Headers that other gateways and providers take a key from: `api-key` is Azure's.
const IN_HEADERS: [&str; 3] = ["api-key", "apikey", "x-auth-token"];

impl Misplaced {
    /// Looks for one in the headers of a request whose query [holds one](query_holds_key) or does not.
    pub fn of(headers: &HeaderMap, in_query: bool) -> Option<Self> {
        // Cheaper than to look each up: nearly all names have another length.
        let header = headers
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .find_map(|(name, _)| IN_HEADERS.into_iter().find(|key| name.as_str() == *key).map(Self::Header));
        header.or(in_query.then_some(Self::Query))
    }
}

/// Whether a query holds what is meant as a key. Queries stand in logs and histories.
pub fn query_holds_key(query: &[u8]) -> bool {
    query.split(|&byte| byte == b'&').any(|pair| {
        let at = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(at);
        value.len() > 1 && IN_QUERIES.iter().any(|key| name.eq_ignore_ascii_case(key.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_elsewhere_is_found() {
        for query in ["key=a", "alt=json&key=a", "API_KEY=a", "access_token=a&b"] {
            assert!(query_holds_key(query.as_bytes()), "{query}");
        }
        for query in ["", "key", "key=", "monkey=a", "a=key"] {
            assert!(!query_holds_key(query.as_bytes()), "{query}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(Misplaced::of(&headers, false), None);
        assert_eq!(Misplaced::of(&headers, true), Some(Misplaced::Query));
        headers.insert("api-key", "".parse().unwrap());
        assert_eq!(Misplaced::of(&headers, false), None);
        headers.insert("api-key", "a".parse().unwrap());
        assert_eq!(Misplaced::of(&headers, true), Some(Misplaced::Header("api-key")));
    }
}
