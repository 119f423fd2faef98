//! What only a restart can change, and whether the gateway would be open by accident.

use std::net::SocketAddr;

use super::limits::connection_limits;
use crate::config;
use crate::policy::listen::{Exposure, ListenAddress, Startup, TlsStartup, exposure_of};
use crate::problem::{FieldPath, Problem};

pub(super) fn compile_startup(proxy: &config::Proxy, problems: &mut Vec<Problem>) -> Startup {
    let lan = if proxy.allow_lan_access { Exposure::Network } else { Exposure::Loopback };
    if proxy.listen.is_empty() {
        let listen = Startup::default_listen(proxy.port, lan);
        return startup(proxy, listen, lan);
    }
    let mut listen: Vec<ListenAddress> = Vec::new();
    let mut exposure = lan;
    for (at, text) in proxy.listen.iter().enumerate() {
        let path = FieldPath::root().field("proxy").field("listen").index(at);
        let Ok(address) = text.parse::<SocketAddr>() else {
            problems.push(
                Problem::error(path, format!("`{text}` is no address to listen on")).with_help(
                    "write an IP address and a port: `127.0.0.1:8045`, `0.0.0.0:8045`, `[::1]:8045`",
                ),
            );
            continue;
        };
        if address.port() != 0 && listen.iter().any(|other| other.address == address) {
            problems.push(
                Problem::error(path, format!("`{text}` is listed twice")).with_help("remove one of the two"),
            );
            continue;
        }
        if exposure_of(address.ip()) == Exposure::Network {
            exposure = Exposure::Network;
            refuse_open_by_accident(proxy, path, text, problems);
        }
        listen.push(ListenAddress { address, optional: false });
    }
    startup(proxy, listen, exposure)
}

fn startup(proxy: &config::Proxy, listen: Vec<ListenAddress>, exposure: Exposure) -> Startup {
    let tls = proxy
        .tls
        .as_ref()
        .map(|tls| TlsStartup { client_ca: tls.client_ca.as_ref().map(|ca| ca.content.expose().to_owned()) });
    Startup {
        listen,
        threads: proxy.threads,
        exposure,
        tls,
        h2c: proxy.h2c,
        proxy_protocol: proxy.proxy_protocol,
        connection_limits: connection_limits(&proxy.connection_limits),
        admin: None,
        access_log: None,
    }
}

/// `auto` without LAN access means "no key needed"; on an address that others reach that must be written out.
fn refuse_open_by_accident(proxy: &config::Proxy, path: FieldPath, text: &str, problems: &mut Vec<Problem>) {
    if proxy.auth_mode == config::AuthMode::Auto && !proxy.allow_lan_access {
        problems.push(
            Problem::error(
                path,
                format!("other machines reach `{text}`, and `auth_mode: auto` without LAN access asks nobody for a key"),
            )
            .with_help("set `allow_lan_access: true` (then `auto` asks for a key), or `auth_mode: strict`, or write out `auth_mode: off`")
            .relative(),
        );
    }
}
