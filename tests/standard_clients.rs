//! Clients that others wrote, in what the SDKs do not use: curl, h2load and `openssl s_client`.

use std::fs::File;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{Authority, Gateway, KEY, RunningOrigin, keygate, run_to_end};

/// A gateway in front of the origin, with this in `proxy`; `ca.pem`, `a.pem` (for `a.test`) and their keys beside its config.
struct Served {
    gateway: Gateway,
    _origin: RunningOrigin,
}

impl Served {
    fn start(proxy: &str) -> Self {
        let (origin, authority, directory) =
            (RunningOrigin::start(), Authority::new(), TempDir::new().unwrap());
        authority.write(directory.path(), "a", &["a.test"]);
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        let text = format!(
            "proxy: {{listen: ['127.0.0.1:0'], auth_mode: strict, api_key: {KEY}, {proxy}}}\n\
             upstreams: {{origin: {{peers: ['{}']}}}}\nroutes: [{{path_prefix: /, upstream: origin}}]\n",
            origin.address
        );
        let file = directory.path().join("keygate.yaml");
        std::fs::write(&file, text).unwrap();
        let gateway = Gateway::run(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]), directory);
        Self { gateway, _origin: origin }
    }

    fn with_tls() -> Self {
        Self::start(TLS)
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://a.test:{}{path}", self.gateway.address().port())
    }

    /// What a program, in the gateway's directory, says: whether it succeeded, and both its outputs.
    fn run(&self, program: &str, arguments: &[&str], input: &str) -> (bool, String) {
        let directory = self.gateway.directory.path();
        let stdin = directory.join("input");
        std::fs::write(&stdin, input).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory).stdin(Stdio::from(File::open(stdin).unwrap()));
        let output = run_to_end(command);
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// What curl says of a request, with the version of HTTP and the status at the end.
    fn curl(&self, scheme: &str, path: &str, arguments: &[&str]) -> String {
        let resolve = format!("a.test:{}:127.0.0.1", self.gateway.address().port());
        let url = self.url(scheme, path);
        let mut all = vec!["-sS", "--noproxy", "*", "--cacert", "ca.pem", "--resolve", &resolve];
        all.extend(["-w", "\n%{http_version} %{http_code}"]);
        all.extend(arguments);
        all.push(&url);
        self.run("curl", &all, "").1
    }

    /// What `openssl s_client` says, which sends a request with the key once it is connected.
    fn s_client(&self, arguments: &[&str]) -> (bool, String) {
        let address = self.gateway.address().to_string();
        let mut all = vec!["s_client", "-connect", &address, "-servername", "a.test", "-CAfile", "ca.pem"];
        all.extend(["-verify_return_error", "-ign_eof"]);
        all.extend(arguments);
        let request =
            format!("GET /ok HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nx-api-key: {KEY}\r\n\r\n");
        self.run("openssl", &all, &request)
    }
}

const TLS: &str = "tls: {certificates: [{cert: a.pem, key: a.key}]}";
const TLS_WITH_CLIENT_CA: &str = "tls: {certificates: [{cert: a.pem, key: a.key}], client_ca: ca.pem}";

fn key_header() -> String {
    format!("x-api-key: {KEY}")
}

#[test]
fn curl_speaks_http2_with_tls_and_by_prior_knowledge_and_cannot_upgrade_to_it() {
    let key = key_header();
    let (tls, cleartext) = (Served::with_tls(), Served::start("h2c: true"));
    for (served, scheme, version, answered) in [
        (&tls, "https", "--http2", "2"),
        (&tls, "https", "--http2-prior-knowledge", "2"),
        (&tls, "https", "--http1.1", "1.1"),
        (&cleartext, "http", "--http2-prior-knowledge", "2"),
        // Sends `Upgrade: h2c` (RFC 7540 §3.2, gone since RFC 9113), which is ignored.
        (&cleartext, "http", "--http2", "1.1"),
    ] {
        let said = served.curl(scheme, "/ok", &[version, "-H", &key]);
        assert_eq!(said, format!("ok\n\n{answered} 200"), "{scheme} {version}");
        let said = served.curl(scheme, "/ok", &[version, "-H", "x-api-key: sk-wrong"]);
        assert!(said.ends_with(&format!("\n{answered} 401")), "{scheme} {version}: {said}");
        let stream =
            r#"{"model": "gpt-mock", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}"#;
        let json = ["-N", "-H", "content-type: application/json", "-d", stream];
        let said = served.curl(scheme, "/v1/chat/completions", &[&[version, "-H", &key], &json[..]].concat());
        assert!(said.ends_with(&format!("data: [DONE]\n\n\n{answered} 200")), "{scheme} {version}: {said}");
    }
}

/// More than any window: the answer comes while the body is still being sent.
#[test]
fn curl_hears_why_its_upload_is_refused() {
    let served = Served::start("h2c: true");
    std::fs::write(served.gateway.directory.path().join("body"), vec![b'x'; 3 << 20]).unwrap();
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for expect in ["Expect: 100-continue", "Expect:"] {
            let upload = [version, "-T", "body", "-H", expect, "-H", "x-api-key: sk-wrong"];
            let said = served.curl("http", "/v1/files", &upload);
            assert!(said.contains("the `x-api-key` header decided"), "{version} {expect}: {said}");
            assert!(said.ends_with(" 401"), "{version} {expect}: {said}");
        }
    }
}

#[test]
fn all_of_2000_requests_of_h2load_succeed_with_tls_and_without() {
    let key = key_header();
    for (served, scheme) in [(Served::with_tls(), "https"), (Served::start("h2c: true"), "http")] {
        let connect_to = format!("--connect-to={}", served.gateway.address());
        let url = served.url(scheme, "/ok");
        let load = ["-n2000", "-c10", "-m10", "-t1", "-H", &key, &connect_to, &url];
        let (success, said) = served.run("h2load", &load, "");
        assert!(success, "{said}");
        let expected = [
            "Application protocol: h2",
            "2000 succeeded, 0 failed, 0 errored, 0 timeout",
            "status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx",
        ];
        for line in expected {
            assert!(said.contains(line), "{scheme}: {line}\n{said}");
        }
    }
}

#[test]
fn openssl_connects_with_tls_1_2_and_1_3_and_comes_back_with_its_session() {
    let served = Served::with_tls();
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        for (session, kind) in [("-sess_out", "New"), ("-sess_in", "Reused")] {
            let (success, said) = served.s_client(&[version, session, "session"]);
            assert!(success && said.contains("HTTP/1.1 200 OK"), "{version} {session}: {said}");
            assert!(said.contains(&format!("{kind}, {name}, Cipher is ")), "{version} {session}: {said}");
            assert!(said.contains("Verification: OK"), "{version} {session}: {said}");
        }
    }
    for (offered, chosen) in [("h2,http/1.1", "h2"), ("http/1.1", "http/1.1")] {
        let (_, said) = served.run(
            "openssl",
            &["s_client", "-connect", &served.gateway.address().to_string(), "-alpn", offered],
            "",
        );
        assert!(said.contains(&format!("ALPN protocol: {chosen}\n")), "{offered}: {said}");
    }
}

/// Without the security level, OpenSSL itself would not try.
#[test]
fn openssl_is_told_off_for_tls_1_1() {
    let served = Served::with_tls();
    let (success, said) = served.s_client(&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]);
    assert!(!success, "{said}");
    assert!(said.contains("SSL alert number") && said.contains("no peer certificate"), "{said}");
}

#[test]
fn openssl_is_asked_for_a_certificate_where_there_is_a_client_ca() {
    const ASKED: &str = "Acceptable client certificate CA names\nCN = an authority for a test\n";
    let (open, served) = (Served::with_tls(), Served::start(TLS_WITH_CLIENT_CA));
    for version in ["-tls1_2", "-tls1_3"] {
        let (_, said) = open.s_client(&[version]);
        assert!(said.contains("No client certificate CA names sent"), "{version}: {said}");
        let (success, said) = served.s_client(&[version]);
        assert!(!success && said.contains(ASKED), "{version}: {said}");
        assert!(
            said.contains("alert certificate required") && !said.contains("HTTP/1.1"),
            "{version}: {said}"
        );
        let (success, said) = served.s_client(&[version, "-cert", "a.pem", "-key", "a.key"]);
        assert!(success && said.contains(ASKED) && said.contains("HTTP/1.1 200 OK"), "{version}: {said}");
    }
}
