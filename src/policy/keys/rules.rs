//! What a key may do and how much: shared by all keys that may do the same.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

/// What a key may do. `None` is no restriction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyRules {
    /// Only these routes.
    pub routes: Option<Vec<PathRule>>,
    /// Only these methods.
    pub methods: Option<Vec<Method>>,
    /// Only from these addresses.
    pub addresses: Option<Vec<AddressRange>>,
    /// No more requests than this.
    pub rate: Option<Rate>,
    /// No more requests than this at the same time.
    pub max_concurrent: Option<u32>,
    /// What the operator wants to know of it; names and values in order of the names.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
}

/// One of the places where a key may be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathRule {
    /// The route with this name.
    Route(Arc<str>),
    /// This path and what is below it, without a `/` at its end; on whatever route.
    Prefix(Vec<u8>),
}

impl PathRule {
    /// Whether a request for `path` on the route of this name is covered.
    pub fn covers(&self, route: Option<&str>, path: &[u8]) -> bool {
        match self {
            Self::Route(name) => route == Some(name),
            Self::Prefix(prefix) => {
                path.strip_prefix(prefix.as_slice()).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
            }
        }
    }
}

/// Addresses that agree in their first bits (RFC 4632 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    network: IpAddr,
    prefix_length: u8,
}

impl AddressRange {
    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or one address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().ok()?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let prefix_length = match length {
            // No sign, no leading zero: `u8` would take `+8`.
            Some(length) if length.bytes().all(|byte| byte.is_ascii_digit()) => length.parse().ok()?,
            Some(_) => return None,
            None => bits,
        };
        (prefix_length <= bits).then_some(Self { network, prefix_length })
    }

    /// Whether `address` is one of them. An IPv4 address that came in by an IPv6 socket is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                agree(u32::from(network).into(), u32::from(address).into(), 32, self.prefix_length)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                agree(network.into(), address.into(), 128, self.prefix_length)
            }
            _ => false,
        }
    }
}

fn agree(one: u128, other: u128, bits: u8, prefix_length: u8) -> bool {
    (one ^ other).checked_shr(u32::from(bits - prefix_length)).unwrap_or(0) == 0
}

/// So many requests in so long a time, and how many of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Requests in each period, at least 1.
    pub requests: u32,
    /// The period.
    pub per: Period,
    /// Requests that may come at once after a pause, at least 1.
    pub burst: u32,
}

impl Rate {
    /// The time that one request takes of the allowance, rounded up to nanoseconds, so never too short.
    pub fn interval_nanos(&self) -> u64 {
        let period = u64::try_from(self.per.duration().as_nanos()).unwrap_or(u64::MAX);
        period.div_ceil(u64::from(self.requests.max(1)))
    }
}

/// What a rate counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// 1 s.
    Second,
    /// 60 s.
    Minute,
    /// 3600 s.
    Hour,
}

impl Period {
    /// How long it is.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_ranges_that_it_shares_the_first_bits_with() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3/8", "10.0.0.0", "9.255.255.255"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7", "::ffff:192.0.2.7", "::ffff:192.0.2.8"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "ffff::", "127.0.0.1"),
            ("::1", "::1", "::2"),
        ] {
            let parsed = AddressRange::parse(range).unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{inside} in {range}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{outside} in {range}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for wrong in
            ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "x/8"]
        {
            assert_eq!(AddressRange::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_slash_and_a_name_is_exact() {
        let prefix = PathRule::Prefix(b"/v1".to_vec());
        assert!(prefix.covers(None, b"/v1") && prefix.covers(None, b"/v1/models"));
        assert!(!prefix.covers(None, b"/v1beta") && !prefix.covers(None, b"/"));
        assert!(PathRule::Prefix(Vec::new()).covers(None, b"/anything"));
        let route = PathRule::Route("chat".into());
        assert!(route.covers(Some("chat"), b"/x"));
        assert!(!route.covers(Some("chats"), b"/x") && !route.covers(None, b"/chat"));
    }

    #[test]
    fn an_interval_is_never_too_short() {
        for (requests, per) in
            [(1, Period::Hour), (7, Period::Second), (1_000_000, Period::Second), (3, Period::Minute)]
        {
            let interval = Rate { requests, per, burst: 1 }.interval_nanos();
            assert!(u128::from(interval) * u128::from(requests) >= per.duration().as_nanos());
        }
    }
}
