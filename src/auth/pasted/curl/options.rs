//! The options of curl (8.16, and all that went before), as far as they matter here.

use std::collections::HashSet;
use std::sync::LazyLock;

/// What an option means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It changes nothing that the gateway looks at, and takes no value.
    Flag,
    /// The same, with a value.
    Value,
    /// `-H`: a header line.
    Header,
    /// `-X`: the method.
    Method,
    /// `-u`: a user, for `Basic`.
    User,
    /// `--oauth2-bearer`.
    Bearer,
    /// `--url`.
    Url,
    /// `--url-query`.
    Query,
    /// The request carries content; with the method that is the default then.
    Content(&'static str),
    /// `-G`: what would be content is a query.
    AsQuery,
    /// `-I`.
    Head,
    /// `--digest` and the like: the credentials of `-u` are sent when the server asks for them.
    WhenAsked,
    /// The rest belongs to another request.
    Next,
    /// It reads headers or credentials from where they cannot be seen here.
    FromElsewhere,
}

impl Meaning {
    /// Whether the option has a value behind it.
    pub(super) fn takes_value(self) -> bool {
        matches!(
            self,
            Self::Value
                | Self::Header
                | Self::Method
                | Self::User
                | Self::Bearer
                | Self::Url
                | Self::Query
                | Self::Content(_)
        )
    }
}

/// What `name` means; a long one that is not known is a flag.
pub(super) fn meaning(name: &str) -> Meaning {
    match name {
        "-H" | "--header" => Meaning::Header,
        "-X" | "--request" => Meaning::Method,
        "-u" | "--user" => Meaning::User,
        "--oauth2-bearer" => Meaning::Bearer,
        "--url" => Meaning::Url,
        "--url-query" => Meaning::Query,
        "-d" | "--data" | "--data-raw" | "--data-binary" | "--data-ascii" | "--data-urlencode" | "--json"
        | "-F" | "--form" | "--form-string" => Meaning::Content("POST"),
        "-T" | "--upload-file" => Meaning::Content("PUT"),
        "-G" | "--get" => Meaning::AsQuery,
        "-I" | "--head" => Meaning::Head,
        "--digest" | "--ntlm" | "--negotiate" | "--anyauth" => Meaning::WhenAsked,
        "-:" | "--next" => Meaning::Next,
        "-K" | "--config" | "-n" | "--netrc" | "--netrc-optional" | "--netrc-file" => Meaning::FromElsewhere,
        _ if name.starts_with("--expand-") => Meaning::FromElsewhere,
        _ if WITH_VALUE.contains(name) => Meaning::Value,
        _ => Meaning::Flag,
    }
}

/// Options with a value that changes nothing here. A line may consist of nothing but options, and each is looked up.
static WITH_VALUE: LazyLock<HashSet<&str>> = LazyLock::new(|| NAMES.split_ascii_whitespace().collect());

const NAMES: &str = "
    -A -C -D -E -P -Q -U -Y -b -c -e -h -m -o -r -t -w -x -y -z --abstract-unix-socket --alt-svc --aws-sigv4
    --cacert --capath --cert --cert-type --ciphers --connect-timeout --connect-to --continue-at --cookie
    --cookie-jar --create-file-mode --crlfile --curves --delegation --dns-interface --dns-ipv4-addr --dns-ipv6-addr
    --dns-servers --doh-url --dump-header --ech --egd-file --engine --etag-compare --etag-save --expect100-timeout
    --ftp-account --ftp-alternative-to-user --ftp-method --ftp-port --ftp-ssl-ccc-mode --happy-eyeballs-timeout-ms
    --haproxy-clientip --help --hostpubmd5 --hostpubsha256 --hsts --interface --ip-tos --ipfs-gateway
    --keepalive-cnt --keepalive-time --key --key-type --krb --libcurl --limit-rate --local-port --login-options
    --mail-auth --mail-from --mail-rcpt --max-filesize --max-redirs --max-time --noproxy --output --output-dir
    --parallel-max --pass --pinnedpubkey --preproxy --proto --proto-default --proto-redir --proxy --proxy-cacert
    --proxy-capath --proxy-cert --proxy-cert-type --proxy-ciphers --proxy-crlfile --proxy-header --proxy-key
    --proxy-key-type --proxy-pass --proxy-pinnedpubkey --proxy-service-name --proxy-tls13-ciphers
    --proxy-tlsauthtype --proxy-tlspassword --proxy-tlsuser --proxy-user --proxy1.0 --pubkey --quote --random-file
    --range --rate --referer --request-target --resolve --retry --retry-delay --retry-max-time --sasl-authzid
    --service-name --sigalgs --socks4 --socks4a --socks5 --socks5-gssapi-service --socks5-hostname --speed-limit
    --speed-time --stderr --telnet-option --tftp-blksize --time-cond --tls-max --tls13-ciphers --tlsauthtype
    --tlspassword --tlsuser --trace --trace-ascii --trace-config --unix-socket --upload-flags --user-agent
    --variable --vlan-priority --write-out";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_the_installed_curl_that_take_a_value_are_known() {
        let output = std::process::Command::new("curl").args(["-q", "--help", "all"]).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        let with_value = help.lines().skip(1).filter(|line| line.contains(" <"));
        let names = with_value.flat_map(|line| {
            let names = line.split(" <").next().unwrap_or_default();
            names.split([',', ' ']).filter(|name| name.starts_with('-')).collect::<Vec<_>>()
        });
        let mut seen = 0;
        for name in names {
            assert_ne!(meaning(name), Meaning::Flag, "{name}");
            seen += 1;
        }
        assert!(seen > 100, "a sweep must have swept something: {seen}");
        for flag in ["-s", "--compressed", "-k", "-L", "--http2", "-#"] {
            assert_eq!(meaning(flag), Meaning::Flag, "{flag}");
        }
    }
}
