//! What cannot change while the gateway runs: listeners and threads; and who can reach them.

use super::AccessLogSpec;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::ConnectionLimits;

/// Who can connect to the listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Programs on this machine only.
    Loopback,
    /// Other machines too.
    Network,
}

/// One address to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// The address; port 0 lets the system choose one.
    pub address: SocketAddr,
    /// Whether the gateway starts without it where the machine has no IPv6.
    pub optional: bool,
}

/// The part of the config that needs a restart to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// What to bind.
    pub listen: Vec<ListenAddress>,
    /// Worker threads; `None` is one a core.
    pub threads: Option<usize>,
    /// Who can connect, which `auto` follows.
    pub exposure: Exposure,
    /// TLS on the listeners, if there is any.
    pub tls: Option<TlsStartup>,
    /// Whether HTTP/2 is spoken without TLS too.
    pub h2c: bool,
    /// Whether connections of trusted proxies begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// How many connections there may be, and how long one may take.
    pub connection_limits: ConnectionLimits,
    /// Where the admin API listens, if it does.
    pub admin: Option<AdminListen>,
    /// The access log, if there is one.
    pub access_log: Option<AccessLogSpec>,
}

/// Where the admin API listens, and how it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminListen {
    /// What to bind.
    pub address: SocketAddr,
    /// Whether with TLS.
    pub tls: bool,
}

impl AdminListen {
    /// Its URL, without a path.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Whether a connection to `address` ends at this listener, as far as this machine knows: an address that something
    /// before it translates is not seen.
    pub fn is_at(&self, address: SocketAddr) -> bool {
        if self.address.port() != address.port() {
            return false;
        }
        let (own, other) = (self.address.ip().to_canonical(), address.ip().to_canonical());
        // To connect to the unspecified address is to connect to loopback.
        own == other
            || (own.is_unspecified() && (other.is_unspecified() || is_of_this_machine(other)))
            || (other.is_unspecified() && (own.is_loopback() || own.is_unspecified()))
    }
}

/// Whether an interface has this address now: only to such a one can a socket be bound. What cannot be tried, for want of
/// descriptors say, may be one.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).map_or_else(|error| error.kind() != ErrorKind::AddrNotAvailable, |_| true)
}

/// The part of TLS that needs a restart to change; certificates do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsStartup {
    /// PEM text of the authorities whose certificate every client must have.
    pub client_ca: Option<String>,
}

impl Startup {
    /// The default listener: loopback or everything, in both address families. A machine without IPv6 does
    /// without the second.
    pub fn default_listen(port: u16, exposure: Exposure) -> Vec<ListenAddress> {
        let (v4, v6) = match exposure {
            Exposure::Loopback => (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            Exposure::Network => (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
        };
        vec![
            ListenAddress { address: (v4, port).into(), optional: false },
            ListenAddress { address: (v6, port).into(), optional: true },
        ]
    }

    /// How the listeners are spoken to, as in a URL.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The names of the config fields in which `next` differs, for "needs a restart".
    pub fn differences(&self, next: &Self) -> Vec<&'static str> {
        let mut fields = Vec::new();
        if self.listen != next.listen || self.exposure != next.exposure {
            fields.push("listeners (`port`, `allow_lan_access`, `listen`)");
        }
        if self.tls.is_some() != next.tls.is_some() {
            fields.push("`tls` (on or off)");
        } else if self.tls != next.tls {
            fields.push("`tls.client_ca`");
        }
        if self.h2c != next.h2c {
            fields.push("`h2c`");
        }
        if self.proxy_protocol != next.proxy_protocol {
            fields.push("`proxy_protocol`");
        }
        if self.connection_limits != next.connection_limits {
            fields.push("`connection_limits`");
        }
        if self.threads != next.threads {
            fields.push("`threads`");
        }
        if self.admin != next.admin {
            fields.push("`admin` (`enabled`, `listen`, `tls` on or off)");
        }
        if self.access_log != next.access_log {
            fields.push("`access_log`");
        }
        fields
    }
}

/// Whether other machines can connect to a socket bound to `address`.
pub(super) fn exposure_of(address: IpAddr) -> Exposure {
    let loopback = match address {
        IpAddr::V4(v4) => v4.is_loopback(),
        // `::ffff:127.0.0.1` is IPv4 loopback.
        IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
    };
    if loopback { Exposure::Loopback } else { Exposure::Network }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_out_of_reach_of_others() {
        for (address, exposure) in [
            ("127.0.0.1", Exposure::Loopback),
            ("127.8.9.1", Exposure::Loopback),
            ("::1", Exposure::Loopback),
            ("::ffff:127.0.0.1", Exposure::Loopback),
            ("0.0.0.0", Exposure::Network),
            ("::", Exposure::Network),
            ("10.0.0.1", Exposure::Network),
            ("::ffff:10.0.0.1", Exposure::Network),
        ] {
            assert_eq!(exposure_of(address.parse().unwrap()), exposure, "{address}");
        }
    }

    #[test]
    fn what_ends_at_the_admin_listener_is_known() {
        let is_at = |own: &str, other: &str| {
            AdminListen { address: own.parse().unwrap(), tls: false }.is_at(other.parse().unwrap())
        };
        for (own, other) in [
            ("127.0.0.1:8046", "127.0.0.1:8046"),
            ("127.0.0.1:8046", "[::ffff:127.0.0.1]:8046"),
            ("127.0.0.1:8046", "0.0.0.0:8046"),
            ("0.0.0.0:8046", "127.9.9.9:8046"),
            ("[::]:8046", "[::1]:8046"),
            ("10.0.0.1:8046", "10.0.0.1:8046"),
        ] {
            assert!(is_at(own, other), "{own} {other}");
        }
        for (own, other) in [
            ("127.0.0.1:8046", "127.0.0.1:8047"),
            ("127.0.0.1:8046", "127.0.0.2:8046"),
            ("127.0.0.1:8046", "10.0.0.1:8046"),
            ("0.0.0.0:8046", "198.51.100.7:8046"),
            ("[::]:8046", "[2001:db8::7]:8046"),
            ("10.0.0.1:8046", "0.0.0.0:8046"),
        ] {
            assert!(!is_at(own, other), "{own} {other}");
        }
    }
}
