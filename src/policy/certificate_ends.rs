//! When the certificates end that the gateway shows, to clients and to peers.

use super::Snapshot;
use crate::clock::UnixSeconds;
use crate::problem::FieldPath;

/// How long before its end a certificate is warned of. Whoever renews by machine does so a third of the time before (30 of
/// Let's Encrypt's 90 days): what has two weeks left was not renewed.
const SOON_SECONDS: i64 = 14 * 24 * 3600;

/// One certificate's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateEnd {
    /// Where the config has it: `proxy.tls.certificates[0]`. No two have the same.
    pub place: String,
    /// The first name that it is for; empty where it has none, or is for no name.
    pub name: String,
    /// Its last second.
    pub not_after: UnixSeconds,
}

impl CertificateEnd {
    /// Whether it ends soon, or has ended.
    pub fn is_near(&self, now: UnixSeconds) -> bool {
        self.not_after.0.saturating_sub(now.0) < SOON_SECONDS
    }
}

impl Snapshot {
    /// The end of each certificate: those for the clients first, in the order of the config.
    pub fn certificate_ends(&self) -> impl Iterator<Item = CertificateEnd> {
        let certificates = FieldPath::root().field("proxy").field("tls").field("certificates");
        let to_clients = self.certificates.iter().enumerate().map(move |(at, certificate)| CertificateEnd {
            place: certificates.index(at).to_string(),
            name: certificate.names.first().cloned().unwrap_or_default(),
            not_after: certificate.not_after,
        });
        let upstreams = FieldPath::root().field("upstreams");
        let to_peers = self.upstreams.iter().filter_map(move |upstream| {
            Some(CertificateEnd {
                place: upstreams.field(&*upstream.name).field("tls_client_certificate").to_string(),
                name: String::new(),
                not_after: upstream.client_certificate.as_ref()?.not_after,
            })
        });
        to_clients.chain(to_peers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_near_for_two_weeks_and_stays_so() {
        let day = 24 * 3600;
        let now = UnixSeconds(1_000_000_000);
        for (days, near) in [(365, false), (15, false), (14, false), (13, true), (0, true), (-400, true)] {
            let not_after = UnixSeconds(now.0 + days * day);
            let end = CertificateEnd { place: String::new(), name: String::new(), not_after };
            assert_eq!(end.is_near(now), near, "{days} days");
        }
    }
}
