//! Upstreams: addresses that can be connected to, names that can be verified.

use std::collections::BTreeMap;

use http::HeaderValue;

use super::balance::{compile_balance, compile_check, compile_ejection, compile_retries};
use super::credential::{compile_credential, compile_labels};
use super::is_host;
use super::route_rules::check_order;
use super::tls::{LOOK_AT_CERTIFICATE, unusable};
use crate::config;
use crate::policy::certificates::{authorities_der, client_certificate};
use crate::policy::keys::is_name;
use crate::policy::upstreams::{
    ClientCertificate, PeerAddress, PeerSpec, Protocol, UpstreamSpec, is_host_name,
};
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
    if !is_name(name) {
        let message = "an upstream's name is as a key's: 1 to 128 bytes without control characters, without white space at its ends, and not `.` or `..`";
        problems.push(Problem::error(path.clone(), message).with_help("say what is there: `openai`"));
    }
    let peers = compile_peers(name, upstream, path.field("peers"), problems);
    let sni = upstream.sni.clone().filter(|sni| {
        let valid = is_host_name(sni);
        if !valid {
            problems.push(
                Problem::error(path.field("sni"), format!("`{sni}` is no host name"))
                    .with_help("write the name in the peers' certificate, without port: `api.example.com`"),
            );
        }
        valid
    });
    let (authorities, client_certificate) = compile_certificates(upstream, path, problems);
    check_tls_fields(name, upstream, path, problems);
    check_order(upstream.timeouts.first_byte, upstream.timeouts.total, &path.field("timeouts"), problems);
    UpstreamSpec {
        name: name.into(),
        peers,
        balance: compile_balance(upstream, path, problems),
        retries: compile_retries(&upstream.retries, &path.field("retries"), problems),
        ejection: compile_ejection(&upstream.ejection, &path.field("ejection"), problems),
        check: upstream.health_check.as_ref().map(|check| {
            compile_check(check, upstream.host.as_deref(), &path.field("health_check"), problems)
        }),
        connect_timeout: upstream.timeouts.connect.0,
        read_timeout: upstream.timeouts.read.0,
        first_byte_timeout: upstream.timeouts.first_byte.map(|span| span.0),
        total_timeout: upstream.timeouts.total.map(|span| span.0),
        write_timeout: upstream.timeouts.write.0,
        response_header_bytes: usize::try_from(upstream.response_header_bytes.0).unwrap_or(usize::MAX),
        idle_timeout: upstream.timeouts.idle.0,
        tls: upstream.tls,
        sni,
        authorities,
        client_certificate,
        verify: upstream.tls_verify,
        protocol: match upstream.protocol {
            config::Protocol::Http1 => Protocol::Http1,
            config::Protocol::Http2 => Protocol::Http2,
            config::Protocol::Auto => Protocol::Auto,
        },
        credential: compile_credential(upstream, path, problems),
        forward_key_name: upstream.forward_key_name,
        forward_labels: compile_labels(upstream, path, problems),
        host: upstream.host.as_deref().and_then(|host| compile_host(host, &path.field("host"), problems)),
    }
}

fn compile_peers(
    name: &str,
    upstream: &config::Upstream,
    path: FieldPath,
    problems: &mut Vec<Problem>,
) -> Vec<PeerSpec> {
    if upstream.peers.is_empty() || upstream.peers.len() > UpstreamSpec::MAX_PEERS {
        let message = format!(
            "upstream `{name}` has {} peers; 1 to {} can be used",
            upstream.peers.len(),
            UpstreamSpec::MAX_PEERS
        );
        let help = match upstream.peers.is_empty() {
            true => "name one: `peers: [\"127.0.0.1:9001\"]`",
            false => "divide them into several upstreams",
        };
        problems.push(Problem::error(path.clone(), message).with_help(help));
    }
    let mut peers: Vec<PeerSpec> = Vec::with_capacity(upstream.peers.len());
    for (at, peer) in upstream.peers.iter().enumerate() {
        match PeerAddress::parse(&peer.address) {
            Ok(address) => peers.push(PeerSpec { address, weight: peer.weight, drain: peer.drain }),
            Err(what) => {
                let message = format!("upstream `{name}`: `{}` {what}", peer.address);
                problems.push(
                    Problem::error(path.index(at), message)
                        .with_help("a peer is `127.0.0.1:9001`, `[::1]:9001` or `api.example.com:443`"),
                );
            }
        }
    }
    if !peers.is_empty() && peers.iter().all(|peer| peer.drain) {
        let message = format!("upstream `{name}`: every peer has `drain: true`, so its requests get 503");
        problems.push(Problem::warning(path, message).with_help("set `drain: false` on one that may serve"));
    }
    peers
}

/// What says something about TLS where there is none.
fn check_tls_fields(name: &str, upstream: &config::Upstream, path: &FieldPath, problems: &mut Vec<Problem>) {
    if upstream.tls {
        if !upstream.tls_verify {
            let message = format!("upstream `{name}`: whoever gets between can answer in the peers' name");
            problems.push(
                Problem::warning(path.field("tls_verify"), message)
                    .with_help("`tls_ca` verifies certificates of your own authority"),
            );
        }
        return;
    }
    for (field, given) in [
        ("sni", upstream.sni.is_some()),
        ("tls_ca", upstream.tls_ca.is_some()),
        ("tls_client_certificate", upstream.tls_client_certificate.is_some()),
        ("tls_verify", !upstream.tls_verify),
        ("protocol", upstream.protocol == config::Protocol::Auto),
    ] {
        if given {
            let what = if field == "protocol" { "protocol: auto" } else { field };
            problems.push(
                Problem::error(
                    path.field(field),
                    format!("upstream `{name}`: `{what}` counts with TLS only"),
                )
                .with_help("add `tls: true`")
                .relative(),
            );
        }
    }
}

type Authorities = Option<Vec<Vec<u8>>>;

fn compile_certificates(
    upstream: &config::Upstream,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> (Authorities, Option<ClientCertificate>) {
    let authorities = upstream.tls_ca.as_ref().and_then(|ca| {
        authorities_der(ca.content.expose())
            .map_err(|what| {
                let message = format!("`{}` {what}", ca.path.display());
                problems.push(Problem::error(path.field("tls_ca"), message).with_help(LOOK_AT_CERTIFICATE));
            })
            .ok()
    });
    let certificate = upstream.tls_client_certificate.as_ref().and_then(|pair| {
        client_certificate(pair.cert.content.expose(), pair.key.content.expose())
            .map_err(|error| {
                problems.push(unusable(&path.field("tls_client_certificate"), pair, error));
            })
            .ok()
    });
    (authorities, certificate)
}

pub(super) fn compile_host(host: &str, path: &FieldPath, problems: &mut Vec<Problem>) -> Option<HeaderValue> {
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    match HeaderValue::from_str(host) {
        Ok(value) if is_host(name) => Some(value),
        _ => {
            problems.push(
                Problem::error(path.clone(), format!("`{host}` is no host name or address"))
                    .with_help("write it as in a URL, without scheme and path: `api.example.com`"),
            );
            None
        }
    }
}
