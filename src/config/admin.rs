//! Section `admin`: the listener for the operator.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretRef;

/// The listener for the operator: status, metrics, reload.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Whether there is an admin listener. Changing it needs a restart.
    pub enabled: bool,
    /// Its address, which only this machine must reach: it speaks no TLS. Changing it needs a restart.
    pub listen: String,
    /// Whether `/metrics` counts the requests of each key, by its name. The first 1,000 keys have a label of their own, the rest count as `other`.
    pub key_metrics: bool,
    /// What the admin API asks for, as `Authorization: Bearer TOKEN`: a literal, `${ENV_VAR}` or `file:PATH`. Without one it serves `/metrics` alone.
    #[schemars(example = "${KEYGATE_ADMIN_TOKEN}")]
    pub token: Option<SecretRef>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { enabled: true, listen: "127.0.0.1:8046".to_owned(), key_metrics: false, token: None }
    }
}
