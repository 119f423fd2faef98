//! What a change of the admin API means for the text of the config.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_yaml::{Mapping, Value};

use crate::admin::{Change, NotChanged};
use crate::clock::UnixSeconds;
use crate::config::{Config, Edit, SecretOrigin};
use crate::policy::{Digest, PeerAddress};
use crate::problem::FieldPath;
use crate::secret::Secret;

/// What is to be written.
pub(super) struct Plan {
    /// Into the config file.
    pub(super) edits: Vec<Edit>,
    /// Into a file that holds a secret alone.
    pub(super) secret_file: Option<(PathBuf, Secret)>,
}

/// The config that stands in the file.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) config: &'a Config,
    /// The same as it is written.
    pub(super) shown: &'a serde_json::Value,
}

/// Plans a change of what is written in `file`. `elsewhere` says whether a key of this name stands in the file of
/// keys.
///
/// # Errors
/// It cannot be made in this file.
pub(super) fn plan(
    change: &Change,
    Written { config, shown }: Written<'_>,
    file: &Path,
    now: UnixSeconds,
    elsewhere: impl Fn(&str) -> bool,
) -> Result<Plan, NotChanged> {
    let proxy = FieldPath::root().field("proxy");
    let edits = match change {
        Change::AuthMode(mode) => vec![Edit::Set(proxy.field("auth_mode"), mode.to_string().into())],
        Change::AllowLanAccess(allowed) => {
            vec![Edit::Set(proxy.field("allow_lan_access"), (*allowed).into())]
        }
        Change::ApiKey(key, keep) => return api_key(key, *keep, config, file, now),
        Change::AddKey { name, id, digest, expires_at } => {
            let fields =
                [("name", Some(name.clone())), ("id", Some(id.clone())), ("digest", Some(digest.clone()))];
            let end = ("expires_at", expires_at.map(|end| end.to_string()));
            vec![Edit::Append(FieldPath::root().field("keys"), mapping(fields.into_iter().chain([end])))]
        }
        Change::Key { name, enabled, expires_at } => {
            let key = element(config, name, elsewhere)?;
            let end = |end: Option<UnixSeconds>| end.map_or(Value::Null, |end| end.to_string().into());
            let enabled = enabled.map(|enabled| Edit::Set(key.field("enabled"), enabled.into()));
            let expires_at = expires_at.map(|at| Edit::Set(key.field("expires_at"), end(at)));
            enabled.into_iter().chain(expires_at).collect()
        }
        Change::RemoveKey(name) => vec![Edit::Remove(element(config, name, elsewhere)?)],
        Change::Drain { upstream, peer, drain } => {
            vec![drain_peer(Written { config, shown }, upstream, peer, *drain)?]
        }
    };
    Ok(Plan { edits, secret_file: None })
}

/// Where the key of this name stands.
fn element(config: &Config, name: &str, elsewhere: impl Fn(&str) -> bool) -> Result<FieldPath, NotChanged> {
    if name == "api_key" {
        let message = "the primary key has no name of its own: change it with PUT /api/config/api_key";
        return Err(NotChanged::NotEditable(message.to_owned()));
    }
    match config.keys.iter().position(|key| key.name == name) {
        Some(at) => Ok(FieldPath::root().field("keys").index(at)),
        None if elsewhere(name) => {
            Err(NotChanged::NotEditable("this key stands in the `keys_file`: change it there".to_owned()))
        }
        None => Err(NotChanged::NotFound),
    }
}

/// A peer that is written as its address alone becomes a mapping.
fn drain_peer(
    Written { config, shown }: Written<'_>,
    upstream: &str,
    peer: &str,
    drain: bool,
) -> Result<Edit, NotChanged> {
    let peers = config.upstreams.get(upstream).map(|upstream| &upstream.peers).ok_or(NotChanged::NotFound)?;
    let at = peers.iter().position(|other| same_peer(&other.address, peer)).ok_or(NotChanged::NotFound)?;
    let place = FieldPath::root().field("upstreams").field(upstream).field("peers").index(at);
    match shown.pointer(&format!("/upstreams/{}/peers/{at}", pointer_step(upstream))) {
        Some(serde_json::Value::String(address)) => {
            let mut peer = mapping([("address", Some(address.clone()))]);
            peer.insert("drain".into(), drain.into());
            Ok(Edit::Set(place, peer.into()))
        }
        _ => Ok(Edit::Set(place.field("drain"), drain.into())),
    }
}

/// As it is written, or as the gateway shows it.
fn same_peer(written: &str, asked: &str) -> bool {
    written == asked || PeerAddress::parse(written).is_ok_and(|address| address.to_string() == asked)
}

/// A name in a JSON pointer (RFC 6901 §3).
fn pointer_step(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn api_key(
    key: &Secret,
    keep: Duration,
    config: &Config,
    file: &Path,
    now: UnixSeconds,
) -> Result<Plan, NotChanged> {
    let proxy = FieldPath::root().field("proxy");
    let before = config.proxy.api_key.as_ref();
    let (mut edits, mut secret_file) = (Vec::new(), None);
    match before.map(|before| &before.origin) {
        Some(SecretOrigin::Env(name)) => return Err(NotChanged::NotEditable(from_environment(name))),
        Some(SecretOrigin::File(path)) => {
            let path = file.parent().unwrap_or(Path::new("")).join(path);
            secret_file = Some((path, key.clone()));
        }
        Some(SecretOrigin::Literal) | None => {
            edits.push(Edit::Set(proxy.field("api_key"), key.expose().into()));
        }
    }
    let old = before.map(|before| &before.value).filter(|old| !old.is_empty() && *old != key);
    let previous = proxy.field("api_key_previous");
    let until =
        UnixSeconds(now.0.saturating_add(i64::try_from(keep.as_secs()).unwrap_or(i64::MAX))).to_string();
    match (old, &config.proxy.api_key_previous) {
        (Some(old), None) if !keep.is_zero() => {
            let digest = Digest::of(old.expose().as_bytes()).to_string();
            let fields = [("digest", Some(digest)), ("until", Some(until))];
            edits.push(Edit::Set(previous, mapping(fields).into()));
        }
        (Some(old), Some(_)) if !keep.is_zero() => {
            let digest = Digest::of(old.expose().as_bytes()).to_string();
            edits.push(Edit::Set(previous.field("digest"), digest.into()));
            edits.push(Edit::Set(previous.field("until"), until.into()));
        }
        // The one before the old one does not outlive it.
        (Some(_), Some(older)) if older.until.timestamp() > now.0 => {
            edits.push(Edit::Set(previous.field("until"), now.to_string().into()));
        }
        _ => {}
    }
    Ok(Plan { edits, secret_file })
}

/// Why a secret of the environment stays what it is.
pub(super) fn from_environment(name: &str) -> String {
    format!(
        "`proxy.api_key` comes from the environment variable `{name}`: change it where that is set, and restart the gateway"
    )
}

fn mapping<'a>(fields: impl IntoIterator<Item = (&'a str, Option<String>)>) -> Mapping {
    fields.into_iter().filter_map(|(name, value)| Some((name.into(), value?.into()))).collect()
}
