//! The policy AS NEEDED: immutable, indexed, and shared by every thread.
//!
//! [`compile()`] turns a [`Config`](crate::config::Config) into a [`Snapshot`], or says every problem at once. A
//! snapshot never changes; a reload makes a new one with the next generation number. Nothing here does I/O, and
//! nothing here knows how HTTP is spoken.

mod access_log;
mod admin;
mod certificate_ends;
mod certificates;
mod compile;
mod cors;
mod handle;
pub mod key_format;
mod keys;
mod limits;
mod listen;
mod mode;
mod routes;
mod upstreams;

pub use access_log::{AccessLogSpec, AccessLogTarget};
pub use admin::{AdminToken, generate_admin_token};
pub use certificate_ends::CertificateEnd;
pub use certificates::{CertificateError, CertificateTable, ServerCertificate, parse_authorities};
pub use compile::{Compiled, compile};
pub use cors::{Cors, Origins};
pub use handle::PolicyHandle;
pub use keys::{
    AddressRange, Digest, DuplicateKey, KEY_NAME, KeyId, KeyRecord, KeyRules, KeyState, KeyTable,
    MAX_KEY_BYTES, NewKey, ParseDigestError, PathRule, Period, Rate, Resemblance, Retired, RetiredKeys,
    RulesId, generate_key, is_name,
};
pub use limits::{ConnectionLimits, RequestLimits};
pub use listen::{AdminListen, Exposure, ListenAddress, Startup, TlsStartup};
pub use mode::{AuthMode, EffectiveMode};
pub use routes::{
    Ambiguity, Asked, Conditions, HeaderChanges, HostMatch, InsertError, Rewrite, RouteId, RouteMatch,
    RouteSpec, RouteTable, RouteTimeouts, UpstreamId, ambiguity, normalized,
};
pub use upstreams::{
    Balance, CheckRule, ClientCertificate, EjectionRule, HashBy, HttpCheck, PeerAddress, PeerSpec, Protocol,
    RetryRule, UpstreamCredential, UpstreamSpec,
};

use std::net::IpAddr;
use std::time::Duration;

/// What becomes of the running requests of a key that counts no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokedStreams {
    /// They go on to their end.
    Finish,
    /// They are broken off at their next bytes.
    Cut,
}

/// Whether a key that comes as a WebSocket protocol counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolKeys {
    /// It counts where no header has a credential.
    Count,
    /// It is none.
    Ignored,
}

/// The whole policy of one generation.
#[derive(Debug)]
pub struct Snapshot {
    /// Number of this policy: 1 at start, one more for each reload that was accepted.
    pub generation: u64,
    /// The mode as configured.
    pub configured_mode: AuthMode,
    /// The mode in effect: what `auto` resolved to.
    pub mode: EffectiveMode,
    /// Every key that may pass, by digest.
    pub keys: KeyTable,
    /// Whether a key that comes as a WebSocket protocol counts.
    pub protocol_keys: ProtocolKeys,
    /// Certificates toward the clients; none where there is no TLS.
    pub certificates: CertificateTable,
    /// Digests that counted a while ago, for the diagnosis.
    pub retired: RetiredKeys,
    /// Whether the requests of each key are counted by its name.
    pub key_metrics: bool,
    /// How often one client address may present a wrong key; `None` for any number of times.
    pub failed_auth: Option<Rate>,
    /// What becomes of the running requests of a key that counts no more.
    pub revoked_streams: RevokedStreams,
    /// Host and path to upstream.
    pub routes: RouteTable,
    /// The upstreams; [`UpstreamId`] is the index.
    pub upstreams: Vec<UpstreamSpec>,
    /// Certificates of the admin listener, empty where it speaks no TLS.
    pub admin_certificates: CertificateTable,
    /// What the admin API asks for; without it nobody may use it.
    pub admin_token: Option<AdminToken>,
    /// Where the admin listener is: no request is forwarded to it.
    pub admin_listen: Option<AdminListen>,
    /// Whether nobody needs a key and only this machine can connect: then web pages must be kept out.
    pub open_on_loopback: bool,
    /// Names beside those of loopback by which such a gateway may be called; lower-case.
    pub allowed_hosts: Vec<String>,
    /// Who is believed about the client that it forwards for; nobody where this is empty.
    pub trusted_proxies: Vec<AddressRange>,
    /// Which web pages may call.
    pub cors: Option<Cors>,
    /// How large a request may be, and how slow.
    pub request_limits: RequestLimits,
    /// How long an idle keep-alive connection of a client is kept.
    pub keepalive_timeout: Duration,
    /// How often the names of peers are resolved again.
    pub dns_refresh: Duration,
    /// How long requests in flight may go on after a stop signal.
    pub shutdown_grace: Duration,
    /// How long to go on accepting after a stop signal while requests are in flight.
    pub shutdown_delay: Duration,
}

impl Snapshot {
    /// Whether what `address` says of the clients that it forwards for is believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|range| range.contains(address))
    }
}
