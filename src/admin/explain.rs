//! `POST /api/explain`: what the gateway decides about a request that somebody pastes, as `keygate explain` says it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Api;
use super::changes::Body;
use super::reply::Refusal;
use crate::auth::diagnosis::Circumstances;
use crate::auth::explain::Explanation;
use crate::auth::pasted::{Pasted, Unreadable};
use crate::clock;

/// A curl command line, or the parts of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Asked {
    curl: Option<String>,
    method: String,
    path: String,
    headers: Headers,
    host: Option<String>,
    has_content: bool,
    client: IpAddr,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Headers {
    /// As they are copied: one a line.
    Lines(String),
    Pairs(Vec<(String, String)>),
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            curl: None,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            headers: Headers::Pairs(Vec::new()),
            host: None,
            has_content: false,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

/// The decision, and the same in words.
#[derive(Serialize)]
pub(super) struct Explained {
    #[serde(flatten)]
    explanation: Explanation,
    text: String,
}

pub(super) async fn explain(
    State(api): State<Arc<Api>>,
    Body(asked): Body<Asked>,
) -> Result<Json<Explained>, Refusal> {
    let client = asked.client;
    let request = asked.request().map_err(|why| Refusal::BadRequest(why.to_string()))?;
    let around = Circumstances { rejected: api.handles.reloads.rejected_problem() };
    let mut explanation = None;
    api.handles.in_force.show(&mut |policy, _, _| {
        let mut found = request.explain(policy, client, clock::now());
        found.consider(&around);
        explanation = Some(found);
    });
    let explanation = explanation.ok_or(Refusal::Busy)?;
    let text = explanation.to_string();
    Ok(Json(Explained { explanation, text }))
}

impl Asked {
    fn request(self) -> Result<Pasted, Unreadable> {
        if let Some(line) = &self.curl {
            return Pasted::from_curl(line);
        }
        let mut request = Pasted::new(&self.method, &self.path)?;
        request.host = self.host;
        request.has_content = self.has_content;
        match self.headers {
            Headers::Lines(lines) => {
                for line in lines.lines().filter(|line| !line.trim().is_empty()) {
                    request.add_line(line)?;
                }
            }
            Headers::Pairs(pairs) => {
                for (name, value) in &pairs {
                    request.add(name, value)?;
                }
            }
        }
        Ok(request)
    }
}
