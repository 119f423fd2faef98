//! Section `limits`: how much a key may use where it does not say so itself, and how often a caller may be wrong.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Rate, units};

/// How much may be used.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// For every key that sets no `rate` of its own, each by itself: `{requests: 600, per: minute, burst: 20}`.
    pub rate: Option<Rate>,
    /// For every key that sets no `max_concurrent` of its own: requests at the same time.
    #[serde(deserialize_with = "units::optional_number::<1, 1_000_000, _, _>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    #[schemars(example = 50)]
    pub max_concurrent: Option<u32>,
    /// How often one client address may present a wrong key before it gets 429 in place of 401. A right key passes from that address all the same.
    pub failed_auth: Option<Rate>,
    /// What becomes of the running requests and streams of a key that is removed or disabled: `finish` lets them end, `cut` breaks them off at their next bytes.
    pub revoked_streams: RevokedStreams,
}

/// What becomes of the running requests of a key that counts no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RevokedStreams {
    /// They go on to their end.
    #[default]
    Finish,
    /// They are broken off.
    Cut,
}
