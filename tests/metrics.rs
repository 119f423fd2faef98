//! Metrics: what is counted, where, and that dashboard and alerts ask for what there is.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::{Client, Gateway, KEY, Origin, PATIENCE, config, wait_for};

/// A gateway in mode `strict` with an admin listener, and one named route beside the one for all paths.
fn gateway(origin: &Origin) -> Gateway {
    Gateway::start(
        &with_admin(&config("strict", origin)).replace(
            "routes:\n",
            "routes:\n  - name: chat\n    path_prefix: /v1/chat\n    upstream: origin\n",
        ),
    )
}

fn with_admin(config: &str) -> String {
    config.replace("admin: {enabled: false}", "admin: {listen: '127.0.0.1:0'}")
}

fn scrape(gateway: &Gateway) -> String {
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let response = Client::connect(gateway.admin()).exchange(request);
    assert_eq!(response.status, 200);
    String::from_utf8(response.body).unwrap()
}

/// The value of one sample; `None` where there is none.
fn value(text: &str, sample: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

/// Waits until a sample has this value: a request is counted when it is over, which its client may see earlier.
fn wait_for_value(gateway: &Gateway, sample: &str, expected: f64) -> String {
    wait_for(&format!("{sample} {expected}"), || {
        let text = scrape(gateway);
        (value(&text, sample) == Some(expected)).then_some(text)
    })
}

fn send(gateway: &Gateway, path: &str, fields: &str) -> u16 {
    gateway.exchange(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).status
}

#[test]
fn requests_are_counted_by_route_upstream_and_class() {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    let key = format!("x-api-key: {KEY}\r\n");
    for path in ["/v1/chat/completions", "/v1/chat", "/elsewhere"] {
        assert_eq!(send(&gateway, path, &key), 200);
    }
    assert_eq!(send(&gateway, "/v1/chat", ""), 401);
    let chat = r#"keygate_requests_total{route="chat",upstream="origin",status="2xx"}"#;
    wait_for_value(&gateway, chat, 2.0);
    wait_for_value(&gateway, r#"keygate_requests_total{route="/",upstream="origin",status="2xx"}"#, 1.0);
    let text = wait_for_value(&gateway, r#"keygate_requests_total{route="",upstream="",status="4xx"}"#, 1.0);
    // What the upstream said is not an error of the gateway's.
    assert_eq!(value(&text, r#"keygate_errors_total{code="upstream_failed"}"#), None);
}

#[test]
fn denials_are_counted_by_code_and_deciding_header() {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    send(&gateway, "/", "");
    for _ in 0..2 {
        send(&gateway, "/", "Authorization: Bearer wrong\r\nx-api-key: right\r\n");
    }
    send(&gateway, "/", "x-goog-api-key: \r\n");
    let denials = |code, header| format!("keygate_denials_total{{code=\"{code}\",header=\"{header}\"}}");
    // Each was on a connection of its own, and is counted a moment after its answer.
    wait_for_value(&gateway, &denials("credential_malformed", "x-goog-api-key"), 1.0);
    wait_for_value(&gateway, &denials("credential_missing", "none"), 1.0);
    let text = wait_for_value(&gateway, &denials("credential_invalid", "Authorization"), 2.0);
    assert_eq!(value(&text, &denials("credential_invalid", "x-api-key")), Some(0.0));
    assert_eq!(value(&text, r#"keygate_errors_total{code="credential_invalid"}"#), Some(2.0));
}

#[test]
fn the_gateways_own_time_and_the_upstreams_are_apart() {
    let origin = Origin::answering(|_, stream| {
        // How long the upstream takes is what is measured here.
        std::thread::park_timeout(std::time::Duration::from_millis(60));
        std::io::Write::write_all(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let gateway = gateway(&origin);
    send(&gateway, "/", &format!("x-api-key: {KEY}\r\n"));
    let text = wait_for_value(&gateway, r#"keygate_request_duration_seconds_count{upstream="origin"}"#, 1.0);
    let sum = |name: &str| value(&text, name).unwrap();
    let upstream = sum(r#"keygate_upstream_first_byte_seconds_sum{upstream="origin"}"#);
    let whole = sum(r#"keygate_request_duration_seconds_sum{upstream="origin"}"#);
    let own = sum("keygate_gateway_duration_seconds_sum");
    assert!(upstream >= 0.05 && upstream < PATIENCE.as_secs_f64(), "{upstream}");
    // Each is rounded by itself.
    assert!(whole >= upstream && own <= whole - upstream + 0.000_01, "{own} + {upstream} > {whole}");
    assert_eq!(sum("keygate_gateway_duration_seconds_count"), 1.0);
    assert_eq!(sum(r#"keygate_upstream_first_byte_seconds_bucket{upstream="origin",le="0.025"}"#), 0.0);
    assert_eq!(sum(r#"keygate_upstream_first_byte_seconds_bucket{upstream="origin",le="+Inf"}"#), 1.0);
}

#[test]
fn another_attempt_and_an_upstream_that_fails_are_counted() {
    let origin = Origin::start();
    // Nobody listens on port 1 of loopback.
    let two = config("strict", &origin).replace("peers: ['", "peers: ['127.0.0.1:1', '");
    let gateway = Gateway::start(&with_admin(&two));
    let key = format!("x-api-key: {KEY}\r\n");
    for _ in 0..4 {
        assert_eq!(send(&gateway, "/", &key), 200);
    }
    let retries = r#"keygate_upstream_retries_total{upstream="origin"}"#;
    let text =
        wait_for("a retry", || Some(scrape(&gateway)).filter(|text| value(text, retries) >= Some(1.0)));
    assert_eq!(value(&text, r#"keygate_peer_addresses{upstream="origin",peer="127.0.0.1:1"}"#), Some(1.0));
    let none = config("strict", &origin).replace(&origin.address.to_string(), "127.0.0.1:1");
    gateway.replace_config(&with_admin(&none));
    gateway.wait_for_generation(2);
    assert_eq!(send(&gateway, "/", &key), 502);
    wait_for_value(&gateway, r#"keygate_errors_total{code="upstream_failed"}"#, 1.0);
    wait_for_value(&gateway, r#"keygate_requests_total{route="/",upstream="origin",status="5xx"}"#, 1.0);
}

#[test]
fn an_address_that_is_left_out_is_counted_and_shown() {
    let (origin, broken) = (
        Origin::start(),
        Origin::answering(|_, stream| {
            std::io::Write::write_all(stream, b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
        }),
    );
    let peers = format!(
        "peers: ['{}', '{}']\n    ejection: {{failures: 1, time: 10min, max_time: 10min, max_percent: 50}}\n",
        broken.address, origin.address
    );
    let text = config("off", &origin).replace(&format!("peers: ['{}']\n", origin.address), &peers);
    let gateway = Gateway::start(&with_admin(&text));
    let ejected =
        |peer: &Origin| format!("keygate_peer_ejected{{upstream=\"origin\",peer=\"{}\"}}", peer.address);
    let none = scrape(&gateway);
    assert_eq!(value(&none, r#"keygate_upstream_ejections_total{upstream="origin"}"#), Some(0.0));
    assert_eq!(value(&none, &ejected(&broken)), Some(0.0));
    wait_for("its turn", || (send(&gateway, "/", "") == 500).then_some(()));
    let text = wait_for_value(&gateway, r#"keygate_upstream_ejections_total{upstream="origin"}"#, 1.0);
    assert_eq!([value(&text, &ejected(&broken)), value(&text, &ejected(&origin))], [Some(1.0), Some(0.0)]);
}

#[test]
fn connections_are_counted_and_those_that_are_open_are_known() {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    let mut clients: Vec<Client> = (0..3).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    let text = scrape(&gateway);
    assert_eq!(value(&text, "keygate_connections_open"), Some(3.0));
    assert_eq!(value(&text, "keygate_connections_total"), Some(3.0));
    drop(clients);
    let text = wait_for_value(&gateway, "keygate_connections_open", 0.0);
    assert_eq!(value(&text, "keygate_connections_total"), Some(3.0));
    assert_eq!(value(&text, "keygate_requests_in_flight"), Some(0.0));
}

#[test]
fn counters_go_on_over_a_reload_and_reloads_are_counted() {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    let good = std::fs::read_to_string(gateway.file()).unwrap();
    let key = format!("x-api-key: {KEY}\r\n");
    send(&gateway, "/v1/chat", &key);
    let chat = r#"keygate_requests_total{route="chat",upstream="origin",status="2xx"}"#;
    wait_for_value(&gateway, chat, 1.0);
    gateway.replace_config(&good.replace("strict", "all_except_health"));
    gateway.wait_for_generation(2);
    send(&gateway, "/v1/chat", &key);
    let text = wait_for_value(&gateway, chat, 2.0);
    assert_eq!(value(&text, "keygate_config_generation"), Some(2.0));
    assert_eq!(value(&text, r#"keygate_config_reloads_total{outcome="accepted"}"#), Some(1.0));
    gateway.replace_config(&good.replace("proxy:", "proxi:"));
    let text = wait_for_value(&gateway, r#"keygate_config_reloads_total{outcome="rejected"}"#, 1.0);
    assert_eq!(value(&text, "keygate_config_last_reload_successful"), Some(0.0));
    // A route that is gone takes its numbers along.
    gateway.replace_config(&good.replace("name: chat", "name: talk"));
    gateway.wait_for_generation(3);
    let text = scrape(&gateway);
    assert_eq!(value(&text, chat), None);
    assert_eq!(value(&text, "keygate_config_last_reload_successful"), Some(1.0));
}

#[test]
fn what_callers_send_makes_no_series() {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    let key = format!("x-api-key: {KEY}\r\n");
    let lines = |text: &str| text.lines().count();
    let both = |number: usize| {
        send(&gateway, &format!("/v1/chat/{number}"), &key);
        send(&gateway, &format!("/{number}"), &format!("x-api-key: wrong-{number}\r\n"));
    };
    let all = r#"keygate_requests_total{route="",upstream="",status="4xx"}"#;
    both(0);
    let before = lines(&wait_for_value(&gateway, all, 1.0));
    (1..50).for_each(both);
    assert_eq!(lines(&wait_for_value(&gateway, all, 50.0)), before);
}

#[test]
fn ten_thousand_routes_make_a_bounded_number_of_series() {
    let origin = Origin::start();
    let routes: String =
        (0..10_000).map(|at| format!("  - {{path_prefix: /r{at}, upstream: origin}}\n")).collect();
    let gateway = Gateway::start(
        &with_admin(&config("strict", &origin)).replace("routes:\n", &format!("routes:\n{routes}")),
    );
    send(&gateway, "/r9999", &format!("x-api-key: {KEY}\r\n"));
    let other = r#"keygate_requests_total{route="other",upstream="origin",status="2xx"}"#;
    let text = wait_for_value(&gateway, other, 1.0);
    assert!(text.lines().count() < 1200, "{} lines", text.lines().count());
}

/// Names of metrics that stand in a text of queries.
fn asked_for(text: &str) -> BTreeSet<String> {
    text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
        .filter(|word| word.starts_with("keygate_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_exist() {
    let text = scrape(&gateway(&Origin::start()));
    let mut there = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        there.insert(name.to_owned());
        if kind == "histogram" {
            there.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")));
        }
    }
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let read = |name: &str| std::fs::read_to_string(deploy.join(name)).unwrap();
    let dashboard = read("grafana/keygate.json");
    serde_json::from_str::<serde_json::Value>(&dashboard).unwrap();
    for (file, text, least) in
        [("dashboard", dashboard, 12), ("alerts", read("prometheus/keygate.rules.yaml"), 6)]
    {
        let asked: BTreeSet<_> = asked_for(&text);
        assert!(asked.len() >= least, "{file}: {asked:?}");
        let unknown: Vec<_> = asked.difference(&there).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
    }
    // And the page that tells people about them names each.
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let told = asked_for(&std::fs::read_to_string(docs).unwrap());
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let untold: Vec<_> = families.filter(|name| !told.contains(*name)).collect();
    assert!(untold.is_empty(), "docs/metrics.md lacks {untold:?}");
}

#[test]
fn keys_are_counted_by_state() {
    let origin = Origin::start();
    let keys = format!(
        "keys: [{{name: a, key: sk-a, enabled: false}}, {{name: b, key: sk-b, expires_at: 2020-01-01T00:00:00Z}}]\n{}",
        with_admin(&config("strict", &origin))
    );
    let text = scrape(&Gateway::start(&keys));
    let count = |state| value(&text, &format!("keygate_keys{{state=\"{state}\"}}"));
    let counts = ["valid", "expiring", "expired", "not_yet_valid", "disabled"].map(count);
    assert_eq!(counts, [1.0, 0.0, 1.0, 0.0, 1.0].map(Some));
}

#[test]
fn requests_are_counted_by_key_where_that_is_wanted() {
    let origin = Origin::start();
    let text = with_admin(&config("strict", &origin));
    let counted = text.replace("admin: {", "admin: {key_metrics: true, ");
    let key = format!("x-api-key: {KEY}\r\n");
    let series = r#"keygate_key_requests_total{key="api_key",status="2xx"}"#;
    let gateway = Gateway::start(&counted);
    assert_eq!((send(&gateway, "/", &key), send(&gateway, "/", "x-api-key: wrong\r\n")), (200, 401));
    let text_of = wait_for_value(&gateway, series, 1.0);
    assert_eq!(text_of.matches("keygate_key_requests_total{").count(), 1, "{text_of}");
    let gateway = Gateway::start(&text);
    assert_eq!(send(&gateway, "/", &key), 200);
    let text_of =
        wait_for_value(&gateway, r#"keygate_requests_total{route="/",upstream="origin",status="2xx"}"#, 1.0);
    assert!(!text_of.contains("keygate_key_requests_total{"), "{text_of}");
}
