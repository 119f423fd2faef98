//! Upstreams as the data plane needs them: parsed, checked, nothing left to go wrong.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use crate::clock::UnixSeconds;

/// A group of peers.
#[derive(Clone, Debug)]
pub struct UpstreamSpec {
    /// Its name in the config.
    pub name: Arc<str>,
    /// At least one, at most [`UpstreamSpec::MAX_PEERS`].
    pub peers: Vec<PeerSpec>,
    /// Which peer a request goes to.
    pub balance: Balance,
    /// What is sent again.
    pub retries: RetryRule,
    /// When an address is left out for a while.
    pub ejection: EjectionRule,
    /// How its addresses are asked whether they are well.
    pub check: Option<Arc<CheckRule>>,
    /// To connect, and as long again for a TLS handshake.
    pub connect_timeout: Duration,
    /// Between two reads of the response.
    pub read_timeout: Duration,
    /// To the first byte of the response.
    pub first_byte_timeout: Option<Duration>,
    /// For the whole request.
    pub total_timeout: Option<Duration>,
    /// Between two writes of the request.
    pub write_timeout: Duration,
    /// The largest header section of a response, in bytes.
    pub response_header_bytes: usize,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Whether to speak TLS.
    pub tls: bool,
    /// The name that certificates must have; by default the peer's own.
    pub sni: Option<String>,
    /// Certificates of the authorities in place of the system's, each as DER.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// The certificate to show to a peer that asks for one.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether certificates are verified.
    pub verify: bool,
    /// The version of HTTP to speak.
    pub protocol: Protocol,
    /// The credential that the peers want to see.
    pub credential: Option<UpstreamCredential>,
    /// Whether the peers are told the name of the caller's key.
    pub forward_key_name: bool,
    /// Labels of the caller's key that the peers are told, each with the field for it.
    pub forward_labels: Vec<(Arc<str>, HeaderName)>,
    /// The `Host` to send in place of the client's.
    pub host: Option<HeaderValue>,
}

/// A credential of ours. Its value is marked as sensitive, so it is never printed.
#[derive(Clone, Debug)]
pub struct UpstreamCredential {
    /// The field that it goes into.
    pub header: HeaderName,
    /// The whole value of that field.
    pub value: HeaderValue,
}

/// Which peer a request goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// To the one with the fewest requests under way.
    LeastConnections,
    /// To the better of two.
    PowerOfTwo,
    /// The same for the same.
    Hash(HashBy),
}

/// What of a request is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// The caller's address, without the port.
    ClientAddress,
    /// The caller's key.
    Key,
    /// The first line of this field.
    Header(HeaderName),
}

/// When a request that a peer may have seen is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryRule {
    /// How often at most.
    pub attempts: u32,
    /// After these statuses.
    pub statuses: Vec<u16>,
    /// In percent of all requests.
    pub budget_percent: u32,
    /// Not later than this after the request came.
    pub within: Duration,
}

/// When an address that fails is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectionRule {
    /// After so many failures in a row; 0 is never.
    pub failures: u32,
    /// How long the first time.
    pub time: Duration,
    /// How long at most.
    pub max_time: Duration,
    /// How many of all at most.
    pub max_percent: u32,
}

/// How an address is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRule {
    /// By a request; without it, by a connection.
    pub http: Option<HttpCheck>,
    /// Between two checks.
    pub interval: Duration,
    /// For one.
    pub timeout: Duration,
    /// Successes in a row before it gets requests again.
    pub healthy_after: u32,
    /// Failures in a row before it gets none.
    pub unhealthy_after: u32,
}

/// The request of a check, and the answers that are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// Path and query.
    pub path: Box<str>,
    /// `Host`; without it, the address.
    pub host: Option<HeaderValue>,
    /// Good statuses.
    pub statuses: Vec<u16>,
}

/// A certificate of ours and its key.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate first, then the chain behind it, each as DER.
    pub chain: Vec<Vec<u8>>,
    /// The private key as DER.
    pub key: Zeroizing<Vec<u8>>,
    /// The last second of the certificate.
    pub not_after: UnixSeconds,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(..)")
    }
}

/// The version of HTTP that peers are spoken to with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2; without TLS by prior knowledge.
    Http2,
    /// By ALPN.
    Auto,
}

impl UpstreamSpec {
    /// The round-robin table is made by an algorithm that is quadratic in it.
    pub const MAX_PEERS: usize = 256;
}

/// One peer of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSpec {
    /// Where it is.
    pub address: PeerAddress,
    /// Its share, relative to the others'; at least 1.
    pub weight: u32,
    /// New requests pass it over.
    pub drain: bool,
}

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// An address that needs no resolving.
    Fixed(SocketAddr),
    /// A name that is resolved in the background.
    Name {
        /// Host name.
        host: String,
        /// Port.
        port: u16,
    },
}

impl PeerAddress {
    /// Reads `host:port`, with an IPv6 address in brackets.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that starts with the address.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() == 0 { Err("has port 0") } else { Ok(Self::Fixed(address)) };
        }
        if text.contains("://") {
            return Err("is a URL; write `host:port`, and `tls: true` on the upstream for https");
        }
        let Some((host, port)) = text.rsplit_once(':') else { return Err("has no port; write `host:port`") };
        if host.contains(':') || host.contains('[') {
            return Err("is no IPv6 address with a port; write `[::1]:8080`");
        }
        match port.parse::<u16>() {
            Ok(0) | Err(_) => Err("has no port between 1 and 65535 after the colon"),
            Ok(_) if !is_host_name(host) => Err("has no valid host name before the colon"),
            Ok(port) => Ok(Self::Name { host: host.to_owned(), port }),
        }
    }

    /// The host part, as a certificate would name it.
    pub fn host(&self) -> String {
        match self {
            Self::Fixed(address) => address.ip().to_string(),
            Self::Name { host, .. } => host.clone(),
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Letters, digits, hyphens and, as many private zones use them, underscores; labels of 1 to 63 bytes, 253 in all
/// (RFC 1035 §2.3.4).
pub(super) fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    // An all-numeric last label would be a mistyped IPv4 address (WHATWG URL, "ends in a number").
    let ends_in_number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253
        && !ends_in_number
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        assert_eq!(
            PeerAddress::parse("127.0.0.1:80"),
            Ok(PeerAddress::Fixed("127.0.0.1:80".parse().unwrap()))
        );
        assert_eq!(PeerAddress::parse("[::1]:80"), Ok(PeerAddress::Fixed("[::1]:80".parse().unwrap())));
        let name = PeerAddress::Name { host: "api.openai.com".into(), port: 443 };
        assert_eq!(PeerAddress::parse("api.openai.com:443"), Ok(name));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in [
            "",
            ":80",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:http",
            "::1:80",
            "[::1]",
            "a b:80",
            "http://host:80",
            "127.0.0.1:0",
            "127.0.0.300:80",
            "-:x",
        ] {
            assert!(PeerAddress::parse(wrong).is_err(), "{wrong}");
        }
    }
}
