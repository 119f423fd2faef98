//! The address to call, taken from a URL as it stands in the settings of a client or in a line that somebody copied.

use http::Uri;

/// Where the gateway is, and what is called there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Scheme, host and port, and what stands before the paths of the API; without a slash at its end. Nothing of it is
    /// secret.
    pub(super) base: String,
    /// The path with its query, if the URL has more than what clients want in their base URLs.
    pub(super) path: Option<String>,
}

/// The URL cannot be used; says why, and repeats none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unusable(&'static str);

/// Where the paths of the APIs begin, and the gateway's own.
const FIRST_SEGMENTS: [&str; 4] = ["v1", "v1beta", "v1alpha", "healthz"];

impl Address {
    /// `HOST:PORT` is taken for `http://HOST:PORT`.
    ///
    /// # Errors
    /// It is no URL of HTTP, or holds a user.
    pub(super) fn parse(url: &str) -> Result<Self, Unusable> {
        let unusable = Unusable("the URL cannot be used; write it as `http://127.0.0.1:8045`");
        let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = with_scheme.parse().map_err(|_| unusable)?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or(unusable)?;
        let authority = uri.authority().ok_or(unusable)?.as_str();
        if authority.contains('@') {
            return Err(Unusable(
                "the URL holds a user or a password, which would be sent as `Authorization: Basic`; leave it out, and \
                 give the key with `--key`",
            ));
        }
        let (before, path) = split(uri.path());
        let (before, path) = match uri.query() {
            Some(query) if path.is_empty() => ("", Some(format!("{before}/?{query}"))),
            Some(query) => (before, Some(format!("{path}?{query}"))),
            None => (before, (!is_base(path)).then(|| path.to_owned())),
        };
        Ok(Self { base: format!("{scheme}://{authority}{before}"), path })
    }
}

/// What stands before the path of an API, and that path.
fn split(path: &str) -> (&str, &str) {
    let starts = path.match_indices('/').map(|(at, _)| path.split_at(at));
    let begins = |rest: &str| {
        let first = rest.split('/').nth(1).unwrap_or_default();
        FIRST_SEGMENTS.contains(&first)
    };
    let (before, rest) = starts.into_iter().find(|(_, rest)| begins(rest)).unwrap_or((path, ""));
    (before.trim_end_matches('/'), rest)
}

/// Whether it is no more than what clients have in their base URLs.
fn is_base(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    path.is_empty() || matches!(path, "/v1" | "/v1beta" | "/v1alpha")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_want_in_their_base_urls_is_left_out_and_more_is_called() {
        for (url, base, path) in [
            ("http://127.0.0.1:8045", "http://127.0.0.1:8045", None),
            ("localhost:8045/", "http://localhost:8045", None),
            ("https://a.example/v1/", "https://a.example", None),
            ("http://a.example/v1beta", "http://a.example", None),
            ("http://a.example/v1/chat/completions", "http://a.example", Some("/v1/chat/completions")),
            ("http://a.example/ai/v1", "http://a.example/ai", None),
            ("http://a.example/ai/", "http://a.example/ai", None),
            ("http://a.example/v12", "http://a.example/v12", None),
            ("http://a.example:8045/healthz", "http://a.example:8045", Some("/healthz")),
            ("http://a.example/v1beta/models?key=k#x", "http://a.example", Some("/v1beta/models?key=k")),
            ("http://a.example?key=k", "http://a.example", Some("/?key=k")),
        ] {
            let expected = Address { base: base.to_owned(), path: path.map(str::to_owned) };
            assert_eq!(Address::parse(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_called_is_refused_and_not_repeated() {
        for url in
            ["ftp://x", "http://", "", "http://a b", "http://me:secret@a.example", "secret@a.example:80"]
        {
            let why = Address::parse(url).unwrap_err().to_string();
            assert!(!why.contains("secret"), "{url}: {why}");
        }
    }
}
