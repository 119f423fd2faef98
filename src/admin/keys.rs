//! `GET /api/keys`: who may use the gateway. Never a key or a digest: names, public ids, limits, when each was last used.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;

use super::reply::Refusal;
use super::{Api, Order};
use crate::clock::{self, UnixSeconds};
use crate::limit::Ledger;
use crate::policy::{KeyId, KeyRecord, Rate, Snapshot};

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
    not_before: Option<UnixSeconds>,
    expires_at: Option<UnixSeconds>,
    /// Until when the digest that it had before counts.
    previous_until: Option<UnixSeconds>,
    #[serde(flatten)]
    lately: Lately,
    rate: Option<RateShown>,
    max_concurrent: Option<u32>,
    /// Whether it can be changed here: it stands in the config file itself.
    editable: bool,
}

/// What changes about a key though nobody changes the config.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub(super) struct Lately {
    state: Standing,
    /// With either digest, since the gateway was started.
    last_used_at: Option<UnixSeconds>,
    /// When the digest that it had before was last used.
    previous_last_used_at: Option<UnixSeconds>,
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
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
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
        let keys = shown(policy).map(|(id, record)| {
            let previous = policy.keys.previous_of(id).and_then(|previous| policy.keys.record(previous));
            Key {
                name: record.name().to_owned(),
                public_id: record.public_id.map(|id| id.to_string()),
                not_before: record.not_before,
                expires_at: record.expires_at,
                previous_until: previous.and_then(|previous| previous.previous_until),
                lately: Lately::of(id, &record, policy, used, now),
                rate: record.rules.rate.map(RateShown::from),
                max_concurrent: record.rules.max_concurrent,
                editable: editable.contains(record.name()),
            }
        });
        Self { total: policy.keys.len(), keys: keys.collect() }
    }
}

fn shown(policy: &Snapshot) -> impl Iterator<Item = (KeyId, KeyRecord<'_>)> {
    policy.keys.iter().take(MOST_KEYS)
}

impl Lately {
    /// Of each key that is listed, by name.
    pub(super) fn all(
        policy: &Snapshot,
        used: &Ledger,
        now: UnixSeconds,
    ) -> impl Iterator<Item = (String, Self)> {
        shown(policy)
            .map(move |(id, record)| (record.name().to_owned(), Self::of(id, &record, policy, used, now)))
    }

    fn of(id: KeyId, record: &KeyRecord<'_>, policy: &Snapshot, used: &Ledger, now: UnixSeconds) -> Self {
        let state = if !record.enabled {
            Standing::Disabled
        } else if record.not_before.is_some_and(|begin| now < begin) {
            Standing::NotYet
        } else if record.expires_at.is_some_and(|end| end <= now) {
            Standing::Expired
        } else {
            Standing::Active
        };
        let previous = policy.keys.previous_of(id);
        let previous_last_used_at = previous.and_then(|previous| used.last_used.of(previous));
        let last_used_at = used.last_used.of(id).max(previous_last_used_at);
        Self { state, last_used_at, previous_last_used_at }
    }
}
