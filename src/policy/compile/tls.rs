//! TLS toward the clients: certificates and keys that belong together.

use crate::config;
use crate::policy::certificates::{CertificateError, CertificateTable, ServerCertificate, parse_authorities};
use crate::problem::{FieldPath, Problem};

/// The certificates, and nothing where there is no TLS.
pub(super) fn compile_tls(tls: Option<&config::Tls>, problems: &mut Vec<Problem>) -> CertificateTable {
    let mut table = CertificateTable::default();
    let Some(tls) = tls else { return table };
    let path = FieldPath::root().field("proxy").field("tls");
    fill(&mut table, &tls.certificates, &path, problems);
    if let Some(ca) = &tls.client_ca
        && let Err(what) = parse_authorities(ca.content.expose())
    {
        problems.push(
            Problem::error(path.field("client_ca"), format!("`{}` {what}", ca.path.display()))
                .with_help(LOOK_AT_CERTIFICATE),
        );
    }
    table
}

/// Those of the admin listener.
pub(super) fn compile_admin_tls(
    tls: Option<&config::AdminTls>,
    problems: &mut Vec<Problem>,
) -> CertificateTable {
    let mut table = CertificateTable::default();
    if let Some(tls) = tls {
        fill(&mut table, &tls.certificates, &FieldPath::root().field("admin").field("tls"), problems);
    }
    table
}

/// Adds the certificates of the section at `path`; there must be one.
fn fill(
    table: &mut CertificateTable,
    pairs: &[config::Certificate],
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) {
    let path = path.field("certificates");
    for (at, pair) in pairs.iter().enumerate() {
        match ServerCertificate::from_pem(pair.cert.content.expose(), pair.key.content.expose()) {
            Ok(certificate) => table.add(certificate),
            Err(error) => problems.push(unusable(&path.index(at), pair, error)),
        }
    }
    if pairs.is_empty() {
        problems.push(
            Problem::error(path, "TLS needs a certificate")
                .with_help("one: `- {cert: fullchain.pem, key: privkey.pem}`"),
        );
    }
}

/// Beside each problem of a file of certificates.
pub(super) const LOOK_AT_CERTIFICATE: &str =
    "`openssl x509 -in FILE -noout -text` shows what is in a PEM file";

/// The problem of a certificate, or of its key, at `path`.
pub(super) fn unusable(path: &FieldPath, pair: &config::Certificate, error: CertificateError) -> Problem {
    match error {
        CertificateError::Certificate(what) => {
            Problem::error(path.field("cert"), format!("`{}` {what}", pair.cert.path.display()))
                .with_help(LOOK_AT_CERTIFICATE)
        }
        CertificateError::Key(what) => {
            Problem::error(path.field("key"), format!("`{}` {what}", pair.key.path.display()))
                .with_help("it is the PEM file that was made together with `cert`, without a passphrase")
        }
    }
}
