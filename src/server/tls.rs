//! TLS on the listeners: certificates by name, from the policy in force.

use std::sync::Arc;

use pingora::listeners::tls::{Acceptor, TlsSettings};
use pingora::protocols::ALPN;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use crate::policy::{PolicyHandle, TlsStartup, parse_authorities};
use crate::proxy::Live;

/// What takes handshakes.
///
/// # Errors
/// The authorities of the clients cannot be used.
pub(super) fn acceptor(startup: &TlsStartup, live: &Arc<PolicyHandle<Live>>) -> Result<Acceptor, String> {
    pingora::tls::install_default_crypto_provider();
    // No files: the resolver below takes their place.
    let mut settings = TlsSettings::intermediate("", "").map_err(|error| error.to_string())?;
    settings.set_cert_resolver(Arc::new(LiveCertificates(Arc::clone(live))));
    settings.set_alpn(ALPN::H2H1);
    if let Some(pem) = &startup.client_ca {
        let authorities = parse_authorities(pem)?;
        let verifier = WebPkiClientVerifier::builder(Arc::new(authorities)).build();
        settings.set_client_cert_verifier(verifier.map_err(|error| error.to_string())?);
    }
    Ok(settings.build())
}

/// Looks a certificate up in the policy in force, so that a reload counts from the next handshake on.
struct LiveCertificates(Arc<PolicyHandle<Live>>);

impl std::fmt::Debug for LiveCertificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LiveCertificates")
    }
}

impl ResolvesServerCert for LiveCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let live = self.0.load();
        live.policy.certificates.find(hello.server_name()).map(|found| Arc::clone(found.certified_key()))
    }
}
