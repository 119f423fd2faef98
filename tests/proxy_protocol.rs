//! The PROXY protocol: a load balancer says whose connection it passes on.

use crate::support::{
    Authority, Client, Gateway, KEY, Origin, config, exchange_over_http2, keygate, wait_for,
};

/// The test itself is the load balancer.
fn gateway(origin: &Origin, more: &str) -> Gateway {
    Gateway::start(&with_protocol(&config("strict", origin), more))
}

fn with_protocol(config: &str, more: &str) -> String {
    let section =
        format!("proxy:\n  trusted_proxies: [127.0.0.1, 192.0.2.0/24]\n  proxy_protocol: true\n{more}");
    config.replacen("proxy:\n", &section, 1)
}

fn request(lines: &str) -> String {
    format!("GET /v1/models HTTP/1.1\r\nHost: a.test\r\nx-api-key: {KEY}\r\n{lines}\r\n")
}

/// Version 2: command and family as they stand on the wire, then everything after the length.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

fn v2_tcp4(more: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[&[203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 0x01, 0xbb], more].concat())
}

fn v2_tcp6() -> Vec<u8> {
    let addresses =
        ["2001:db8::7", "2001:db8::1"].map(|text| text.parse::<std::net::Ipv6Addr>().unwrap().octets());
    v2(0x21, 0x21, &[&addresses[0][..], &addresses[1], &[0x12, 0x67, 0x01, 0xbb]].concat())
}

/// Every kind of header, and the client that it names.
fn headers() -> Vec<(Vec<u8>, &'static str)> {
    // An addition of a type that nobody knows (0xEF), five bytes long.
    let addition = [0xef, 0, 5, 1, 2, 3, 4, 5];
    vec![
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n".to_vec(), "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), "127.0.0.1"),
        (v2_tcp4(b""), "203.0.113.7"),
        (v2_tcp4(&addition.repeat(1000)), "203.0.113.7"),
        (v2_tcp6(), "2001:db8::7"),
        // LOCAL: what stands in it does not count.
        (v2(0x20, 0, b""), "127.0.0.1"),
        (v2(0x20, 0x11, &[203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 0x01, 0xbb]), "127.0.0.1"),
        // AF_UNIX has no address to count by.
        (v2(0x21, 0x31, &[0; 216]), "127.0.0.1"),
    ]
}

#[test]
fn every_request_of_a_connection_is_its_client_s() {
    for (header, client_address) in headers() {
        let origin = Origin::start();
        let gateway = gateway(&origin, "");
        let mut client = gateway.connect();
        // Header and request in one segment, then one more request.
        assert_eq!(client.exchange([&header[..], request("").as_bytes()].concat()).status, 200);
        assert_eq!(client.exchange(request("")).status, 200);
        let seen: Vec<_> =
            origin.received().iter().map(|one| one.header("x-forwarded-for").unwrap().to_owned()).collect();
        assert_eq!(seen, [client_address, client_address], "{}", header.escape_ascii());
    }
}

#[test]
fn it_comes_before_tls() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let directory = tempfile::TempDir::new().unwrap();
    authority.write(directory.path(), "a", &["a.test"]);
    let file = directory.path().join("keygate.yaml");
    let tls = "  tls: {certificates: [{cert: a.pem, key: a.key}]}\n";
    std::fs::write(&file, with_protocol(&config("strict", &origin), tls)).unwrap();
    let gateway = Gateway::run(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]), directory);
    let trusting = authority.client(&["http/1.1"]);
    for (header, client_address) in headers() {
        let mut client = Client::connect_tls_after(&header, gateway.address(), "a.test", &trusting).unwrap();
        assert_eq!(client.exchange(request("")).status, 200);
        let received = origin.received();
        assert_eq!(received.last().unwrap().header("x-forwarded-for"), Some(client_address));
    }
    assert!(Client::connect_tls(gateway.address(), "a.test", &trusting).is_err(), "without a header");
}

#[test]
fn what_is_no_header_closes_the_connection() {
    let origin = Origin::start();
    let gateway = gateway(&origin, "  connection_limits: {header_timeout: 300ms}\n");
    let mut long = b"PROXY UNKNOWN ".to_vec();
    long.resize(108, b'x');
    for wrong in [
        request("").as_bytes(),
        b"PROXY TCP4 203.0.113.7\r\n",
        b"PROXY TCP4 203.0.113.777 192.0.2.1 4711 443\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\n",
        b"PROXY UDP4 203.0.113.7 192.0.2.1 4711 443\r\n",
        &long,
        // Version 3; a command and a family that do not exist; addresses that are cut off; too long.
        &v2(0x31, 0x11, &[0; 12]),
        &v2(0x22, 0x11, &[0; 12]),
        &v2(0x21, 0x41, &[0; 12]),
        &v2(0x21, 0x11, &[0; 11]),
        &v2(0x21, 0x11, &[0; 65_535]),
        // These never end.
        b"",
        b"PROXY TCP4 203.",
        &v2_tcp4(b"")[..20],
    ] {
        let mut client = gateway.connect();
        // It may be closed before all was sent.
        let _ = client.try_send(wrong);
        client.expect_close();
    }
    assert!(origin.received().is_empty());
    let line = gateway.program().wait_for_log("a warning", |line| line.contains("PROXY protocol"));
    assert!(line.contains("WARN") && line.contains("127.0.0.1 is a trusted proxy"), "{line}");
}

#[test]
fn nobody_else_s_header_is_looked_for() {
    let origin = Origin::start();
    let text = with_protocol(&config("strict", &origin), "").replace("[127.0.0.1, ", "[");
    let gateway = Gateway::start(&text);
    assert_eq!(gateway.exchange(request("")).status, 200);
    assert_eq!(origin.only_request().header("x-forwarded-for"), Some("127.0.0.1"));
    let forged = format!("PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n{}", request(""));
    assert_eq!(gateway.exchange(forged).status, 400);
}

#[test]
fn connections_are_counted_by_the_client_that_it_names() {
    let origin = Origin::start();
    let limits = "  connection_limits: {per_client: 1}\nadmin: {listen: '127.0.0.1:0'}\n";
    let text = with_protocol(&config("strict", &origin), "").replace("admin: {enabled: false}\n", "");
    let (proxy, rest) = text.split_once("upstreams:").unwrap();
    let gateway = Gateway::start(&format!("{proxy}{limits}upstreams:{rest}"));
    let header = |client: u8| format!("PROXY TCP4 203.0.113.{client} 192.0.2.1 4711 443\r\n{}", request(""));
    let (mut first, mut second) = (gateway.connect(), gateway.connect());
    assert_eq!([first.exchange(header(1)).status, second.exchange(header(2)).status], [200, 200]);
    let mut one_more = gateway.connect();
    assert!(one_more.try_exchange(header(1)).is_none(), "a second of the first client");
    let metrics =
        Client::connect(gateway.admin()).exchange("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(metrics.contains("keygate_connections_refused_total{reason=\"per_client\"} 1\n"), "{metrics}");
    gateway.program().wait_for_log("a warning", |line| line.contains("203.0.113.1 has 1 already"));
    drop(first);
    wait_for("a free place", || gateway.connect().try_exchange(header(1)));
}

#[test]
fn a_client_that_is_a_trusted_proxy_is_believed_in_turn() {
    let origin = Origin::start();
    let gateway = gateway(&origin, "");
    let through = format!(
        "PROXY TCP4 192.0.2.9 192.0.2.1 4711 443\r\n{}",
        request("X-Forwarded-For: 10.0.0.1, 203.0.113.7\r\n")
    );
    assert_eq!(gateway.exchange(through).status, 200);
    assert_eq!(origin.only_request().header("x-forwarded-for"), Some("203.0.113.7, 192.0.2.9"));
}

#[test]
fn http2_without_tls_comes_after_it_as_well() {
    let origin = Origin::start();
    let text = with_protocol(&config("strict", &origin), "  h2c: true\n");
    // Over HTTP/2 the helper sends no header, so it is no trusted proxy here; with one, HTTP/1.1 is still told apart.
    let gateway = Gateway::start(&text);
    let header = "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n";
    assert_eq!(gateway.exchange(format!("{header}{}", request(""))).status, 200);
    let gateway = Gateway::start(&text.replace("[127.0.0.1, ", "["));
    assert_eq!(exchange_over_http2(gateway.address(), request("").as_bytes()).unwrap().status, 200);
}

#[test]
fn without_anybody_to_trust_it_is_a_mistake() {
    let directory = tempfile::TempDir::new().unwrap();
    let origin = Origin::start();
    let text = config("strict", &origin).replacen("proxy:\n", "proxy:\n  proxy_protocol: true\n", 1);
    std::fs::write(directory.path().join("keygate.yaml"), text).unwrap();
    let mut command = keygate(["check"]);
    command.current_dir(directory.path());
    let output = crate::support::run_to_end(command);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("keygate.yaml:2:19: error: nobody is trusted to say who the client is"), "{said}");
}
