//! Section `proxy`: the listener, the mode and the primary key.

use std::fmt;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{ConnectionLimits, Cors, PreviousDigest, RequestLimits, SecretRef, Span, Tls, units};

/// The listener and who may pass it.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(example = serde_json::json!({"api_key": "${KEYGATE_API_KEY}"}))]
pub struct Proxy {
    /// Port of the default listener. Changing it needs a restart.
    #[serde(deserialize_with = "units::number::<1, 65535, _, _>")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Who can reach the default listener: `false` binds loopback only (`127.0.0.1` and `::1`), `true` binds every address. Changing it needs a restart.
    pub allow_lan_access: bool,
    /// Addresses to listen on, in place of `port` and the addresses that `allow_lan_access` picks: `127.0.0.1:8045`, `[::1]:8045`. Changing it needs a restart.
    pub listen: Vec<String>,
    /// TLS on every listener. Switching it on or off needs a restart.
    pub tls: Option<Tls>,
    /// Whether listeners without TLS take HTTP/2 (by prior knowledge, RFC 9113 §3.3) beside HTTP/1.1, as gRPC needs it. Changing it needs a restart.
    pub h2c: bool,
    /// Who needs a key. `off`: nobody. `strict`: everybody. `all_except_health`: everybody, but `GET /healthz` is free. `auto`: `off` on loopback, `all_except_health` once other machines can connect.
    pub auth_mode: AuthMode,
    /// The primary key: a literal, `${ENV_VAR}` or `file:PATH` (relative to this file). Empty means that nobody passes where a key is needed.
    pub api_key: Option<SecretRef>,
    /// The digest of the primary key before it was changed, and until when it still counts: `{digest: "sha256:…", until: 2027-01-31T00:00:00Z}`.
    pub api_key_previous: Option<PreviousDigest>,
    /// Whether a key may also come as the WebSocket protocol `openai-insecure-api-key.KEY` (`Sec-WebSocket-Protocol`), the one place where a web page can put it. It counts where none of the three headers is present, and no upstream sees it.
    pub websocket_protocol_keys: bool,
    /// Worker threads; by default one for each core. Changing it needs a restart.
    #[serde(deserialize_with = "units::optional_number::<1, 1024, _, _>")]
    #[schemars(range(min = 1, max = 1024))]
    #[schemars(example = 4)]
    pub threads: Option<usize>,
    /// How long an idle keep-alive connection of a client is kept.
    #[serde(deserialize_with = "units::span::<1000, { 24 * units::HOUR }, _>")]
    pub keepalive_timeout: Span,
    /// How often the names of peers are resolved again; what the records themselves say of their life is not known to the system's resolver.
    #[serde(deserialize_with = "units::span::<1000, { units::HOUR }, _>")]
    pub dns_refresh: Span,
    /// Which web pages may call the gateway from a browser.
    pub cors: Option<Cors>,
    /// Names beside `localhost` and loopback addresses by which a gateway that asks for no key may be called: without keys, a page under any other name could spend the upstream's credentials.
    #[schemars(example = ["gateway.home"])]
    pub allowed_hosts: Vec<String>,
    /// Addresses of proxies in front of the gateway, or ranges of them: `10.0.0.0/8`, `2001:db8::/32`. What these say of the client in `X-Forwarded-For` or `Forwarded` is believed, as far as the first address that is not one of them, from the right; from anyone else both are ignored.
    #[schemars(example = ["10.0.0.0/8"])]
    pub trusted_proxies: Vec<String>,
    /// Whether connections of `trusted_proxies` begin with a PROXY protocol header (version 1 or 2), before TLS. One of theirs without it is closed; connections of others have none. Changing it needs a restart.
    pub proxy_protocol: bool,
    /// How large a request may be, and how slow.
    pub request_limits: RequestLimits,
    /// How many connections there may be, and how long one may idle.
    pub connection_limits: ConnectionLimits,
    /// How the gateway stops on SIGTERM and SIGINT.
    pub shutdown: Shutdown,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            port: 8045,
            allow_lan_access: false,
            listen: Vec::new(),
            tls: None,
            h2c: false,
            auth_mode: AuthMode::Auto,
            api_key: None,
            api_key_previous: None,
            websocket_protocol_keys: false,
            threads: None,
            keepalive_timeout: Span::seconds(60),
            dns_refresh: Span::seconds(30),
            cors: None,
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            request_limits: RequestLimits::default(),
            connection_limits: ConnectionLimits::default(),
            shutdown: Shutdown::default(),
        }
    }
}

/// Who needs a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = with_false)]
pub enum AuthMode {
    /// Nobody needs a key.
    Off,
    /// Every request needs a key, `/healthz` too.
    Strict,
    /// Every request needs a key, but `GET` and `HEAD` of `/healthz` are free.
    AllExceptHealth,
    /// `off` while only this machine can connect, else `all_except_health`.
    #[default]
    Auto,
}

impl AuthMode {
    const ALL: [Self; 4] = [Self::Off, Self::Strict, Self::AllExceptHealth, Self::Auto];
    const NAMES: &[&str] = &["off", "strict", "all_except_health", "auto"];

    /// The value as it is written in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Strict => "strict",
            Self::AllExceptHealth => "all_except_health",
            Self::Auto => "auto",
        }
    }
}

/// How the gateway stops.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// How long requests and streams in flight may go on after a stop signal; it ends earlier once none is left.
    #[serde(deserialize_with = "units::span::<0, { 24 * units::HOUR }, _>")]
    pub grace: Span,
    /// How long, at most, to go on accepting connections after a stop signal while requests are in flight, with `/healthz` answering 503, so that a load balancer notices first; it ends at once when nothing is in flight. After an upgrade, how long an address that the config no longer has is still served.
    #[serde(deserialize_with = "units::span::<0, { units::HOUR }, _>")]
    pub delay: Span,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace: Span::seconds(30), delay: Span::seconds(5) }
    }
}

/// YAML 1.1 tools write `off` as the boolean `false`; it means the same here. `true` has no such reading.
impl<'de> Deserialize<'de> for AuthMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = AuthMode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one of `off`, `strict`, `all_except_health`, `auto`")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<AuthMode, E> {
                if on { Err(E::unknown_variant("true", AuthMode::NAMES)) } else { Ok(AuthMode::Off) }
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<AuthMode, E> {
                AuthMode::ALL
                    .into_iter()
                    .find(|mode| mode.name() == name)
                    .ok_or_else(|| E::unknown_variant(name, AuthMode::NAMES))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn with_false(schema: &mut Schema) {
    if let Some(variants) = schema.get_mut("oneOf").and_then(serde_json::Value::as_array_mut) {
        variants
            .push(serde_json::json!({"const": false, "description": "`off` as YAML 1.1 tools write it."}));
    }
}
