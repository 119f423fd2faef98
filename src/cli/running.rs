//! Asks a gateway that runs, through its admin API.

use std::path::Path;

use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::Value;

use super::http_client::{Client, Trouble};
use crate::config;

/// Where the token is, if the config does not tell it.
pub(super) const TOKEN_VARIABLE: &str = "KEYGATE_ADMIN_TOKEN";

/// The admin API of a gateway.
pub(super) struct Running {
    url: String,
    token: Option<String>,
    client: Client,
}

/// Why it does not answer the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// It is not reached.
    Unreachable(String, Trouble),
    /// It has no token, or another.
    Refused(String),
    /// It does not know.
    NotFound,
}

impl Running {
    /// The one that the config names; `url` in place of its address, the token of the environment in place of its own.
    pub(super) fn of(file: &Path, url: Option<&str>) -> Self {
        let loaded =
            config::load(file, &|name| std::env::var(name).ok()).ok().map(|loaded| loaded.config.admin);
        let listen =
            loaded.as_ref().map_or_else(|| config::Admin::default().listen, |admin| admin.listen.clone());
        let tls = loaded.as_ref().is_some_and(|admin| admin.tls.is_some());
        let scheme = if tls { "https" } else { "http" };
        let from_file = loaded.and_then(|admin| Some(admin.token?.value.expose().to_owned()));
        let from_environment = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        Self {
            url: url
                .map_or_else(|| format!("{scheme}://{listen}"), |url| url.trim_end_matches('/').to_owned()),
            token: from_environment.or(from_file),
            client: Client::new(),
        }
    }

    /// Whether it could be asked at all.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// A denial by its request id.
    pub(super) fn denial(&self, request_id: &str) -> Result<Value, NoAnswer> {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        if !request_id.bytes().all(harmless) {
            return Err(NoAnswer::NotFound);
        }
        self.get(&format!("/api/denials/{request_id}"))
    }

    /// What is in force, and the last reload.
    pub(super) fn status(&self) -> Result<Value, NoAnswer> {
        self.get("/api/status")
    }

    fn get(&self, path: &str) -> Result<Value, NoAnswer> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token
            && let Ok(value) = HeaderValue::try_from(format!("Bearer {token}"))
        {
            headers.insert(header::AUTHORIZATION, value);
        }
        let url = format!("{}{path}", self.url);
        let answer = self
            .client
            .send(&Method::GET, &url, &headers)
            .map_err(|trouble| NoAnswer::Unreachable(self.url.clone(), trouble))?;
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match answer.status {
            200 => Ok(json),
            404 => Err(NoAnswer::NotFound),
            _ => {
                let message =
                    json.pointer("/error/message").and_then(Value::as_str).unwrap_or("no admin API");
                Err(NoAnswer::Refused(message.to_owned()))
            }
        }
    }
}
