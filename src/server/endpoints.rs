//! The gateway's sockets as services: those that stay, and those that leave after an upgrade to another config.

use std::sync::Arc;

use pingora::server::Server;

use super::RunError;
use super::bind::{BoundListener, Sockets};
use super::listener::Connections;
use crate::policy::{PolicyHandle, Startup};
use crate::proxy::{Gateway, Live};

/// Adds the gateway to the server: on its listeners, and for a while on those that the config has no more.
///
/// # Errors
/// The authorities of the clients cannot be used.
pub(super) fn add_gateway(
    server: &mut Server,
    gateway: &Gateway,
    sockets: Sockets,
    connections: &Arc<Connections>,
    startup: &Startup,
    live: &Arc<PolicyHandle<Live>>,
) -> Result<(), RunError> {
    let staying = super::gateway_service(server, gateway, sockets.staying, connections, startup, live)?;
    server.add_service(staying);
    let delay = live.load().policy.shutdown_delay;
    if sockets.leaving.is_empty() || delay.is_zero() {
        return Ok(());
    }
    for BoundListener { address, .. } in &sockets.leaving {
        log::info!("`{address}` is served for {} more", humantime::format_duration(delay));
    }
    let connections = connections.beside();
    let leaving = super::gateway_service(server, gateway, sockets.leaving, &connections, startup, live)?;
    server.add_service(leaving.with_threads(1).with_end(delay));
    Ok(())
}
