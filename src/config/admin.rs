//! Section `admin`: the listener for the operator.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Certificate, SecretRef};

/// The listener for the operator: status, metrics, reload.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Whether there is an admin listener. Changing it needs a restart.
    pub enabled: bool,
    /// Its address. One that other machines reach needs `tls`. Changing it needs a restart.
    pub listen: String,
    /// TLS on the admin listener. Switching it on or off needs a restart.
    pub tls: Option<AdminTls>,
    /// Whether `/metrics` counts the requests of each key, by its name. The first 1,000 keys have a label of their own, the rest count as `other`.
    pub key_metrics: bool,
    /// What the admin API asks for, as `Authorization: Bearer TOKEN`: a literal, `${ENV_VAR}` or `file:PATH`. Without one it serves `/metrics` alone.
    #[schemars(example = "${KEYGATE_ADMIN_TOKEN}")]
    pub token: Option<SecretRef>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: "127.0.0.1:8046".to_owned(),
            tls: None,
            key_metrics: false,
            token: None,
        }
    }
}

/// TLS 1.2 and 1.3 on the admin listener.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminTls {
    /// The certificates, one of which is picked by the name that a client asks for; the names of all of them are names by which the listener may be called. Changed files are picked up while the gateway runs.
    pub certificates: Vec<Certificate>,
}
