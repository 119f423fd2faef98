//! The requests that change the config file: each becomes one [`Change`], which is made as a whole or refused.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::listener::Client;
use super::reply::{InPath, Refusal};
use super::{Api, Change, ChangeOrder, Changed, Order, config};
use crate::clock::UnixSeconds;
use crate::policy::{AuthMode, Digest, generate_key, key_format};
use crate::secret::Secret;

/// A key that was replaced counts no longer than this.
const LONGEST_OVERLAP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The body of a request, which names every field that it has.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let body: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        Ok(Self(body?.0))
    }
}

/// Who changes what.
pub(super) struct Changing {
    api: Arc<Api>,
    client: Client,
    if_match: String,
}

impl FromRequestParts<Arc<Api>> for Changing {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        let Ok(Extension(client)) = Extension::<Client>::from_request_parts(parts, api).await else {
            return Err(Refusal::Busy);
        };
        let if_match = parts.headers.get(header::IF_MATCH).ok_or(Refusal::IfMatchMissing)?;
        let if_match = if_match.to_str().unwrap_or_default().to_owned();
        Ok(Self { api: Arc::clone(api), client, if_match })
    }
}

impl Changing {
    /// Makes the change and answers with what came of it, and `more`.
    async fn make(self, change: Change, more: Value) -> Result<Response, Refusal> {
        let Self { api, client: Client(client), if_match } = self;
        let order = ChangeOrder { change, if_match, client };
        let changed: Changed = api.ask(|reply| Order::Change(order, reply)).await??;
        let mut body = json!(changed);
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        let mut response = Json(body).into_response();
        config::tag(&mut response, Some(&changed.etag));
        Ok(response)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMode {
    auth_mode: String,
}

pub(super) async fn auth_mode(
    changing: Changing,
    Body(NewMode { auth_mode }): Body<NewMode>,
) -> Result<Response, Refusal> {
    let mode = AuthMode::ALL
        .into_iter()
        .find(|mode| mode.to_string() == auth_mode)
        .ok_or_else(|| bad("`auth_mode` is one of `off`, `strict`, `all_except_health`, `auto`"))?;
    changing.make(Change::AuthMode(mode), Value::Null).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccess {
    allow_lan_access: bool,
}

pub(super) async fn allow_lan_access(
    changing: Changing,
    Body(NewAccess { allow_lan_access }): Body<NewAccess>,
) -> Result<Response, Refusal> {
    changing.make(Change::AllowLanAccess(allow_lan_access), Value::Null).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewApiKey {
    api_key: String,
    #[serde(default)]
    keep_old_seconds: u64,
}

pub(super) async fn api_key(
    changing: Changing,
    Body(NewApiKey { api_key, keep_old_seconds }): Body<NewApiKey>,
) -> Result<Response, Refusal> {
    let key = Secret::new(api_key);
    if key.is_empty() {
        return Err(bad("`api_key` is empty: nobody would pass"));
    }
    if key.expose().starts_with("file:") || key.expose().contains("${") {
        return Err(bad("`api_key` is the key itself here, not where it stands"));
    }
    changing.make(Change::ApiKey(key, overlap(keep_old_seconds)?), Value::Null).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Regenerate {
    #[serde(default)]
    keep_old_seconds: u64,
}

pub(super) async fn regenerate(
    changing: Changing,
    Body(Regenerate { keep_old_seconds }): Body<Regenerate>,
) -> Result<Response, Refusal> {
    let overlap = overlap(keep_old_seconds)?;
    let key = generate_key().map_err(|_| Refusal::Busy)?;
    let shown = json!({"api_key": key.expose()});
    changing.make(Change::ApiKey(key, overlap), shown).await
}

fn overlap(seconds: u64) -> Result<Duration, Refusal> {
    let overlap = Duration::from_secs(seconds);
    if overlap > LONGEST_OVERLAP {
        return Err(bad("`keep_old_seconds` is at most 2592000, which is 30 days"));
    }
    Ok(overlap)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    name: String,
    #[serde(default)]
    expires_at: Option<Time>,
}

pub(super) async fn add_key(
    changing: Changing,
    Body(NewKey { name, expires_at }): Body<NewKey>,
) -> Result<Response, Refusal> {
    let key = key_format::generate().map_err(|_| Refusal::Busy)?;
    let id = key_format::inspect(key.expose().as_bytes()).map(|key| key.id.to_owned()).unwrap_or_default();
    let digest = Digest::of(key.expose().as_bytes()).to_string();
    let shown = json!({"name": name, "key": key.expose()});
    let expires_at = expires_at.map(|Time(end)| end);
    changing.make(Change::AddKey { name, id, digest, expires_at }, shown).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangedKey {
    enabled: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    expires_at: Option<Option<Time>>,
}

/// `null` is a value here, other than nothing.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Time>>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

pub(super) async fn key(
    InPath(name): InPath<String>,
    changing: Changing,
    Body(ChangedKey { enabled, expires_at }): Body<ChangedKey>,
) -> Result<Response, Refusal> {
    if enabled.is_none() && expires_at.is_none() {
        return Err(bad("give `enabled` or `expires_at`"));
    }
    let expires_at = expires_at.map(|end| end.map(|Time(end)| end));
    let shown = json!({"name": name});
    changing.make(Change::Key { name, enabled, expires_at }, shown).await
}

pub(super) async fn remove_key(
    InPath(name): InPath<String>,
    changing: Changing,
) -> Result<Response, Refusal> {
    let shown = json!({"name": name});
    changing.make(Change::RemoveKey(name), shown).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangedPeer {
    drain: bool,
}

pub(super) async fn peer(
    InPath((upstream, peer)): InPath<(String, String)>,
    changing: Changing,
    Body(ChangedPeer { drain }): Body<ChangedPeer>,
) -> Result<Response, Refusal> {
    changing.make(Change::Drain { upstream, peer, drain }, Value::Null).await
}

/// A moment as RFC 3339.
pub(super) struct Time(UnixSeconds);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = chrono::DateTime::parse_from_rfc3339(&text);
        let time =
            time.map_err(|_| serde::de::Error::custom("expected a time such as 2027-01-31T00:00:00Z"))?;
        Ok(Self(UnixSeconds(time.timestamp())))
    }
}

fn bad(why: &str) -> Refusal {
    Refusal::BadRequest(why.to_owned())
}
