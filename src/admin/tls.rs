//! TLS on the admin listener, with the certificates of the policy in force.

use std::fmt;
use std::io;
use std::sync::{Arc, Weak};

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use super::Api;

/// What takes handshakes.
///
/// # Errors
/// The library has no version of TLS that its cryptography can do.
pub(super) fn acceptor(api: &Arc<Api>) -> io::Result<TlsAcceptor> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(InForce(Arc::downgrade(api))));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Looks a certificate up in the policy in force, so that a reload counts from the next handshake on.
struct InForce(Weak<Api>);

impl fmt::Debug for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InForce")
    }
}

impl ResolvesServerCert for InForce {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut found = None;
        self.0.upgrade()?.handles.in_force.show(&mut |policy, _, _| {
            found = policy
                .admin_certificates
                .find(hello.server_name())
                .map(|found| Arc::clone(found.certified_key()));
        });
        found
    }
}
