//! `GET /api/keys`: who may use the gateway. Never a key or a digest: names, public ids, rules.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;

use super::reply::Refusal;
use super::{Api, Order};
use crate::clock::{self, UnixSeconds};
use crate::policy::{KeyRecord, Snapshot};

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
    previous_until: Option<UnixSeconds>,
    max_concurrent: Option<u32>,
    /// Whether it can be changed here: it stands in the config file itself.
    editable: bool,
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
    api.handles.in_force.show(&mut |policy, _| keys = Keys::of(policy, &editable, now));
    Ok(Json(keys))
}

/// The names of the keys that stand in the config file itself.
fn names(config: &Value) -> HashSet<&str> {
    let keys = config.get("keys").and_then(Value::as_array).into_iter().flatten();
    keys.filter_map(|key| key.get("name")?.as_str()).collect()
}

impl Keys {
    fn of(policy: &Snapshot, editable: &HashSet<&str>, now: UnixSeconds) -> Self {
        let keys = policy.keys.iter().take(MOST_KEYS);
        let keys = keys.map(|(_, record)| Key::of(&record, editable.contains(record.name()), now)).collect();
        Self { total: policy.keys.len(), keys }
    }
}

impl Key {
    fn of(record: &KeyRecord<'_>, editable: bool, now: UnixSeconds) -> Self {
        let state = if !record.enabled {
            Standing::Disabled
        } else if record.not_before.is_some_and(|begin| now < begin) {
            Standing::NotYet
        } else if record.expires_at.is_some_and(|end| end <= now) {
            Standing::Expired
        } else {
            Standing::Active
        };
        Self {
            name: record.name().to_owned(),
            public_id: record.public_id.map(|id| id.to_string()),
            state,
            not_before: record.not_before,
            expires_at: record.expires_at,
            previous_until: record.previous_until,
            max_concurrent: record.rules.max_concurrent,
            editable,
        }
    }
}
