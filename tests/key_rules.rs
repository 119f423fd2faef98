//! What a key may do and how much: each rule with the request that it refuses and the one that it lets through.

use std::io::Write;
use std::sync::mpsc;

use crate::support::{Client, Gateway, Origin, Response, config, wait_for};

fn digest_of(key: &str) -> String {
    keygate::policy::Digest::of(key.as_bytes()).to_string()
}

/// A strict config with the key `sk-a`, named `a`, under these rules.
fn with_rules(origin: &Origin, rules: &str) -> String {
    let digest = digest_of("sk-a");
    format!("{}keys: [{{name: a, digest: '{digest}', {rules}}}]\n", config("strict", origin))
}

fn request(client: &mut Client, method: &str, path: &str, key: &str) -> Response {
    client.exchange(format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\nContent-Length: 0\r\n\r\n"
    ))
}

fn get(gateway: &Gateway, key: &str) -> Response {
    request(&mut gateway.connect(), "GET", "/v1/models", key)
}

#[test]
fn a_key_is_good_for_its_methods_alone() {
    let origin = Origin::start();
    let gateway = Gateway::start(&with_rules(&origin, "methods: [GET]"));
    let mut client = gateway.connect();
    assert_eq!(request(&mut client, "GET", "/", "sk-a").status, 200);
    let refused = request(&mut client, "POST", "/", "sk-a");
    assert_eq!((refused.status, refused.error_code()), (403, Some("key_method_not_allowed")));
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("its `methods` do not include it"));
    assert_eq!(refused.json()["error"]["type"], "permission_error");
    assert_eq!(refused.header("www-authenticate"), None, "another key would not help by itself");
    assert_eq!(request(&mut client, "POST", "/", crate::support::KEY).status, 200, "the rule is of one key");
}

#[test]
fn a_key_is_good_for_its_routes_alone_by_name_or_prefix() {
    let origin = Origin::start();
    let text = with_rules(&origin, "routes: [chat, /v1/models]")
        .replace("routes:\n", "routes:\n  - {name: chat, path_prefix: /v1/chat, upstream: origin}\n");
    let gateway = Gateway::start(&text);
    let mut client = gateway.connect();
    for allowed in ["/v1/chat/completions", "/v1/models", "/v1/models/x?y=1"] {
        assert_eq!(request(&mut client, "GET", allowed, "sk-a").status, 200, "{allowed}");
    }
    for forbidden in ["/", "/v1/modelsx", "/v1/files", "/v1/models%2f..", "/V1/models"] {
        let refused = request(&mut client, "GET", forbidden, "sk-a");
        assert_eq!(
            (refused.status, refused.error_code()),
            (403, Some("key_route_not_allowed")),
            "{forbidden}"
        );
    }
    let refused = request(&mut client, "GET", "/v1/messages", "sk-a");
    assert_eq!(refused.json()["error"]["type"], "permission_error", "in the caller's dialect");
    assert_eq!(refused.json()["type"], "error");
}

#[test]
fn a_dot_segment_does_not_lead_around_a_prefix() {
    let origin = Origin::start();
    let gateway = Gateway::start(&with_rules(&origin, "routes: [/v1/models]"));
    // As it stands it is below the prefix, and an upstream that resolves it would be led out of it.
    let refused = request(&mut gateway.connect(), "GET", "/v1/models/../files", "sk-a");
    assert_eq!((refused.status, refused.error_code()), (403, Some("key_route_not_allowed")));
    for dots in ["/v1/models/%2e%2e/files", "/v1/models/.%2E", "/v1/models/./x", "/v1/models/..%2ffiles"] {
        assert_eq!(request(&mut gateway.connect(), "GET", dots, "sk-a").status, 403, "{dots}");
    }
    assert_eq!(request(&mut gateway.connect(), "GET", "/v1/models/a..b", "sk-a").status, 200);
}

#[test]
fn a_key_is_good_from_its_addresses_alone() {
    let origin = Origin::start();
    let gateway = Gateway::start(&with_rules(&origin, "addresses: [10.0.0.0/8, '2001:db8::/32']"));
    let refused = get(&gateway, "sk-a");
    assert_eq!((refused.status, refused.error_code()), (403, Some("key_address_not_allowed")));
    let gateway = Gateway::start(&with_rules(&origin, "addresses: [10.0.0.0/8, 127.0.0.0/8]"));
    assert_eq!(get(&gateway, "sk-a").status, 200);
}

#[test]
fn a_key_is_good_in_its_time_alone() {
    let origin = Origin::start();
    let gateway = Gateway::start(&with_rules(&origin, "not_before: 2099-01-01T00:00:00Z"));
    let refused = get(&gateway, "sk-a");
    assert_eq!((refused.status, refused.error_code()), (403, Some("key_not_yet_valid")));
    gateway.replace_config(&with_rules(&origin, "not_before: 2020-01-01T00:00:00Z"));
    gateway.wait_for_generation(2);
    assert_eq!(get(&gateway, "sk-a").status, 200);
}

#[test]
fn rules_that_can_never_apply_are_refused_with_their_place() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("keygate.yaml");
    let digest = digest_of("k");
    std::fs::write(
        &file,
        format!(
            "keys:\n  - name: a\n    digest: {digest}\n    methods: [get]\n    routes: [caht, '/a b']\n    \
             addresses: [10.0.0.0/33]\n    labels: {{Team: x}}\n    id: short\n  \
             - {{name: b, digest: '{}', methods: []}}\nroutes: [{{name: chat, path: /c, upstream: u}}]\n\
             upstreams: {{u: {{peers: ['127.0.0.1:1']}}}}\n",
            digest_of("l")
        ),
    )
    .unwrap();
    let output = crate::support::run_to_end(crate::support::keygate([
        "check".as_ref(),
        "-c".as_ref(),
        file.as_os_str(),
    ]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for expected in [
        ":4:14: error: methods are case-sensitive\n  help: write `GET`",
        ":5:13: error: no route named `caht`\n  help: did you mean `chat`?",
        ":5:13: error: `/a b` can be the beginning of no path",
        ":6:16: error: `10.0.0.0/33` is no address",
        ":7:13: error: at most 16 labels",
        ":8:9: error: an id is the 8 characters behind `kg_`",
        "error: `methods` has 0 entries",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn a_rate_lets_the_burst_through_and_then_says_when_to_come_back() {
    let origin = Origin::start();
    let gateway = Gateway::start(&with_rules(&origin, "rate: {requests: 2, per: hour, burst: 3}"));
    let mut client = gateway.connect();
    for left in ["2", "1", "0"] {
        let passed = request(&mut client, "GET", "/", "sk-a");
        assert_eq!(passed.status, 200);
        assert_eq!(passed.header("ratelimit-policy"), Some("\"key\";q=2;w=3600"));
        assert!(passed.header("ratelimit").unwrap().starts_with(&format!("\"key\";r={left};t=")));
        assert_eq!(passed.header("x-ratelimit-limit-requests"), Some("2"));
        assert_eq!(passed.header("x-ratelimit-remaining-requests"), Some(left));
        let reset: u64 =
            passed.header("x-ratelimit-reset-requests").unwrap().strip_suffix("ms").unwrap().parse().unwrap();
        assert!(reset > 1_700_000, "{reset}");
    }
    let refused = request(&mut client, "GET", "/", "sk-a");
    assert_eq!((refused.status, refused.error_code()), (429, Some("rate_limited")));
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1700..=1800).contains(&seconds), "{seconds}");
    assert!(refused.header("retry-after-ms").unwrap().parse::<u64>().unwrap() > 1_700_000);
    assert_eq!(refused.header("ratelimit-policy"), Some("\"key\";q=2;w=3600"));
    assert_eq!(refused.header("ratelimit"), Some(&*format!("\"key\";r=0;t={seconds}")));
    assert_eq!(refused.header("x-ratelimit-limit-requests"), Some("2"));
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), Some("0"));
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
    assert_eq!(refused.header("connection"), Some("keep-alive"));
    let other = request(&mut client, "GET", "/", crate::support::KEY);
    assert_eq!(other.status, 200, "another key goes on");
    assert_eq!((other.header("ratelimit"), other.header("x-ratelimit-limit-requests")), (None, None));
    assert_eq!(origin.received().len(), 4);
}

#[test]
fn what_an_upstream_tells_of_its_own_limits_stays() {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nRateLimit: \"up\";r=5;t=9\r\nx-ratelimit-remaining-requests: 5\r\n\
              Content-Length: 2\r\n\r\nok",
        )
    });
    let gateway = Gateway::start(&with_rules(&origin, "rate: {requests: 60, per: minute}"));
    let passed = get(&gateway, "sk-a");
    let told: Vec<&str> =
        passed.head.lines().filter(|line| line.to_lowercase().contains("ratelimit")).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].ends_with("\"up\";r=5;t=9"), "{told:?}");
    assert_eq!(passed.header("x-ratelimit-remaining-requests"), Some("5"));
    assert_eq!(passed.header("ratelimit-policy"), Some("\"key\";q=60;w=60"));
    assert!(told.iter().any(|line| line.ends_with("\"key\";r=59;t=1")), "{told:?}");
}

#[test]
fn what_was_used_is_carried_over_a_reload_by_the_key_s_name() {
    let origin = Origin::start();
    let rules = "rate: {requests: 1, per: hour, burst: 2}";
    let gateway = Gateway::start(&with_rules(&origin, rules));
    assert_eq!((get(&gateway, "sk-a").status, get(&gateway, "sk-a").status), (200, 200));
    // The same name with another key: what was used stays used.
    gateway.replace_config(&with_rules(&origin, rules).replace(&digest_of("sk-a"), &digest_of("sk-b")));
    gateway.wait_for_generation(2);
    assert_eq!(get(&gateway, "sk-b").error_code(), Some("rate_limited"));
    // Another name: a key of its own.
    gateway.replace_config(&with_rules(&origin, rules).replace("name: a,", "name: c,"));
    gateway.wait_for_generation(3);
    assert_eq!(get(&gateway, "sk-a").status, 200);
}

#[test]
fn a_key_that_says_nothing_has_the_default_limits_each_by_itself() {
    let origin = Origin::start();
    let text = format!(
        "{}limits: {{rate: {{requests: 1, per: hour, burst: 1}}}}\n",
        with_rules(&origin, "labels: {team: x}")
    );
    let text = text.replace(
        "keys: [",
        &format!(
            "keys: [{{name: free, digest: '{}', rate: {{requests: 1000, per: second}}}}, ",
            digest_of("sk-free")
        ),
    );
    let gateway = Gateway::start(&text);
    for key in ["sk-a", crate::support::KEY] {
        assert_eq!(get(&gateway, key).status, 200);
        assert_eq!(get(&gateway, key).error_code(), Some("rate_limited"));
    }
    assert!((0..5).all(|_| get(&gateway, "sk-free").status == 200), "it has a rate of its own");
}

#[test]
fn requests_at_once_are_limited_and_a_place_is_free_again_when_one_ends() {
    let (finish, finished) = mpsc::channel::<()>();
    let finished = std::sync::Mutex::new(finished);
    let origin = Origin::answering(move |request, stream| {
        if request.head.starts_with("GET /slow ") {
            let _ = finished.lock().unwrap().recv();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let gateway = Gateway::start(&with_rules(&origin, "max_concurrent: 1"));
    let mut slow = gateway.connect();
    slow.send("GET /slow HTTP/1.1\r\nHost: localhost\r\nx-api-key: sk-a\r\n\r\n");
    wait_for("the slow request", || (!origin.received().is_empty()).then_some(()));
    let refused = get(&gateway, "sk-a");
    assert_eq!((refused.status, refused.error_code()), (429, Some("too_many_concurrent_requests")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"concurrency\";q=1;qu=\"concurrent-requests\""));
    // A reload does not lose count of what is under way.
    gateway.replace_config(&with_rules(&origin, "max_concurrent: 1, labels: {x: y}"));
    gateway.wait_for_generation(2);
    assert_eq!(get(&gateway, "sk-a").status, 429);
    finish.send(()).unwrap();
    assert_eq!(slow.response().status, 200);
    wait_for("the free place", || (get(&gateway, "sk-a").status == 200).then_some(()));
    // A client that goes away gives its place back, too.
    let slow = || origin.received().iter().filter(|it| it.head.starts_with("GET /slow ")).count();
    // The place of the request before is free a moment after its answer: until then there is a 429.
    let gone = wait_for("the slow request", || {
        let mut gone = gateway.connect();
        gone.send("GET /slow HTTP/1.1\r\nHost: localhost\r\nx-api-key: sk-a\r\n\r\n");
        wait_for("its fate", || (slow() == 2 || gone.has_answer()).then_some(()));
        (slow() == 2).then_some(gone)
    });
    assert_eq!(get(&gateway, "sk-a").status, 429);
    gone.abort();
    wait_for("the free place", || (get(&gateway, "sk-a").status == 200).then_some(()));
    drop(finish);
}

#[test]
fn many_wrong_keys_from_an_address_are_limited_and_a_right_one_passes_all_the_same() {
    let origin = Origin::start();
    let text = format!(
        "{}limits: {{failed_auth: {{requests: 1, per: hour, burst: 5}}}}\n",
        with_rules(&origin, "enabled: true")
    );
    let gateway = Gateway::start(&text);
    let mut client = gateway.connect();
    let codes: Vec<String> = (0..8)
        .map(|number| {
            let refused = request(&mut client, "GET", "/", &format!("sk-guess-{number}"));
            refused.error_code().unwrap().to_owned()
        })
        .collect();
    assert!(codes[..5].iter().all(|code| code == "credential_invalid"), "{codes:?}");
    assert!(codes[5..].iter().all(|code| code == "too_many_failed_attempts"), "{codes:?}");
    assert_eq!(request(&mut client, "GET", "/", "sk-a").status, 200, "a right key is never locked out");
    let without = client.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(without.error_code(), Some("credential_missing"), "no key is no guess");
}
