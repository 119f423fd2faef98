//! Wrong keys, counted by client address: in a table that no number of addresses can make grow.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;

use super::{Allowance, Exceeded, network};
use crate::clock::Ticks;
use crate::policy::Rate;

/// Places in the table: half a MiB. Two addresses that share one share what they may send; nobody can choose whom to
/// share with, for the hash is keyed, and a right key is never refused here.
const PLACES: usize = 1 << 16;

/// Wrong keys by client address. Takes no memory until the first one is counted.
#[derive(Debug, Default)]
pub struct Failures {
    places: OnceLock<Box<[Allowance]>>,
    hasher: RandomState,
}

impl Failures {
    /// Counts a wrong key from `client`. To be asked only once a key is known to be wrong.
    ///
    /// # Errors
    /// There were too many.
    pub fn count(&self, rate: Rate, client: IpAddr, now: Ticks) -> Result<(), Exceeded> {
        let places = self.places.get_or_init(|| (0..PLACES).map(|_| Allowance::default()).collect());
        let at = self.hasher.hash_one(network(client)) as usize % PLACES;
        let Some(place) = places.get(at) else { return Ok(()) };
        match place.take(&rate, now) {
            Ok(_) => Ok(()),
            Err(retry_after) => Err(Exceeded::Failures { rate, retry_after }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Period;

    #[test]
    fn an_address_is_counted_by_itself_and_an_ipv6_network_as_one() {
        let failures = Failures::default();
        let rate = Rate { requests: 2, per: Period::Minute, burst: 2 };
        let refused =
            |address: &str| failures.count(rate, address.parse().unwrap(), Ticks(1_000_000_000)).is_err();
        assert_eq!(
            [refused("192.0.2.1"), refused("192.0.2.1"), refused("::ffff:192.0.2.1")],
            [false, false, true]
        );
        assert!(!refused("192.0.2.2"));
        assert_eq!(
            [refused("2001:db8::1"), refused("2001:db8::2"), refused("2001:db8::3")],
            [false, false, true]
        );
        assert!(!refused("2001:db8:0:1::1"));
    }
}
