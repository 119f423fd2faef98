//! Which connections are taken.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pingora::protocols::Stream;

/// How far apart warnings of one kind are, so that a flood cannot fill the disk.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// Lets one warning of each kind through now and then.
#[derive(Debug, Default)]
pub(super) struct Lid([AtomicU64; 4]);

impl Lid {
    /// Whether a warning of this kind may go out at `now`, counted from any moment.
    pub(super) fn lifts(&self, kind: usize, now: Duration) -> bool {
        let Some(next) = self.0.get(kind) else { return false };
        let (due, now_millis) = (next.load(Ordering::Relaxed), now.as_millis() as u64);
        let then = now_millis + BETWEEN_WARNINGS.as_millis() as u64;
        now_millis >= due && next.compare_exchange(due, then, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Whose connection it is.
pub(super) fn client_of(stream: &Stream) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    Some(digest.peer_addr()?.as_inet()?.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_warning_of_each_kind_goes_out_in_a_while() {
        let (lid, start) = (Lid::default(), Duration::ZERO);
        assert!(lid.lifts(0, start) && lid.lifts(1, start) && !lid.lifts(0, start));
        assert!(!lid.lifts(0, BETWEEN_WARNINGS - Duration::from_millis(1)) && lid.lifts(0, BETWEEN_WARNINGS));
        assert!(!lid.lifts(0, BETWEEN_WARNINGS));
    }
}
