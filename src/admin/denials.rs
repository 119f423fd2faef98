//! `GET /api/denials`, `GET /api/denials/ID`: the last denials, each with its explanation.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::reply::{InPath, Refusal};
use super::{Api, Outcome};
use crate::auth::diagnosis::Circumstances;
use crate::telemetry::denial_records::Denial;

/// A page of them; all that are kept can be asked for by their ids.
const MOST_LISTED: usize = 100;

/// One of them, and its explanation in words.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    denial: Denial,
    text: String,
}

pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Vec<Denial>> {
    Json(api.handles.denials.records().latest(MOST_LISTED))
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    InPath(request_id): InPath<String>,
) -> Result<Json<Shown>, Refusal> {
    let around = Circumstances { rejected: api.handles.reloads.rejected_problem() };
    let mut denial: Option<Denial> = None;
    api.handles.in_force.show(&mut |policy, _, _| {
        denial = api.handles.denials.records().find(policy, &around, &request_id);
    });
    let denial = denial.ok_or(Refusal::NotFound)?;
    let text = denial.explanation.to_string();
    Ok(Json(Shown { denial, text }))
}

impl super::ReloadLog {
    /// The first problem of the file, if what is in it could not be put in force.
    pub fn rejected_problem(&self) -> Option<String> {
        let last = self.last();
        (last.outcome == Outcome::Rejected).then(|| last.problems.first().cloned().unwrap_or_default())
    }
}
