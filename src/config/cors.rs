//! Section `proxy.cors`: which web pages may call the gateway from a browser.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Span, units};

/// With it the gateway answers preflights itself and puts these headers on every response, its own 401 above all: without them a browser says no more than "Failed to fetch".
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins of pages that may call: `https://app.example.com`, or `*` for all.
    #[schemars(example = ["https://app.example.com"])]
    pub origins: Vec<String>,
    /// Methods that they may use.
    #[serde(default = "methods")]
    pub methods: Vec<String>,
    /// Request headers that they may send; `*` for all that they ask for.
    #[serde(default = "headers")]
    pub headers: Vec<String>,
    /// Whether they may send cookies. Not with `*` as an origin.
    #[serde(default)]
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight.
    #[serde(default = "max_age", deserialize_with = "units::span::<0, { 24 * units::HOUR }, _>")]
    pub max_age: Span,
}

fn methods() -> Vec<String> {
    ["GET", "POST", "PUT", "PATCH", "DELETE"].map(str::to_owned).to_vec()
}

fn headers() -> Vec<String> {
    vec!["*".to_owned()]
}

fn max_age() -> Span {
    Span::seconds(600)
}
