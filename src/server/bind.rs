//! Binds the listening sockets before anything is served, so that a taken port is an error with a name in it.

mod holders;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use self::holders::holders;
use crate::policy::ListenAddress;

/// Connections that the kernel holds while every thread is busy; it lowers this to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// A client that says nothing is looked for after so long, again after so long, so often: 2 min in all.
const PROBES: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(15), 4);

/// How long what was sent to it may stay unconfirmed, or not be taken (RFC 5482); `send_timeout` may be no longer.
#[cfg(target_os = "linux")]
const UNCONFIRMED: Duration = Duration::from_secs(120);

/// A socket that listens already.
#[derive(Debug)]
pub(super) struct BoundListener {
    /// Its address, with the port that the system chose.
    pub(super) address: SocketAddr,
    /// The socket itself.
    pub(super) socket: TcpListener,
}

/// The sockets of the gateway.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Those to listen on.
    pub(super) staying: Vec<BoundListener>,
    /// Those of the predecessor that the config has no more, but whose clients may have a while to go elsewhere.
    pub(super) leaving: Vec<BoundListener>,
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    error: io::Error,
    holders: Vec<String>,
}

impl std::error::Error for BindError {}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on `{}`: {}", self.address, self.error)?;
        let port = self.address.port();
        match self.error.kind() {
            io::ErrorKind::AddrInUse if self.holders.is_empty() => write!(
                f,
                "\n  help: it may be held by another user's process: `sudo ss -ltnp 'sport = :{port}'` names it"
            ),
            io::ErrorKind::AddrInUse => write!(f, "\n  help: it is held by {}", self.holders.join(", ")),
            io::ErrorKind::PermissionDenied => write!(
                f,
                "\n  help: a port below 1024 needs the capability CAP_NET_BIND_SERVICE; or take a higher one"
            ),
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "\n  help: no interface of this machine has that address")
            }
            _ => Ok(()),
        }
    }
}

/// Binds every address, or none. A socket that was inherited is taken over where it has the address.
///
/// One that is left over is kept if a new one has its port on every interface, as when LAN access is switched on: what
/// waits in its queue is not lost. Another one leaves, unless it can be reached from where no new one can: that closes
/// here, and with it, as soon as it drains, the predecessor's; what this machine itself could reach of it leaves in its place.
///
/// # Errors
/// The first address that cannot be bound. An optional one may be missing where the machine has no IPv6, but not
/// because somebody else holds it.
pub(super) fn bind_all(
    addresses: &[ListenAddress],
    mut inherited: Vec<TcpListener>,
) -> Result<Sockets, BindError> {
    let mut staying = Vec::with_capacity(addresses.len());
    for listen in addresses {
        match take_or_bind(listen.address, &mut inherited) {
            Ok(listener) => staying.push(listener),
            Err(error) if listen.optional && error.lacks_address_family() => {
                log::info!("this machine has no IPv6, so `{}` is left out", listen.address);
            }
            Err(error) => return Err(error),
        }
    }
    let new: Vec<SocketAddr> = staying.iter().map(|listener| listener.address).collect();
    let left = inherited.into_iter().filter_map(|socket| BoundListener::inherited(socket).ok());
    // One that was passed twice is taken once.
    let left = left.filter(|old| !new.contains(&old.address));
    let (covered, others): (Vec<_>, Vec<_>) =
        left.partition(|old| new.iter().any(|&new| is_covered(old.address, new)));
    staying.extend(covered);
    let (mut leaving, closing): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|old| may_stay_a_while(old.address, &new));
    let served: Vec<SocketAddr> =
        new.iter().copied().chain(leaving.iter().map(|listener| listener.address)).collect();
    leaving.extend(closing.iter().filter_map(|old| on_loopback(old, &new, &served)));
    Ok(Sockets { staying, leaving })
}

/// Whether the new socket has the port of the old one on every interface.
fn is_covered(old: SocketAddr, new: SocketAddr) -> bool {
    new.ip().is_unspecified() && new.port() == old.port() && new.is_ipv4() == old.is_ipv4()
}

/// Whether whoever can reach the old socket can reach a new one: the mode of the new config was chosen for those alone.
fn may_stay_a_while(old: SocketAddr, new: &[SocketAddr]) -> bool {
    old.ip().is_loopback() || new.iter().any(|new| new.ip() == old.ip())
}

/// In place of a socket on every interface one on loopback, if the new config listens there, and that is not served anyway.
fn on_loopback(old: &BoundListener, new: &[SocketAddr], served: &[SocketAddr]) -> Option<BoundListener> {
    let is_alike = |ip: &IpAddr| ip.is_loopback() && ip.is_ipv4() == old.address.is_ipv4();
    let ip = new.iter().map(SocketAddr::ip).find(is_alike)?;
    let address = SocketAddr::new(ip, old.address.port());
    if !old.address.ip().is_unspecified() || served.contains(&address) {
        return None;
    }
    let bound = bind_beside(address, std::slice::from_ref(&old.socket));
    bound.inspect_err(|error| log::warn!("{error}")).ok()
}

/// Takes the inherited socket with this address, or binds one.
///
/// # Errors
/// The address cannot be bound.
pub(super) fn take_or_bind(
    address: SocketAddr,
    inherited: &mut Vec<TcpListener>,
) -> Result<BoundListener, BindError> {
    match inherited.iter().position(|socket| has_address(socket, address)) {
        Some(at) => BoundListener::inherited(inherited.remove(at)),
        None => bind_beside(address, inherited),
    }
}

/// Whether a socket is bound there; port 0 asks for any.
fn has_address(socket: &TcpListener, wanted: SocketAddr) -> bool {
    socket
        .local_addr()
        .is_ok_and(|address| address == wanted || (wanted.port() == 0 && wanted.ip() == address.ip()))
}

/// Binds an address whose port an inherited socket may hold on other interfaces. Both sides must agree to that for the
/// moment; not longer, or a second gateway could be started beside this one by mistake.
fn bind_beside(address: SocketAddr, inherited: &[TcpListener]) -> Result<BoundListener, BindError> {
    let same_port = |socket: &&TcpListener| {
        socket.local_addr().is_ok_and(|other| other.port() == address.port() && other != address)
    };
    let neighbours: Vec<SockRef<'_>> = inherited.iter().filter(same_port).map(SockRef::from).collect();
    let share = |on: bool| {
        for neighbour in &neighbours {
            if let Err(error) = neighbour.set_reuse_port(on) {
                log::warn!("an inherited socket cannot share its port: {error}");
            }
        }
    };
    share(true);
    let bound = bind_sharing(address, !neighbours.is_empty());
    share(false);
    if let Ok(listener) = &bound {
        // Only a socket that was bound so can be asked to forget it.
        let _ = SockRef::from(&listener.socket).set_reuse_port(false);
    }
    bound
}

/// Binds one address; port 0 lets the system choose one.
///
/// # Errors
/// The address cannot be bound.
pub(super) fn bind(address: SocketAddr) -> Result<BoundListener, BindError> {
    bind_sharing(address, false)
}

fn bind_sharing(address: SocketAddr, share_port: bool) -> Result<BoundListener, BindError> {
    let listen = || -> io::Result<BoundListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for the connections of the last run to time out (TIME_WAIT).
        socket.set_reuse_address(true)?;
        if share_port {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            // `::` beside `0.0.0.0`, each for its own family.
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        find_the_vanished(&SockRef::from(&socket))?;
        let socket = TcpListener::from(socket);
        Ok(BoundListener { address: socket.local_addr()?, socket })
    };
    listen().map_err(|error| BindError { address, holders: holders(&error, address), error })
}

/// Lets TCP look whether the clients are still there, and give up on those that confirm nothing. What is accepted has it
/// from its listener, so it costs no connection a system call.
fn find_the_vanished(listener: &SockRef<'_>) -> io::Result<()> {
    let (idle, every, times) = PROBES;
    let probes = TcpKeepalive::new().with_time(idle).with_interval(every).with_retries(times);
    listener.set_tcp_keepalive(&probes)?;
    #[cfg(target_os = "linux")]
    listener.set_tcp_user_timeout(Some(UNCONFIRMED))?;
    Ok(())
}

impl BoundListener {
    /// One that listens already.
    fn inherited(socket: TcpListener) -> Result<Self, BindError> {
        let ready = socket
            .set_nonblocking(true)
            .and_then(|()| find_the_vanished(&SockRef::from(&socket)))
            .and_then(|()| socket.local_addr());
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        match ready {
            Ok(address) => Ok(Self { address, socket }),
            Err(error) => Err(BindError { address: nowhere, holders: Vec::new(), error }),
        }
    }
}

impl BindError {
    fn lacks_address_family(&self) -> bool {
        // EAFNOSUPPORT: built or booted without IPv6; EADDRNOTAVAIL: switched off for the interface.
        self.error.kind() == io::ErrorKind::AddrNotAvailable
            || self.error.raw_os_error() == Some(libc_eafnosupport())
    }
}

/// The number of EAFNOSUPPORT, for which the standard library has no name.
const fn libc_eafnosupport() -> i32 {
    if cfg!(target_os = "linux") { 97 } else { 47 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_connections_are_looked_after_however_their_listener_came() {
        let bound = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let plain = TcpListener::bind("127.0.0.1:0").unwrap();
        for listener in [bound, BoundListener::inherited(plain).unwrap()] {
            let client = std::net::TcpStream::connect(listener.address).unwrap();
            listener.socket.set_nonblocking(false).unwrap();
            let (accepted, _) = listener.socket.accept().unwrap();
            let accepted = SockRef::from(&accepted);
            assert!(accepted.keepalive().unwrap());
            assert_eq!(accepted.tcp_keepalive_time().unwrap(), PROBES.0);
            assert_eq!(accepted.tcp_keepalive_interval().unwrap(), PROBES.1);
            assert_eq!(accepted.tcp_keepalive_retries().unwrap(), PROBES.2);
            assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(UNCONFIRMED));
            drop(client);
        }
    }

    #[test]
    fn a_taken_port_names_its_holder() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = bind(first.address).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on `{}`: ", first.address)), "{error}");
        if cfg!(target_os = "linux") {
            assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        }
        drop(first);
    }

    fn addresses(listeners: &[BoundListener]) -> Vec<SocketAddr> {
        listeners.iter().map(|listener| listener.address).collect()
    }

    fn wanted(address: SocketAddr) -> [ListenAddress; 1] {
        [ListenAddress { address, optional: false }]
    }

    #[test]
    fn an_inherited_socket_is_taken_over() {
        let old = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        for address in [old.address, "127.0.0.1:0".parse().unwrap()] {
            let inherited = vec![old.socket.try_clone().unwrap()];
            let bound = bind_all(&wanted(address), inherited).unwrap();
            assert_eq!(addresses(&bound.staying), [old.address]);
            assert!(bound.leaving.is_empty());
        }
    }

    #[test]
    fn lan_access_can_be_switched_on_and_off_while_the_old_socket_listens() {
        let loopback = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let everywhere = SocketAddr::from(([0, 0, 0, 0], loopback.address.port()));
        let inherited = vec![loopback.socket.try_clone().unwrap()];
        let bound = bind_all(&wanted(everywhere), inherited).unwrap();
        let staying = addresses(&bound.staying);
        assert_eq!(staying, [everywhere, loopback.address], "the old one goes on for what waits in it");
        assert!(bind(everywhere).is_err(), "nobody else may share the port");
        assert!(bind(loopback.address).is_err(), "nobody else may share the port");
        drop(loopback);
        let inherited = bound.staying.into_iter().take(1).map(|listener| listener.socket).collect();
        let address = SocketAddr::from(([127, 0, 0, 1], everywhere.port()));
        let bound = bind_all(&wanted(address), inherited).unwrap();
        assert_eq!(addresses(&bound.staying), [address]);
        assert!(bound.leaving.is_empty(), "nobody from elsewhere comes in any more");
    }

    #[test]
    fn a_socket_leaves_slowly_only_where_that_lets_nobody_else_in() {
        let at = |address: &str| address.parse::<SocketAddr>().unwrap();
        for (old, new, may) in [
            ("127.0.0.1:1", "127.0.0.1:2", true),
            ("127.0.0.1:1", "0.0.0.0:2", true),
            ("[::1]:1", "10.0.0.1:2", true),
            ("0.0.0.0:1", "0.0.0.0:2", true),
            ("10.0.0.1:1", "10.0.0.1:2", true),
            ("0.0.0.0:1", "127.0.0.1:2", false),
            ("[::]:1", "[::1]:1", false),
            ("10.0.0.1:1", "127.0.0.1:1", false),
            ("[::]:1", "0.0.0.0:2", false),
        ] {
            assert_eq!(may_stay_a_while(at(old), &[at(new)]), may, "{old} to {new}");
        }
        let old = bind(at("127.0.0.1:0")).unwrap();
        let inherited = vec![old.socket.try_clone().unwrap()];
        let other = wanted(SocketAddr::from(([127, 0, 0, 1], free_port())));
        let bound = bind_all(&other, inherited).unwrap();
        assert_eq!((bound.staying.len(), addresses(&bound.leaving)), (1, vec![old.address]));
        let everywhere = bind(at("0.0.0.0:0")).unwrap();
        let inherited = vec![everywhere.socket.try_clone().unwrap()];
        let loopback = SocketAddr::from(([127, 0, 0, 1], everywhere.address.port()));
        let bound = bind_all(&wanted(SocketAddr::from(([127, 0, 0, 1], free_port()))), inherited).unwrap();
        assert_eq!(addresses(&bound.leaving), [loopback], "from elsewhere nobody comes in any more");
    }

    fn free_port() -> u16 {
        bind("127.0.0.1:0".parse().unwrap()).unwrap().address.port()
    }

    #[test]
    fn an_address_of_another_machine_is_no_missing_ipv6() {
        // RFC 5737: documentation addresses are nobody's.
        let address = "192.0.2.1:0".parse().unwrap();
        let error =
            bind_all(&[ListenAddress { address, optional: false }], Vec::new()).unwrap_err().to_string();
        assert!(error.contains("no interface of this machine"), "{error}");
    }
}
