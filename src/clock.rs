//! The only place that asks what time it is.
//!
//! Everything else takes the time as an argument, so that it can be tested with any.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

/// Seconds since 1970-01-01T00:00:00Z, without leap seconds: the wall clock that key expiry is measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSeconds(pub i64);

/// As RFC 3339: `2027-01-31T00:00:00Z`.
impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = chrono::DateTime::from_timestamp(self.0, 0).unwrap_or_default();
        f.write_str(&time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
    }
}

/// The same.
impl Serialize for UnixSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The wall clock now. A clock set before 1970 reads as 0.
pub fn now() -> UnixSeconds {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixSeconds(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
}

/// Milliseconds since 1970-01-01T00:00:00Z, for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixMillis(pub i64);

/// The wall clock now, in milliseconds.
pub fn now_millis() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// A moment to measure durations from.
pub fn instant() -> Instant {
    Instant::now()
}

/// Nanoseconds since this process began: they never go back, whatever happens to the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(pub u64);

/// Now, for whoever measures out what may be used.
pub fn ticks() -> Ticks {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let since = BEGAN.get_or_init(Instant::now).elapsed();
    Ticks(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
