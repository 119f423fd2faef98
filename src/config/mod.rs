//! The configuration AS WRITTEN: serde types, defaults and docs. It resolves nothing but secrets.
//!
//! One file a section. The doc comments here are the reference: the JSON Schema (`keygate schema`) and
//! `conf/full.yaml` are generated from them. Nothing behind `policy::compile` ever sees these types.

mod key;
mod proxy;
mod route;
mod secret_ref;
mod units;
mod upstream;

pub use key::Key;
pub use proxy::{AuthMode, Proxy, Shutdown};
pub use route::Route;
pub use secret_ref::{SecretOrigin, SecretRef};
pub use units::Span;
pub use upstream::{Peer, Timeouts, Upstream};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// The whole configuration file of keygate.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The listener and who may pass it.
    pub proxy: Proxy,
    /// Named keys beside `proxy.api_key`, each stored as a digest (`keygate keygen` prints one).
    pub keys: Vec<Key>,
    /// Groups of peers that requests are forwarded to, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Which request goes to which upstream. The most specific route wins: host, then exact path, then the longest prefix.
    pub routes: Vec<Route>,
}
