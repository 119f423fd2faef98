//! The configuration AS WRITTEN: serde types, defaults and docs. It resolves nothing but secrets.
//!
//! One file a section. The doc comments here are the reference: the JSON Schema (`keygate schema`) and
//! `conf/full.yaml` are generated from them. Nothing behind `policy::compile` ever sees these types.

mod access_log;
mod admin;
mod balance;
mod cors;
mod document;
mod edit;
mod fault;
mod health_check;
mod key;
mod keys_file;
mod limits;
mod load;
mod masked;
mod open;
mod pem_file;
mod proxy;
mod rate;
mod reader;
mod reference;
mod repair;
mod request_limits;
mod route;
mod schema;
mod secret_ref;
mod secrets;
mod source;
mod template;
mod text;
mod tls;
mod units;
mod upstream;

pub use access_log::AccessLog;
pub use admin::{Admin, AdminTls};
pub use balance::{Balance, Ejection, Retries};
pub use cors::Cors;
pub use edit::{Edit, NotEditable, edit};
pub use health_check::HealthCheck;
pub use key::{Key, PreviousDigest};
pub use keys_file::KeysFile;
pub use limits::{Limits, RevokedStreams};
pub use load::{LoadFailure, Loaded, Partial, load, load_once, parse};
pub use pem_file::PemFile;
pub use proxy::{AuthMode, Proxy, Shutdown};
pub use rate::{Period, Rate};
pub use reference::reference;
pub use request_limits::{ConnectionLimits, RequestLimits};
pub use route::{HeaderRules, Route, RouteTimeouts};
pub use schema::schema;
pub use secret_ref::{SecretOrigin, SecretRef};
pub use source::Source;
pub use template::template;
pub use tls::{Certificate, Tls};
pub use units::{Size, Span};
pub use upstream::{Credential, Peer, Protocol, Timeouts, Upstream};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// Looks up an environment variable; `None` where it is not set.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// As many problems as anyone reads at once.
const MAX_PROBLEMS: usize = 100;

/// The whole configuration file of keygate.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "keygate config")]
pub struct Config {
    /// The listener and who may pass it.
    pub proxy: Proxy,
    /// The listener for the operator: status, metrics, reload.
    pub admin: Admin,
    /// One JSON line for each request that is over.
    pub access_log: AccessLog,
    /// Named keys beside `proxy.api_key`, each stored as a digest (`keygate keygen` prints one).
    pub keys: Vec<Key>,
    /// Further keys, in a file of their own: one JSON object a line, with the same fields as an element of `keys`. For large sets; relative to this file.
    #[schemars(example = "keys.jsonl")]
    pub keys_file: Option<KeysFile>,
    /// How much a key may use that does not say so itself, and how often a caller may be wrong.
    pub limits: Limits,
    /// Groups of peers that requests are forwarded to, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Which request goes to which upstream. The most specific route wins: host, then exact path, then the longest prefix, then headers and methods.
    pub routes: Vec<Route>,
}

impl Config {
    /// Forgets what is large and was needed for compiling alone. Two configs can still be compared.
    pub fn forget_bulk(&mut self) {
        if let Some(keys_file) = &mut self.keys_file {
            keys_file.forget_content();
        }
    }
}
