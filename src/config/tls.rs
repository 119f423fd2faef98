//! Section `proxy.tls`: TLS toward the clients.

use schemars::JsonSchema;
use serde::Deserialize;

use super::PemFile;
use crate::problem::FieldPath;

/// TLS 1.2 and 1.3 toward the clients, with HTTP/2 and HTTP/1.1 (ALPN `h2`, `http/1.1`).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificates. The name that a client asks for (SNI) picks one, by exact name before wildcard; the first one serves everybody else. Changed files are picked up while the gateway runs.
    pub certificates: Vec<Certificate>,
    /// Certificates of authorities (PEM): with it every client must present a certificate that one of them signed. Changing it needs a restart.
    #[serde(default)]
    #[schemars(example = "tls/clients-ca.pem")]
    pub client_ca: Option<PemFile>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"cert": "tls/fullchain.pem", "key": "tls/privkey.pem"}))]
pub struct Certificate {
    /// The certificate and the chain behind it, as PEM. Relative to this file.
    pub cert: PemFile,
    /// The private key, as PEM (PKCS#8, PKCS#1 or SEC1). Relative to this file.
    pub key: PemFile,
}

impl Tls {
    /// All files that it names, each with its place; `path` is the place of this section.
    pub(super) fn files(&mut self, path: &FieldPath) -> Vec<(FieldPath, &mut PemFile)> {
        let pairs = certificate_files(&mut self.certificates, path);
        pairs.chain(self.client_ca.iter_mut().map(|ca| (path.field("client_ca"), ca))).collect()
    }
}

/// The files of the field `certificates` of the section at `path`.
pub(super) fn certificate_files<'a>(
    certificates: &'a mut [Certificate],
    path: &FieldPath,
) -> impl Iterator<Item = (FieldPath, &'a mut PemFile)> {
    let path = path.field("certificates");
    certificates.iter_mut().enumerate().flat_map(move |(at, pair)| {
        let here = path.index(at);
        [(here.field("cert"), &mut pair.cert), (here.field("key"), &mut pair.key)]
    })
}
