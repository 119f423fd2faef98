//! Which connections are taken.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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

/// How many connections each address has. A lock is taken when a connection comes and when it goes, by no request.
#[derive(Debug, Default)]
pub(super) struct Clients(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection of a client; it counts until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
    client: IpAddr,
}

impl Clients {
    /// A place for one more connection of that address, unless it has `most` already.
    pub(super) fn admit(&self, client: IpAddr, most: usize) -> Option<Place> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { clients: Arc::clone(&self.0), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        match clients.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(clients.remove(&self.client)),
        }
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

    #[test]
    fn each_address_has_its_own_number_and_gets_places_back() {
        let clients = Clients::default();
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let places: Vec<Place> = (0..2).map(|_| clients.admit(one, 2).unwrap()).collect();
        assert!(clients.admit(one, 2).is_none());
        let elsewhere = clients.admit(other, 2).unwrap();
        drop(places);
        assert!(clients.admit(one, 2).is_some());
        drop(elsewhere);
        assert!(clients.0.lock().unwrap().is_empty(), "nothing is kept of who has gone");
    }
}
