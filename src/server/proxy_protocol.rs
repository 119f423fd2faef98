//! The PROXY protocol, versions 1 and 2: a load balancer says before anything else whose connection it passes on.
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>
//!
//! Who connects decides whether there is a header, never what the first bytes look like (§2 asks for that): a trusted
//! proxy must send one, and nobody else's would be believed, so it is not looked for.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::l4::socket::SocketAddr as AnyAddress;
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::{GetSocketDigest, SocketDigest, Stream};
use ppp::{v1, v2};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::listener::Connections;
use crate::policy::PolicyHandle;
use crate::proxy::Live;
use crate::telemetry::metrics::RefusedConnection;

/// The longest header of version 1, with its CRLF (§2.1).
const LONGEST_V1: usize = 107;

/// What every header of version 2 has: signature, version and command, family, length of the rest (§2.2).
const FIXED_V2: usize = 16;

/// The longest rest of version 2 that is taken. Addresses are 36 bytes at most, or 216 of a Unix socket; a client's whole
/// certificate, the longest addition in use, is some KiB.
const LONGEST_V2: usize = 16 * 1024;

/// How version 2 begins (§2.2): as no request of HTTP does.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads whose connection it is.
pub(super) struct ProxyProtocol {
    /// Whom to believe, at the moment of the connection.
    pub(super) live: Arc<PolicyHandle<Live>>,
    /// Where connections without a header are counted.
    pub(super) connections: Arc<Connections>,
    /// How long the header may take.
    pub(super) limit: Duration,
}

/// The same connection, now its client's; `None` where it has to be closed.
pub(super) async fn read(protocol: &ProxyProtocol, stream: Stream) -> Option<Stream> {
    let mut stream = stream.into_any().downcast::<TcpStream>().ok()?;
    protocol.identify(&mut stream).await.ok()?;
    Some(stream)
}

impl ProxyProtocol {
    /// Notes the client as the peer of the connection, so that all that looks at it later sees the client.
    async fn identify(&self, stream: &mut TcpStream) -> io::Result<()> {
        let Some(peer) = peer_of(stream) else { return Ok(()) };
        if !self.live.load().policy.trusts(peer.ip()) {
            return Ok(());
        }
        let header =
            timeout(self.limit, client(stream)).await.unwrap_or_else(|_| Err(wrong("it took too long")));
        match header {
            Ok(Some(client)) => name(stream, client),
            Ok(None) => {}
            Err(error) => {
                let what = format_args!(
                    "{} is a trusted proxy and sent no PROXY protocol header: {error}",
                    peer.ip()
                );
                self.connections.refused(RefusedConnection::ProxyProtocol, what);
                return Err(error);
            }
        }
        Ok(())
    }
}

fn peer_of(stream: &TcpStream) -> Option<SocketAddr> {
    stream.get_socket_digest()?.peer_addr()?.as_inet().copied()
}

fn name(stream: &mut TcpStream, client: SocketAddr) {
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    // It is new, so nothing is in there.
    let _ = digest.peer_addr.set(Some(AnyAddress::Inet(client)));
    stream.set_socket_digest(digest);
}

/// The client that the header names; `None` where the proxy speaks for itself, as when it checks the gateway's health.
async fn client(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE { client_v2(stream, header).await } else { client_v1(stream, header).await }
}

/// `PROXY TCP4 203.0.113.7 192.0.2.1 4711 443`, and not a byte beyond the end of that line.
async fn client_v1(stream: &mut TcpStream, mut header: Vec<u8>) -> io::Result<Option<SocketAddr>> {
    if !header.starts_with(b"PROXY ") {
        return Err(wrong("it began otherwise"));
    }
    while !header.ends_with(b"\n") {
        if header.len() == LONGEST_V1 {
            return Err(wrong("the line does not end"));
        }
        header.push(stream.read_u8().await?);
    }
    match v1::Header::try_from(&*header).map_err(wrong)?.addresses {
        v1::Addresses::Tcp4(v4) => Ok(Some((v4.source_address, v4.source_port).into())),
        v1::Addresses::Tcp6(v6) => Ok(Some((v6.source_address, v6.source_port).into())),
        v1::Addresses::Unknown => Ok(None),
    }
}

/// Additions (TLVs) are read and not looked at.
async fn client_v2(stream: &mut TcpStream, mut header: Vec<u8>) -> io::Result<Option<SocketAddr>> {
    let fixed = stream.read_u32().await?;
    header.extend(fixed.to_be_bytes());
    let rest = (fixed & 0xffff) as usize;
    if rest > LONGEST_V2 {
        return Err(wrong("it is too long"));
    }
    header.resize(FIXED_V2 + rest, 0);
    stream.read_exact(header.get_mut(FIXED_V2..).unwrap_or_default()).await?;
    let header = v2::Header::try_from(&*header).map_err(wrong)?;
    if header.command == v2::Command::Local {
        return Ok(None);
    }
    match header.addresses {
        v2::Addresses::IPv4(v4) => Ok(Some((v4.source_address, v4.source_port).into())),
        v2::Addresses::IPv6(v6) => Ok(Some((v6.source_address, v6.source_port).into())),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => Ok(None),
    }
}

fn wrong(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
