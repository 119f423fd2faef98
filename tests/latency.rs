//! Small writes leave at once. With Nagle's algorithm on, a second one waits until the first is acknowledged, and the other
//! side may take 40 ms for that (RFC 1122 §4.2.3.2 allows 500).

use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::Socket;

use crate::support::{Gateway, Origin, config};

/// A connection of another process.
#[derive(Debug)]
struct Connection {
    local: SocketAddr,
    peer: SocketAddr,
    no_delay: bool,
}

/// The TCP connections of a process, each asked through a copy of its descriptor.
fn connections(process: u32) -> Vec<Connection> {
    let pid = Pid::from_raw(process.try_into().unwrap()).unwrap();
    let handle = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let connection = |number: i32| {
        let socket = Socket::from(pidfd_getfd(&handle, number, PidfdGetfdFlags::empty()).ok()?);
        let local = socket.local_addr().ok()?.as_socket()?;
        // A listener has no peer.
        let peer = socket.peer_addr().ok()?.as_socket()?;
        Some(Connection { local, peer, no_delay: socket.tcp_nodelay().unwrap() })
    };
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let sockets = descriptors.filter(|descriptor| {
        std::fs::read_link(descriptor.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
    });
    let numbers = sockets.filter_map(|descriptor| descriptor.file_name().to_str()?.parse().ok());
    numbers.filter_map(connection).collect()
}

#[test]
fn neither_leg_waits_for_acknowledgements() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("off", &origin));
    let mut client = gateway.connect();
    // Both connections are kept after it.
    assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    let connections = connections(gateway.program().id());
    let leg = |of: &dyn Fn(&Connection) -> bool| connections.iter().find(|connection| of(connection));
    let downstream = leg(&|connection| connection.local == gateway.address()).expect("a client's connection");
    let upstream = leg(&|connection| connection.peer == origin.address).expect("a peer's connection");
    assert!(downstream.no_delay, "{connections:?}");
    assert!(upstream.no_delay, "{connections:?}");
}

#[test]
fn a_connection_that_would_wait_is_seen() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let [waits, leaves] = [(); 2].map(|()| TcpStream::connect(address).unwrap());
    leaves.set_nodelay(true).unwrap();
    let connections = connections(std::process::id());
    let no_delay = |stream: &TcpStream| {
        let local = stream.local_addr().unwrap();
        connections.iter().find(|connection| connection.local == local).unwrap().no_delay
    };
    assert_eq!((no_delay(&waits), no_delay(&leaves)), (false, true));
}
