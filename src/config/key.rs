//! Section `keys`, and the lines of `keys_file`: named keys, stored as digests.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Rate, SecretRef, units};

/// A named key. The key itself is not in the file, only its digest.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = example())]
pub struct Key {
    /// Who this key belongs to; shown in logs and told to the upstream as `x-keygate-key`. Must be unique.
    pub name: String,
    /// `sha256:` and the 64 hex digits of the key's SHA-256, as `keygate keygen` prints it (`printf %s "$KEY" | sha256sum` gives the same).
    #[serde(default)]
    pub digest: Option<String>,
    /// The key itself, in place of `digest`: `${ENV_VAR}` or `file:PATH`. A literal is taken with a warning that prints its digest line.
    #[serde(default)]
    #[schemars(example = "${ALICE_KEY}")]
    pub key: Option<SecretRef>,
    /// The public id of the key, the 8 characters behind `kg_`; shown in logs, and lets `keygate explain` recognise a typo in the rest.
    #[serde(default)]
    #[schemars(example = "0a1b2c3d")]
    pub id: Option<String>,
    /// The digest that this key had before, and until when it still counts: `{digest: "sha256:…", until: 2027-01-31T00:00:00Z}`.
    #[serde(default)]
    pub previous: Option<PreviousDigest>,
    /// Whether the key may be used; `false` refuses it with `key_disabled`.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// From when on the key may be used, as RFC 3339; before, it is refused with `key_not_yet_valid`.
    #[serde(default, deserialize_with = "units::optional_time")]
    #[schemars(example = "2026-01-31T00:00:00Z")]
    pub not_before: Option<DateTime<Utc>>,
    /// From when on the key is refused with `key_expired`, as RFC 3339: `2027-01-31T00:00:00Z`.
    #[serde(default, deserialize_with = "units::optional_time")]
    #[schemars(example = "2027-01-31T00:00:00Z")]
    pub expires_at: Option<DateTime<Utc>>,
    /// The only routes that the key may use: names of routes, or path prefixes that begin with `/`. By default all.
    #[serde(default)]
    #[schemars(example = vec!["/v1/chat", "/v1/models"])]
    pub routes: Option<Vec<String>>,
    /// The only methods that the key may use. By default all.
    #[serde(default)]
    #[schemars(example = vec!["GET", "POST"])]
    pub methods: Option<Vec<String>>,
    /// The only client addresses that may use the key: `10.0.0.0/8`, `2001:db8::/32`, or one address. By default all.
    #[serde(default)]
    #[schemars(example = vec!["10.0.0.0/8", "::1"])]
    pub addresses: Option<Vec<String>>,
    /// How many requests the key may make, in place of `limits.rate`: `{requests: 60, per: minute, burst: 10}`.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// How many requests of the key may be under way at the same time, in place of `limits.max_concurrent`.
    #[serde(default, deserialize_with = "units::optional_number::<1, 1_000_000, _, _>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    #[schemars(example = 10)]
    pub max_concurrent: Option<u32>,
    /// Whatever else is to be known of the key, as names and values; `forward_labels` of an upstream tells them on.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// The digest that a key had before it was changed.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = previous_example())]
pub struct PreviousDigest {
    /// As the `digest` of the key.
    pub digest: String,
    /// Until when it still counts, as RFC 3339; from then on it is refused with `key_expired`.
    #[serde(deserialize_with = "units::time")]
    pub until: DateTime<Utc>,
}

fn enabled() -> bool {
    true
}

/// Nobody has the key of this digest: an example that is left in a config admits nobody.
fn example() -> serde_json::Value {
    serde_json::json!({"name": "alice", "digest": format!("sha256:{}", "0".repeat(64))})
}

fn previous_example() -> serde_json::Value {
    serde_json::json!({"digest": format!("sha256:{}1", "0".repeat(63)), "until": "2027-01-31T00:00:00Z"})
}
