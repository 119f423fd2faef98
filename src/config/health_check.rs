//! Part of `upstreams`: asking the peers whether they are well.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Span, units};

/// Asks every address of an upstream at intervals whether it is well. One that is not gets no requests until it is again; where none is well, all get some.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(example = serde_json::json!({"path": "/health"}))]
pub struct HealthCheck {
    /// What is asked for, with `GET`, in the upstream's protocol and with its TLS. Without it, a connection that is accepted is enough.
    #[schemars(example = "/health")]
    pub path: Option<String>,
    /// The `Host` of that request; by default the upstream's, else the peer's address.
    #[schemars(example = "api.example.com")]
    pub host: Option<String>,
    /// The statuses that count as well.
    pub statuses: Vec<u16>,
    /// Between two checks of one address; up to a tenth shorter or longer, so that not all are asked at once.
    #[serde(deserialize_with = "units::span::<100, { units::HOUR }, _>")]
    pub interval: Span,
    /// How long one check may take.
    #[serde(deserialize_with = "units::span::<1, { units::HOUR }, _>")]
    pub timeout: Span,
    /// So many checks in a row must succeed before it gets requests again.
    #[serde(deserialize_with = "units::number::<1, 100, _, _>")]
    #[schemars(range(min = 1, max = 100))]
    pub healthy_after: u32,
    /// So many checks in a row must fail before it gets none.
    #[serde(deserialize_with = "units::number::<1, 100, _, _>")]
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_after: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: None,
            host: None,
            statuses: vec![200, 204],
            interval: Span::seconds(5),
            timeout: Span::seconds(2),
            healthy_after: 2,
            unhealthy_after: 3,
        }
    }
}
