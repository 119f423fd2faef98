//! Which web pages may call, as header values that are ready to be sent.

use std::collections::HashSet;

use http::HeaderValue;

/// The policy for browsers (Fetch, "HTTP-CORS protocol").
#[derive(Clone, Debug)]
pub struct Cors {
    /// The origins that may call.
    pub origins: Origins,
    /// `Access-Control-Allow-Methods`.
    pub methods: HeaderValue,
    /// `Access-Control-Allow-Headers`; `None` allows what is asked for.
    pub headers: Option<HeaderValue>,
    /// Whether cookies may be sent.
    pub credentials: bool,
    /// `Access-Control-Max-Age`, in seconds.
    pub max_age: HeaderValue,
}

/// Origins of pages.
#[derive(Clone, Debug)]
pub enum Origins {
    /// All of them.
    Any,
    /// These, as browsers write them.
    Listed(HashSet<Vec<u8>>),
}

impl Cors {
    /// Whether a page of this origin may call.
    pub fn allows(&self, origin: &[u8]) -> bool {
        match &self.origins {
            Origins::Any => true,
            Origins::Listed(listed) => listed.contains(origin),
        }
    }

    /// Whether such a page may send a header of this name.
    pub fn allows_header(&self, name: &str) -> bool {
        let Some(list) = &self.headers else { return true };
        let mut names = list.to_str().unwrap_or_default().split(',').map(str::trim);
        names.any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}
