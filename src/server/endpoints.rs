//! The gateway's sockets as services: those that stay, and those that leave after an upgrade to another config.

use std::sync::Arc;

use pingora::server::Server;

use super::bind::{BoundListener, Sockets};
use super::listener::{Connections, Endpoint};
use super::{RunError, tls};
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
    let staying = endpoints(sockets.staying, startup, live)?;
    server.add_service(super::gateway_service(server, gateway, staying, connections, startup, live));
    let delay = live.load().policy.shutdown_delay;
    if sockets.leaving.is_empty() || delay.is_zero() {
        return Ok(());
    }
    for BoundListener { address, .. } in &sockets.leaving {
        log::info!("`{address}` is served for {} more", humantime::format_duration(delay));
    }
    let leaving = endpoints(sockets.leaving, startup, live)?;
    let service = super::gateway_service(server, gateway, leaving, &connections.beside(), startup, live);
    server.add_service(service.with_threads(1).with_end(delay));
    Ok(())
}

/// The bound sockets of the gateway, each with TLS where the config has it.
fn endpoints(
    sockets: Vec<BoundListener>,
    startup: &Startup,
    live: &Arc<PolicyHandle<Live>>,
) -> Result<Vec<Endpoint>, RunError> {
    let endpoint = |socket| {
        let tls = startup.tls.as_ref().map(|tls| tls::settings(tls, live)).transpose();
        Ok(Endpoint { socket, tls: tls.map_err(|what| RunError::Config(vec![what]))? })
    };
    sockets.into_iter().map(endpoint).collect()
}
