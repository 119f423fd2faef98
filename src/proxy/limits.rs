//! What a caller is told of its limits, in the words of everybody who asks: what is left, and with a 429 when to come
//! back.

use std::time::Duration;

use http::{HeaderName, HeaderValue, header};
use pingora::Result;
use pingora::http::ResponseHeader;

use crate::limit::{Exceeded, Spent};
use crate::policy::Rate;

/// Milliseconds; OpenAI's and Anthropic's clients look here first.
static RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// draft-ietf-httpapi-ratelimit-headers-11 §3 and §4.
static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// As OpenAI's API has them.
static X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
static X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
static X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");

/// What a 429 tells beside its body.
pub(super) fn fields(exceeded: Exceeded) -> Vec<(HeaderName, HeaderValue)> {
    let wait = exceeded.retry_after();
    let mut fields = vec![
        (header::RETRY_AFTER, value(seconds(wait).to_string())),
        (RETRY_AFTER_MS.clone(), value(wait.as_nanos().div_ceil(1_000_000).to_string())),
    ];
    match exceeded {
        Exceeded::Rate { rate, .. } => {
            fields.extend([
                (RATELIMIT_POLICY.clone(), policy(rate)),
                (RATELIMIT.clone(), value(format!("\"key\";r=0;t={}", seconds(wait)))),
                (X_LIMIT.clone(), value(rate.requests.to_string())),
                (X_REMAINING.clone(), HeaderValue::from_static("0")),
                (X_RESET.clone(), value(format!("{}ms", wait.as_nanos().div_ceil(1_000_000)))),
            ]);
        }
        Exceeded::Concurrency { max } => fields.extend([
            (RATELIMIT_POLICY.clone(), value(format!("\"concurrency\";q={max};qu=\"concurrent-requests\""))),
            (RATELIMIT.clone(), HeaderValue::from_static("\"concurrency\";r=0")),
        ]),
        // Nobody with a right key has to know how many wrong ones may be tried.
        Exceeded::Failures { .. } => {}
    }
    fields
}

/// Tells in an answer what is left to its key. An upstream's own words stay: `RateLimit` is a list, in which ours stands
/// behind them, and `x-ratelimit-*-requests` is ours only where it is not the upstream's, for that limit holds as well.
pub(super) fn tell(response: &mut ResponseHeader, rate: Rate, spent: Spent) -> Result<()> {
    let full_after = spent.full_after;
    response.append_header(RATELIMIT_POLICY.as_str(), policy(rate))?;
    let left = format!("\"key\";r={};t={}", spent.remaining, seconds(full_after));
    response.append_header(RATELIMIT.as_str(), value(left))?;
    if [&X_LIMIT, &X_REMAINING, &X_RESET].into_iter().any(|name| response.headers.contains_key(name)) {
        return Ok(());
    }
    response.insert_header(X_LIMIT.as_str(), value(rate.requests.to_string()))?;
    response.insert_header(X_REMAINING.as_str(), value(spent.remaining.to_string()))?;
    response
        .insert_header(X_RESET.as_str(), value(format!("{}ms", full_after.as_nanos().div_ceil(1_000_000))))
}

/// So many requests in so many seconds.
fn policy(rate: Rate) -> HeaderValue {
    value(format!("\"key\";q={};w={}", rate.requests, rate.per.duration().as_secs()))
}

/// Whole seconds, rounded up, so that who waits as long as it is told is not refused again.
fn seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// Digits and punctuation: there is nothing in it that could not stand in a field.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Period;

    fn shown(exceeded: Exceeded) -> Vec<String> {
        fields(exceeded).iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn a_rate_is_told_in_every_form() {
        let rate = Rate { requests: 60, per: Period::Minute, burst: 5 };
        let exceeded = Exceeded::Rate { rate, retry_after: Duration::from_nanos(1_000_000_001) };
        assert_eq!(
            shown(exceeded),
            [
                "retry-after: 2",
                "retry-after-ms: 1001",
                "ratelimit-policy: \"key\";q=60;w=60",
                "ratelimit: \"key\";r=0;t=2",
                "x-ratelimit-limit-requests: 60",
                "x-ratelimit-remaining-requests: 0",
                "x-ratelimit-reset-requests: 1001ms",
            ]
        );
    }

    #[test]
    fn the_limit_on_wrong_keys_is_not_told() {
        let rate = Rate { requests: 60, per: Period::Minute, burst: 5 };
        let exceeded = Exceeded::Failures { rate, retry_after: Duration::from_millis(20) };
        assert_eq!(shown(exceeded), ["retry-after: 1", "retry-after-ms: 20"]);
    }
}
