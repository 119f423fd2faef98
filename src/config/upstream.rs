//! Section `upstreams`: where requests are forwarded to.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Balance, Certificate, Ejection, HealthCheck, PemFile, Retries, SecretRef, Size, Span, units};
use crate::problem::FieldPath;

/// A group of peers that serve the same thing.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"peers": ["127.0.0.1:9001"]}))]
pub struct Upstream {
    /// The peers: `host:port`, or `{address: "host:port", weight: 2, drain: false}`; one with `drain: true` gets no new requests. Names are resolved in the background.
    pub peers: Vec<Peer>,
    /// How long to wait for a peer.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// The whole header section of a response; a larger one is answered 502 `upstream_header_too_large`.
    #[serde(default = "response_header_bytes", deserialize_with = "units::size::<1024, { 512 * 1024 }, _>")]
    pub response_header_bytes: Size,
    /// Which peer a request goes to: `round_robin`, `least_connections`, `power_of_two` or `hash`.
    #[serde(default)]
    pub balance: Balance,
    /// With `balance: hash`: `client_address`, `key` (the caller's) or `header:NAME`. Requests without it are shared out at random.
    #[serde(default)]
    #[schemars(example = "header:x-session")]
    pub hash_by: Option<String>,
    /// What is sent again to another peer.
    #[serde(default)]
    pub retries: Retries,
    /// When an address that fails is left out for a while.
    #[serde(default)]
    pub ejection: Ejection,
    /// Asks the peers whether they are well; without it, requests alone tell.
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
    /// Speak TLS to the peers; their certificates are verified.
    #[serde(default)]
    pub tls: bool,
    /// The name to verify certificates against (and to send as SNI); by default the host part of the peer's address.
    #[serde(default)]
    #[schemars(example = "api.example.com")]
    pub sni: Option<String>,
    /// Certificates of authorities (PEM) that the peers' certificates are verified with, in place of the system's. Costs a full handshake for each connection: sessions are not resumed.
    #[serde(default)]
    #[schemars(example = "tls/internal-ca.pem")]
    pub tls_ca: Option<PemFile>,
    /// The certificate to show to peers that ask for one. Sessions are not resumed then either.
    #[serde(default)]
    pub tls_client_certificate: Option<Certificate>,
    /// Whether the peers' certificates are verified. `false` lets anyone who can get between answer in the peers' name, and read every prompt.
    #[serde(default = "yes")]
    pub tls_verify: bool,
    /// What to speak to the peers: `http1`, `http2` (without TLS by prior knowledge), or `auto` (with TLS: what the peer prefers, by ALPN). gRPC needs `http2` or `auto`.
    #[serde(default)]
    pub protocol: Protocol,
    /// The credential that the peers want to see, in place of the client's: it is put into every request but `OPTIONS`.
    #[serde(default)]
    pub credential: Option<Credential>,
    /// Whether the peers are told the name of the caller's key, as `x-keygate-key`.
    #[serde(default = "yes")]
    pub forward_key_name: bool,
    /// Labels of the caller's key that the peers are told, as `x-keygate-label-NAME`.
    #[serde(default)]
    pub forward_labels: Vec<String>,
    /// The `Host` to send to the peers; by default the client's.
    #[serde(default)]
    #[schemars(example = "api.example.com")]
    pub host: Option<String>,
}

/// What the gateway shows to an upstream in place of what the caller showed to it.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"header": "authorization", "value": "${PROVIDER_API_KEY}"}))]
pub struct Credential {
    /// The header: `authorization`, `x-api-key`, `x-goog-api-key` or another name.
    pub header: String,
    /// Its value: `${ENV_VAR}`, `file:PATH` or a literal; read again when the file changes. For `authorization`, `Bearer ` is put in front of a value without a space.
    pub value: SecretRef,
}

/// The version of HTTP that peers are spoken to with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/2 where the peer offers it in the TLS handshake, else HTTP/1.1.
    Auto,
}

fn yes() -> bool {
    true
}

fn response_header_bytes() -> Size {
    Upstream::RESPONSE_HEADER_BYTES
}

impl Upstream {
    /// The default of [`Upstream::response_header_bytes`]: about what Envoy takes (60 KiB); servers send 1 to 8.
    pub const RESPONSE_HEADER_BYTES: Size = Size(64 * 1024);

    /// All files that it names, each with its place; `path` is the place of this upstream.
    pub(super) fn pem_files(&mut self, path: &FieldPath) -> Vec<(FieldPath, &mut PemFile)> {
        let here = path.field("tls_client_certificate");
        let pair = self.tls_client_certificate.iter_mut();
        let pair =
            pair.flat_map(|pair| [(here.field("cert"), &mut pair.cert), (here.field("key"), &mut pair.key)]);
        pair.chain(self.tls_ca.iter_mut().map(|ca| (path.field("tls_ca"), ca))).collect()
    }
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(with = "PeerAsWritten")]
pub struct Peer {
    /// `host:port`; an IPv6 address in brackets.
    pub address: String,
    /// Its share of the requests, relative to the other peers'.
    pub weight: u32,
    /// Whether it is passed over by new requests.
    pub drain: bool,
}

/// For the schema: a peer is written as its address alone, or with a weight.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is used")]
enum PeerAsWritten {
    /// `host:port`
    Address(String),
    /// With a weight.
    Weighted(WeightedPeer),
}

/// A peer with its weight.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WeightedPeer {
    /// `host:port`; an IPv6 address in brackets.
    address: String,
    /// Its share of the requests, relative to the other peers'.
    #[serde(default = "one", deserialize_with = "units::number::<1, 1000, _, _>")]
    #[schemars(range(min = 1, max = 1000))]
    weight: u32,
    /// Whether new requests pass it over, as before maintenance; those under way go on.
    #[serde(default)]
    drain: bool,
}

fn one() -> u32 {
    1
}

/// By hand, because serde's untagged enums forget where in the value the error was.
impl<'de> Deserialize<'de> for Peer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Peer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`host:port`, or a mapping of `address` and `weight`")
            }

            fn visit_str<E: de::Error>(self, address: &str) -> Result<Peer, E> {
                Ok(Peer { address: address.to_owned(), weight: one(), drain: false })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, entries: A) -> Result<Peer, A::Error> {
                let WeightedPeer { address, weight, drain } =
                    WeightedPeer::deserialize(de::value::MapAccessDeserializer::new(entries))?;
                Ok(Peer { address, weight, drain })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// How long to wait for a peer. The defaults suit language models, which think for minutes between two bytes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// To connect; with TLS the handshake may take as long again.
    #[serde(deserialize_with = "units::span::<1, { 24 * units::HOUR }, _>")]
    pub connect: Span,
    /// Between two reads of the response, the first one included.
    #[serde(deserialize_with = "units::span::<1, { 24 * units::HOUR }, _>")]
    pub read: Span,
    /// From the connection to the first byte of the response; without it, `read` counts. With this or `total`, a request over HTTP/2 has a connection to the peer for itself.
    #[serde(deserialize_with = "units::optional_span::<1, { 24 * units::HOUR }, _>")]
    #[schemars(example = "30s")]
    pub first_byte: Option<Span>,
    /// For the whole request, every attempt included, until the last byte of the response.
    #[serde(deserialize_with = "units::optional_span::<1, { 24 * units::HOUR }, _>")]
    #[schemars(example = "10min")]
    pub total: Option<Span>,
    /// Between two writes of the request.
    #[serde(deserialize_with = "units::span::<1, { 24 * units::HOUR }, _>")]
    pub write: Span,
    /// How long an unused connection to a peer is kept for the next request.
    #[serde(deserialize_with = "units::span::<1, { 24 * units::HOUR }, _>")]
    pub idle: Span,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Span::seconds(5),
            read: Span::seconds(300),
            first_byte: None,
            total: None,
            write: Span::seconds(60),
            idle: Span::seconds(60),
        }
    }
}
