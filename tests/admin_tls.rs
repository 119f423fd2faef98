//! The admin API over TLS, where other machines reach it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use tempfile::TempDir;

use crate::admin::TOKEN;
use crate::support::{
    Authority, Client, Gateway, Origin, config, keygate, replace, run_to_end, wait_for, without_sdk_variables,
};

/// A config whose admin listener, on this address, shows the certificate `admin.pem`.
fn with_tls(origin: &Origin, listen: &str) -> String {
    config("strict", origin).replace(
        "admin: {enabled: false}",
        &format!(
            "admin:\n  listen: '{listen}'\n  token: {TOKEN}\n  tls:\n    certificates:\n      \
             - {{cert: admin.pem, key: admin.key}}\n"
        ),
    )
}

fn start(authority: &Authority, text: &str) -> Gateway {
    let directory = TempDir::new().unwrap();
    authority.write(directory.path(), "admin", &["gateway.test"]);
    let file = directory.path().join("keygate.yaml");
    std::fs::write(&file, text).unwrap();
    Gateway::run(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]), directory)
}

/// The same port by way of loopback.
fn here(gateway: &Gateway) -> SocketAddr {
    ([127, 0, 0, 1], gateway.admin().port()).into()
}

fn connect(gateway: &Gateway, authority: &Authority) -> std::io::Result<Client> {
    Client::connect_tls(here(gateway), "gateway.test", &authority.client(&["http/1.1"]))
}

#[test]
fn with_tls_it_may_listen_where_other_machines_reach_it() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let gateway = start(&authority, &with_tls(&origin, "0.0.0.0:0"));
    let port = gateway.admin().port();
    let mut client = connect(&gateway, &authority).unwrap();
    let mut status =
        |path: &str, fields: &str| client.exchange(format!("GET {path} HTTP/1.1\r\n{fields}\r\n")).status;
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    for host in ["gateway.test".to_owned(), format!("GATEWAY.test:{port}"), format!("10.0.0.7:{port}")] {
        assert_eq!(status("/metrics", &format!("Host: {host}\r\n")), 200, "{host}");
        assert_eq!(status("/api/status", &format!("Host: {host}\r\n")), 401, "{host}");
        assert_eq!(status("/api/status", &format!("Host: {host}\r\n{token}")), 200, "{host}");
    }
    assert_eq!(status("/api/status", &format!("Host: rebound.test\r\n{token}")), 421);
    for (origin, expected) in
        [("https://gateway.test", 200), ("http://gateway.test", 403), ("https://other.test", 403)]
    {
        let fields = format!("Host: gateway.test\r\nOrigin: {origin}\r\n{token}");
        assert_eq!(status("/api/status", &fields), expected, "{origin}");
    }
}

#[test]
fn without_tls_it_gets_no_answer() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let gateway = start(&authority, &with_tls(&origin, "127.0.0.1:0"));
    let mut socket = TcpStream::connect(gateway.admin()).unwrap();
    socket
        .write_all(format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.admin()).as_bytes())
        .unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
    assert!(Client::connect_tls(gateway.admin(), "gateway.test", &Authority::new().client(&[])).is_err());
}

#[test]
fn a_new_certificate_counts_and_none_keeps_the_old_one() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let text = with_tls(&origin, "127.0.0.1:0");
    let gateway = start(&authority, &text);
    let renewed = Authority::new();
    let (cert, key) = renewed.issue(&["gateway.test"]);
    replace(&gateway.directory.path().join("admin.key"), &key);
    replace(&gateway.directory.path().join("admin.pem"), &cert);
    wait_for("the new certificate", || connect(&gateway, &renewed).ok());
    assert!(connect(&gateway, &authority).is_err());

    let without = text.split("  tls:").next().unwrap().to_owned();
    gateway.replace_config(&without);
    gateway.program().wait_for_log("what needs a restart", |line| {
        line.contains("`admin` (`enabled`, `listen`, `tls` on or off) changed")
    });
    assert!(connect(&gateway, &renewed).is_ok(), "it still speaks TLS, and has a certificate to show");
}

#[test]
fn the_command_line_knows_the_certificate_from_the_config() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let gateway = start(&authority, &with_tls(&origin, "127.0.0.1:0"));
    let asking = |certificate: &str| {
        let file = gateway.directory.path().join("asking.yaml");
        let text = with_tls(&origin, &gateway.admin().to_string());
        std::fs::write(&file, text.replace("admin.pem, key: admin.key", certificate)).unwrap();
        let output = run_to_end(keygate(["admin", "-c", file.to_str().unwrap(), "status"]));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, error) = asking("admin.pem, key: admin.key");
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("strict (auth_mode: strict)"), "{out}");

    // Of somebody else who listens there, the token is not for.
    authority.write(gateway.directory.path(), "other", &["gateway.test"]);
    let (code, _, error) = asking("other.pem, key: other.key");
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn explain_and_doctor_know_the_certificate_from_the_config() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let gateway = start(&authority, &with_tls(&origin, "127.0.0.1:0"));
    let denied = gateway.exchange("GET / HTTP/1.1\r\nHost: x\r\nx-api-key: wrong\r\n\r\n");
    assert_eq!(denied.status, 401);
    let id = denied.header("x-request-id").unwrap().to_owned();
    let file = gateway.directory.path().join("asking.yaml");
    let text = with_tls(&origin, &gateway.admin().to_string());
    authority.write(gateway.directory.path(), "other", &["gateway.test"]);
    let run = |words: &[&str], certificate: &str| {
        std::fs::write(&file, text.replace("admin.pem, key: admin.key", certificate)).unwrap();
        let mut command = keygate(words);
        without_sdk_variables(&mut command);
        command.args(["-c", file.to_str().unwrap()]).env_remove("KEYGATE_ADMIN_TOKEN");
        let output = run_to_end(command);
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let (own, other) = ("admin.pem, key: admin.key", "other.pem, key: other.key");
    let explain = ["explain", "--id", &id];
    let explained = wait_for("an explained denial", || {
        let said = run(&explain, own);
        (!said.contains("remembers no denial")).then_some(said)
    });
    assert!(explained.contains("GET / from 127.0.0.1"), "{explained}");
    let url = format!("http://{}", gateway.address());
    let doctor = ["doctor", &url, "--key", "sk-wrong"];
    let said = run(&doctor, own);
    assert!(said.contains("the gateway says: Every request needs a key"), "{said}");

    // Whoever has another certificate gets no token, whatever the address is called.
    let port = gateway.admin().port();
    let named = format!("https://localhost:{port}");
    assert!(run(&[&explain[..], &["--admin", &named]].concat(), own).contains("GET / from 127.0.0.1"));
    for words in [&explain[..], &[&explain[..], &["--admin", &named]].concat()] {
        let refused = run(words, other);
        assert!(refused.contains("invalid peer certificate"), "{refused}");
    }
    assert!(!run(&doctor, other).contains("the gateway says"));
    let clear = run(&[&explain[..], &["--admin", &format!("http://localhost:{port}")]].concat(), own);
    assert!(clear.contains("the admin listener of this config speaks TLS"), "{clear}");
}

#[test]
fn where_no_config_knows_the_certificate_the_authorities_of_the_system_do() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let gateway = start(&authority, &with_tls(&origin, "127.0.0.1:0"));
    let elsewhere = TempDir::new().unwrap();
    let authorities = elsewhere.path().join("authorities.pem");
    std::fs::write(&authorities, authority.pem()).unwrap();
    authority.write(gateway.directory.path(), "admin", &["localhost"]);
    wait_for("the new certificate", || {
        Client::connect_tls(here(&gateway), "localhost", &authority.client(&[])).ok()
    });
    let asked = |host: &str, trusted: bool| {
        let url = format!("https://{host}:{}", gateway.admin().port());
        let mut command = keygate(["explain", "--id", "none", "--admin", &url]);
        command.current_dir(elsewhere.path()).env("KEYGATE_ADMIN_TOKEN", TOKEN);
        if trusted {
            command.env("SSL_CERT_FILE", &authorities);
        }
        String::from_utf8(run_to_end(command).stderr).unwrap()
    };
    assert!(asked("localhost", true).contains("remembers no denial"), "{}", asked("localhost", true));
    assert!(asked("localhost", false).contains("invalid peer certificate"));
    assert!(asked("127.0.0.1", true).contains("invalid peer certificate"), "the name counts");
}
