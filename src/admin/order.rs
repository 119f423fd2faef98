//! What the admin API asks of whoever follows the config, which is one at a time: a reload, a change, a look.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;

use super::LastReload;
use crate::clock::UnixSeconds;
use crate::policy::AuthMode;
use crate::secret::Secret;

/// Asks for something; the answer comes when it is done.
#[derive(Debug)]
pub enum Order {
    /// Read the config again, as this client asked.
    Reload(SocketAddr, oneshot::Sender<Arc<LastReload>>),
    /// Change the config file and put it in force.
    Change(ChangeOrder, oneshot::Sender<Result<Changed, NotChanged>>),
    /// Show the config.
    Show(oneshot::Sender<ConfigShown>),
    /// Show the primary key in clear to this client.
    Reveal(SocketAddr, oneshot::Sender<Option<Secret>>),
}

/// A change, and what it takes for granted.
#[derive(Debug)]
pub struct ChangeOrder {
    /// What to change.
    pub change: Change,
    /// The tag of the file that it is a change of; see [`ConfigShown::etag`].
    pub if_match: String,
    /// Who asked.
    pub client: SocketAddr,
}

/// What can be changed.
#[derive(Debug)]
pub enum Change {
    /// `proxy.auth_mode`.
    AuthMode(AuthMode),
    /// `proxy.allow_lan_access`.
    AllowLanAccess(bool),
    /// `proxy.api_key`, and how long the one before still counts.
    ApiKey(Secret, Duration),
    /// A new element of `keys`.
    AddKey {
        /// Its name.
        name: String,
        /// Its public id.
        id: String,
        /// What admits it: `sha256:…`.
        digest: String,
        /// Until when it counts.
        expires_at: Option<UnixSeconds>,
    },
    /// `enabled` and `expires_at` of an element of `keys`, as far as they are given.
    Key {
        /// Which one.
        name: String,
        /// Whether it may be used.
        enabled: Option<bool>,
        /// Until when; `Some(None)` for ever.
        expires_at: Option<Option<UnixSeconds>>,
    },
    /// An element of `keys` goes.
    RemoveKey(String),
    /// `drain` of a peer.
    Drain {
        /// Its upstream.
        upstream: String,
        /// Where it is, as configured.
        peer: String,
        /// Whether new requests pass it over.
        drain: bool,
    },
}

/// For the log: what is changed, never a secret.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthMode(mode) => write!(f, "`proxy.auth_mode` is now `{mode}`"),
            Self::AllowLanAccess(allowed) => write!(f, "`proxy.allow_lan_access` is now `{allowed}`"),
            Self::ApiKey(_, Duration::ZERO) => f.write_str("`proxy.api_key` is another"),
            Self::ApiKey(_, keep) => {
                write!(f, "`proxy.api_key` is another; the old one counts for {} s", keep.as_secs())
            }
            Self::AddKey { name, .. } => write!(f, "key {name:?} added"),
            Self::Key { name, enabled, expires_at } => {
                write!(f, "key {name:?}")?;
                if let Some(enabled) = enabled {
                    write!(f, " {}", if *enabled { "enabled" } else { "disabled" })?;
                }
                match expires_at {
                    Some(Some(end)) => write!(f, " expires at {end}"),
                    Some(None) => f.write_str(" does not expire"),
                    None => Ok(()),
                }
            }
            Self::RemoveKey(name) => write!(f, "key {name:?} removed"),
            Self::Drain { upstream, peer, drain } => {
                let what = if *drain { "gets no new requests" } else { "gets requests again" };
                write!(f, "peer {peer:?} of upstream {upstream:?} {what}")
            }
        }
    }
}

/// The change is in the file and in force.
#[derive(Clone, Debug, Serialize)]
pub struct Changed {
    /// The tag of the file as it is now.
    pub etag: String,
    /// The generation in force.
    pub generation: u64,
    /// Settings that take effect with a restart.
    pub restart_needed: Vec<&'static str>,
    /// What is doubtful about the config now.
    pub warnings: Vec<String>,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotChanged {
    /// The file is another by now.
    Stale,
    /// It can be changed elsewhere only; says where.
    NotEditable(String),
    /// There is no such key, or no such peer.
    NotFound,
    /// The config would be wrong: one rendered problem each.
    Rejected(Vec<String>),
    /// The file cannot be written.
    Failed(String),
}

/// The config, for people. No secret is in it.
#[derive(Clone, Debug, Serialize)]
pub struct ConfigShown {
    /// The config file; `None` for the embedded default.
    pub file: Option<PathBuf>,
    /// Stands for the bytes of the file as they are now.
    pub etag: Option<String>,
    /// Why nothing can be changed here.
    pub not_editable: Option<String>,
    /// As configured.
    pub allow_lan_access: bool,
    /// As configured.
    pub port: u16,
    /// As configured.
    pub listen: Vec<String>,
    /// The primary key.
    pub api_key: ApiKeyShown,
    /// What is written in the file that is in force, secrets and digests masked.
    pub config: serde_json::Value,
}

/// The primary key, for people.
#[derive(Clone, Debug, Serialize)]
pub struct ApiKeyShown {
    /// `set` or `missing`.
    pub state: &'static str,
    /// `literal`, `env` or `file`.
    pub from: Option<&'static str>,
    /// The name of the variable or the file.
    pub r#where: Option<String>,
    /// The first three and the last four characters, if it is long.
    pub masked: Option<String>,
    /// Why it cannot be changed here.
    pub not_editable: Option<String>,
    /// Until when the one before counts.
    pub previous_until: Option<UnixSeconds>,
}
