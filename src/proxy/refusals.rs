//! Refusals of a key, made once and then copied: a flood of wrong keys must cost as little as can be.
//!
//! All that differs between two refusals for the same cause is the id of the request. So there is one for each cause,
//! set of credential headers and dialect, made when it is first needed: some hundred of less than 1 KiB each, whatever
//! is sent.

use std::sync::OnceLock;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, header};
use pingora::Result;
use pingora::http::ResponseHeader;

use super::dialect::{ApiError, Dialect};
use super::headers::{X_KEYGATE_ERROR, X_REQUEST_ID};
use crate::auth::{Cause, Deny, HeaderSet};

/// By cause, headers and dialect; see [`place`].
static PREPARED: [OnceLock<Box<Prepared>>; Cause::ALL.len() * HeaderSet::COUNT * Dialect::COUNT] =
    [const { OnceLock::new() }; Cause::ALL.len() * HeaderSet::COUNT * Dialect::COUNT];

/// An answer that lacks the id of its request.
#[derive(Debug)]
struct Prepared {
    /// With a place for `x-request-id`.
    header: ResponseHeader,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// The same for all requests.
    Whole(Bytes),
    /// The id stands between these two.
    AroundId(Bytes, Bytes),
}

/// The answer to a refused request.
///
/// # Errors
/// A header cannot be written.
pub(super) fn answer(
    deny: Deny,
    dialect: Dialect,
    request_id: &HeaderValue,
) -> Result<(ResponseHeader, Bytes)> {
    let Some(place) = place(deny, dialect) else {
        return Prepared::new(deny, dialect)?.for_request(request_id);
    };
    let prepared = match place.get() {
        Some(prepared) => prepared,
        None => {
            let prepared = Box::new(Prepared::new(deny, dialect)?);
            place.get_or_init(|| prepared)
        }
    };
    prepared.for_request(request_id)
}

fn place(deny: Deny, dialect: Dialect) -> Option<&'static OnceLock<Box<Prepared>>> {
    PREPARED.get(
        (deny.cause.index() * HeaderSet::COUNT + deny.present.index()) * Dialect::COUNT + dialect as usize,
    )
}

impl Prepared {
    fn new(deny: Deny, dialect: Dialect) -> Result<Self> {
        let (status, code) = (deny.cause.status(), deny.cause.code());
        let blank = HeaderValue::from_static(BLANK_ID);
        let body = Bytes::from(dialect.body(&ApiError { status, code, message: &deny.message() }, &blank));
        let mut header = ResponseHeader::build_no_case(status, Some(8))?;
        header.insert_header(header::CONTENT_TYPE, "application/json")?;
        header.insert_header(header::CONTENT_LENGTH, body.len())?;
        header.insert_header(header::CACHE_CONTROL, "no-store")?;
        header.insert_header(X_KEYGATE_ERROR.as_str(), code)?;
        header.insert_header(X_REQUEST_ID.as_str(), blank)?;
        if status == 401 {
            header.insert_header(header::WWW_AUTHENTICATE, challenge(deny))?;
        }
        let body = match body.windows(BLANK_ID.len()).position(|window| window == BLANK_ID.as_bytes()) {
            Some(at) => Body::AroundId(body.slice(..at), body.slice(at + BLANK_ID.len()..)),
            None => Body::Whole(body),
        };
        Ok(Self { header, body })
    }

    fn for_request(&self, request_id: &HeaderValue) -> Result<(ResponseHeader, Bytes)> {
        let mut header = self.header.clone();
        header.insert_header(X_REQUEST_ID.as_str(), request_id)?;
        let body = match &self.body {
            Body::Whole(body) => body.clone(),
            Body::AroundId(before, after) => {
                let mut body = BytesMut::with_capacity(before.len() + request_id.len() + after.len());
                for part in [before, request_id.as_bytes(), after] {
                    body.put_slice(part);
                }
                header.insert_header(header::CONTENT_LENGTH, body.len())?;
                body.freeze()
            }
        };
        Ok((header, body))
    }
}

/// Whether a credential came at all is what RFC 6750 §3.1 wants told apart.
fn challenge(deny: Deny) -> HeaderValue {
    HeaderValue::from_static(match deny.present.deciding() {
        Some(_) => "Bearer realm=\"keygate\", error=\"invalid_token\"",
        None => "Bearer realm=\"keygate\"",
    })
}

/// Stands where the id of the request belongs: what no message contains.
const BLANK_ID: &str = "{request_id}";

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::auth::CREDENTIAL_HEADERS;
    use crate::policy::ProtocolKeys;

    const DIALECTS: [Dialect; Dialect::COUNT] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini];

    fn every_refusal() -> impl Iterator<Item = (Deny, Dialect)> {
        let sets = (0..HeaderSet::COUNT).map(|bits| {
            let present = CREDENTIAL_HEADERS.iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1);
            let value = HeaderValue::from_static("openai-insecure-api-key.x");
            let fields = present.map(|(_, header)| (header.name().clone(), value.clone()));
            HeaderSet::of(&HeaderMap::from_iter(fields), ProtocolKeys::Count)
        });
        let denies = sets.flat_map(|present| Cause::ALL.map(|cause| Deny { cause, present }));
        denies.flat_map(|deny| DIALECTS.map(|dialect| (deny, dialect)))
    }

    /// Two for the header section, one for the name of the id's field, which Pingora makes anew; Anthropic's body, with the
    /// id in it, and its length come on top.
    #[test]
    fn a_refusal_is_copied_in_few_allocations() {
        let id = HeaderValue::from_static("an-id");
        for (deny, dialect) in every_refusal() {
            drop(answer(deny, dialect, &id));
            let allocations = allocation_counter::measure(|| drop(answer(deny, dialect, &id))).count_total;
            let most = if dialect == Dialect::Anthropic { 6 } else { 3 };
            assert!(allocations <= most, "{deny:?} {dialect:?}: {allocations}");
        }
    }

    #[test]
    fn each_refusal_has_its_own_place_and_says_what_a_fresh_one_would() {
        let mut places = std::collections::HashSet::new();
        for (deny, dialect) in every_refusal() {
            assert!(
                places.insert(std::ptr::from_ref(place(deny, dialect).unwrap()).addr()),
                "{deny:?} {dialect:?}"
            );
            // The first makes it, the second takes what is there.
            for id in ["first-id", "a.second:one_"] {
                let id = HeaderValue::from_static(id);
                let (header, body) = answer(deny, dialect, &id).unwrap();
                let (status, code) = (deny.cause.status(), deny.cause.code());
                let message = &deny.message();
                assert_eq!(
                    body,
                    dialect.body(&ApiError { status, code, message }, &id),
                    "{deny:?} {dialect:?}"
                );
                assert_eq!(header.status, status);
                let field = |name: &str| header.headers.get(name).map(|value| value.to_str().unwrap());
                assert_eq!(field("content-length"), Some(body.len().to_string().as_str()));
                assert_eq!((field("x-keygate-error"), field("x-request-id")), (Some(code), id.to_str().ok()));
                assert_eq!(field("www-authenticate").is_some(), status == 401);
            }
        }
        assert_eq!(places.len(), PREPARED.len());
    }
}
