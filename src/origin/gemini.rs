//! Gemini's endpoints (ai.google.dev/api).

use std::sync::LazyLock;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::{Answer, CHUNK, Events, TEXT, event};
use super::asked::Asked;

/// The one model.
const MODEL: &str = "gemini-mock";

/// The list of models depends on nothing.
static MODELS: LazyLock<Bytes> = LazyLock::new(|| json!({"models": [model(MODEL)]}).to_string().into());

pub(super) fn answer(asked: &Asked) -> Option<Answer> {
    let (_, path) = asked.path.trim_start_matches('/').split_once('/')?;
    let answer = match (&asked.method, path) {
        (&Method::GET, "models") => Answer::prebuilt(&MODELS),
        (&Method::GET, path) if path.starts_with("models/") => {
            Answer::ok(&model(path.trim_start_matches("models/")))
        }
        (&Method::POST, path) => match path.strip_prefix("models/").and_then(|path| path.split_once(':')) {
            Some((model, "generateContent")) => content(asked, model),
            Some((model, "streamGenerateContent")) => stream(asked, model),
            Some((_, "countTokens")) => Answer::ok(&json!({"totalTokens": 1})),
            _ => error(StatusCode::NOT_FOUND, "NOT_FOUND", "Requested entity was not found."),
        },
        _ => error(StatusCode::NOT_FOUND, "NOT_FOUND", "Requested entity was not found."),
    };
    Some(answer)
}

fn model(id: &str) -> Value {
    json!({
        "name": format!("models/{id}"),
        "version": "001",
        "displayName": "Gemini Mock",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    })
}

fn content(asked: &Asked, model: &str) -> Answer {
    if asked.prompt().is_none() {
        return error(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "Invalid JSON payload received.");
    }
    Answer::ok(&generated(model, TEXT, Some("STOP")))
}

/// With `?alt=sse` events, else an array of the same.
fn stream(asked: &Asked, model: &str) -> Answer {
    if asked.prompt().is_none() {
        return error(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "Invalid JSON payload received.");
    }
    let (part, last) = (generated(model, CHUNK, None), generated(model, "", Some("STOP")));
    if asked.alt_sse {
        let (chunks, delay) = (asked.chunks, asked.delay);
        return Answer::events(Events {
            before: Vec::new(),
            chunk: event(&part),
            chunks,
            delay,
            after: vec![event(&last)],
        });
    }
    let chunk = Bytes::from(format!("{part},\r\n"));
    let events = Events {
        before: vec![Bytes::from_static(b"[")],
        chunk,
        chunks: asked.chunks,
        delay: asked.delay,
        after: vec![format!("{last}]").into()],
    };
    Answer { content_type: "application/json", ..Answer::events(events) }
}

fn generated(model: &str, text: &str, finish_reason: Option<&str>) -> Value {
    let mut candidate = json!({"content": {"role": "model", "parts": [{"text": text}]}, "index": 0});
    if let (Some(reason), Some(fields)) = (finish_reason, candidate.as_object_mut()) {
        fields.insert("finishReason".to_owned(), reason.into());
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 6, "totalTokenCount": 7},
        "modelVersion": model,
        "responseId": "mock",
    })
}

fn error(status: StatusCode, canonical: &str, message: &str) -> Answer {
    let error = json!({"code": status.as_u16(), "message": message, "status": canonical});
    Answer::json(status, &json!({"error": error}))
}
