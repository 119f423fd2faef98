//! What the admin API is handed: its socket, and a view of what is in force.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::bind::{self, BindError, BoundListener};
use super::source::ConfigSource;
use crate::admin::InForce;
use crate::limit::Ledger;
use crate::policy::{PolicyHandle, Snapshot};
use crate::proxy::Live;
use crate::upstream::Fleet;

/// Reloads and changes that may wait for their turn.
pub(super) const MOST_WAITING: usize = 8;

/// Binds the admin listener. The embedded default does without it where its port is taken: it is there to be tried at
/// once, beside whatever else runs.
///
/// # Errors
/// The address of a config cannot be bound.
pub(super) fn bind(
    source: &ConfigSource,
    address: Option<SocketAddr>,
    inherited: &mut Vec<TcpListener>,
) -> Result<Option<BoundListener>, BindError> {
    let Some(address) = address else { return Ok(None) };
    match (bind::take_or_bind(address, inherited), source) {
        (Ok(listener), _) => Ok(Some(listener)),
        (Err(error), ConfigSource::Embedded(_)) => {
            log::warn!("there is no admin API in this run: {error}");
            Ok(None)
        }
        (Err(error), ConfigSource::File(_) | ConfigSource::Once(_)) => Err(error),
    }
}

/// Shows what is in force.
pub(super) struct Shown(pub(super) Arc<PolicyHandle<Live>>);

impl InForce for Shown {
    fn show(&self, look: &mut dyn FnMut(&Snapshot, &Fleet, &Ledger)) {
        let live = self.0.load();
        look(&live.policy, &live.fleet, &live.limits);
    }
}
