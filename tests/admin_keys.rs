//! What the admin API tells of each key: what it may have, and when it was last used.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::admin::{administered, ask};
use crate::admin_changes::changed;
use crate::support::{Gateway, KEY, Origin};

fn digest_of(key: &str) -> String {
    keygate::policy::Digest::of(key.as_bytes()).to_string()
}

/// A config with a key that has limits of its own, one that is switched off, and these others.
fn with_keys(origin: &Origin, others: &str) -> String {
    let (alice, off) = (digest_of("sk-alice"), digest_of("sk-off"));
    administered("strict", origin)
        + &format!(
            "limits: {{rate: {{requests: 600, per: minute}}}}\nkeys:\n  \
             - {{name: alice, digest: '{alice}', rate: {{requests: 5, per: hour, burst: 2}}, max_concurrent: 3}}\n  \
             - {{name: off, digest: '{off}', enabled: false}}\n{others}"
        )
}

fn status_with(gateway: &Gateway, key: &str) -> u16 {
    gateway.exchange(format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\n\r\n")).status
}

/// What is told of the key of this name.
fn told(gateway: &Gateway, name: &str) -> Value {
    let keys = ask(gateway.admin(), "GET /api/keys").json()["keys"].clone();
    keys.as_array().unwrap().iter().find(|key| key["name"] == name).unwrap().clone()
}

fn last_used(gateway: &Gateway, name: &str) -> Option<DateTime<Utc>> {
    let told = told(gateway, name);
    told["last_used_at"].as_str().map(|time| time.parse().unwrap())
}

#[test]
fn the_limits_of_each_key_are_told() {
    let gateway = Gateway::start(&with_keys(&Origin::start(), ""));
    let alice = told(&gateway, "alice");
    assert_eq!(alice["rate"], json!({"requests": 5, "per": "hour", "burst": 2}));
    assert_eq!(alice["max_concurrent"], 3);
    let primary = told(&gateway, "api_key");
    assert_eq!(primary["rate"], json!({"requests": 600, "per": "minute", "burst": 600}), "that of all");
    assert_eq!(primary["max_concurrent"], Value::Null);
}

#[test]
fn a_key_that_admits_is_used_and_no_other() {
    let gateway = Gateway::start(&with_keys(&Origin::start(), ""));
    let used = |name: &str| last_used(&gateway, name);
    assert_eq!((used("alice"), used("off"), used("api_key")), (None, None, None));
    let before = Utc::now().timestamp();
    assert_eq!(
        (status_with(&gateway, "sk-alice"), status_with(&gateway, "sk-off"), status_with(&gateway, "wrong")),
        (200, 401, 401)
    );
    let time = used("alice").unwrap().timestamp();
    assert!((before..=Utc::now().timestamp()).contains(&time), "{before} {time}");
    assert_eq!((used("off"), used("api_key")), (None, None));
    // One that is refused for its number was used all the same.
    let answers: Vec<u16> = (0..2).map(|_| status_with(&gateway, "sk-alice")).collect();
    assert_eq!(answers, [200, 429]);
    assert!(used("alice").unwrap().timestamp() >= time);
}

#[test]
fn when_it_was_used_is_kept_over_reloads_by_name_and_by_digest() {
    let origin = Origin::start();
    let bob = |name: &str| format!("  - {{name: {name}, digest: '{}'}}\n", digest_of("sk-bob"));
    let gateway = Gateway::start(&with_keys(&origin, &bob("bob")));
    assert_eq!((status_with(&gateway, "sk-alice"), status_with(&gateway, "sk-bob")), (200, 200));
    let (alice, bobs) = (last_used(&gateway, "alice"), last_used(&gateway, "bob"));
    assert!(alice.is_some() && bobs.is_some());
    // Another name for the digest of one, another digest for the name of the other, and another order.
    let others = format!("{}  - {{name: carol, digest: '{}'}}\n", bob("robert"), digest_of("sk-carol"));
    let next = with_keys(&origin, &others).replace(&digest_of("sk-alice"), &digest_of("sk-new-alice"));
    gateway.replace_config(
        &next.replace("keys:\n", &format!("keys:\n  - {{name: zoe, digest: '{}'}}\n", digest_of("sk-zoe"))),
    );
    gateway.wait_for_generation(2);
    assert_eq!((last_used(&gateway, "alice"), last_used(&gateway, "robert")), (alice, bobs));
    assert_eq!((last_used(&gateway, "carol"), last_used(&gateway, "zoe")), (None, None));
}

#[test]
fn who_still_uses_the_secret_that_a_key_had_before_is_seen() {
    let gateway = Gateway::start(&with_keys(&Origin::start(), ""));
    let admin = gateway.admin();
    let none = told(&gateway, "api_key");
    assert_eq!((&none["previous_until"], &none["previous_last_used_at"]), (&Value::Null, &Value::Null));
    let made = changed(admin, "POST /api/config/api_key/regenerate", &json!({"keep_old_seconds": 3600}));
    assert_eq!(status_with(&gateway, made["api_key"].as_str().unwrap()), 200);
    let rotated = told(&gateway, "api_key");
    assert!(rotated["previous_until"].is_string() && rotated["last_used_at"].is_string(), "{rotated}");
    assert_eq!(rotated["previous_last_used_at"], Value::Null, "nobody uses the old one: {rotated}");
    assert_eq!(status_with(&gateway, KEY), 200);
    assert!(told(&gateway, "api_key")["previous_last_used_at"].is_string());
    // It follows the secret: what was used as the key is now used as the one before.
    changed(admin, "POST /api/config/api_key/regenerate", &json!({"keep_old_seconds": 3600}));
    assert!(told(&gateway, "api_key")["previous_last_used_at"].is_string());
}
