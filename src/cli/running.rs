//! What `explain` and `doctor` ask a gateway that runs, through its admin API.

use std::cell::OnceCell;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::admin_api::AdminApi;
use crate::config;
use crate::secret::Secret;

/// Where the token is, if the config does not tell it.
pub(super) const TOKEN_VARIABLE: &str = "KEYGATE_ADMIN_TOKEN";

/// How long it may take: the answer is wanted within a second, and a dead address must not look like a slow one.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The admin API of a gateway.
pub(super) struct Running {
    api: AdminApi,
    /// It was not reached, and is not tried again: a silent one would be waited for with each question.
    lost: OnceCell<NoAnswer>,
}

/// Why it does not answer the question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAnswer {
    /// It is not reached: where, and why not.
    #[error("no admin API answers at {0} ({1}); `--admin URL` names another")]
    Unreachable(String, String),
    /// It has no token, or another.
    #[error("{0}")]
    Refused(String),
    /// It does not know.
    #[error("the gateway does not know it")]
    NotFound,
}

impl Running {
    /// The one that the config names; `url` in place of its address, the token of the environment in place of its own.
    ///
    /// # Errors
    /// `url` cannot be used.
    pub(super) fn of(file: &Path, url: Option<&str>) -> anyhow::Result<Self> {
        let loaded = config::load(file, &|name| std::env::var(name).ok());
        let admin = loaded.map(|loaded| loaded.config.admin).unwrap_or_default();
        let from_environment = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        let from_file = || admin.token.as_ref().map(|token| token.value.clone());
        let token = from_environment.map(Secret::new).or_else(from_file);
        let api = AdminApi::of(&admin, token).within(TIMEOUT);
        let api = match url {
            Some(url) => api.at(url)?,
            None => api,
        };
        Ok(Self { api, lost: OnceCell::new() })
    }

    /// Whether it could be asked at all.
    pub(super) fn has_token(&self) -> bool {
        self.api.has_token()
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

    /// What it decides about a request, which is described as its API wants it.
    pub(super) fn explanation(&self, request: &Value) -> Result<Value, NoAnswer> {
        self.ask("POST /api/explain", Some(("*", request)))
    }

    fn get(&self, path: &str) -> Result<Value, NoAnswer> {
        self.ask(&format!("GET {path}"), None)
    }

    fn ask(&self, request: &str, content: Option<(&str, &Value)>) -> Result<Value, NoAnswer> {
        if let Some(lost) = self.lost.get() {
            return Err(lost.clone());
        }
        let unreachable = |error: anyhow::Error| {
            let silent = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
            let why = match error.root_cause().downcast_ref::<io::Error>() {
                Some(error) if silent.contains(&error.kind()) => "no answer in time".to_owned(),
                _ => error.root_cause().to_string(),
            };
            self.lost.get_or_init(|| NoAnswer::Unreachable(self.api.url(), why)).clone()
        };
        match self.api.ask(request, content).map_err(unreachable)? {
            (200, json) => Ok(json),
            (404, _) => Err(NoAnswer::NotFound),
            (_, json) => {
                let message =
                    json.pointer("/error/message").and_then(Value::as_str).unwrap_or("no admin API");
                Err(NoAnswer::Refused(message.to_owned()))
            }
        }
    }
}
