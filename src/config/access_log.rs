//! Section `access_log`: one line for each request.

use schemars::JsonSchema;
use serde::Deserialize;

use super::units;

/// One JSON line for each request that is over.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// Where to: `stdout`, or a file (relative to this file) that SIGUSR1 opens anew. Without it there is no access log. Changing it needs a restart.
    #[schemars(example = &"stdout")]
    pub to: Option<String>,
    /// Lines that may wait to be written; further ones are dropped and counted, for no request waits for a disk. Changing it needs a restart.
    #[serde(deserialize_with = "units::number::<16, 1_048_576, _, _>")]
    #[schemars(range(min = 16, max = 1_048_576))]
    pub queue: usize,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { to: None, queue: 8192 }
    }
}
