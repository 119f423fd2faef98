//! The admin API: who may, what it tells, what it does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{
    Client, Gateway, KEY, Origin, PATIENCE, Response, config, keygate, run_to_end, wait_for,
};

pub(crate) const TOKEN: &str = "admin-0123456789abcdef0123456789abcdef";

/// A config in `mode` with an admin listener of its own.
pub(crate) fn administered(mode: &str, origin: &Origin) -> String {
    config(mode, origin)
        .replace("admin: {enabled: false}", &format!("admin: {{listen: '127.0.0.1:0', token: {TOKEN}}}"))
}

/// Sends one request with these further field lines.
fn send(address: SocketAddr, request_line: &str, fields: &str) -> Response {
    let request = format!("{request_line} HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n");
    Client::connect(address).exchange(request)
}

pub(crate) fn ask(address: SocketAddr, request_line: &str) -> Response {
    send(address, request_line, &format!("Authorization: Bearer {TOKEN}\r\n"))
}

/// Sends JSON.
pub(crate) fn post(address: SocketAddr, path: &str, body: &Value) -> Response {
    let body = body.to_string();
    Client::connect(address).exchange(format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn status(address: SocketAddr) -> Value {
    let response = ask(address, "GET /api/status");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

pub(crate) fn code(response: &Response) -> String {
    response.json()["error"]["code"].as_str().unwrap().to_owned()
}

#[test]
fn the_status_says_what_is_in_force_and_why() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("auto", &origin));
    let status = status(gateway.admin());
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["generation"], 1);
    assert_eq!(status["auth_mode"]["configured"], "auto");
    assert_eq!(status["auth_mode"]["effective"], "off");
    assert!(status["auth_mode"]["why"].as_str().unwrap().contains("only this machine can connect"));
    assert_eq!(status["listeners"][0]["address"], gateway.address().to_string());
    assert_eq!(status["last_reload"]["outcome"], "started");
    assert_eq!(status["config_file"], gateway.file().display().to_string());
    assert_eq!(status["draining"], false);
    assert_eq!(status["pid"], gateway.program().id());
}

#[test]
fn of_what_it_tells_only_metrics_are_free() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let admin = gateway.admin();
    let metrics = send(admin, "GET /metrics", "");
    assert_eq!(metrics.status, 200);
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(String::from_utf8(metrics.body).unwrap().contains("\nkeygate_config_generation 1\n"));
    for request in
        ["GET /api/status", "POST /api/reload", "GET /page/nothing", "GET /api/nothing", "GET /metrics/"]
    {
        let response = send(admin, request, "");
        assert_eq!((response.status, code(&response).as_str()), (401, "token_missing"), "{request}");
        let wrong = send(admin, request, "Authorization: Bearer admin-another0123456789\r\n");
        assert_eq!((wrong.status, code(&wrong).as_str()), (401, "token_wrong"), "{request}");
    }
    assert_eq!(ask(admin, "GET /api/nothing").status, 404);
    assert_eq!(ask(admin, "DELETE /api/status").status, 405);
}

#[test]
fn without_a_token_it_says_how_to_set_one() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin).replace(&format!(", token: {TOKEN}"), ""));
    for fields in ["", "Authorization: Bearer \r\n", "Authorization: Bearer admin-0123456789abcdef\r\n"] {
        let response = send(gateway.admin(), "GET /api/status", fields);
        assert_eq!((response.status, code(&response).as_str()), (403, "no_token_configured"));
        assert!(response.json()["error"]["message"].as_str().unwrap().contains("`admin.token`"));
    }
    assert_eq!(send(gateway.admin(), "GET /metrics", "").status, 200);
    // A token that a reload brings counts at once.
    gateway.replace_config(&administered("strict", &origin));
    gateway.wait_for_generation(2);
    assert_eq!(status(gateway.admin())["generation"], 2);
}

#[test]
fn guessing_the_token_is_limited() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let guess =
        || send(gateway.admin(), "GET /api/status", "Authorization: Bearer admin-guess-0123456789\r\n");
    let refused = (0..100).map(|_| guess()).find(|response| response.status == 429).unwrap();
    assert_eq!(code(&refused), "too_many_attempts");
    assert!(refused.header("retry-after").is_some());
    gateway.program().wait_for_log("who tried", |line| line.contains("admin: 127.0.0.1: a wrong token"));
    // The right one passes, but not at once: else a guesser need not wait for the answer to a wrong one.
    wait_for("a right token that waits as a wrong one does", || {
        let guessed = guess().status == 401;
        let begun = Instant::now();
        assert_eq!(ask(gateway.admin(), "GET /api/status").status, 200);
        (guessed && begun.elapsed() >= Duration::from_secs(1)).then_some(())
    });
}

#[test]
fn a_page_of_another_site_gets_nothing() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let admin = gateway.admin();
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    for path in ["/api/status", "/metrics"] {
        let rebound = format!("GET {path} HTTP/1.1\r\nHost: rebound.example:{}\r\n{token}\r\n", admin.port());
        let absolute = format!("GET http://rebound.example{path} HTTP/1.1\r\nHost: {admin}\r\n{token}\r\n");
        for request in [rebound, absolute] {
            let response = Client::connect(admin).exchange(request);
            assert_eq!((response.status, code(&response).as_str()), (421, "foreign_host"));
        }
        let own = format!("GET http://{admin}{path} HTTP/1.1\r\nHost: {admin}\r\n{token}\r\n");
        assert_eq!(Client::connect(admin).exchange(own).status, 200);
        for fields in
            ["Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"]
        {
            let response = send(admin, &format!("GET {path}"), &format!("{token}{fields}"));
            assert_eq!((response.status, code(&response).as_str()), (403, "cross_site"), "{fields}");
            assert!(response.header("access-control-allow-origin").is_none());
        }
        let own = format!("{token}Origin: http://{admin}\r\nSec-Fetch-Site: same-origin\r\n");
        assert_eq!(send(admin, &format!("GET {path}"), &own).status, 200);
    }
}

#[test]
fn no_answer_may_be_kept_or_framed() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    for response in [ask(gateway.admin(), "GET /api/status"), send(gateway.admin(), "GET /api/status", "")] {
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert!(response.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
    }
}

#[test]
fn the_gateway_itself_does_not_serve_it() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("off", &origin));
    let response = ask(gateway.address(), "GET /api/status");
    assert_eq!(response.body, b"ok", "forwarded like anything else");
    assert_eq!(origin.only_request().head.lines().next(), Some("GET /api/status HTTP/1.1"));
}

#[test]
fn a_reload_is_answered_when_it_is_done() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let admin = gateway.admin();
    let done = ask(admin, "POST /api/reload");
    assert_eq!(done.status, 200);
    assert_eq!(
        (done.json()["outcome"].as_str(), done.json()["generation"].as_u64()),
        (Some("accepted"), Some(2))
    );
    assert_eq!(status(admin)["generation"], 2);
    gateway.program().wait_for_log("who asked", |line| {
        line.contains("admin: 127.0.0.1:") && line.contains("asked for a reload")
    });

    gateway.replace_config(&administered("strict", &origin).replace("proxy:", "proxy:\n  prot: 1"));
    let refused = ask(admin, "POST /api/reload");
    assert_eq!((refused.status, refused.json()["outcome"].as_str()), (422, Some("rejected")));
    let problem = refused.json()["problems"][0].as_str().unwrap().to_owned();
    assert!(problem.contains("keygate.yaml:2:3: error: unknown field `prot`"), "{problem}");
    let status = status(admin);
    assert_eq!(status["generation"], 2);
    assert_eq!(status["last_reload"]["problems"][0], problem);
    assert_eq!(ask(admin, "GET /api/reload").status, 405);
}

#[test]
fn the_status_says_what_needs_a_restart() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    gateway.replace_config(&administered("strict", &origin).replace("proxy:", "proxy:\n  threads: 3"));
    gateway.wait_for_generation(2);
    assert_eq!(status(gateway.admin())["last_reload"]["restart_needed"][0], "`threads`");
}

#[test]
fn an_address_that_other_machines_reach_is_refused() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("keygate.yaml");
    for (admin, message) in [
        (
            "listen: '0.0.0.0:8046'",
            "other machines reach `0.0.0.0:8046`, and the admin listener speaks no TLS",
        ),
        ("listen: localhost", "`localhost` is no address to listen on"),
        ("token: short", "a token is at least 16 visible ASCII characters"),
        ("token: sk-0123456789abcdef", "this token is also a key"),
        ("listen: '127.0.0.1:8045'", "`127.0.0.1:8045` is where the gateway itself listens"),
        (
            "listen: '127.0.0.1:9'}\nupstreams: {a: {peers: ['127.0.0.1:9']}",
            "upstream `a`: `127.0.0.1:9` is the admin listener",
        ),
        (
            "listen: '127.0.0.1:9'}\nupstreams: {a: {peers: ['localhost:9']}",
            "upstream `a`: `localhost:9` is the admin listener",
        ),
    ] {
        std::fs::write(&file, format!("proxy: {{api_key: sk-0123456789abcdef}}\nadmin: {{{admin}}}\n"))
            .unwrap();
        let output = run_to_end(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]));
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        let place = if admin.contains("upstreams") { "keygate.yaml:3:" } else { "keygate.yaml:2:" };
        assert!(error.contains(place) && error.contains(message), "{error}");
    }
}

#[test]
fn a_taken_admin_port_is_an_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("keygate.yaml");
    std::fs::write(
        &file,
        format!("proxy: {{listen: ['127.0.0.1:0'], auth_mode: off}}\nadmin: {{listen: '{address}'}}\n"),
    )
    .unwrap();
    let output = run_to_end(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&format!("error: cannot listen on `{address}`")), "{error}");
}

#[test]
fn keys_and_upstreams_are_listed_without_a_secret() {
    let origin = Origin::start();
    let digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let keys = format!(
        "keys:\n  - {{name: old, digest: '{digest}', expires_at: '2020-01-01T00:00:00Z'}}\n  \
         - {{name: off, digest: '{}', enabled: false}}\n",
        digest.replace('0', "1")
    );
    let gateway = Gateway::start(&(administered("strict", &origin) + &keys));
    let listed = ask(gateway.admin(), "GET /api/keys");
    let page = listed.json();
    assert_eq!(page["total"], 3);
    let state = |name: &str| {
        let keys = page["keys"].as_array().unwrap();
        keys.iter().find(|key| key["name"] == name).unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (state("api_key"), state("old"), state("off")),
        ("active".into(), "expired".into(), "disabled".into())
    );
    let text = String::from_utf8(listed.body.clone()).unwrap();
    assert!(!text.contains(KEY) && !text.contains("0000000000") && !text.contains("sha256"), "{text}");
    let upstreams = ask(gateway.admin(), "GET /api/upstreams").json();
    assert_eq!(upstreams["upstreams"][0]["name"], "origin");
    assert_eq!(upstreams["upstreams"][0]["peers"][0]["resolved"][0], origin.address.to_string());
    for request in ["GET /api/keys", "GET /api/upstreams"] {
        assert_eq!(send(gateway.admin(), request, "").status, 401, "{request}");
    }
}

/// A connection to `to` that comes from this address of this machine.
fn connect_from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// The answer to a request on this connection; empty if that is closed.
fn answered(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    if stream.write_all(request).is_ok() {
        let _ = stream.read_to_string(&mut answer);
    }
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn silent_connections_of_one_address_leave_room_for_others() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let admin = gateway.admin();
    let from = |address: &str| connect_from(address, admin);
    let silent: Vec<TcpStream> = (0..32).map(|_| from("127.0.0.2")).collect();
    assert_eq!(answered(from("127.0.0.2")), "", "it has as many as it may");
    assert_eq!(answered(from("127.0.0.3")), "HTTP/1.1 200 OK");
    gateway.program().wait_for_log("whose it was", |line| {
        line.contains("admin: a connection of 127.0.0.2 was closed: it has 32 already")
    });
    drop(silent);
    wait_for("a place", || (answered(from("127.0.0.2")) == "HTTP/1.1 200 OK").then_some(()));
}

#[test]
fn a_header_section_that_never_ends_is_cut_off() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let large = format!("Authorization: Bearer {TOKEN}\r\nX-Large: {}\r\n", "x".repeat(40_000));
    assert_eq!(send(gateway.admin(), "GET /api/status", &large).status, 431);
}
