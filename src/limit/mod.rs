//! How much a key may use: requests in a time, requests at once; and how often a caller may be wrong, how many connections
//! it may have.
//!
//! Counted here, decided in the config. Nothing waits and nothing is locked: each key has eight bytes of its own that
//! all threads change in one step. A [`Ledger`] belongs to one generation of the policy and takes over what the one
//! before it had counted, by the names of the keys.

mod clients;
mod failures;
mod gcra;
mod last_used;
mod ledger;

pub use clients::{Clients, Place};
pub use failures::Failures;
pub use gcra::{Allowance, Spent};
pub use last_used::LastUsed;
pub use ledger::{Counted, Ledger, Running};

use std::net::IpAddr;
use std::time::Duration;

use crate::policy::Rate;

/// What was too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// The key's requests in a time.
    Rate {
        /// What it may have.
        rate: Rate,
        /// When the next one will be let through.
        retry_after: Duration,
    },
    /// The key's requests at once.
    Concurrency {
        /// What it may have.
        max: u32,
    },
    /// The wrong keys that came from one address.
    Failures {
        /// What it may send.
        rate: Rate,
        /// When the next one will be answered as wrong.
        retry_after: Duration,
    },
}

impl Exceeded {
    /// The value of `x-keygate-error`, also the name in logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Rate { .. } => "rate_limited",
            Self::Concurrency { .. } => "too_many_concurrent_requests",
            Self::Failures { .. } => "too_many_failed_attempts",
        }
    }

    /// When to try again. For requests at once nobody knows; a second spares both sides the worst.
    pub const fn retry_after(self) -> Duration {
        match self {
            Self::Rate { retry_after, .. } | Self::Failures { retry_after, .. } => retry_after,
            Self::Concurrency { .. } => Duration::from_secs(1),
        }
    }

    /// What the caller is told.
    pub fn message(self) -> String {
        match self {
            Self::Rate { rate, .. } => format!(
                "The key of this request has made as many requests as it may: {} per {}, at most {} at once.",
                rate.requests, rate.per, rate.burst
            ),
            Self::Concurrency { max } => {
                format!("The key of this request has as many requests under way as it may: {max} at once.")
            }
            Self::Failures { .. } => {
                "Too many wrong keys came from this address. A right key is accepted at any time.".to_owned()
            }
        }
    }
}

/// Whose address this is, as a number: one caller has one IPv4 address, but a whole /64 of IPv6 (RFC 6177 §2).
pub fn network(client: IpAddr) -> u128 {
    match client.to_canonical() {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => u128::from(address) & !u128::from(u64::MAX),
    }
}
