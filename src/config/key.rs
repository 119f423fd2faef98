//! Section `keys`: named keys, stored as digests.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use super::units;

/// A named key. The key itself is never in the file, only its digest.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = example())]
pub struct Key {
    /// Who this key belongs to; shown in logs. Must be unique.
    pub name: String,
    /// `sha256:` and the 64 hex digits of the key's SHA-256, as `keygate keygen` prints it (`printf %s "$KEY" | sha256sum` gives the same).
    pub digest: String,
    /// Whether the key may be used; `false` refuses it with `key_disabled`.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// From when on the key is refused with `key_expired`, as RFC 3339: `2027-01-31T00:00:00Z`.
    #[serde(default, deserialize_with = "units::optional_time")]
    #[schemars(example = "2027-01-31T00:00:00Z")]
    pub expires_at: Option<DateTime<Utc>>,
}

fn enabled() -> bool {
    true
}

/// Nobody has the key of this digest: an example that is left in a config admits nobody.
fn example() -> serde_json::Value {
    serde_json::json!({"name": "alice", "digest": format!("sha256:{}", "0".repeat(64))})
}
