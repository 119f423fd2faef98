//! The admin API of a gateway that runs: one question over one connection.

mod trust;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http::Uri;
use serde_json::Value;

use crate::config;
use crate::secret::Secret;
use trust::Trust;

/// How long connecting, and each read, may take: a reload waits for names that are looked up.
const TIMEOUT: Duration = Duration::from_secs(30);

/// More is no answer of an admin API.
const LARGEST_ANSWER: u64 = 64 << 20;

/// Addresses of a name that are tried.
const MOST_ADDRESSES: usize = 4;

/// Where the admin API is, and what it asks for.
pub(super) struct AdminApi {
    /// `HOST:PORT`.
    authority: String,
    /// Whom to believe there; `None` without TLS.
    trust: Option<Trust>,
    token: Option<Secret>,
    timeout: Duration,
}

impl AdminApi {
    /// The one of this section of a config. Where it has TLS, the certificates of the config are believed and no other.
    pub(super) fn of(admin: &config::Admin, token: Option<Secret>) -> Self {
        let trust = admin.tls.as_ref().map(Trust::pinned);
        // Anything else could not be sent in a header field, and is no token.
        let token = token.filter(|token| token.expose().bytes().all(|byte| byte.is_ascii_graphic()));
        Self { authority: admin.listen.clone(), trust, token, timeout: TIMEOUT }
    }

    /// The same at another address; over TLS with the system's authorities, unless the config has certificates.
    ///
    /// # Errors
    /// The address cannot be used.
    pub(super) fn at(mut self, url: &str) -> anyhow::Result<Self> {
        let unusable = || format!("`{url}` is no address of an admin API; write https://HOST:PORT");
        let uri: Uri = url.parse().with_context(unusable)?;
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => bail!(unusable()),
        };
        if self.trust.is_some() && !tls {
            bail!("the admin listener of this config speaks TLS: write https:// in `{url}`");
        }
        let host = uri.host().with_context(unusable)?;
        self.authority = format!("{host}:{}", uri.port_u16().unwrap_or(port));
        self.trust = tls.then(|| self.trust.unwrap_or(Trust::System));
        Ok(self)
    }

    /// The same, which is waited for no longer than this.
    pub(super) fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Whether it could be asked for more than who may.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Its URL, without a path.
    pub(super) fn url(&self) -> String {
        let scheme = if self.trust.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// Asks, and reads the whole answer.
    pub(super) fn ask(&self, request: &str, change: Option<(&str, &Value)>) -> anyhow::Result<(u16, Value)> {
        let unreachable = || self.unreachable();
        let mut answer = String::new();
        let stream = self.send(request, change)?;
        stream.take(LARGEST_ANSWER).read_to_string(&mut answer).with_context(unreachable)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| anyhow!(unreachable()))?;
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code = code.ok_or_else(|| anyhow!(unreachable()))?;
        Ok((code, serde_json::from_str(body).with_context(unreachable)?))
    }

    /// Hands each line of an answer that goes on to `take`, until it ends.
    pub(super) fn follow(
        &self,
        request: &str,
        mut take: impl FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for line in BufReader::new(self.send(request, None)?).lines() {
            take(&line.with_context(|| self.unreachable())?)?;
        }
        Ok(())
    }

    /// One request of HTTP/1.0: the answer ends with the connection, so there is nothing to it. A change is a tag and a
    /// body.
    fn send(&self, request: &str, change: Option<(&str, &Value)>) -> anyhow::Result<Box<dyn Connection>> {
        let mut stream = self.connect().with_context(|| self.unreachable())?;
        let mut text = format!("{request} HTTP/1.0\r\nHost: {}\r\n", self.authority);
        if let Some(token) = &self.token {
            text += &format!("Authorization: Bearer {}\r\n", token.expose());
        }
        let body = match change {
            Some((etag, body)) => {
                let body = body.to_string();
                text += &format!(
                    "If-Match: {etag}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
                    body.len()
                );
                body
            }
            None => String::new(),
        };
        write!(stream, "{text}\r\n{body}").with_context(|| self.unreachable())?;
        Ok(stream)
    }

    fn connect(&self) -> anyhow::Result<Box<dyn Connection>> {
        let mut refused = anyhow!("this name has no address");
        for address in self.authority.to_socket_addrs()?.take(MOST_ADDRESSES) {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(self.timeout))?;
                    return Ok(match &self.trust {
                        Some(trust) => Box::new(trust.over(stream, &self.authority)?),
                        None => Box::new(stream),
                    });
                }
                Err(error) => refused = error.into(),
            }
        }
        Err(refused)
    }

    fn unreachable(&self) -> String {
        format!("no gateway answers on `{}`; does it run with this config?", self.url())
    }
}

/// With TLS or without.
trait Connection: Read + Write {}

impl<C: Read + Write> Connection for C {}
