//! Names to addresses, beside the requests: a peer's addresses are refreshed in the background, and kept while the
//! resolver fails.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Fleet;
use crate::policy::{AdminListen, PeerAddress};

/// How long one look-up may take before it counts as failed.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Resolves every name of `fleet` once, all at the same time, and puts the addresses in place. A name that cannot be
/// resolved keeps its old addresses, with a warning.
pub async fn refresh(fleet: &Fleet) {
    let mut lookups = JoinSet::new();
    let names: HashMap<&PeerAddress, ()> = fleet.peers().map(|peer| (peer.address(), ())).collect();
    for address in names.into_keys() {
        if let PeerAddress::Name { host, port } = address.clone() {
            lookups.spawn(async move {
                let found = lookup(&host, port).await;
                (PeerAddress::Name { host, port }, found)
            });
        }
    }
    while let Some(done) = lookups.join_next().await {
        let Ok((name, found)) = done else { continue };
        let found = found.and_then(|addresses| apart(addresses, fleet.admin));
        for peer in fleet.peers().filter(|peer| *peer.address() == name) {
            let before = peer.addresses();
            match &found {
                Ok(addresses) if *addresses != before => {
                    log::info!("upstream peer `{name}` resolved to {addresses:?}");
                    peer.set_addresses(addresses);
                }
                Ok(_) => {}
                Err(error) if before.is_empty() => {
                    log::warn!("upstream peer `{name}` has no address: {error}");
                }
                Err(error) => {
                    log::warn!("upstream peer `{name}` keeps its {} addresses: {error}", before.len());
                }
            }
        }
    }
}

/// A name that leads to the admin listener leads nowhere: everybody could reach that through the gateway.
fn apart(mut addresses: Vec<SocketAddr>, admin: Option<AdminListen>) -> Result<Vec<SocketAddr>, String> {
    addresses.retain(|address| !admin.is_some_and(|admin| admin.is_at(*address)));
    if addresses.is_empty() {
        Err("it leads to the admin listener of this gateway".to_owned())
    } else {
        Ok(addresses)
    }
}

/// Sorted and without duplicates, so that two answers in another order are the same.
async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let answer = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| format!("the resolver did not answer within {LOOKUP_TIMEOUT:?}"))?;
    let mut addresses: Vec<SocketAddr> = answer.map_err(|error| error.to_string())?.collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() { Err("the resolver knows no address".to_owned()) } else { Ok(addresses) }
}
