//! OpenAI's Responses endpoint (platform.openai.com/docs/api-reference/responses), which its SDK prefers by now.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{CHUNK, Events, named_event};

const RESPONSE_ID: &str = "resp_mock";
const MESSAGE_ID: &str = "msg_mock";

/// The whole answer.
pub(super) fn completed(model: &str, text: &str) -> Value {
    response(model, "completed", &json!([message("completed", &json!([part(text)]))]))
}

/// The same as a stream.
///
/// A real one numbers each delta; here all are the same bytes, so all have the number of the first.
pub(super) fn events(model: &str, chunks: u32, delay: Duration) -> Events {
    Events {
        before: opening(model),
        chunk: in_part(3, "response.output_text.delta", "delta", &CHUNK.into()),
        chunks,
        delay,
        after: closing(model, chunks),
    }
}

fn opening(model: &str) -> Vec<Bytes> {
    vec![
        of_response(0, "response.created", &response(model, "in_progress", &json!([]))),
        of_item(1, "response.output_item.added", &message("in_progress", &json!([]))),
        in_part(2, "response.content_part.added", "part", &part("")),
    ]
}

fn closing(model: &str, chunks: u32) -> Vec<Bytes> {
    let number = u64::from(chunks) + 3;
    let text = CHUNK.repeat(chunks as usize);
    vec![
        in_part(number, "response.output_text.done", "text", &text.as_str().into()),
        in_part(number + 1, "response.content_part.done", "part", &part(&text)),
        of_item(number + 2, "response.output_item.done", &message("completed", &json!([part(&text)]))),
        of_response(number + 3, "response.completed", &completed(model, &text)),
    ]
}

fn of_response(number: u64, kind: &str, response: &Value) -> Bytes {
    named_event(&json!({"type": kind, "sequence_number": number, "response": response}))
}

fn of_item(number: u64, kind: &str, item: &Value) -> Bytes {
    named_event(&json!({"type": kind, "sequence_number": number, "output_index": 0, "item": item}))
}

/// An event about the only part of the only message, with one field of its own.
fn in_part(number: u64, kind: &str, field: &str, value: &Value) -> Bytes {
    named_event(&json!({
        "type": kind,
        "sequence_number": number,
        "item_id": MESSAGE_ID,
        "output_index": 0,
        "content_index": 0,
        "logprobs": [],
        field: value,
    }))
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn message(status: &str, content: &Value) -> Value {
    json!({"id": MESSAGE_ID, "type": "message", "role": "assistant", "status": status, "content": content})
}

fn response(model: &str, status: &str, output: &Value) -> Value {
    json!({
        "id": RESPONSE_ID,
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "model": model,
        "output": output,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "metadata": {},
        "parallel_tool_calls": true,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": 1,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 6,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 7,
        },
    })
}
