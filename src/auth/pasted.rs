//! A request as somebody pastes it to have it explained: a curl command line, or lines of headers.

mod curl;
mod shell;

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::explain::{Explanation, Way, explain};
use super::misplaced::{Misplaced, query_holds_key};
use super::{Cause, Content, Facts};
use crate::clock::UnixSeconds;
use crate::policy::Snapshot;

/// A request as it would be sent.
#[derive(Debug, Default)]
pub struct Pasted {
    /// The method.
    pub method: Method,
    /// The path, without its query.
    pub path: Vec<u8>,
    /// The host that is asked.
    pub host: Option<String>,
    /// Whether it carries content.
    pub has_content: bool,
    /// Whether its query holds what looks like a key, which counts for nothing.
    key_in_query: bool,
    headers: HeaderMap,
    /// Headers that curl leaves out because nothing stands behind their colon.
    left_out: Vec<String>,
}

/// What was pasted is no request; says why, and repeats none of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(Cow<'static, str>);

impl Unreadable {
    fn because(why: impl Into<Cow<'static, str>>) -> Self {
        Self(why.into())
    }
}

impl Pasted {
    /// A request without headers; whatever stands behind a `?` is not a part of the path.
    ///
    /// # Errors
    /// This is no method.
    pub fn new(method: &str, path: &str) -> Result<Self, Unreadable> {
        let method = method.parse().map_err(|_| Unreadable::because("this is no method"))?;
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let key_in_query = query_holds_key(query.as_bytes());
        Ok(Self { method, path: path.as_bytes().to_vec(), key_in_query, ..Self::default() })
    }

    /// What a curl command line would send, copied for a POSIX shell or for the command prompt of Windows; variables in
    /// single quotes stay as they are.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn from_curl(line: &str) -> Result<Self, Unreadable> {
        let words =
            shell::words(line).ok_or_else(|| Unreadable::because("the command line ends within quotes"))?;
        Self::from_words(&words)
    }

    /// The same of one that is split.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn from_words(words: &[String]) -> Result<Self, Unreadable> {
        curl::parse(words)
    }

    /// Adds a header, `Name: value`.
    ///
    /// # Errors
    /// It is none.
    pub fn add_line(&mut self, line: &str) -> Result<(), Unreadable> {
        let (name, value) =
            line.split_once(':').ok_or_else(|| Unreadable::because("a header is written `Name: value`"))?;
        self.add(name, value)
    }

    /// Adds a header.
    ///
    /// # Errors
    /// Name or value cannot be sent.
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), Unreadable> {
        let name: HeaderName =
            name.trim().parse().map_err(|_| Unreadable::because("this is no name of a header"))?;
        let value = HeaderValue::from_bytes(value.trim().as_bytes())
            .map_err(|_| Unreadable::because("this is no value of a header"))?;
        if name == http::header::HOST {
            self.host = Some(value.to_str().unwrap_or_default().to_owned());
        } else {
            self.headers.append(name, value);
        }
        Ok(())
    }

    /// What `policy` decides about it.
    pub fn explain(&self, policy: &Snapshot, client: std::net::IpAddr, now: UnixSeconds) -> Explanation {
        let content = if self.has_content { Content::Some } else { Content::None };
        let facts = Facts { method: &self.method, path: &self.path, headers: &self.headers, content };
        let way = Way {
            host: self.host.as_deref().map(str::as_bytes),
            client: Some(client),
            misplaced: Misplaced::of(&self.headers, self.key_in_query),
        };
        let mut explanation = explain(policy, &facts, way, now);
        self.name_left_out(&mut explanation);
        explanation
    }

    /// curl does not send a header that has no value: the unset variable shows as no header at all.
    fn name_left_out(&self, explanation: &mut Explanation) {
        let credential = self.left_out.iter().find(|name| super::is_credential_header(name));
        let code = explanation.refusal.as_ref().map(|refusal| refusal.code);
        if let Some(name) = credential
            && code == Some(Cause::CredentialMissing.code())
        {
            explanation.diagnosis = Some(super::diagnosis::left_out(name));
        }
    }
}
