//! A limit on guessing the token: a few wrong ones, then one a second, for each client address (IPv6: each /64).
//!
//! The right token passes whatever was tried before: somebody else behind the same address, or the operator's own slips,
//! must not shut the operator out in the hour of need. But it has to wait as a wrong one has to, so that nobody learns
//! sooner that a guess was wrong than that it was right: each connection tries one a second, and an address has 32.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::reply::Refusal;
use crate::limit::network;

/// Wrong tokens in a row before the limit shows.
const BURST: u32 = 10;

/// One more may be tried after this long.
const PER_ATTEMPT: Duration = Duration::from_secs(1);

/// Addresses remembered. Those that are within their limit again are forgotten first; beyond that, a new one has no attempts.
const MOST_CLIENTS: usize = 1024;

/// Wrong tokens by client.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// When the client's debt is paid: each wrong token adds one [`PER_ATTEMPT`]. Not on the request path of the
    /// gateway, and never held across a wait.
    paid_at: Mutex<HashMap<u128, Instant>>,
}

impl Attempts {
    /// How long the next token of this client, right or wrong, has to wait before it is looked at.
    pub(super) fn delay(&self, client: IpAddr, now: Instant) -> Option<Duration> {
        let paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        paid_at.get(&network(client)).is_some_and(|paid_at| is_over(*paid_at, now)).then_some(PER_ATTEMPT)
    }

    /// Counts a wrong token.
    pub(super) fn wrong(&self, client: IpAddr, now: Instant) -> Refusal {
        let client = network(client);
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let before = paid_at.get(&client).copied().unwrap_or(now).max(now);
        if is_over(before, now) {
            return Refusal::TooManyAttempts;
        }
        if paid_at.len() >= MOST_CLIENTS {
            paid_at.retain(|_, paid_at| *paid_at > now);
        }
        if paid_at.len() >= MOST_CLIENTS && !paid_at.contains_key(&client) {
            return Refusal::TooManyAttempts;
        }
        paid_at.insert(client, before + PER_ATTEMPT);
        Refusal::TokenWrong
    }
}

/// More than the burst is owed.
fn is_over(paid_at: Instant, now: Instant) -> bool {
    paid_at.saturating_duration_since(now) > PER_ATTEMPT * (BURST - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn after_ten_wrong_tokens_it_is_one_a_second() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let wrong = |now| attempts.wrong(CLIENT, now);
        for _ in 0..BURST {
            assert_eq!(attempts.delay(CLIENT, start), None);
            assert_eq!(wrong(start), Refusal::TokenWrong);
        }
        assert_eq!(attempts.delay(CLIENT, start), Some(PER_ATTEMPT));
        assert_eq!(attempts.delay(CLIENT, start + PER_ATTEMPT), None);
        assert_eq!(attempts.delay([10, 0, 0, 1].into(), start), None, "another client");
        assert_eq!(wrong(start), Refusal::TooManyAttempts);
        assert_eq!(wrong(start + PER_ATTEMPT), Refusal::TokenWrong);
        assert_eq!(wrong(start + PER_ATTEMPT), Refusal::TooManyAttempts);
        assert_eq!(attempts.wrong([10, 0, 0, 1].into(), start), Refusal::TokenWrong, "another client");
    }

    #[test]
    fn no_more_clients_are_remembered_than_the_limit() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let wrong = |client: u32, now| attempts.wrong(IpAddr::V4(client.into()), now);
        let many = MOST_CLIENTS as u32;
        let told = (0..2 * many).filter(|client| wrong(*client, now) == Refusal::TokenWrong).count();
        assert_eq!(told, MOST_CLIENTS, "the log has no line for the others");
        assert_eq!(attempts.paid_at.lock().unwrap().len(), MOST_CLIENTS);
        assert_eq!(
            wrong(3 * many, now + PER_ATTEMPT),
            Refusal::TokenWrong,
            "they are forgotten when they may again"
        );
    }

    #[test]
    fn a_network_of_ipv6_guesses_as_one() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let wrong = |host: u16| attempts.wrong([0x2001, 0xdb8, 0, 0, 0, 0, 0, host].into(), now);
        assert!((0..BURST as u16).all(|host| wrong(host) == Refusal::TokenWrong));
        assert_eq!(wrong(100), Refusal::TooManyAttempts);
    }
}
