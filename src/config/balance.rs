//! Parts of `upstreams`: whose turn it is, what is tried again, and who is left out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Span, units};

/// Which peer a request goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// In turn, each as often as its weight says.
    #[default]
    RoundRobin,
    /// To the one with the fewest requests under way, relative to its weight.
    LeastConnections,
    /// Of two that are picked at random by weight, to the one with fewer requests under way.
    PowerOfTwo,
    /// Always to the same one for the same `hash_by`; when a peer comes or goes, only its share moves.
    Hash,
}

/// When a request is sent again, to another peer. One that could not be sent at all, because no connection was made, always is; this is about those that a peer may have seen. Only idempotent methods (GET, HEAD, OPTIONS, PUT, DELETE) with a body of 64 KiB at most are ever repeated: a POST is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// How often one request is repeated at most. 0: never.
    #[serde(deserialize_with = "units::number::<0, 10, _, _>")]
    #[schemars(range(min = 0, max = 10))]
    pub attempts: u32,
    /// Statuses after which it is repeated, as after a connection that broke off. Of the last attempt the status is passed on.
    pub statuses: Vec<u16>,
    /// Repeated requests in percent of all, beyond a reserve of 100: when everything fails, repeating it makes it worse.
    #[serde(deserialize_with = "units::number::<0, 100, _, _>")]
    #[schemars(range(min = 0, max = 100))]
    pub budget_percent: u32,
    /// After this long nothing is repeated any more.
    #[serde(deserialize_with = "units::span::<1, { 24 * units::HOUR }, _>")]
    pub within: Span,
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: 2, statuses: vec![502, 503, 504], budget_percent: 20, within: Span::seconds(30) }
    }
}

/// When an address that fails real requests is left out for a while. Where all are out, all are tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ejection {
    /// After so many failures in a row: no connection, a connection that broke off, a time-out, a 5xx. 0: never.
    #[serde(deserialize_with = "units::number::<0, 1000, _, _>")]
    #[schemars(range(min = 0, max = 1000))]
    pub failures: u32,
    /// How long the first time; twice as long each further time, until it has answered well again.
    #[serde(deserialize_with = "units::span::<1, { 24 * units::HOUR }, _>")]
    pub time: Span,
    /// How long at most.
    #[serde(deserialize_with = "units::span::<1, { 24 * units::HOUR }, _>")]
    pub max_time: Span,
    /// At most so many percent of the upstream's addresses are left out at once; a single one never is, below 100.
    #[serde(deserialize_with = "units::number::<0, 100, _, _>")]
    #[schemars(range(min = 0, max = 100))]
    pub max_percent: u32,
}

impl Default for Ejection {
    fn default() -> Self {
        Self { failures: 5, time: Span::seconds(10), max_time: Span::seconds(300), max_percent: 50 }
    }
}
