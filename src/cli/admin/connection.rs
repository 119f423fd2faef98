//! One question to the admin API over one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::Value;

use super::pinned;
use crate::policy::{AdminListen, CertificateTable};
use crate::secret::Secret;

/// How long the gateway may take; a reload waits for names that are looked up.
const TIMEOUT: Duration = Duration::from_secs(30);

/// More is no answer of an admin API.
const LARGEST_ANSWER: u64 = 64 << 20;

/// Where the admin API is, and what it asks for.
pub(super) struct Gateway {
    pub(super) listen: AdminListen,
    /// What it shows where it speaks TLS.
    pub(super) certificates: CertificateTable,
    pub(super) token: Secret,
}

impl Gateway {
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
        let Self { listen: AdminListen { address, .. }, token, .. } = self;
        let mut stream = self.connect()?;
        let token = token.expose();
        let mut text = format!("{request} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n");
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
        let AdminListen { address, tls } = self.listen;
        let stream = TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| self.unreachable())?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(if tls { Box::new(pinned::over(stream, &self.certificates)?) } else { Box::new(stream) })
    }

    fn unreachable(&self) -> String {
        format!("no gateway answers on `{}`; does it run with this config?", self.listen.url())
    }
}

/// With TLS or without.
trait Connection: Read + Write {}

impl<C: Read + Write> Connection for C {}
