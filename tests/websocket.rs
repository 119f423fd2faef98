//! WebSockets: the handshake is decided on as every request is, then bytes go both ways; nothing else is an upgrade.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::support::{Authority, Gateway, KEY, Origin, Python, config, wait_for};

/// A client and a server of the Python package `websockets`.
struct WebSockets {
    python: Python,
    /// Where the server listens.
    port: u64,
}

impl WebSockets {
    fn start() -> Self {
        let mut python = Python::start("websocket_client.py");
        let port = python.ask(&json!(["listen"])).as_u64().unwrap();
        Self { python, port }
    }

    fn ask(&mut self, command: &Value) -> Value {
        self.python.ask(command)
    }

    fn connect(&mut self, gateway: &Gateway, headers: &Value, protocols: &[&str]) -> Value {
        let url = format!("ws://{}/v1/realtime?model=gpt-mock", gateway.address());
        self.ask(&json!(["connect", url, headers, protocols]))
    }

    /// A gateway before the server.
    fn gateway(&self, proxy: &str, upstream: &str) -> Gateway {
        Gateway::start(&format!(
            "proxy: {{listen: ['127.0.0.1:0'], api_key: {KEY}, {proxy}}}\n\
             upstreams: {{echo: {{peers: ['127.0.0.1:{}']{upstream}}}}}\nroutes: [{{path_prefix: /, upstream: echo}}]\n",
            self.port
        ))
    }
}

fn bearer() -> Value {
    json!({"Authorization": format!("Bearer {KEY}")})
}

#[test]
fn a_websocket_passes_with_a_key_and_not_without() {
    let mut python = WebSockets::start();
    let gateway = python.gateway("auth_mode: strict", "");
    assert_eq!(python.connect(&gateway, &json!({}), &[]), json!([401, "credential_missing"]));
    let wrong = json!({"x-api-key": "sk-wrong"});
    assert_eq!(python.connect(&gateway, &wrong, &[]), json!([401, "credential_invalid"]));
    assert_eq!(python.connect(&gateway, &bearer(), &[]), json!([101, null, []]));
    assert_eq!(python.ask(&json!(["echo", "hello"])), json!(["hello", "hello"]));
    assert_eq!(python.ask(&json!(["large", 1 << 20])), json!(true));
    assert_eq!(python.ask(&json!(["close", 4001])), json!(4001), "the close of the client comes back");
    assert_eq!(python.connect(&gateway, &bearer(), &[]), json!([101, null, []]));
    assert_eq!(python.ask(&json!(["be closed", 4002])), json!([4002, "as asked"]));
}

#[test]
fn a_websocket_goes_on_over_reloads() {
    let mut python = WebSockets::start();
    let gateway = python.gateway("auth_mode: strict", "");
    assert_eq!(python.connect(&gateway, &bearer(), &[])[0], 101);
    let before = std::fs::read_to_string(gateway.file()).unwrap();
    for generation in 2..5 {
        gateway.replace_config(&before.replace(KEY, &format!("sk-other-{generation}")));
        gateway.wait_for_generation(generation);
        assert_eq!(python.ask(&json!(["echo", "still here"])), json!(["still here", "still here"]));
    }
    assert_eq!(python.ask(&json!(["close", 1000])), json!(1000));
    assert_eq!(python.connect(&gateway, &bearer(), &[]), json!([401, "credential_invalid"]));
}

#[test]
fn a_key_among_the_protocols_counts_where_that_is_wanted_and_goes_no_further() {
    let mut python = WebSockets::start();
    let key = format!("openai-insecure-api-key.{KEY}");
    let offered = ["realtime", &*key, "openai-beta.realtime-v1"];
    let left = json!(["realtime, openai-beta.realtime-v1"]);
    let off = python.gateway("auth_mode: strict", "");
    assert_eq!(python.connect(&off, &json!({}), &offered), json!([401, "credential_missing"]));
    assert_eq!(python.connect(&off, &bearer(), &offered), json!([101, "realtime", left]));
    for mode in ["strict", "all_except_health", "'off'"] {
        let on = python.gateway(&format!("auth_mode: {mode}, websocket_protocol_keys: true"), "");
        assert_eq!(python.connect(&on, &json!({}), &offered), json!([101, "realtime", left]), "{mode}");
        assert_eq!(python.ask(&json!(["echo", mode])), json!([mode, mode]));
        assert_eq!(python.connect(&on, &json!({}), &[&key]), json!([101, null, []]), "{mode}");
    }
    let on = python.gateway("auth_mode: strict, websocket_protocol_keys: true", "");
    let wrong = ["realtime", "openai-insecure-api-key.sk-wrong"];
    assert_eq!(python.connect(&on, &json!({}), &wrong), json!([401, "credential_invalid"]));
    assert_eq!(python.connect(&on, &json!({}), &[&key, &key]), json!([401, "credential_malformed"]));
    let first = json!({"x-api-key": "sk-wrong"});
    assert_eq!(
        python.connect(&on, &first, &offered),
        json!([401, "credential_invalid"]),
        "the header decides"
    );
    on.program().wait_for_log("the denial", |line| line.contains("header=Sec-WebSocket-Protocol"));
    let log = on.program().log().join("\n");
    assert!(!log.contains(KEY) && !log.contains("sk-wrong"), "{log}");
}

/// Where no key is asked for, a provider's key may be meant for the upstream, one of the gateway's never.
#[test]
fn without_keys_a_providers_protocol_passes_and_the_gateways_key_does_not() {
    let mut python = WebSockets::start();
    let gateway = python.gateway("auth_mode: 'off'", "");
    let theirs = "openai-insecure-api-key.sk-provider";
    let ours = format!("openai-insecure-api-key.{KEY}");
    let reaches = |python: &mut WebSockets, gateway: &Gateway, offered: &[&str]| {
        python.connect(gateway, &json!({}), offered)[2].clone()
    };
    assert_eq!(reaches(&mut python, &gateway, &["realtime", theirs]), json!([format!("realtime, {theirs}")]));
    assert_eq!(reaches(&mut python, &gateway, &["realtime", &ours]), json!(["realtime"]));
    assert_eq!(reaches(&mut python, &gateway, &[KEY, "realtime"]), json!(["realtime"]));
    let own = ", credential: {header: authorization, value: sk-own}";
    let gateway = python.gateway("auth_mode: 'off'", own);
    assert_eq!(reaches(&mut python, &gateway, &["realtime", theirs]), json!(["realtime"]));
}

/// A peer that offers HTTP/2 would be spoken to in that, which has no upgrade.
#[test]
fn a_websocket_takes_http1_where_the_peer_offers_both() {
    let mut python = WebSockets::start();
    let (authority, directory) = (Authority::new(), tempfile::TempDir::new().unwrap());
    let file = |name: &str| directory.path().join(name).display().to_string();
    authority.write(directory.path(), "peer", &["peer.test"]);
    std::fs::write(file("ca.pem"), authority.pem()).unwrap();
    let certificate = format!("{{cert: {}, key: {}}}", file("peer.pem"), file("peer.key"));
    let peer = python.gateway(&format!("auth_mode: 'off', tls: {{certificates: [{certificate}]}}"), "");
    let gateway = Gateway::start(&format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: strict, api_key: {KEY}, threads: 1}}\n\
         upstreams: {{peer: {{peers: ['{}'], tls: true, sni: peer.test, tls_ca: {}, protocol: auto}}}}\n\
         routes: [{{path_prefix: /, upstream: peer}}]\n",
        peer.address(),
        file("ca.pem")
    ));
    // The server wants a handshake, and says so to a request that is none.
    let plain = gateway.exchange(format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nx-api-key: {KEY}\r\n\r\n"));
    assert_eq!(plain.status, 426, "over HTTP/2, whose connection is kept");
    assert_eq!(python.connect(&gateway, &bearer(), &[]), json!([101, null, []]));
    assert_eq!(python.ask(&json!(["echo", "hello"])), json!(["hello", "hello"]));
    assert_eq!(python.ask(&json!(["close", 1000])), json!(1000));
}

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn every_other_upgrade_is_left_out_and_the_request_goes_on() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("off", &origin));
    for (method, fields) in [
        (
            "GET",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n".to_owned(),
        ),
        ("GET", "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n".to_owned()),
        ("GET", HANDSHAKE.replace("Connection: Upgrade\r\n", "")),
        ("GET", HANDSHAKE.replace(": 13", ": 8")),
        ("GET", HANDSHAKE.replace(": websocket", ": websocket, h2c")),
        ("POST", format!("{HANDSHAKE}Content-Length: 2\r\n")),
        ("DELETE", HANDSHAKE.to_owned()),
    ] {
        let mut client = gateway.connect();
        let body = if method == "POST" { "{}" } else { "" };
        let response =
            client.exchange(format!("{method} / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}"));
        assert_eq!((response.status, &*response.body), (200, &b"ok"[..]), "{method} {fields}");
        let request = origin.received().pop().unwrap();
        for field in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(request.header(field), None, "{method} {fields}");
        }
        let next = client.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(next.status, 200, "the connection goes on");
    }
}

#[test]
fn an_upstream_that_switches_unasked_is_refused() {
    let origin = Origin::answering(|request, stream| {
        let to = if request.head.contains("/other") { "other" } else { "websocket" };
        let answer = String::from_utf8_lossy(SWITCH).replace("websocket", to);
        stream.write_all(answer.as_bytes())?;
        stream.write_all(b"smuggled")
    });
    let gateway = Gateway::start(&config("off", &origin));
    for (target, fields) in [("/", ""), ("/", "Upgrade: websocket\r\n"), ("/other", HANDSHAKE)] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let response = gateway.exchange(request);
        assert_eq!(response.status, 502, "{target} {fields}");
        assert_eq!(response.error_code(), Some("upstream_switched_protocols"));
        assert!(!String::from_utf8_lossy(&response.body).contains("smuggled"));
    }
    let mut client = gateway.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{HANDSHAKE}\r\n"));
    assert!(client.read_head().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.read_exactly(8), b"smuggled", "what was asked for passes");
}

/// RFC 6455 §4.1 has clients wait for the answer; those that do not lose nothing.
#[test]
fn what_comes_before_the_answer_to_the_handshake_reaches_the_upstream() {
    let (release, released) = std::sync::mpsc::channel();
    let released = std::sync::Mutex::new(released);
    let origin = Origin::answering(move |request, stream| {
        if request.head.starts_with("GET /other ") {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
        released.lock().unwrap().recv().unwrap();
        stream.write_all(SWITCH)?;
        let mut frames = [0; 12];
        stream.read_exact(&mut frames)?;
        stream.write_all(&frames)
    });
    let gateway = Gateway::start(&config("off", &origin));
    let mut client = gateway.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{HANDSHAKE}\r\nfirst "));
    wait_for("the handshake", || (origin.received().len() == 1).then_some(()));
    client.send("second");
    assert_eq!(gateway.exchange("GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    release.send(()).unwrap();
    assert!(client.read_head().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.read_exactly(12), b"first second");
}

/// RFC 8441: a client may send one only where the server has said that it takes them, which the gateway does not.
#[test]
fn http2_has_no_websockets() {
    let origin = Origin::start();
    let text = config("off", &origin).replace("proxy:\n", "proxy:\n  h2c: true\n");
    let gateway = Gateway::start(&text);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let exchange = async {
        let socket = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let (sender, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let mut sender = sender.ready().await.unwrap();
        let mut request = http::Request::connect("http://localhost/").body(()).unwrap();
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        assert!(!sender.is_extended_connect_protocol_enabled());
        let (response, _) = sender.send_request(request, true).unwrap();
        response.await.map(|response| response.status().as_u16())
    };
    let outcome =
        runtime.block_on(async { tokio::time::timeout(crate::support::PATIENCE, exchange).await.unwrap() });
    assert!(outcome.is_err() || outcome.as_ref().is_ok_and(|status| *status == 405), "{outcome:?}");
    assert!(origin.received().is_empty());
}
