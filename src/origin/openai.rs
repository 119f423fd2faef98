//! OpenAI's endpoints (platform.openai.com/docs/api-reference).

use std::sync::LazyLock;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::{Answer, CHUNK, Events, TEXT, event};
use super::asked::Asked;
use super::responses;

/// The one model.
const MODEL: &str = "gpt-mock";

const NO_JSON: &str = "We could not parse the JSON body of your request.";

/// The list of models depends on nothing.
static MODELS: LazyLock<Bytes> =
    LazyLock::new(|| json!({"object": "list", "data": [model(MODEL)]}).to_string().into());

pub(super) fn answer(asked: &Asked) -> Option<Answer> {
    let answer = match (&asked.method, asked.path.as_str()) {
        (&Method::GET, "/v1/models") => Answer::prebuilt(&MODELS),
        (&Method::GET, path) if path.starts_with("/v1/models/") => {
            Answer::ok(&model(path.trim_start_matches("/v1/models/")))
        }
        (&Method::POST, "/v1/chat/completions") => chat(asked),
        (&Method::POST, "/v1/responses") => responses(asked),
        (&Method::POST, "/v1/embeddings") => embeddings(asked),
        (method, path) => error(StatusCode::NOT_FOUND, &format!("Invalid URL ({method} {path})")),
    };
    Some(answer)
}

fn model(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "keygate"})
}

fn chat(asked: &Asked) -> Answer {
    let Some(prompt) = asked.prompt() else {
        return error(StatusCode::BAD_REQUEST, NO_JSON);
    };
    let model = prompt.model.as_deref().unwrap_or(MODEL);
    if prompt.stream {
        return Answer::events(Events {
            before: vec![chunk(model, &json!({"role": "assistant", "content": ""}), None)],
            chunk: chunk(model, &json!({"content": CHUNK}), None),
            chunks: asked.chunks,
            delay: asked.delay,
            after: vec![chunk(model, &json!({}), Some("stop")), Bytes::from_static(b"data: [DONE]\n\n")],
        });
    }
    Answer::ok(&json!({
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": TEXT, "refusal": null},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": {"prompt_tokens": 1, "completion_tokens": 6, "total_tokens": 7},
    }))
}

fn chunk(model: &str, delta: &Value, finish_reason: Option<&str>) -> Bytes {
    event(&json!({
        "id": "chatcmpl-mock",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}],
    }))
}

fn responses(asked: &Asked) -> Answer {
    let Some(prompt) = asked.prompt() else {
        return error(StatusCode::BAD_REQUEST, NO_JSON);
    };
    let model = prompt.model.as_deref().unwrap_or(MODEL);
    if prompt.stream {
        return Answer::events(responses::events(model, asked.chunks, asked.delay));
    }
    Answer::ok(&responses::completed(model, TEXT))
}

fn embeddings(asked: &Asked) -> Answer {
    let model = asked.prompt().and_then(|prompt| prompt.model).unwrap_or_else(|| MODEL.to_owned());
    Answer::ok(&json!({
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2, 0.3, 0.4]}],
        "model": model,
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }))
}

fn error(status: StatusCode, message: &str) -> Answer {
    let error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": null});
    Answer::json(status, &json!({"error": error}))
}
