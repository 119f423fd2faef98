//! Connections, counted by client address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::network;

/// How many connections each address has, or each network of IPv6. A lock is taken when a connection comes and when it goes,
/// by no request.
#[derive(Debug, Default)]
pub struct Clients(Arc<Mutex<HashMap<u128, usize>>>);

/// One connection of a client; it counts until this is dropped.
#[derive(Debug)]
pub struct Place {
    clients: Arc<Mutex<HashMap<u128, usize>>>,
    network: u128,
}

impl Clients {
    /// A place for one more connection of that address, unless it has `most` already.
    pub fn admit(&self, client: IpAddr, most: usize) -> Option<Place> {
        let network = network(client);
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(network).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { clients: Arc::clone(&self.0), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        match clients.get_mut(&self.network) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(clients.remove(&self.network)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let clients = Clients::default();
        let admit = |address: &str| clients.admit(address.parse().unwrap(), 1);
        let _one = admit("2001:db8::1").unwrap();
        assert!(admit("2001:db8::2").is_none() && admit("2001:db8:0:1::1").is_some());
    }
}
