//! Section `upstreams`: where requests are forwarded to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// A group of peers that serve the same thing.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The peers, chosen by weighted round robin: `host:port`, or `{address: "host:port", weight: 2}`. Names are resolved in the background.
    pub peers: Vec<Peer>,
    /// How long to wait for a peer.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Speak TLS to the peers; their certificates are verified.
    #[serde(default)]
    pub tls: bool,
    /// The name to verify certificates against (and to send as SNI); by default the host part of the peer's address.
    #[serde(default)]
    pub sni: Option<String>,
    /// The `Host` to send to the peers; by default the client's.
    #[serde(default)]
    pub host: Option<String>,
}

/// One address of an upstream.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(from = "PeerAsWritten")]
#[schemars(with = "PeerAsWritten")]
pub struct Peer {
    /// `host:port`; an IPv6 address in brackets.
    pub address: String,
    /// Its share of the requests, relative to the other peers'.
    pub weight: u32,
}

/// A peer is written as its address alone, or with a weight.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
enum PeerAsWritten {
    /// `host:port`
    Address(String),
    /// With a weight.
    Weighted(WeightedPeer),
}

/// A peer with its weight.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WeightedPeer {
    /// `host:port`; an IPv6 address in brackets.
    address: String,
    /// Its share of the requests, relative to the other peers'.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    weight: u32,
}

fn one() -> u32 {
    1
}

impl From<PeerAsWritten> for Peer {
    fn from(written: PeerAsWritten) -> Self {
        match written {
            PeerAsWritten::Address(address) => Self { address, weight: one() },
            PeerAsWritten::Weighted(WeightedPeer { address, weight }) => Self { address, weight },
        }
    }
}

/// How long to wait for a peer. The defaults suit language models, which think for minutes between two bytes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// To connect, TLS handshake included.
    pub connect: Span,
    /// Between two reads of the response, the first one included.
    pub read: Span,
    /// Between two writes of the request.
    pub write: Span,
    /// How long an unused connection to a peer is kept for the next request.
    pub idle: Span,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Span::seconds(5),
            read: Span::seconds(300),
            write: Span::seconds(60),
            idle: Span::seconds(60),
        }
    }
}
