//! Binds the listening sockets before anything is served, so that a taken port is an error with a name in it.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::policy::ListenAddress;

/// Connections that the kernel holds while every thread is busy; it lowers this to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// A socket that listens already.
#[derive(Debug)]
pub(super) struct BoundListener {
    /// Its address, with the port that the system chose.
    pub(super) address: SocketAddr,
    /// The socket itself.
    pub(super) socket: TcpListener,
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

/// Binds every address, or none.
///
/// # Errors
/// The first address that cannot be bound. An optional one may be missing where the machine has no IPv6, but not
/// because somebody else holds it.
pub(super) fn bind_all(addresses: &[ListenAddress]) -> Result<Vec<BoundListener>, BindError> {
    let mut bound = Vec::with_capacity(addresses.len());
    for listen in addresses {
        match bind(listen.address) {
            Ok(listener) => bound.push(listener),
            Err(error) if listen.optional && error.lacks_address_family() => {
                log::info!("this machine has no IPv6, so `{}` is left out", listen.address);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(bound)
}

/// Binds one address; port 0 lets the system choose one.
///
/// # Errors
/// The address cannot be bound.
pub(super) fn bind(address: SocketAddr) -> Result<BoundListener, BindError> {
    let listen = || -> io::Result<BoundListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for the connections of the last run to time out (TIME_WAIT).
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // `::` beside `0.0.0.0`, each for its own family.
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from(socket);
        Ok(BoundListener { address: socket.local_addr()?, socket })
    };
    listen().map_err(|error| BindError { address, holders: holders(&error, address), error })
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

fn holders(error: &io::Error, address: SocketAddr) -> Vec<String> {
    if error.kind() == io::ErrorKind::AddrInUse { processes_listening_on(address) } else { Vec::new() }
}

/// Who listens there, as far as this user may see.
#[cfg(target_os = "linux")]
fn processes_listening_on(address: SocketAddr) -> Vec<String> {
    use procfs::net::{TcpState, tcp, tcp6};
    use procfs::process::{FDTarget, all_processes};

    let in_the_way = |other: SocketAddr| {
        other.port() == address.port()
            && (other.ip() == address.ip() || other.ip().is_unspecified() || address.ip().is_unspecified())
    };
    let sockets: Vec<u64> = [tcp(), tcp6()]
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.state == TcpState::Listen && in_the_way(entry.local_address))
        .map(|entry| entry.inode)
        .collect();
    let holds_one = |process: &procfs::process::Process| {
        process.fd().is_ok_and(|descriptors| {
            descriptors.flatten().any(
                |descriptor| matches!(descriptor.target, FDTarget::Socket(inode) if sockets.contains(&inode)),
            )
        })
    };
    all_processes()
        .into_iter()
        .flatten()
        .flatten()
        .filter(holds_one)
        .map(|process| {
            let name = process.stat().map_or_else(|_| "?".to_owned(), |stat| stat.comm);
            format!("`{name}` (pid {})", process.pid)
        })
        .take(8)
        .collect()
}

/// Other systems tell nobody who listens.
#[cfg(not(target_os = "linux"))]
fn processes_listening_on(_: SocketAddr) -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn an_address_of_another_machine_is_no_missing_ipv6() {
        // RFC 5737: documentation addresses are nobody's.
        let address = "192.0.2.1:0".parse().unwrap();
        let error = bind_all(&[ListenAddress { address, optional: false }]).unwrap_err().to_string();
        assert!(error.contains("no interface of this machine"), "{error}");
    }
}
