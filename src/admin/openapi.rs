//! `GET /api/openapi.json`: the description of this API for programs (OpenAPI 3.1).
//!
//! Written by hand: `tests/admin_openapi.rs` holds every route and every answer against it.

use axum::http::header;
use axum::response::IntoResponse;

const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn show() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}
