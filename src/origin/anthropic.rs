//! Anthropic's endpoints (docs.anthropic.com/en/api).

use std::sync::LazyLock;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::{Answer, CHUNK, Events, TEXT, named_event};
use super::asked::Asked;

/// The one model.
const MODEL: &str = "claude-mock";

/// The list of models depends on nothing.
static MODELS: LazyLock<Bytes> = LazyLock::new(|| {
    json!({"data": [model(MODEL)], "has_more": false, "first_id": MODEL, "last_id": MODEL}).to_string().into()
});

pub(super) fn answer(asked: &Asked) -> Option<Answer> {
    let answer = match (&asked.method, asked.path.as_str()) {
        (&Method::GET, "/v1/models") => Answer::prebuilt(&MODELS),
        (&Method::GET, path) if path.starts_with("/v1/models/") => {
            Answer::ok(&model(path.trim_start_matches("/v1/models/")))
        }
        (&Method::POST, "/v1/messages") => messages(asked),
        (&Method::POST, "/v1/messages/count_tokens") => Answer::ok(&json!({"input_tokens": 1})),
        (_, path) => error(StatusCode::NOT_FOUND, "not_found_error", path),
    };
    Some(answer)
}

fn model(id: &str) -> Value {
    json!({"type": "model", "id": id, "display_name": "Claude Mock", "created_at": "2026-01-01T00:00:00Z"})
}

fn messages(asked: &Asked) -> Answer {
    let Some(prompt) = asked.prompt() else {
        return error(StatusCode::BAD_REQUEST, "invalid_request_error", "the body is no JSON object");
    };
    let model = prompt.model.as_deref().unwrap_or(MODEL);
    if !prompt.stream {
        let content = json!([{"type": "text", "text": TEXT}]);
        return Answer::ok(&message(model, &content, Some("end_turn")));
    }
    Answer::events(Events {
        before: vec![
            named_event(&json!({"type": "message_start", "message": message(model, &json!([]), None)})),
            named_event(&json!({
                "type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""},
            })),
        ],
        chunk: named_event(&json!({
            "type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": CHUNK},
        })),
        chunks: asked.chunks,
        delay: asked.delay,
        after: vec![
            named_event(&json!({"type": "content_block_stop", "index": 0})),
            named_event(&json!({
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                "usage": {"output_tokens": asked.chunks},
            })),
            named_event(&json!({"type": "message_stop"})),
        ],
    })
}

fn message(model: &str, content: &Value, stop_reason: Option<&str>) -> Value {
    json!({
        "id": "msg_mock",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": {"input_tokens": 1, "output_tokens": 6},
    })
}

fn error(status: StatusCode, kind: &str, message: &str) -> Answer {
    Answer::json(status, &json!({"type": "error", "error": {"type": kind, "message": message}}))
}
