//! Certificates toward the clients: parsed, matched with their keys, found by the name that a client asks for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::upstreams::ClientCertificate;
use crate::clock::UnixSeconds;

/// One certificate with its chain and its key.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    certified: Arc<CertifiedKey>,
    /// The DNS names that it is for, lower-case; `*.example.com` among them.
    pub names: Vec<String>,
    /// Its last second.
    pub not_after: UnixSeconds,
}

impl ServerCertificate {
    /// Reads a chain and the key of its first certificate.
    ///
    /// # Errors
    /// Which of the two is wrong, and why.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, CertificateError> {
        let chain = parse_chain(chain).map_err(CertificateError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| CertificateError::Key(format!("holds no private key: {error}")))?;
        let key = default_provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| CertificateError::Key(format!("holds a key that cannot be used: {error}")))?;
        let (names, not_after) = describe(chain.first()).map_err(CertificateError::Certificate)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // "Unknown": the key cannot tell its public half, as one in hardware.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(CertificateError::Key("is not the key of this certificate".to_owned())),
        }
        Ok(Self { certified: Arc::new(certified), names, not_after })
    }

    /// What a handshake needs.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

/// Which of two files is wrong, and why, as the end of a sentence that starts with the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// The certificate.
    Certificate(String),
    /// The key.
    Key(String),
}

/// Every certificate, by the names that it is for.
#[derive(Clone, Debug, Default)]
pub struct CertificateTable {
    certificates: Vec<ServerCertificate>,
    by_name: HashMap<String, usize>,
}

impl CertificateTable {
    /// Adds a certificate; of two for the same name the first one counts.
    pub fn add(&mut self, certificate: ServerCertificate) {
        let at = self.certificates.len();
        for name in &certificate.names {
            self.by_name.entry(name.clone()).or_insert(at);
        }
        self.certificates.push(certificate);
    }

    /// The certificate for the name that a client asks for: by that name, by the wildcard one label above it
    /// (RFC 9525 §6.3), or else the first one. `None` only where there is none at all.
    pub fn find(&self, server_name: Option<&str>) -> Option<&ServerCertificate> {
        self.certificates.get(server_name.and_then(|name| self.named(name)).unwrap_or(0))
    }

    /// Whether one of them is for this name, by itself or by a wildcard.
    pub fn is_for(&self, name: &str) -> bool {
        self.named(name).is_some()
    }

    fn named(&self, name: &str) -> Option<usize> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(&name).or_else(wildcard).copied()
    }

    /// All of them, in the order of the config.
    pub fn iter(&self) -> impl Iterator<Item = &ServerCertificate> {
        self.certificates.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }
}

/// A certificate of ours toward a peer, checked like one toward the clients.
///
/// # Errors
/// Which of the two files is wrong, and why.
pub(super) fn client_certificate(chain: &str, key: &str) -> Result<ClientCertificate, CertificateError> {
    let certificate = ServerCertificate::from_pem(chain, key)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| CertificateError::Key(format!("holds no private key: {error}")))?;
    let chain = certificate.certified.cert.iter().map(|der| der.to_vec()).collect();
    let key = Zeroizing::new(key.secret_der().to_vec());
    Ok(ClientCertificate { chain, key, not_after: certificate.not_after })
}

/// Reads the certificates of authorities as DER, each of which can be one.
///
/// # Errors
/// Why they cannot be used.
pub(super) fn authorities_der(pem: &str) -> Result<Vec<Vec<u8>>, String> {
    parse_authorities(pem)?;
    let chain = parse_chain(pem)?;
    for certificate in &chain {
        describe(Some(certificate))?;
    }
    Ok(chain.iter().map(|der| der.to_vec()).collect())
}

/// Reads the certificates of authorities.
///
/// # Errors
/// Why they cannot be used.
pub fn parse_authorities(pem: &str) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in parse_chain(pem)? {
        store.add(certificate).map_err(|error| format!("holds an authority that cannot be used: {error}"))?;
    }
    Ok(store)
}

fn parse_chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("is no PEM text: {error}"))?;
    if chain.is_empty() { Err("holds no certificate".to_owned()) } else { Ok(chain) }
}

/// The names and the last second of a certificate. Names stand in the subject's alternative names alone; the common
/// name has not counted since RFC 6125.
fn describe(certificate: Option<&CertificateDer<'_>>) -> Result<(Vec<String>, UnixSeconds), String> {
    let broken = |error: String| format!("holds a certificate that cannot be read: {error}");
    let der = certificate.map(AsRef::as_ref).unwrap_or_default();
    let (_, parsed) = X509Certificate::from_der(der).map_err(|error| broken(error.to_string()))?;
    let alternative = parsed.subject_alternative_name().map_err(|error| broken(error.to_string()))?;
    let names = alternative.into_iter().flat_map(|extension| &extension.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    Ok((names.collect(), UnixSeconds(parsed.validity().not_after.timestamp())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn certificate(names: &[&str]) -> ServerCertificate {
        let (cert, key) = pair(names);
        ServerCertificate::from_pem(&cert, &key).unwrap()
    }

    #[test]
    fn the_asked_name_picks_exact_before_wildcard_before_the_first() {
        let mut table = CertificateTable::default();
        assert!(table.find(Some("a.example")).is_none());
        for names in [&["first.example"][..], &["*.b.example"], &["x.b.example", "C.example"]] {
            table.add(certificate(names));
        }
        let picked = |name: Option<&str>| table.find(name).unwrap().names[0].clone();
        for (asked, expected) in [
            (None, "first.example"),
            (Some("unknown.example"), "first.example"),
            (Some("y.b.example"), "*.b.example"),
            (Some("X.B.Example."), "x.b.example"),
            (Some("c.example"), "x.b.example"),
            (Some("y.y.b.example"), "first.example"),
            (Some("b.example"), "first.example"),
            (Some(""), "first.example"),
        ] {
            assert_eq!(picked(asked), expected, "{asked:?}");
        }
        assert!(table.is_for("Y.B.example") && table.is_for("c.example."));
        assert!(!table.is_for("unknown.example") && !table.is_for(""));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (cert, key) = pair(&["a.example"]);
        let (_, other) = pair(&["a.example"]);
        assert!(ServerCertificate::from_pem(&cert, &key).is_ok());
        let error = |cert: &str, key: &str| ServerCertificate::from_pem(cert, key).unwrap_err();
        assert_eq!(error(&cert, &other), CertificateError::Key("is not the key of this certificate".into()));
        assert!(matches!(error(&cert, "x"), CertificateError::Key(_)));
        assert!(matches!(error(&key, &key), CertificateError::Certificate(_)));
        assert!(matches!(error("", &key), CertificateError::Certificate(_)));
    }

    #[test]
    fn authorities_are_certificates() {
        let (cert, key) = pair(&["ca.example"]);
        assert_eq!(parse_authorities(&cert).unwrap().len(), 1);
        assert!(parse_authorities(&key).is_err());
    }
}
