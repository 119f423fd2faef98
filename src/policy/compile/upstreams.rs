//! Upstreams: addresses that can be connected to, names that can be verified.

use std::collections::BTreeMap;

use http::HeaderValue;

use super::is_host;
use crate::config;
use crate::policy::upstreams::{PeerAddress, PeerSpec, UpstreamSpec, is_host_name};
use crate::problem::{FieldPath, Problem};

pub(super) fn compile_upstreams(
    upstreams: &BTreeMap<String, config::Upstream>,
    problems: &mut Vec<Problem>,
) -> Vec<UpstreamSpec> {
    upstreams
        .iter()
        .map(|(name, upstream)| {
            let path = FieldPath::root().field("upstreams").field(name.as_str());
            compile_upstream(name, upstream, &path, problems)
        })
        .collect()
}

fn compile_upstream(
    name: &str,
    upstream: &config::Upstream,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> UpstreamSpec {
    let peers_path = path.field("peers");
    if upstream.peers.is_empty() || upstream.peers.len() > UpstreamSpec::MAX_PEERS {
        let message = format!(
            "upstream `{name}` has {} peers; 1 to {} can be used",
            upstream.peers.len(),
            UpstreamSpec::MAX_PEERS
        );
        problems.push(Problem::error(peers_path.clone(), message));
    }
    let mut peers: Vec<PeerSpec> = Vec::with_capacity(upstream.peers.len());
    for (at, peer) in upstream.peers.iter().enumerate() {
        match PeerAddress::parse(&peer.address) {
            Ok(address) => peers.push(PeerSpec { address, weight: peer.weight }),
            Err(what) => {
                let message = format!("upstream `{name}`: `{}` {what}", peer.address);
                problems.push(Problem::error(peers_path.index(at), message));
            }
        }
    }
    if upstream.sni.is_some() && !upstream.tls {
        problems.push(
            Problem::error(path.field("sni"), format!("upstream `{name}`: `sni` counts with TLS only"))
                .with_help("add `tls: true`"),
        );
    }
    let sni = upstream.sni.clone().filter(|sni| {
        let valid = is_host_name(sni);
        if !valid {
            problems.push(Problem::error(path.field("sni"), format!("`{sni}` is no host name")));
        }
        valid
    });
    UpstreamSpec {
        name: name.into(),
        peers,
        connect_timeout: upstream.timeouts.connect.0,
        read_timeout: upstream.timeouts.read.0,
        write_timeout: upstream.timeouts.write.0,
        idle_timeout: upstream.timeouts.idle.0,
        tls: upstream.tls,
        sni,
        host: upstream.host.as_deref().and_then(|host| compile_host(host, &path.field("host"), problems)),
    }
}

fn compile_host(host: &str, path: &FieldPath, problems: &mut Vec<Problem>) -> Option<HeaderValue> {
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    match HeaderValue::from_str(host) {
        Ok(value) if is_host(name) => Some(value),
        _ => {
            problems.push(Problem::error(path.clone(), format!("`{host}` is no host name or address")));
            None
        }
    }
}
