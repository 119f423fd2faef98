//! Section `routes`: which request goes to which upstream, and what is changed on the way.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Size, Span, units};

/// One route. A request takes the most specific one that matches: its exact host, then the longest `*.` host, then any host; within these its exact path, then the longest prefix; within these the one with more `headers`, then one with `methods`, then the first in this file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"path_prefix": "/", "upstream": "openai"}))]
pub struct Route {
    /// A name for this route, for the `routes` of keys, for logs and metrics. Must be unique.
    #[serde(default)]
    #[schemars(example = "chat-completions")]
    pub name: Option<String>,
    /// Matches this `Host` only (without port, any letter case); without it, every host. `*.example.com` matches every name below `example.com`, at any depth.
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
    /// Matches these methods only, in capitals as they stand in requests; without it, all.
    #[serde(default)]
    #[schemars(example = ["GET", "HEAD"])]
    pub methods: Option<Vec<String>>,
    /// Matches requests only that have each of these fields with exactly this value; `"*"` stands for any value.
    #[serde(default)]
    #[schemars(example = serde_json::json!({"x-tenant": "acme"}))]
    pub headers: BTreeMap<String, String>,
    /// Takes the `path_prefix` off the path that is forwarded: with `/openai`, `/openai/v1/models` is forwarded as `/v1/models`.
    #[serde(default)]
    pub strip_prefix: bool,
    /// Puts this in place of the `path_prefix`.
    #[serde(default)]
    #[schemars(example = "/api/v2")]
    pub rewrite_prefix: Option<String>,
    /// Forwards this path in place of the whole one. The query stays.
    #[serde(default)]
    #[schemars(example = "/v1/chat/completions")]
    pub rewrite_path: Option<String>,
    /// Takes paths with an encoded slash (`%2F`) or backslash (`%5C`), which are refused else: a server that decodes them may see another path than the one that was matched here.
    #[serde(default)]
    pub encoded_slashes: bool,
    /// Changes to the header fields that the upstream receives.
    #[serde(default)]
    pub request_headers: HeaderRules,
    /// Changes to the header fields of the upstream's response.
    #[serde(default)]
    pub response_headers: HeaderRules,
    /// Time-outs of this route in place of the upstream's.
    #[serde(default)]
    #[schemars(example = serde_json::json!({"total": "10min"}))]
    pub timeouts: Option<RouteTimeouts>,
    /// Bytes of a body on this route, in place of `request_limits.body`; more is answered 413.
    #[serde(default, deserialize_with = "units::optional_size::<1, { 1 << 50 }, _>")]
    #[schemars(example = "20MiB")]
    pub max_body: Option<Size>,
    /// The upstream that requests of this route go to.
    pub upstream: String,
}

/// Changes to header fields: first `remove`, then `set`, then `add`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderRules {
    /// Fields that are left out.
    pub remove: Vec<String>,
    /// Fields that get this value in place of what they have.
    pub set: BTreeMap<String, String>,
    /// Fields that get this value beside what they have.
    pub add: BTreeMap<String, String>,
}

/// Time-outs of a route; what is left out is the upstream's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteTimeouts {
    /// From sending the request to the first byte of the response.
    #[serde(deserialize_with = "units::optional_span::<1, { 24 * units::HOUR }, _>")]
    #[schemars(example = "30s")]
    pub first_byte: Option<Span>,
    /// Between two reads of the response.
    #[serde(deserialize_with = "units::optional_span::<1, { 24 * units::HOUR }, _>")]
    #[schemars(example = "60s")]
    pub read: Option<Span>,
    /// For the whole request, every attempt included, until the last byte of the response.
    #[serde(deserialize_with = "units::optional_span::<1, { 24 * units::HOUR }, _>")]
    #[schemars(example = "10min")]
    pub total: Option<Span>,
}
