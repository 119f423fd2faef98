//! A limit on guessing the token: a few wrong ones, then one a second, for each client address.
//!
//! While a client is over its limit its requests are refused unread, right ones too, or the limit would be none. A
//! generated token has 128 random bits and needs no such thing; it is for those that people make up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::reply::Refusal;

/// Wrong tokens in a row before the limit shows.
const BURST: u32 = 10;

/// One more may be tried after this long.
const PER_ATTEMPT: Duration = Duration::from_secs(1);

/// Addresses remembered; beyond that, those that are within their limit again are forgotten first.
const MOST_CLIENTS: usize = 1024;

/// Wrong tokens by client.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// When the client's debt is paid: each wrong token adds one [`PER_ATTEMPT`]. Not on the request path of the
    /// gateway, and never held across a wait.
    paid_at: Mutex<HashMap<IpAddr, Instant>>,
}

impl Attempts {
    /// Asks `right` unless `client` is over its limit, and counts a wrong answer.
    ///
    /// # Errors
    /// Too many wrong tokens, or one more.
    pub(super) fn check(
        &self,
        client: IpAddr,
        now: Instant,
        right: impl FnOnce() -> bool,
    ) -> Result<(), Refusal> {
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let before = paid_at.get(&client).copied().unwrap_or(now).max(now);
        if before.duration_since(now) > PER_ATTEMPT * (BURST - 1) {
            return Err(Refusal::TooManyAttempts);
        }
        if right() {
            return Ok(());
        }
        if paid_at.len() >= MOST_CLIENTS {
            paid_at.retain(|_, paid_at| *paid_at > now);
        }
        if paid_at.len() < MOST_CLIENTS || paid_at.contains_key(&client) {
            paid_at.insert(client, before + PER_ATTEMPT);
        }
        Err(Refusal::TokenWrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn after_ten_wrong_tokens_it_is_one_a_second() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let wrong = |now| attempts.check(CLIENT, now, || false).unwrap_err();
        for _ in 0..BURST {
            assert_eq!(wrong(start), Refusal::TokenWrong);
        }
        assert_eq!(wrong(start), Refusal::TooManyAttempts);
        assert!(attempts.check(CLIENT, start, || true).is_err(), "a right one is not read either");
        assert_eq!(wrong(start + PER_ATTEMPT), Refusal::TokenWrong);
        assert_eq!(wrong(start + PER_ATTEMPT), Refusal::TooManyAttempts);
        assert!(attempts.check(CLIENT, start + PER_ATTEMPT * 2, || true).is_ok());
        assert!(attempts.check([10, 0, 0, 1].into(), start, || true).is_ok(), "another client");
    }

    #[test]
    fn no_more_clients_are_remembered_than_the_limit() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for client in 0..2 * MOST_CLIENTS as u32 {
            let _ = attempts.check(IpAddr::V4(client.into()), now, || false);
        }
        assert!(attempts.paid_at.lock().unwrap().len() <= MOST_CLIENTS);
    }
}
