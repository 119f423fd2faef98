//! `GET /api/config`: what is configured, and the primary key for who asks for it expressly.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::{Value, json};

use super::listener::Client;
use super::reply::Refusal;
use super::status::why;
use super::{Api, ConfigShown, LastReload, Order};

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    config: &'a ConfigShown,
    generation: u64,
    last_reload: &'a LastReload,
    restart_needed: &'a [&'static str],
    auth_mode: String,
    effective_mode: String,
    why: &'static str,
}

pub(super) async fn show(State(api): State<Arc<Api>>) -> Result<Response, Refusal> {
    let config = api.ask(Order::Show).await?;
    let last_reload = api.handles.reloads.last();
    let mut body = Value::Null;
    api.handles.in_force.show(&mut |policy, _, _| {
        body = json!(Shown {
            config: &config,
            generation: policy.generation,
            last_reload: &last_reload,
            restart_needed: &last_reload.restart_needed,
            auth_mode: policy.configured_mode.to_string(),
            effective_mode: policy.mode.to_string(),
            why: why(policy.configured_mode, policy.mode, api.handles.process.exposure),
        });
    });
    let mut response = Json(body).into_response();
    tag(&mut response, config.etag.as_deref());
    Ok(response)
}

/// Says what a change of this answer must name.
pub(super) fn tag(response: &mut Response, etag: Option<&str>) {
    if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
        response.headers_mut().insert(header::ETAG, etag);
    }
}

/// `POST`, so that nothing fetches it by itself; and the log says who was shown it.
pub(super) async fn reveal(
    State(api): State<Arc<Api>>,
    Extension(Client(client)): Extension<Client>,
) -> Result<Json<Value>, Refusal> {
    let key = api.ask(|reply| Order::Reveal(client, reply)).await?;
    Ok(Json(json!({"api_key": key.as_ref().map(crate::secret::Secret::expose)})))
}
