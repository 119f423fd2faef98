//! The admin listener: an address that only this machine reaches, or TLS; and a token that is no key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::Config;
use crate::policy::admin::AdminToken;
use crate::policy::keys::KeyTable;
use crate::policy::listen::{AdminListen, Exposure, ListenAddress, exposure_of};
use crate::policy::upstreams::PeerAddress;
use crate::problem::{FieldPath, Problem};

/// Nobody guesses as many random characters; what is shorter was made up by a person.
const SHORTEST_TOKEN: usize = 16;

/// What to bind for it; `None` where it is switched off.
pub(super) fn compile_listen(
    config: &Config,
    listen: &[ListenAddress],
    problems: &mut Vec<Problem>,
) -> Option<AdminListen> {
    let admin = &config.admin;
    let path = FieldPath::root().field("admin").field("listen");
    let text = &admin.listen;
    let Ok(address) = text.parse::<SocketAddr>() else {
        problems.push(
            Problem::error(path, format!("`{text}` is no address to listen on"))
                .with_help("write an IP address of this machine's loopback and a port: `127.0.0.1:8046`"),
        );
        return None;
    };
    if !admin.enabled {
        return None;
    }
    let tls = admin.tls.is_some();
    if exposure_of(address.ip()) == Exposure::Network && !tls {
        problems.push(
            Problem::error(
                path,
                format!("other machines reach `{text}`, and the admin listener speaks no TLS"),
            )
            .with_help("set `admin.tls`; or listen on loopback (`127.0.0.1:8046`), and reach it from elsewhere through `ssh -L`")
            .relative(),
        );
    } else if listen.iter().any(|other| overlaps(other.address, address)) {
        problems.push(
            Problem::error(path, format!("`{text}` is where the gateway itself listens"))
                .with_help("give the admin listener a port of its own")
                .relative(),
        );
    }
    Some(AdminListen { address, tls })
}

/// No peer is the admin listener: everybody could reach that through the gateway. Names other than `localhost` are looked at
/// when they are resolved.
pub(super) fn keep_apart(config: &Config, admin: [Option<AdminListen>; 2], problems: &mut Vec<Problem>) {
    let is_admin = |address: SocketAddr| admin.iter().flatten().any(|admin| admin.is_at(address));
    for (name, upstream) in &config.upstreams {
        let peers = FieldPath::root().field("upstreams").field(name.as_str()).field("peers");
        for (at, peer) in upstream.peers.iter().enumerate() {
            let reached = match PeerAddress::parse(&peer.address) {
                Ok(PeerAddress::Fixed(address)) => is_admin(address),
                Ok(PeerAddress::Name { host, port }) => {
                    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                    host.eq_ignore_ascii_case("localhost")
                        && loopback.iter().any(|&ip| is_admin(SocketAddr::new(ip, port)))
                }
                Err(_) => false,
            };
            if reached {
                let message =
                    format!("upstream `{name}`: `{}` is the admin listener of this gateway", peer.address);
                problems.push(
                    Problem::error(peers.index(at), message)
                        .with_help("whoever may use the gateway would reach it: name another address"),
                );
            }
        }
    }
}

/// The token; an empty one counts as none.
pub(super) fn compile_token(
    config: &Config,
    keys: &KeyTable,
    problems: &mut Vec<Problem>,
) -> Option<AdminToken> {
    let token = config.admin.token.as_ref()?.value.expose();
    let path = FieldPath::root().field("admin").field("token");
    if token.is_empty() {
        let message = "`token` is empty, so the admin API serves `/metrics` alone";
        problems.push(Problem::warning(path, message).with_help(NEW_TOKEN));
        return None;
    }
    if token.len() < SHORTEST_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!("a token is at least {SHORTEST_TOKEN} visible ASCII characters");
        problems.push(Problem::error(path, message).with_help(NEW_TOKEN));
    } else if keys.find(token.as_bytes()).is_some() {
        let message = "this token is also a key: whoever may use the gateway could administer it";
        problems.push(Problem::error(path, message).with_help(NEW_TOKEN));
    }
    Some(AdminToken::of(token))
}

const NEW_TOKEN: &str = "`openssl rand -hex 16` prints a good one";

fn overlaps(one: SocketAddr, other: SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    one.port() == other.port()
        && one.port() != 0
        && same_family
        && (one.ip() == other.ip() || one.ip().is_unspecified())
}
