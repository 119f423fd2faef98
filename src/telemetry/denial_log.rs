//! One log line for each denial, and no more than a few a second for each cause.
//!
//! A flood of bad keys must not fill the disk, nor cost more than the refusals themselves. What is left out is
//! counted, and the next line says how many.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::auth::{Cause, CredentialHeader, Deny};
use crate::clock::UnixSeconds;

/// Lines a second for each cause.
const LINES_PER_SECOND: u32 = 10;

/// The message that the contract gives for a gateway without any key.
const NO_KEY_CONFIGURED: &str = "Proxy auth is enabled but api_key is empty; denying request";

/// What a line tells beside the refusal itself.
#[derive(Clone, Copy, Debug)]
pub struct Denied<'a> {
    /// The refusal.
    pub deny: Deny,
    /// The value of `x-request-id` that the caller was told.
    pub request_id: &'a str,
    /// Who asked.
    pub client: Option<IpAddr>,
    /// The value of the deciding header, of which the line shows next to nothing.
    pub credential: Option<&'a [u8]>,
    /// The policy that decided.
    pub generation: u64,
    /// When.
    pub now: UnixSeconds,
}

/// Writes the lines; one for the process.
#[derive(Debug, Default)]
pub struct DenialLog {
    windows: [Window; Cause::ALL.len()],
}

impl DenialLog {
    /// Logs one denial, or counts it as left out.
    pub fn record(&self, denied: &Denied<'_>) {
        let at = Cause::ALL.iter().position(|cause| *cause == denied.deny.cause);
        let Some(window) = at.and_then(|at| self.windows.get(at)) else { return };
        let Some(left_out) = window.admit(denied.now) else { return };
        if denied.deny.cause == Cause::NoKeyConfigured {
            log::error!("{NO_KEY_CONFIGURED}{}", Line { denied, left_out });
        } else {
            log::info!("denied{}", Line { denied, left_out });
        }
    }
}

/// One second's lines of one cause: the second in the upper half, the number of denials in the lower.
#[derive(Debug, Default)]
struct Window(AtomicU64);

impl Window {
    /// `Some(left out before)` if a line may be written now.
    fn admit(&self, now: UnixSeconds) -> Option<u32> {
        let second = now.0 as u32;
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
                let (window, denials) = split(state);
                Some(if window == second { join(second, denials.saturating_add(1)) } else { join(second, 1) })
            })
            .unwrap_or_default();
        let (window, denials) = split(before);
        match window == second {
            true => (denials < LINES_PER_SECOND).then_some(0),
            false => Some(denials.saturating_sub(LINES_PER_SECOND)),
        }
    }
}

fn split(state: u64) -> (u32, u32) {
    ((state >> 32) as u32, state as u32)
}

fn join(second: u32, denials: u32) -> u64 {
    u64::from(second) << 32 | u64::from(denials)
}

/// The part of the line behind its message, as `name=value` pairs.
struct Line<'a> {
    denied: &'a Denied<'a>,
    left_out: u32,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Denied { deny, request_id, client, credential, generation, .. } = self.denied;
        write!(f, ": code={} status={} id={request_id}", deny.cause.code(), deny.cause.status())?;
        if let Some(client) = client {
            write!(f, " client={client}")?;
        }
        write!(f, " header={}", deny.present.deciding().map_or("none", CredentialHeader::label))?;
        for (number, header) in deny.present.ignored().enumerate() {
            f.write_str(if number == 0 { " ignored=" } else { "," })?;
            f.write_str(header.label())?;
        }
        if let Some(credential) = credential {
            write!(f, " credential={}", Glimpse(credential))?;
        }
        write!(f, " generation={generation}")?;
        if self.left_out > 0 {
            write!(f, " suppressed={}", self.left_out)?;
        }
        Ok(())
    }
}

/// All that may be seen of a credential: its first three characters, if there are many more, and its length.
struct Glimpse<'a>(&'a [u8]);

impl fmt::Display for Glimpse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0.strip_prefix(b"Bearer ").unwrap_or(self.0);
        let start = if value.len() >= 12 { value.get(..3).unwrap_or_default() } else { b"" };
        write!(f, "\"{}…\"({} bytes)", start.escape_ascii(), value.len())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::auth::HeaderSet;

    #[test]
    fn a_flood_writes_ten_lines_a_second_and_counts_the_rest() {
        let window = Window::default();
        let written = (0..1000).filter(|_| window.admit(UnixSeconds(7)).is_some()).count();
        assert_eq!(written, LINES_PER_SECOND as usize);
        assert_eq!(window.admit(UnixSeconds(8)), Some(990));
        assert_eq!(window.admit(UnixSeconds(9)), Some(0));
    }

    #[test]
    fn a_line_shows_next_to_nothing_of_a_credential() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer sk-secret-secret".parse().unwrap());
        headers.insert("x-goog-api-key", "other".parse().unwrap());
        let denied = Denied {
            deny: Deny { cause: Cause::CredentialInvalid, present: HeaderSet::of(&headers) },
            request_id: "abc",
            client: Some([127, 0, 0, 1].into()),
            credential: Some(b"Bearer sk-secret-secret"),
            generation: 3,
            now: UnixSeconds(0),
        };
        assert_eq!(
            Line { denied: &denied, left_out: 2 }.to_string(),
            ": code=credential_invalid status=401 id=abc client=127.0.0.1 header=Authorization ignored=x-goog-api-key \
             credential=\"sk-…\"(16 bytes) generation=3 suppressed=2"
        );
        assert_eq!(Glimpse(b"short").to_string(), "\"…\"(5 bytes)");
        assert_eq!(Glimpse(b"\r\n\x1b1234567890").to_string(), "\"\\r\\n\\x1b…\"(13 bytes)");
    }
}
