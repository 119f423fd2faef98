//! A small HTTP client, for `keygate doctor`.

use std::io;
use std::time::Duration;

use http::{HeaderMap, Method};
use ureq::Agent;
use ureq::config::Config;
use ureq::tls::{RootCerts, TlsConfig};

/// As long as anything may take: the answer is wanted within a second, and a dead address must not look like a slow one.
const TIMEOUT: Duration = Duration::from_secs(5);

/// More of a body is not read.
const MOST_BYTES: u64 = 4 << 20;

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why nothing came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody listens there.
    Refused,
    /// The name has no address.
    UnknownHost,
    /// No answer in time.
    TimedOut,
    /// The TLS handshake failed, or TLS is spoken where it is not, or not where it is.
    Tls,
    /// It is no HTTP, or broke off.
    BrokenOff,
    /// The URL cannot be used.
    BadUrl,
}

/// Sends requests.
pub(super) struct Client(Agent);

impl Client {
    /// One that follows no redirect and uses no proxy: it asks the address that it is given.
    pub(super) fn new() -> Self {
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(TIMEOUT))
            .user_agent(concat!("keygate-doctor/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("")
            // The system's authorities, as the clients of the gateway use them.
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build();
        Self(config.new_agent())
    }

    /// Sends one request without content.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) fn send(&self, method: &Method, url: &str, headers: &HeaderMap) -> Result<Answer, Trouble> {
        let mut request =
            http::Request::builder().method(method).uri(url).body(()).map_err(|_| Trouble::BadUrl)?;
        request.headers_mut().extend(headers.clone());
        let response = self.0.run(request).map_err(|error| trouble(&error, url))?;
        let (head, mut body) = response.into_parts();
        let body = body.with_config().limit(MOST_BYTES).read_to_vec().unwrap_or_default();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }
}

impl Answer {
    /// The value of a field, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn trouble(error: &ureq::Error, url: &str) -> Trouble {
    match error {
        ureq::Error::HostNotFound => Trouble::UnknownHost,
        ureq::Error::Timeout(_) => Trouble::TimedOut,
        ureq::Error::ConnectionFailed => Trouble::Refused,
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => Trouble::Tls,
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => Trouble::BadUrl,
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Trouble::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Trouble::TimedOut
            }
            // rustls hands its errors on as data that is not valid; a server without TLS breaks the handshake off.
            io::ErrorKind::InvalidData => Trouble::Tls,
            // The standard library has no kind for it.
            _ if error.to_string().starts_with("failed to lookup address") => Trouble::UnknownHost,
            _ if url.starts_with("https:") => Trouble::Tls,
            _ => Trouble::BrokenOff,
        },
        _ => Trouble::BrokenOff,
    }
}
