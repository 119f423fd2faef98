//! Reloads: asking for one, and what came of the last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::listener::Client;
use super::reply::Refusal;
use super::{Api, Order};
use crate::clock::UnixSeconds;

/// What came of one reload.
#[derive(Clone, Debug, Serialize)]
pub struct LastReload {
    /// When it was done.
    pub at: UnixSeconds,
    /// What came of it.
    pub outcome: Outcome,
    /// The generation in force after it.
    pub generation: u64,
    /// Why it was not taken: `FILE:LINE:COL: error: MESSAGE`, one each. Empty if it was.
    pub problems: Vec<String>,
    /// What is doubtful about the config in force, in the same form.
    pub warnings: Vec<String>,
    /// Settings that changed in the file and take effect with a restart.
    pub restart_needed: Vec<&'static str>,
}

/// What came of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There has been none: what is in force was read at start.
    Started,
    /// The config is in force.
    Accepted,
    /// The config cannot be used; what was in force before still is.
    Rejected,
}

/// The last reload, and how many there were.
#[derive(Debug)]
pub struct ReloadLog {
    last: ArcSwap<LastReload>,
    accepted: AtomicU64,
    rejected: AtomicU64,
}

impl ReloadLog {
    /// Before the first reload. `warnings` are those of the start.
    pub fn new(at: UnixSeconds, warnings: Vec<String>) -> Self {
        let last = LastReload {
            at,
            outcome: Outcome::Started,
            generation: 1,
            problems: Vec::new(),
            warnings,
            restart_needed: Vec::new(),
        };
        Self { last: ArcSwap::from_pointee(last), accepted: AtomicU64::new(0), rejected: AtomicU64::new(0) }
    }

    /// What came of the last one.
    pub fn last(&self) -> Arc<LastReload> {
        self.last.load_full()
    }

    /// How many were accepted and rejected.
    pub fn counts(&self) -> (u64, u64) {
        (self.accepted.load(Ordering::Relaxed), self.rejected.load(Ordering::Relaxed))
    }

    /// Notes that a config is in force.
    pub fn accepted(
        &self,
        at: UnixSeconds,
        generation: u64,
        warnings: Vec<String>,
        restart: Vec<&'static str>,
    ) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.last.store(Arc::new(LastReload {
            at,
            outcome: Outcome::Accepted,
            generation,
            problems: Vec::new(),
            warnings,
            restart_needed: restart,
        }));
    }

    /// Notes that the file holds again what is in force.
    pub fn restored(&self, at: UnixSeconds) {
        let before = self.last();
        let outcome = Outcome::Accepted;
        self.last.store(Arc::new(LastReload { at, outcome, problems: Vec::new(), ..(*before).clone() }));
    }

    /// Notes that a config cannot be used. What was known of the one in force stays.
    pub fn rejected(&self, at: UnixSeconds, problems: Vec<String>) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        let before = self.last();
        self.last.store(Arc::new(LastReload {
            at,
            outcome: Outcome::Rejected,
            problems,
            ..(*before).clone()
        }));
    }
}

/// `POST /api/reload`: reads the config again, and answers when that is done.
pub(super) async fn ask(
    State(api): State<Arc<Api>>,
    Extension(Client(client)): Extension<Client>,
) -> Result<Response, Refusal> {
    let last = api.ask(|reply| Order::Reload(client, reply)).await?;
    let status = match last.outcome {
        Outcome::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
        Outcome::Started | Outcome::Accepted => StatusCode::OK,
    };
    Ok((status, Json(&*last)).into_response())
}
