//! Section `routes`: which request goes to which upstream.

use schemars::JsonSchema;
use serde::Deserialize;

/// One route. A request takes the most specific one that matches: one with its host before one without, then an exact path, then the longest prefix.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"path_prefix": "/", "upstream": "openai"}))]
pub struct Route {
    /// A name for this route, for the `routes` of keys, for logs and metrics. Must be unique.
    #[serde(default)]
    #[schemars(example = "chat-completions")]
    pub name: Option<String>,
    /// Matches this `Host` only (without port, any letter case); without it, every host.
    #[serde(default)]
    #[schemars(example = "api.example.com")]
    pub host: Option<String>,
    /// Matches exactly this path. Give this or `path_prefix`.
    #[serde(default)]
    #[schemars(example = "/v1/models")]
    pub path: Option<String>,
    /// Matches this path and everything below it: `/v1` matches `/v1` and `/v1/models`, not `/v1beta`. `/` matches everything.
    #[serde(default)]
    pub path_prefix: Option<String>,
    /// The upstream that requests of this route go to.
    pub upstream: String,
}
