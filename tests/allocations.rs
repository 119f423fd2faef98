//! What decides over a request makes no allocation: the decision, the look-up of its route, what its key may do, and the
//! counting of its limits.

use allocation_counter::measure;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use keygate::auth::{
    Access, CREDENTIAL_HEADERS, Content, CredentialHeader, Facts, HEALTH_PATH, Permit, authorize, decide,
};
use keygate::clock::{Ticks, UnixSeconds};
use keygate::limit::Ledger;
use keygate::policy::{self, Asked, Digest, KeyId, Snapshot};

const NOW: UnixSeconds = UnixSeconds(1_000_000_000);
const SECOND: Ticks = Ticks(1_000_000_000);
const PATH: &str = "/v1/chat/completions";

/// `rules` are of every key.
fn policy(mode: &str, keys: usize, rules: &str) -> Snapshot {
    let entry =
        |number| format!("{{name: k{number}, digest: '{}'{rules}}}", Digest::of(key(number).as_bytes()));
    let keys: Vec<String> = (0..keys).map(entry).collect();
    let config = format!(
        "proxy: {{listen: ['127.0.0.1:1'], auth_mode: {mode}, websocket_protocol_keys: true}}\n\
         upstreams: {{a: {{peers: ['127.0.0.1:2']}}}}\nkeys: [{}]\n\
         routes:\n\
         - {{path: /exact, upstream: a}}\n\
         - {{path_prefix: /v1, upstream: a, name: v1}}\n\
         - {{path_prefix: /v1, methods: [POST], headers: {{x-tenant: acme}}, upstream: a}}\n\
         - {{host: api.example, path_prefix: /hosts, upstream: a}}\n\
         - {{host: '*.example', path_prefix: /hosts, upstream: a}}\n",
        keys.join(", ")
    );
    policy::compile(&serde_yaml::from_str(&config).unwrap(), 1, None).unwrap().snapshot
}

fn key(number: usize) -> String {
    format!("sk-{number:032}")
}

fn presenting(header: CredentialHeader, key: &str) -> HeaderMap {
    let value = match header {
        CredentialHeader::Authorization => format!("Bearer {key}"),
        CredentialHeader::WebSocketProtocol => format!("realtime, openai-insecure-api-key.{key}"),
        CredentialHeader::XApiKey | CredentialHeader::XGoogApiKey => key.to_owned(),
    };
    HeaderMap::from_iter([(header.name().clone(), HeaderValue::from_str(&value).unwrap())])
}

fn facts(headers: &HeaderMap) -> Facts<'_> {
    Facts { method: &Method::POST, path: PATH.as_bytes(), headers, content: Content::Some }
}

/// What `run` gives, which allocates nothing.
#[track_caller]
fn without_allocation<T>(run: impl FnOnce() -> T) -> T {
    let mut result = None;
    let allocations = measure(|| result = Some(run()));
    assert_eq!(allocations.count_total, 0);
    result.unwrap()
}

fn admitted(policy: &Snapshot) -> (Permit, KeyId) {
    let permit = decide(policy, &facts(&presenting(CredentialHeader::XApiKey, &key(0))), NOW).unwrap();
    let key = permit.key().unwrap();
    (permit, key)
}

#[test]
fn what_allocates_is_seen() {
    assert_eq!(measure(|| drop(std::hint::black_box(Box::new(1)))).count_total, 1);
}

#[test]
fn a_decision_allocates_nothing_in_any_mode_and_header() {
    for mode in ["off", "strict", "all_except_health"] {
        for keys in [1, 2_000] {
            let policy = policy(mode, keys, "");
            for header in CREDENTIAL_HEADERS {
                for (key, passes) in
                    [(key(keys / 2), true), (key(keys), mode == "off"), (String::new(), mode == "off")]
                {
                    let headers = presenting(header, &key);
                    let decision = without_allocation(|| decide(&policy, &facts(&headers), NOW));
                    assert_eq!(decision.is_ok(), passes, "{mode} {header:?} {key}");
                }
            }
            let none = HeaderMap::new();
            assert_eq!(without_allocation(|| decide(&policy, &facts(&none), NOW)).is_ok(), mode == "off");
            let health =
                Facts { method: &Method::GET, path: HEALTH_PATH, headers: &none, content: Content::None };
            assert_eq!(without_allocation(|| decide(&policy, &health, NOW)).is_ok(), mode != "strict");
        }
    }
}

#[test]
fn the_look_up_of_a_route_allocates_nothing() {
    let policy = policy("strict", 1, "");
    let tenant =
        HeaderMap::from_iter([(HeaderName::from_static("x-tenant"), HeaderValue::from_static("acme"))]);
    for (host, path, expected) in [
        ("any.test", "/exact", Some(0)),
        ("any.test", "/v1", Some(2)),
        ("API.example:8045", PATH, Some(2)),
        ("API.example:8045", "/hosts/x", Some(3)),
        ("a.b.example", "/hosts/x", Some(4)),
        ("any.test", "/hosts/x", None),
        ("any.test", "/v1beta", None),
    ] {
        let asked = Asked {
            host: Some(host.as_bytes()),
            path: path.as_bytes(),
            method: &Method::POST,
            headers: &tenant,
        };
        let found = without_allocation(|| policy.routes.find(&asked));
        assert_eq!(found.map(policy::RouteId::index), expected, "{host} {path}");
    }
}

#[test]
fn what_a_key_may_do_is_decided_without_an_allocation() {
    let rules = ", methods: [POST], routes: [v1, /exact], addresses: ['10.0.0.0/8'], not_before: 2001-01-01T00:00:00Z";
    let policy = policy("strict", 1, rules);
    let (permit, _) = admitted(&policy);
    let headers = HeaderMap::new();
    for (client, passes) in [("10.1.2.3", true), ("192.0.2.1", false)] {
        let client = Some(client.parse().unwrap());
        let access = Access { method: &Method::POST, path: PATH.as_bytes(), route: Some("v1"), client };
        let outcome = without_allocation(|| authorize(&policy, &permit, &access, &headers, NOW));
        assert_eq!(outcome.is_ok(), passes, "{client:?}");
    }
}

#[test]
fn limits_are_counted_without_an_allocation() {
    for (rules, most) in [
        (", rate: {requests: 3, per: hour}", 3),
        (", max_concurrent: 2", 2),
        (", rate: {requests: 3, per: hour}, max_concurrent: 2", 2),
    ] {
        let policy = policy("strict", 1, rules);
        let ledger = Ledger::new(&policy, None, Ticks(0));
        let (_, key) = admitted(&policy);
        let mut running = Vec::new();
        for number in 0..=most {
            let counted = without_allocation(|| ledger.begin(&policy, key, || SECOND));
            assert_eq!(counted.is_ok(), number < most, "{rules}: {counted:?}");
            running.push(counted);
        }
        for counted in running {
            without_allocation(|| drop(counted));
        }
    }
}

#[test]
fn wrong_keys_are_counted_in_memory_that_the_first_one_takes() {
    let ledger = Ledger::default();
    let rate = policy::Rate { requests: 1, per: policy::Period::Hour, burst: 1 };
    let count = |address: &str| ledger.failures.count(rate, address.parse().unwrap(), SECOND);
    assert!(measure(|| assert!(count("192.0.2.1").is_ok())).count_total > 0);
    for (address, passes) in [("192.0.2.1", false), ("2001:db8::1", true), ("2001:db8::2", false)] {
        assert_eq!(without_allocation(|| count(address)).is_ok(), passes, "{address}");
    }
}
