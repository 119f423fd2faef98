//! Whom the command line believes to be the admin API: whoever has a certificate that stands in the config which both read.
//! What that is signed by, and for which name, does not matter then, so that one of the operator's own making does as well.
//! Only for an address that no config knows a certificate of it is the system's authorities.

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    StreamOwned,
};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::config::AdminTls;

/// Whom to believe.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    /// Whoever has the key of one of these.
    Pinned(Vec<CertificateDer<'static>>),
    /// Whom the system's authorities have signed a certificate for this name.
    System,
}

impl Trust {
    /// The certificates of a config. One that cannot be read is none.
    pub(super) fn pinned(tls: &AdminTls) -> Self {
        let first = |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).next()?.ok();
        let certificates = tls.certificates.iter();
        Self::Pinned(certificates.filter_map(|pair| first(pair.cert.content.expose())).collect())
    }

    /// TLS over `stream`, to whoever is believed to be `authority`, which is `HOST:PORT`.
    ///
    /// # Errors
    /// The name is none, or the system has no authorities.
    pub(super) fn over(
        &self,
        stream: TcpStream,
        authority: &str,
    ) -> anyhow::Result<StreamOwned<ClientConnection, TcpStream>> {
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let (builder, name) = match self {
            Self::Pinned(known) => {
                let pinned = Arc::new(Pinned { known: known.clone(), provider });
                // Not a name that could pick another certificate: all of them are known.
                let no_name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
                (builder.dangerous().with_custom_certificate_verifier(pinned), no_name)
            }
            Self::System => {
                let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']');
                (builder.with_platform_verifier()?, ServerName::try_from(host.to_owned())?)
            }
        };
        let connection = ClientConnection::new(Arc::new(builder.with_no_client_auth()), name)?;
        Ok(StreamOwned::new(connection, stream))
    }
}

/// Believes the certificates that it knows, and no other.
#[derive(Debug)]
struct Pinned {
    known: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.known.iter().any(|known| known == end_entity) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
