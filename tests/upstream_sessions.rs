//! Sessions of TLS toward the peers: what a new connection takes over from the one before, and from which it must not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{
    HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};
use tempfile::TempDir;

use crate::support::{Authority, PATIENCE};
use crate::upstream_protocols::{REQUEST, in_front_of_with, start};

/// A server with TLS of this version that closes each connection behind its answer, and tells how its handshake went.
/// With `clients` every client must have a certificate of theirs.
fn closing_peer(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
    clients: Option<&Authority>,
) -> (SocketAddr, Receiver<HandshakeKind>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(der(clients.pem())).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let (cert, key) = authority.issue(&["peer.test"]);
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = Arc::new(builder.with_single_cert(vec![der(&cert)], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, handshakes) = channel();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, socket);
            let mut head = Vec::new();
            let mut buffer = [0; 4096];
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(read) if read > 0 => head.extend(&buffer[..read]),
                    _ => break,
                }
            }
            if head.is_empty() {
                continue;
            }
            sender.send(stream.conn.handshake_kind().unwrap()).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            stream.write_all(answer).unwrap();
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (address, handshakes)
}

#[test]
fn a_new_connection_to_a_peer_goes_on_with_the_session_of_the_last_one() {
    let authority = Authority::new();
    let own_authority = "tls: true, sni: peer.test, tls_ca: ca.pem";
    let own_certificate =
        "tls: true, sni: peer.test, tls_client_certificate: {cert: client.pem, key: client.key}";
    let both = format!("{own_certificate}, tls_ca: ca.pem");
    for version in [&TLS12, &TLS13] {
        for (upstream, clients) in [
            ("tls: true, sni: peer.test", None),
            (own_authority, None),
            (own_certificate, Some(&authority)),
            (&both, Some(&authority)),
        ] {
            let (address, handshakes) = closing_peer(&authority, version, clients);
            let gateway = in_front_of_with(address, &authority, upstream, |command, directory| {
                // The system's authorities.
                command.env("SSL_CERT_FILE", directory.join("ca.pem"));
            });
            let kinds = [(); 3].map(|()| {
                assert_eq!(gateway.exchange(REQUEST).status, 200, "{upstream}");
                handshakes.recv_timeout(PATIENCE).unwrap()
            });
            let expected = [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed];
            assert_eq!(kinds, expected, "{version:?} {upstream}");
        }
    }
}

/// A session was made with a certificate, and speaks for it.
#[test]
fn an_upstream_without_a_certificate_has_no_use_of_the_sessions_of_one_that_has_one() {
    let authority = Authority::new();
    let (address, handshakes) = closing_peer(&authority, &TLS13, Some(&authority));
    let directory = TempDir::new().unwrap();
    authority.write(directory.path(), "client", &["client"]);
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let peer = format!("peers: ['{address}'], tls: true, sni: peer.test, tls_ca: ca.pem");
    let text = format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: off}}\n\
         upstreams:\n  with: {{{peer}, tls_client_certificate: {{cert: client.pem, key: client.key}}}}\n  without: {{{peer}}}\n\
         routes: [{{path_prefix: /without, upstream: without}}, {{path_prefix: /, upstream: with}}]\n"
    );
    let gateway = start(directory, &text);
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        assert_eq!(gateway.exchange(REQUEST).status, 200);
        assert_eq!(handshakes.recv_timeout(PATIENCE).unwrap(), kind);
        let refused = gateway.exchange("GET /without HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!((refused.status, refused.error_code()), (502, Some("upstream_failed")));
    }
}
