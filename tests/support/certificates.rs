//! Certificates for a test: an authority that nobody else trusts, and what it signs.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

type ClientBuilder = rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>;

/// An authority of a test's own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        // OpenSSL takes a certificate whose issuer has its own name for self-signed.
        params.distinguished_name.push(DnType::CommonName, "an authority for a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for these names and its key, as PEM.
    pub(crate) fn issue(&self, names: &[&str]) -> (String, String) {
        self.issue_changed(names, |_| {})
    }

    /// The same, of one that ends so many seconds after 1970 began.
    pub(crate) fn issue_until(&self, names: &[&str], not_after: u64) -> (String, String) {
        let end = rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(not_after);
        self.issue_changed(names, |params| params.not_after = end)
    }

    fn issue_changed(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Writes a certificate for these names as `NAME.pem` and its key as `NAME.key`.
    pub(crate) fn write(&self, directory: &Path, name: &str, names: &[&str]) {
        let (cert, key) = self.issue(names);
        std::fs::write(directory.join(format!("{name}.pem")), cert).unwrap();
        std::fs::write(directory.join(format!("{name}.key")), key).unwrap();
    }

    /// A client that trusts this authority alone, and speaks these protocols (ALPN).
    pub(crate) fn client(&self, alpn: &[&str]) -> Arc<rustls::ClientConfig> {
        self.configured(alpn, ClientBuilder::with_no_client_auth)
    }

    /// The same, with a certificate of its own that this authority signed.
    pub(crate) fn client_with_certificate(&self, signer: &Self) -> Arc<rustls::ClientConfig> {
        let (cert, key) = signer.issue(&["client"]);
        let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        self.configured(&[], |builder| builder.with_client_auth_cert(chain, key).unwrap())
    }

    fn configured(
        &self,
        alpn: &[&str],
        finish: impl FnOnce(ClientBuilder) -> rustls::ClientConfig,
    ) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = finish(builder);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}
