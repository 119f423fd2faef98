//! Changes through the admin API: in force when they are answered, in the file with its comments, refused as a whole.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::admin::{TOKEN, code};
use crate::support::{Client, Gateway, KEY, Origin, Response};

/// A config as somebody keeps it who knows why everything is there.
fn commented(origin: &Origin) -> String {
    format!(
        "# The gateway of the workshop.\n\
         proxy:                      # who may\n  \
         listen: ['127.0.0.1:0']   # any port\n\n  \
         # Bob asked for this.\n  \
         auth_mode: \"strict\"       # not auto!\n  \
         allow_lan_access: false   # nobody else\n  \
         api_key: {KEY}   # from the safe\n\n\
         keys:                       # people\n  \
         # The first of them.\n  \
         - name: alice             # Alice\n    \
         digest: sha256:{}\n  \
         - {{name: bob, digest: 'sha256:{}'}}   # Bob\n\n\
         upstreams: {{origin: {{peers: ['{}']}}}}\n\
         routes: [{{path_prefix: /, upstream: origin}}]   # all of it\n\
         admin: {{listen: '127.0.0.1:0', token: {TOKEN}}}\n\
         # The end.\n",
        "a".repeat(64),
        "b".repeat(64),
        origin.address
    )
}

fn send(address: SocketAddr, request_line: &str, fields: &str, body: &str) -> Response {
    let length = body.len();
    Client::connect(address).exchange(format!(
        "{request_line} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    ))
}

fn etag(admin: SocketAddr) -> String {
    send(admin, "GET /api/config", "", "").header("etag").unwrap().to_owned()
}

/// A change of the file as it is now.
fn change(admin: SocketAddr, request_line: &str, body: &Value) -> Response {
    let fields = format!("If-Match: {}\r\nContent-Type: application/json\r\n", etag(admin));
    send(admin, request_line, &fields, &body.to_string())
}

/// The same, which is made.
pub(crate) fn changed(admin: SocketAddr, request_line: &str, body: &Value) -> Value {
    let response = change(admin, request_line, body);
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.json()["etag"], response.header("etag").unwrap());
    response.json()
}

fn status_with(gateway: &Gateway, key: &str) -> u16 {
    gateway.exchange(format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\n\r\n")).status
}

fn text(gateway: &Gateway) -> String {
    std::fs::read_to_string(gateway.file()).unwrap()
}

#[test]
fn after_ten_changes_the_file_differs_in_the_values_alone() {
    let origin = Origin::start();
    let before = commented(&origin);
    let gateway = Gateway::start(&before);
    let admin = gateway.admin();
    std::fs::set_permissions(gateway.file(), std::fs::Permissions::from_mode(0o640)).unwrap();
    for mode in ["off", "auto", "all_except_health"] {
        changed(admin, "PUT /api/config/auth_mode", &json!({"auth_mode": mode}));
    }
    changed(admin, "PUT /api/config/allow_lan_access", &json!({"allow_lan_access": true}));
    changed(admin, "PUT /api/config/api_key", &json!({"api_key": "sk-another0123456789"}));
    changed(admin, "PUT /api/config/api_key", &json!({"api_key": "sk-third0123456789ab"}));
    changed(admin, "PATCH /api/keys/alice", &json!({"enabled": false}));
    changed(admin, "PATCH /api/keys/alice", &json!({"enabled": true}));
    changed(admin, "PATCH /api/keys/bob", &json!({"expires_at": "2031-01-31T00:00:00Z"}));
    let made = changed(admin, "POST /api/keys", &json!({"name": "carol"}));
    let (id, digest) = {
        let written = text(&gateway);
        let at = |name: &str| {
            let (_, rest) = written.split_once("- name: carol").unwrap();
            let (_, value) = rest.split_once(name).unwrap();
            value.lines().next().unwrap().to_owned()
        };
        (at("id:"), at("digest:"))
    };
    let expected = before
        .replace("\"strict\"", "\"all_except_health\"")
        .replace("allow_lan_access: false", "allow_lan_access: true")
        .replace(KEY, "sk-third0123456789ab")
        .replace(&format!("sha256:{}\n", "a".repeat(64)), &format!("sha256:{}\n    enabled: true\n", "a".repeat(64)))
        .replace("'}   # Bob\n", &format!("', expires_at: \"2031-01-31T00:00:00Z\"}}   # Bob\n  - name: carol\n    id:{id}\n    digest:{digest}\n"));
    assert_eq!(text(&gateway), expected);
    assert_eq!(std::fs::metadata(gateway.file()).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(std::fs::read_dir(gateway.directory.path()).unwrap().count(), 1, "nothing is left beside it");
    assert_eq!(status_with(&gateway, made["key"].as_str().unwrap()), 200);
    assert_eq!(status_with(&gateway, KEY), 401);
}

#[test]
fn a_regenerated_key_counts_when_it_is_answered_and_the_old_one_as_long_as_was_said() {
    let origin = Origin::start();
    let gateway = Gateway::start(&commented(&origin));
    let admin = gateway.admin();
    let first = changed(admin, "POST /api/config/api_key/regenerate", &json!({"keep_old_seconds": 3600}));
    let first = first["api_key"].as_str().unwrap().to_owned();
    assert!(first.starts_with("sk-") && first.len() == 35, "{first}");
    assert_eq!((status_with(&gateway, &first), status_with(&gateway, KEY)), (200, 200));
    let shown = send(admin, "GET /api/config", "", "").json();
    assert!(shown["api_key"]["previous_until"].as_str().unwrap().ends_with('Z'), "{shown}");
    let second = changed(admin, "POST /api/config/api_key/regenerate", &json!({}));
    let second = second["api_key"].as_str().unwrap();
    assert_eq!(
        (status_with(&gateway, second), status_with(&gateway, &first), status_with(&gateway, KEY)),
        (200, 401, 401)
    );
    changed(admin, "POST /api/config/api_key/regenerate", &json!({"keep_old_seconds": 60}));
    assert_eq!(status_with(&gateway, second), 200);
    let log = gateway.program().log().join("\n");
    assert!(log.contains("admin: 127.0.0.1:") && log.contains("`proxy.api_key` is another"), "{log}");
    assert!(!log.contains(second) && !log.contains(&first), "no key is logged");
}

#[test]
fn the_mode_changes_for_the_next_request() {
    let origin = Origin::start();
    let gateway = Gateway::start(&commented(&origin));
    let admin = gateway.admin();
    assert_eq!(status_with(&gateway, "wrong"), 401);
    let answer = changed(admin, "PUT /api/config/auth_mode", &json!({"auth_mode": "off"}));
    assert_eq!(answer["generation"], 2);
    assert_eq!(status_with(&gateway, "wrong"), 200);
    let shown = send(admin, "GET /api/config", "", "").json();
    assert_eq!((&shown["auth_mode"], &shown["effective_mode"]), (&json!("off"), &json!("off")));
}

#[test]
fn keys_are_made_switched_off_and_removed() {
    let origin = Origin::start();
    let gateway = Gateway::start(&commented(&origin));
    let admin = gateway.admin();
    let made = changed(
        admin,
        "POST /api/keys",
        &json!({"name": "dora o'n", "expires_at": "2031-01-31T00:00:00+01:00"}),
    );
    let key = made["key"].as_str().unwrap();
    assert_eq!(status_with(&gateway, key), 200);
    let listed = |name: &str| {
        let keys = send(admin, "GET /api/keys", "", "").json()["keys"].clone();
        keys.as_array().unwrap().iter().find(|key| key["name"] == name).cloned()
    };
    let dora = listed("dora o'n").unwrap();
    assert_eq!((&dora["editable"], &dora["expires_at"]), (&json!(true), &json!("2031-01-30T23:00:00Z")));
    assert_eq!(listed("api_key").unwrap()["editable"], false);
    changed(admin, "PATCH /api/keys/dora%20o'n", &json!({"enabled": false, "expires_at": null}));
    assert_eq!(status_with(&gateway, key), 401);
    assert_eq!(listed("dora o'n").unwrap()["expires_at"], Value::Null);
    changed(admin, "DELETE /api/keys/dora%20o'n", &Value::Null);
    assert_eq!(listed("dora o'n"), None);
    assert_eq!(text(&gateway), commented(&origin), "as if nothing had been");
    let twice = change(admin, "POST /api/keys", &json!({"name": "bob"}));
    assert_eq!((twice.status, code(&twice).as_str()), (422, "rejected"));
    assert!(twice.json()["error"]["problems"][0].as_str().unwrap().contains("another key is named `bob`"));
    for (request, body, expected) in [
        ("PATCH /api/keys/nobody", json!({"enabled": true}), (404, "not_found")),
        ("DELETE /api/keys/nobody", Value::Null, (404, "not_found")),
        ("DELETE /api/keys/api_key", Value::Null, (409, "not_editable")),
        ("PATCH /api/keys/bob", json!({}), (400, "bad_request")),
        ("PATCH /api/keys/bob", json!({"expires_at": "tomorrow"}), (400, "bad_request")),
        ("PATCH /api/keys/%ff", json!({"enabled": true}), (404, "not_found")),
        ("DELETE /api/keys/%ff", Value::Null, (404, "not_found")),
        ("POST /api/keys", json!({"name": "x", "rate": 1}), (400, "bad_request")),
        ("POST /api/keys", json!({"name": ""}), (422, "rejected")),
        // A browser could never name it in a URL.
        ("POST /api/keys", json!({"name": ".."}), (422, "rejected")),
        ("PUT /api/keys/bob", json!({}), (405, "method_not_allowed")),
    ] {
        let response = change(admin, request, &body);
        assert_eq!((response.status, code(&response).as_str()), expected, "{request} {body}");
    }
    assert_eq!(text(&gateway), commented(&origin));
}

#[test]
fn the_log_has_a_line_for_each_change_and_none_for_what_is_refused() {
    let origin = Origin::start();
    let gateway = Gateway::start(&commented(&origin));
    let admin = gateway.admin();
    let peer = format!("PATCH /api/upstreams/origin/peers/{}", origin.address);
    for (request, body, line) in [
        ("PUT /api/config/auth_mode", json!({"auth_mode": "off"}), "`proxy.auth_mode` is now `off`"),
        (
            "PUT /api/config/allow_lan_access",
            json!({"allow_lan_access": false}),
            "`proxy.allow_lan_access` is now `false`",
        ),
        (
            "PUT /api/config/api_key",
            json!({"api_key": "sk-another0123456789", "keep_old_seconds": 60}),
            "`proxy.api_key` is another; the old one counts for 60 s",
        ),
        ("POST /api/config/api_key/regenerate", json!({}), "`proxy.api_key` is another"),
        ("POST /api/keys", json!({"name": "eve\" x"}), r#"key "eve\" x" added"#),
        ("PATCH /api/keys/alice", json!({"enabled": false}), r#"key "alice" disabled"#),
        (
            "PATCH /api/keys/alice",
            json!({"enabled": true, "expires_at": "2031-01-31T00:00:00Z"}),
            r#"key "alice" enabled expires at 2031-01-31T00:00:00Z"#,
        ),
        ("PATCH /api/keys/alice", json!({"expires_at": null}), r#"key "alice" does not expire"#),
        ("DELETE /api/keys/bob", Value::Null, r#"key "bob" removed"#),
        (&peer, json!({"drain": true}), "of upstream \"origin\" gets no new requests"),
        (&peer, json!({"drain": false}), "of upstream \"origin\" gets requests again"),
    ] {
        let lines = |log: &[String]| log.iter().filter(|one| one.contains(": 127.0.0.1:")).count();
        let before = lines(&gateway.program().log());
        assert_eq!(send(admin, request, "", &body.to_string()).status, 428);
        changed(admin, request, &body);
        gateway.program().wait_for_log("who changed what", |one| {
            one.contains("admin: 127.0.0.1:") && one.trim_end().ends_with(line)
        });
        assert_eq!(lines(&gateway.program().log()), before + 1, "{request}");
    }
}

#[test]
fn what_is_refused_changes_nothing_and_says_why() {
    let origin = Origin::start();
    let gateway = Gateway::start(&commented(&origin));
    let admin = gateway.admin();
    let mode = "PUT /api/config/auth_mode";
    let json_body = "Content-Type: application/json\r\n";
    let body = r#"{"auth_mode": "off"}"#;
    let refused = |fields: &str, body: &str| {
        let response = send(admin, mode, fields, body);
        (response.status, code(&response))
    };
    let matching = format!("If-Match: {}\r\n", etag(admin));
    assert_eq!(refused(json_body, body), (428, "if_match_missing".into()));
    assert_eq!(refused(&format!("{json_body}If-Match: \"old\"\r\n"), body), (412, "config_changed".into()));
    assert_eq!(refused(&matching, body), (415, "not_json".into()));
    let right = format!("{matching}{json_body}");
    assert_eq!(refused(&right, "{"), (400, "bad_request".into()));
    assert_eq!(refused(&right, r#"{"auth_mode": "on"}"#), (400, "bad_request".into()));
    assert_eq!(refused(&right, &format!("{{\"x\": \"{}\"}}", "x".repeat(70_000))), (413, "too_large".into()));
    assert_eq!(refused(&format!("{right}Origin: http://evil.example\r\n"), body), (403, "cross_site".into()));
    let key = |key: &str| change(admin, "PUT /api/config/api_key", &json!({"api_key": key}));
    assert_eq!(code(&key("")), "bad_request");
    assert_eq!(code(&key("${X}")), "bad_request");
    let token = key(TOKEN);
    assert_eq!(token.status, 422);
    assert!(token.json()["error"]["problems"][0].as_str().unwrap().contains("this token is also a key"));
    let number = change(
        admin,
        "PUT /api/config/api_key",
        &json!({"api_key": "sk-x", "keep_old_seconds": "sk-hidden"}),
    );
    assert_eq!(number.status, 400);
    assert_eq!(number.json()["error"]["message"], "keep_old_seconds: another type is expected");
    let negative =
        change(admin, "PUT /api/config/api_key", &json!({"api_key": "sk-x", "keep_old_seconds": -7}));
    assert_eq!(negative.json()["error"]["message"], "keep_old_seconds: another value is expected");
    // An edit by hand is never lost: the tag that was right before it is no longer.
    let by_hand = commented(&origin).replace("# The end.", "# The end, by hand.");
    gateway.replace_config(&by_hand);
    assert_eq!(refused(&right, body), (412, "config_changed".into()));
    assert_eq!(text(&gateway), by_hand);
    for request in
        [mode, "GET /api/config", "POST /api/config/api_key/reveal", "POST /api/keys", "DELETE /api/keys/bob"]
    {
        let response = Client::connect(admin)
            .exchange(format!("{request} HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!((response.status, code(&response).as_str()), (401, "token_missing"), "{request}");
    }
}

#[test]
fn a_file_with_problems_is_mended_by_hand_first() {
    let origin = Origin::start();
    let gateway = Gateway::start(&commented(&origin));
    let admin = gateway.admin();
    gateway
        .replace_config(&commented(&origin).replace("listen: ['127.0.0.1:0']  ", "lisen: ['127.0.0.1:0']  "));
    let refused = change(admin, "PUT /api/config/auth_mode", &json!({"auth_mode": "off"}));
    assert_eq!((refused.status, code(&refused).as_str()), (422, "rejected"));
    let problem = refused.json()["error"]["problems"][0].as_str().unwrap().to_owned();
    assert!(problem.contains("keygate.yaml:3:3: error: unknown field `lisen`"), "{problem}");
}

#[test]
fn a_key_in_a_file_of_its_own_is_written_there() {
    let origin = Origin::start();
    let directory = tempfile::TempDir::new().unwrap();
    let secret = directory.path().join("api.key");
    std::fs::write(&secret, KEY).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = commented(&origin).replace(KEY, &format!("file:{}", secret.display()));
    let gateway = Gateway::start(&config);
    let admin = gateway.admin();
    assert_eq!(status_with(&gateway, KEY), 200);
    let refused = change(admin, "PUT /api/config/api_key", &json!({"api_key": TOKEN}));
    assert_eq!(refused.status, 422);
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), KEY, "it was looked at before it was written");
    let answer = changed(admin, "POST /api/config/api_key/regenerate", &json!({}));
    let new = answer["api_key"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), format!("{new}\n"));
    assert_eq!(text(&gateway), config, "the config names the same file");
    assert_eq!((status_with(&gateway, new), status_with(&gateway, KEY)), (200, 401));
    changed(admin, "POST /api/config/api_key/regenerate", &json!({"keep_old_seconds": 60}));
    assert_eq!(status_with(&gateway, new), 200, "the old one still counts");
}

#[test]
fn a_key_from_the_environment_is_changed_there() {
    let origin = Origin::start();
    let config = commented(&origin).replace(KEY, "${WORKSHOP_KEY}");
    let gateway = Gateway::start_with(&config, |command| {
        command.env("WORKSHOP_KEY", KEY);
    });
    let refused = change(gateway.admin(), "POST /api/config/api_key/regenerate", &json!({}));
    assert_eq!((refused.status, code(&refused).as_str()), (409, "not_editable"));
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("`WORKSHOP_KEY`"));
    let shown = send(gateway.admin(), "GET /api/config", "", "").json();
    assert_eq!(
        (&shown["api_key"]["from"], &shown["api_key"]["where"]),
        (&json!("env"), &json!("WORKSHOP_KEY"))
    );
    assert!(shown["api_key"]["not_editable"].as_str().unwrap().contains("environment"));
}

#[test]
fn a_symbolic_link_is_refused() {
    let origin = Origin::start();
    let gateway = Gateway::start(&commented(&origin));
    let real = gateway.directory.path().join("real.yaml");
    std::fs::rename(gateway.file(), &real).unwrap();
    std::os::unix::fs::symlink(&real, gateway.file()).unwrap();
    let shown = send(gateway.admin(), "GET /api/config", "", "");
    assert!(shown.json()["not_editable"].as_str().unwrap().contains("symbolic link"));
    assert_eq!(shown.header("etag"), None);
    let fields = "If-Match: \"x\"\r\nContent-Type: application/json\r\n";
    let refused = send(gateway.admin(), "PUT /api/config/auth_mode", fields, r#"{"auth_mode": "off"}"#);
    assert_eq!((refused.status, code(&refused).as_str()), (409, "not_editable"));
}

#[test]
fn the_config_is_shown_without_secrets_and_the_key_to_who_asks_for_it() {
    let origin = Origin::start();
    let gateway = Gateway::start(&commented(&origin));
    let shown = send(gateway.admin(), "GET /api/config", "", "");
    let printed = String::from_utf8(shown.body.clone()).unwrap();
    assert!(!printed.contains(KEY) && !printed.contains(TOKEN) && !printed.contains("aaaaaaaa"), "{printed}");
    let shown = shown.json();
    assert_eq!(shown["file"], gateway.file().display().to_string());
    assert_eq!(shown["api_key"]["masked"], "sk-…cdef");
    assert_eq!(shown["config"]["routes"][0]["upstream"], "origin");
    assert_eq!(shown["not_editable"], Value::Null);
    let revealed = send(gateway.admin(), "POST /api/config/api_key/reveal", "", "");
    assert_eq!(revealed.json(), json!({"api_key": KEY}));
    assert_eq!(revealed.header("cache-control"), Some("no-store"));
    gateway.program().wait_for_log("an audit line", |line| line.contains("was shown `proxy.api_key`"));
    assert_eq!(send(gateway.admin(), "GET /api/config/api_key/reveal", "", "").status, 405);
}

#[test]
fn what_needs_a_restart_is_written_and_said() {
    let origin = Origin::start();
    // The default listener cannot be asked for port 0: one that is free a moment before.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = "listen: ['127.0.0.1:0']   # any port";
    let gateway = Gateway::start(&commented(&origin).replace(listen, &format!("port: {free}")));
    let answer =
        changed(gateway.admin(), "PUT /api/config/allow_lan_access", &json!({"allow_lan_access": true}));
    assert!(answer["restart_needed"].to_string().contains("allow_lan_access"), "{answer}");
    let shown = send(gateway.admin(), "GET /api/config", "", "").json();
    assert_eq!(shown["restart_needed"], answer["restart_needed"]);
    assert_eq!(shown["allow_lan_access"], true);
    let open = changed(gateway.admin(), "PUT /api/config/auth_mode", &json!({"auth_mode": "off"}));
    let warning = "once the gateway is started again: other machines reach this gateway and no key is needed";
    assert!(open["warnings"].to_string().contains(warning), "{open}");
    let closed =
        changed(gateway.admin(), "PUT /api/config/allow_lan_access", &json!({"allow_lan_access": false}));
    assert!(!closed["warnings"].to_string().contains("started again"), "{closed}");
}

#[test]
fn a_drained_peer_gets_no_new_requests() {
    let (one, other) = (Origin::start(), Origin::start());
    let both = format!("peers: ['{}', {{address: '{}', weight: 3}}]   # both", one.address, other.address);
    let config =
        commented(&one).replace(&format!("peers: ['{}']}}}}", one.address), &format!("{both}\n  }}}}"));
    let gateway = Gateway::start(&config);
    let admin = gateway.admin();
    let drain = |peer: SocketAddr, drain: bool| {
        changed(admin, &format!("PATCH /api/upstreams/origin/peers/{peer}"), &json!({"drain": drain}))
    };
    let reached = || {
        let before = (one.received().len(), other.received().len());
        (0..8).for_each(|_| assert_eq!(status_with(&gateway, KEY), 200));
        (one.received().len() - before.0, other.received().len() - before.1)
    };
    assert_eq!(reached(), (2, 6));
    drain(other.address, true);
    assert_eq!(reached(), (8, 0));
    drain(other.address, false);
    drain(one.address, true);
    assert_eq!(reached(), (0, 8));
    let shown = send(admin, "GET /api/upstreams", "", "").json();
    let peers = shown["upstreams"][0]["peers"].as_array().unwrap();
    assert_eq!((&peers[0]["drain"], &peers[1]["drain"]), (&json!(true), &json!(false)));
    let none = drain(other.address, true);
    assert!(none["warnings"].to_string().contains("every peer has `drain: true`"), "{none}");
    assert_eq!(status_with(&gateway, KEY), 503);
    let written = format!(
        "peers: [{{address: \"{}\", drain: true}}, {{address: '{}', weight: 3, drain: true}}]   # both",
        one.address, other.address
    );
    assert_eq!(text(&gateway), config.replace(&both, &written));
    for (path, body, expected) in [
        ("nowhere/peers/x:1", json!({"drain": true}), (404, "not_found")),
        ("origin/peers/x:1", json!({"drain": true}), (404, "not_found")),
        ("origin/peers/x:1", json!({"drain": 1}), (400, "bad_request")),
    ] {
        let response = change(admin, &format!("PATCH /api/upstreams/{path}"), &body);
        assert_eq!((response.status, code(&response).as_str()), expected, "{path} {body}");
    }
}

/// Killed in the middle of changes, the gateway leaves a file that is whole, and starts with it.
#[test]
fn a_crash_leaves_a_whole_file() {
    let origin = Origin::start();
    let config = commented(&origin);
    let modes = ["strict", "off", "auto", "all_except_health"];
    let whole: Vec<String> =
        modes.iter().map(|mode| config.replace("\"strict\"", &format!("\"{mode}\""))).collect();
    let mut gateway = Gateway::start(&config);
    for round in 1..=5 {
        let admin = gateway.admin();
        let mut client = Client::connect(admin);
        let mut tag = etag(admin);
        // After so many answers the next change is sent, and not waited for.
        for turn in 0..=round {
            let body = json!({"auth_mode": modes[turn % modes.len()]}).to_string();
            let request = format!(
                "PUT /api/config/auth_mode HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {TOKEN}\r\nIf-Match: {tag}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if turn == round {
                client.send(request);
            } else {
                tag = client.exchange(request).header("etag").unwrap().to_owned();
            }
        }
        gateway.signal("KILL");
        gateway.wait();
        assert!(whole.contains(&text(&gateway)), "round {round}:\n{}", text(&gateway));
        gateway = gateway.start_again();
    }
}
