//! Endpoints that no provider has: for looking at what arrives, and for provoking what goes wrong.

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use super::answer::Answer;
use super::asked::Asked;

const ENDPOINTS: &str = "\
A mock AI upstream. It asks for no key.

OpenAI     GET  /v1/models              POST /v1/chat/completions   POST /v1/responses
           POST /v1/embeddings
Anthropic  GET  /v1/models (with `anthropic-version`)
           POST /v1/messages            POST /v1/messages/count_tokens
Gemini     GET  /v1beta/models          POST /v1beta/models/MODEL:generateContent
           POST /v1beta/models/MODEL:streamGenerateContent?alt=sse   POST /v1beta/models/MODEL:countTokens

A stream (`\"stream\": true`) takes ?chunks=N (5) and ?delay_ms=M (0).

/echo      the request as it arrived
/status/N  an answer with status N, 200 to 599
/slow      an answer after ?ms=M (1000)
/ok        `ok`, as fast as can be
";

pub(super) fn answer(asked: &Asked) -> Option<Answer> {
    match asked.path.as_str() {
        "/" => Some(Answer::text(StatusCode::OK, ENDPOINTS)),
        "/ok" => Some(Answer::text(StatusCode::OK, "ok\n")),
        "/slow" => Some(Answer::text(StatusCode::OK, "slow\n")),
        "/echo" => Some(Answer::text(StatusCode::OK, echo(asked))),
        path => status(path.strip_prefix("/status/")?),
    }
}

/// The header section and the body, byte for byte (of a chunked body, what was in the chunks).
fn echo(asked: &Asked) -> Bytes {
    let mut whole = BytesMut::from(asked.head.as_ref());
    whole.extend_from_slice(&asked.body);
    whole.freeze()
}

/// A status that ends an exchange; 204 and 304 have no body.
fn status(number: &str) -> Option<Answer> {
    let number: u16 = number.parse().ok().filter(|number| (200..600).contains(number))?;
    let status = StatusCode::from_u16(number).ok()?;
    let text = if matches!(number, 204 | 304) { String::new() } else { format!("{status}\n") };
    Some(Answer::text(status, text))
}
