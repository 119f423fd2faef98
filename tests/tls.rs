//! TLS toward the clients.

use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{Authority, Client, Gateway, KEY, Origin, config, keygate, replace, run_to_end};

/// `config` with TLS, certificates `a` and `b`.
fn with_tls(origin: &Origin, more: &str) -> String {
    let tls = format!(
        "proxy:\n  tls:\n    certificates:\n      - {{cert: a.pem, key: a.key}}\n      - {{cert: b.pem, key: b.key}}\n{more}"
    );
    config("strict", origin).replacen("proxy:\n", &tls, 1)
}

/// A directory with the config and certificates for `a.test` and `b.test`, `*.b.test`.
fn directory(authority: &Authority, text: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    authority.write(directory.path(), "a", &["a.test"]);
    authority.write(directory.path(), "b", &["b.test", "*.b.test"]);
    std::fs::write(directory.path().join("keygate.yaml"), text).unwrap();
    directory
}

fn start(directory: TempDir) -> Gateway {
    let file = directory.path().join("keygate.yaml");
    Gateway::run(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]), directory)
}

fn get() -> String {
    format!("GET /v1/models HTTP/1.1\r\nHost: a.test\r\nx-api-key: {KEY}\r\n\r\n")
}

#[test]
fn a_request_over_tls_is_decided_like_any_other() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let gateway = start(directory(&authority, &with_tls(&origin, "")));
    let mut client =
        Client::connect_tls(gateway.address(), "a.test", &authority.client(&["http/1.1"])).unwrap();
    assert_eq!(client.exchange(get()).status, 200);
    assert_eq!(origin.only_request().header("x-forwarded-proto"), Some("https"));
    let refused = client.exchange("GET /v1/models HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!((refused.status, refused.error_code()), (401, Some("credential_missing")));
}

#[test]
fn without_tls_in_the_file_the_listeners_go_on_with_it_until_a_restart() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let gateway = start(directory(&authority, &with_tls(&origin, "")));
    gateway.replace_config(&config("strict", &origin));
    gateway.wait_for_generation(2);
    let client = Client::connect_tls(gateway.address(), "b.test", &authority.client(&["http/1.1"]));
    assert_eq!(client.unwrap().exchange(get()).status, 200);
    assert!(gateway.program().log().iter().any(|line| line.contains("`tls` (on or off) changed")));
}

#[test]
fn the_name_that_a_client_asks_for_picks_the_certificate() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let gateway = start(directory(&authority, &with_tls(&origin, "")));
    for (name, fits) in [("a.test", true), ("b.test", true), ("x.b.test", true), ("c.test", false)] {
        let connected = Client::connect_tls(gateway.address(), name, &authority.client(&[]));
        assert_eq!(connected.is_ok(), fits, "{name}");
    }
}

#[test]
fn old_and_new_tls_and_both_versions_of_http_are_spoken() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let directory = directory(&authority, &with_tls(&origin, ""));
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let gateway = start(directory);
    let port = gateway.address().port();
    let ask = |arguments: &[&str]| {
        let output = Command::new("curl")
            .args(["-sS", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--cacert"])
            .arg(&ca)
            .args(["--resolve", &format!("a.test:{port}:127.0.0.1"), "-H", &format!("x-api-key: {KEY}")])
            .args(arguments)
            .arg(format!("https://a.test:{port}/v1/models"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    for (arguments, version) in [
        (&["--tlsv1.2", "--tls-max", "1.2", "--http1.1"][..], "1.1 200"),
        (&["--tlsv1.3", "--http1.1"], "1.1 200"),
        (&["--tlsv1.2", "--tls-max", "1.2", "--http2"], "2 200"),
        (&["--tlsv1.3", "--http2"], "2 200"),
    ] {
        assert_eq!(ask(arguments), (true, version.to_owned()), "{arguments:?}");
    }
    assert!(!ask(&["--tls-max", "1.1"]).0, "TLS 1.1 is refused");
}

#[test]
fn a_client_that_chooses_http2_and_is_silent_is_not_waited_for() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let limits = "  connection_limits: {header_timeout: 300ms}\n";
    let gateway = start(directory(&authority, &with_tls(&origin, limits)));
    for start in ["", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut silent =
            Client::connect_tls(gateway.address(), "a.test", &authority.client(&["h2"])).unwrap();
        silent.send(start);
        silent.wait_for_close();
    }
}

#[test]
fn a_handshake_that_never_ends_is_not_waited_for() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let limits = "  connection_limits: {header_timeout: 300ms}\n";
    let gateway = start(directory(&authority, &with_tls(&origin, limits)));
    // Nothing; the head of a record (RFC 8446 §5.1) of 512 bytes, and no more.
    for start in [&b""[..], b"\x16\x03\x01\x02\0"] {
        let mut silent = gateway.connect();
        silent.send(start);
        silent.wait_for_close();
    }
}

#[test]
fn connections_have_their_limits_whichever_protocol_they_choose() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let limits = "  connection_limits: {per_client: 1}\n";
    let gateway = start(directory(&authority, &with_tls(&origin, limits)));
    for protocol in ["h2", "http/1.1"] {
        let client = authority.client(&[protocol]);
        let connect = || Client::connect_tls(gateway.address(), "a.test", &client);
        let first = crate::support::wait_for("the last one to be gone", || connect().ok());
        assert!(connect().is_err(), "{protocol}");
        drop(first);
    }
    // Not yet in a handshake, and counted.
    let silent = crate::support::wait_for("a place", || {
        let silent = gateway.connect();
        let refused = Client::connect_tls(gateway.address(), "a.test", &authority.client(&["h2"])).is_err();
        (refused && !silent.has_answer()).then_some(silent)
    });
    drop(silent);
}

#[test]
fn silence_in_a_body_has_its_limit_over_http2_with_tls_too() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let text = with_tls(&origin, "  request_limits: {body_timeout: 300ms}\n");
    let text = text.replacen("    peers:", "    timeouts: {write: 300ms}\n    peers:", 1);
    let gateway = start(directory(&authority, &text));
    let mut client = Client::connect_tls(gateway.address(), "a.test", &authority.client(&["h2"])).unwrap();
    // RFC 7541 §6: `POST https /` from the static table, the authority and the key as literals; the headers end, the stream
    // does not.
    let literal = |index: &[u8], value: &str| [index, &[value.len() as u8], value.as_bytes()].concat();
    let key = literal(b"\x00\x09x-api-key", KEY);
    let fields = [&b"\x83\x87\x84"[..], &literal(b"\x41", "a.test"), &key].concat();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    client.send([&[0, 0, fields.len() as u8, 1, 4, 0, 0, 0, 1], &fields[..]].concat());
    // RST_STREAM (RFC 9113 §6.4).
    loop {
        let head = client.read_exactly(9);
        client.read_exactly(usize::from(head[1]) << 8 | usize::from(head[2]));
        if head[3] == 3 {
            assert_eq!(head[8], 1);
            break;
        }
    }
    assert!(origin.received().is_empty());
}

#[test]
fn handshakes_that_fail_do_not_fill_the_log() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let gateway = start(directory(&authority, &with_tls(&origin, "")));
    for _ in 0..100 {
        let mut client = Client::connect(gateway.address());
        client.send("GET / HTTP/1.1\r\n\r\n");
        // An alert at most.
        assert!(client.read_to_end().len() < 20);
    }
    gateway.program().wait_for_log("the last one", |line| line.contains("more of the kind are left out"));
    let lines = gateway.program().log().iter().filter(|line| line.contains("handshake error")).count();
    // A window may have ended meanwhile.
    assert!((20..=60).contains(&lines), "{lines}");
}

#[test]
fn a_new_certificate_counts_from_the_next_handshake_on() {
    let (origin, authority, next) = (Origin::start(), Authority::new(), Authority::new());
    let gateway = start(directory(&authority, &with_tls(&origin, "")));
    let connect = |authority: &Authority| {
        Client::connect_tls(gateway.address(), "a.test", &authority.client(&["http/1.1"]))
    };
    let mut before = connect(&authority).unwrap();
    assert_eq!(before.exchange(get()).status, 200);
    assert!(connect(&next).is_err());
    let (cert, key) = next.issue(&["a.test"]);
    replace(&gateway.directory.path().join("a.key"), &key);
    replace(&gateway.directory.path().join("a.pem"), &cert);
    gateway.wait_for_generation(2);
    assert!(connect(&next).is_ok());
    assert!(connect(&authority).is_err());
    assert_eq!(before.exchange(get()).status, 200, "an open connection goes on");
}

#[test]
fn a_broken_certificate_changes_nothing() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let gateway = start(directory(&authority, &with_tls(&origin, "")));
    replace(&gateway.directory.path().join("a.pem"), "-----BEGIN CERTIFICATE-----\nnone\n");
    gateway.program().wait_for_log("the reason", |line| line.contains("keygate.yaml:4:16: error: `a.pem` "));
    gateway.program().wait_for_log("what is in force", |line| line.contains("generation 1 stays in force"));
    let mut client =
        Client::connect_tls(gateway.address(), "a.test", &authority.client(&["http/1.1"])).unwrap();
    assert_eq!(client.exchange(get()).status, 200);
}

#[test]
fn with_a_client_ca_only_clients_that_it_signed_come_in() {
    let (origin, authority, clients) = (Origin::start(), Authority::new(), Authority::new());
    let directory = directory(&authority, &with_tls(&origin, "    client_ca: clients.pem\n"));
    std::fs::write(directory.path().join("clients.pem"), clients.pem()).unwrap();
    let gateway = start(directory);
    let request = |config| {
        let mut client = Client::connect_tls(gateway.address(), "a.test", &config).ok()?;
        // With TLS 1.3 the client hears of the refusal only when it reads.
        client.try_exchange(get()).map(|response| response.status)
    };
    assert_eq!(request(authority.client_with_certificate(&clients)), Some(200));
    assert_eq!(request(authority.client_with_certificate(&authority)), None, "signed by another");
    assert_eq!(request(authority.client(&[])), None, "no certificate");
    assert_eq!(origin.received().len(), 1);
}

#[test]
fn check_says_what_is_wrong_with_a_certificate_and_when_a_good_one_ends() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let directory = directory(&authority, &with_tls(&origin, ""));
    let file = directory.path().join("keygate.yaml");
    let check = || {
        let output = run_to_end(keygate(["check".as_ref(), "-c".as_ref(), file.as_os_str()]));
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = check();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("certificate     b.test, *.b.test, until 4096-01-01"), "{text}");
    assert!(text.contains("listeners       https://127.0.0.1:0"), "{text}");
    std::fs::copy(directory.path().join("a.key"), directory.path().join("b.key")).unwrap();
    std::fs::remove_file(directory.path().join("a.pem")).unwrap();
    let (code, text) = check();
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("keygate.yaml:4:16: error: cannot read `"), "{text}");
    // What depends on a file that is missing is said once that is there.
    authority.write(directory.path(), "a", &["a.test"]);
    let (_, text) = check();
    assert!(text.contains("keygate.yaml:5:28: error: `b.key` is not the key of this certificate"), "{text}");
}

#[test]
fn a_certificate_that_ends_soon_is_told_of_in_the_log_and_in_a_metric() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let hour = 3600;
    // Half an hour in which the number of whole hours stays.
    let (soon, ended) = (now + 74 * hour + hour / 2, now - hour);
    let text = with_tls(&origin, "").replace("admin: {enabled: false}", "admin: {listen: '127.0.0.1:0'}");
    let text = text
        .replace("peers:", "tls_client_certificate: {cert: c.pem, key: c.key}\n    tls: true\n    peers:");
    let directory = directory(&authority, &text);
    let write = |name: &str, (cert, key): (String, String)| {
        replace(&directory.path().join(format!("{name}.key")), &key);
        replace(&directory.path().join(format!("{name}.pem")), &cert);
    };
    write("a", authority.issue_until(&["a.test"], soon));
    write("c", authority.issue_until(&[], ended));
    let gateway = start(directory);
    let logged = |what: &'static str| {
        gateway.program().wait_for_log(what, move |line| line.contains(what));
    };
    logged("certificate `proxy.tls.certificates[0]` (a.test) ends in 3 d 2 h, at ");
    logged("certificate `upstreams.origin.tls_client_certificate` has ended, at ");
    assert!(!gateway.program().log().iter().any(|line| line.contains("certificates[1]")), "b.test has time");
    let ends = || {
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let body = Client::connect(gateway.admin()).exchange(request).body;
        let family = "keygate_certificate_not_after_timestamp_seconds{place=\"";
        let text = String::from_utf8(body).unwrap();
        text.lines().filter_map(|line| line.strip_prefix(family)).map(str::to_owned).collect::<Vec<_>>()
    };
    let first = ends();
    assert_eq!(first.len(), 3, "{first:?}");
    assert_eq!(first[0], format!("proxy.tls.certificates[0]\",name=\"a.test\"}} {soon}"));
    assert_eq!(first[2], format!("upstreams.origin.tls_client_certificate\",name=\"\"}} {ended}"));
    authority.write(gateway.directory.path(), "a", &["a.test"]);
    gateway.wait_for_generation(2);
    assert_ne!(ends()[0], first[0], "a renewed one counts");
}
