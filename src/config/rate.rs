//! How often, and how much at once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units;

/// So many requests in so long a time.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"requests": 600, "per": "minute", "burst": 20}))]
pub struct Rate {
    /// Requests in each period.
    #[serde(deserialize_with = "units::number::<1, 1_000_000, _, _>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// The period: `second`, `minute` or `hour`.
    pub per: Period,
    /// Requests that may come at once after a pause; by default as many as `requests`. `1` spaces them evenly.
    #[serde(default, deserialize_with = "units::optional_number::<1, 1_000_000, _, _>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
}

/// What a rate counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// 1 s.
    Second,
    /// 60 s.
    Minute,
    /// 3600 s.
    Hour,
}
