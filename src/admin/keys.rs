//! `GET /api/keys`: who may use the gateway. Never a key or a digest: names, public ids, limits, when each was last used.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;

use super::reply::Refusal;
use super::{Api, Order};
use crate::clock::{self, UnixSeconds};
use crate::limit::{LastUsed, Ledger};
use crate::policy::{KeyId, Rate, Snapshot};

/// As many as anyone looks at; the number of all is told beside them.
const MOST_KEYS: usize = 1000;

#[derive(Default, Serialize)]
pub(super) struct Keys {
    /// How many there are.
    total: usize,
    /// The first thousand, in the order of the config.
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    name: String,
    public_id: Option<String>,
    state: Standing,
    not_before: Option<UnixSeconds>,
    expires_at: Option<UnixSeconds>,
    /// Until when the digest that it had before counts, and when that one was last used.
    previous_until: Option<UnixSeconds>,
    previous_last_used_at: Option<UnixSeconds>,
    /// With either digest, since the gateway was started.
    last_used_at: Option<UnixSeconds>,
    rate: Option<RateShown>,
    max_concurrent: Option<u32>,
    /// Whether it can be changed here: it stands in the config file itself.
    editable: bool,
}

/// So many requests in each period, and how many of them at once.
#[derive(Serialize)]
struct RateShown {
    requests: u32,
    per: String,
    burst: u32,
}

impl From<Rate> for RateShown {
    fn from(Rate { requests, per, burst }: Rate) -> Self {
        Self { requests, per: per.to_string(), burst }
    }
}

/// Whether a key may be used now.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    Active,
    Disabled,
    NotYet,
    Expired,
}

pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<Keys>, Refusal> {
    let mut keys = Keys::default();
    let now = clock::now();
    let shown = api.ask(Order::Show).await?;
    let editable = if shown.not_editable.is_none() { names(&shown.config) } else { HashSet::new() };
    api.handles.in_force.show(&mut |policy, _, used| keys = Keys::of(policy, used, &editable, now));
    Ok(Json(keys))
}

/// The names of the keys that stand in the config file itself.
fn names(config: &Value) -> HashSet<&str> {
    let keys = config.get("keys").and_then(Value::as_array).into_iter().flatten();
    keys.filter_map(|key| key.get("name")?.as_str()).collect()
}

impl Keys {
    fn of(policy: &Snapshot, used: &Ledger, editable: &HashSet<&str>, now: UnixSeconds) -> Self {
        let looked_at = Look {
            policy,
            last_used: &used.last_used,
            previous: policy.keys.previous().map(|(previous, owner)| (owner, previous)).collect(),
            editable,
            now,
        };
        let keys = policy.keys.iter().take(MOST_KEYS);
        let keys = keys.filter_map(|(id, _)| Key::of(id, &looked_at)).collect();
        Self { total: policy.keys.len(), keys }
    }
}

/// What is known when the keys are looked at.
struct Look<'a> {
    policy: &'a Snapshot,
    last_used: &'a LastUsed,
    /// The digest that a key had before, if that still stands in the config.
    previous: HashMap<KeyId, KeyId>,
    /// The names of the keys that can be changed here.
    editable: &'a HashSet<&'a str>,
    now: UnixSeconds,
}

impl Key {
    fn of(id: KeyId, look: &Look<'_>) -> Option<Self> {
        let (keys, now) = (&look.policy.keys, look.now);
        let record = keys.record(id)?;
        let state = if !record.enabled {
            Standing::Disabled
        } else if record.not_before.is_some_and(|begin| now < begin) {
            Standing::NotYet
        } else if record.expires_at.is_some_and(|end| end <= now) {
            Standing::Expired
        } else {
            Standing::Active
        };
        let previous = look.previous.get(&id).copied();
        let previous_last_used_at = previous.and_then(|previous| look.last_used.of(previous));
        Some(Self {
            name: record.name().to_owned(),
            public_id: record.public_id.map(|id| id.to_string()),
            state,
            not_before: record.not_before,
            expires_at: record.expires_at,
            previous_until: previous.and_then(|previous| keys.record(previous)?.previous_until),
            previous_last_used_at,
            last_used_at: look.last_used.of(id).max(previous_last_used_at),
            rate: record.rules.rate.map(RateShown::from),
            max_concurrent: record.rules.max_concurrent,
            editable: look.editable.contains(record.name()),
        })
    }
}
