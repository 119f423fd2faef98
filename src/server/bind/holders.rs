//! Who listens on an address that is wanted: the first thing that one asks when a port is taken.

use std::io;
use std::net::SocketAddr;

/// Who holds the address that could not be bound.
pub(super) fn holders(error: &io::Error, address: SocketAddr) -> Vec<String> {
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
