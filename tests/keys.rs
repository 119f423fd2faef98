//! Many keys, each its own: made, named, limited, changed and revoked while requests flow.

use crate::support::{Gateway, Origin, config, keygate, run_to_end};

fn get(gateway: &Gateway, key: &str) -> crate::support::Response {
    gateway.exchange(format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\n\r\n"))
}

/// A key and the entry for it, from `keygate keygen --name`.
fn keygen(name: &str) -> (String, String) {
    let output = run_to_end(keygate(["keygen", "--name", name]));
    assert!(output.status.success());
    let key = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
    (key, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn keygen_prints_a_key_once_and_an_entry_that_admits_it() {
    let origin = Origin::start();
    let (key, entry) = keygen("alice: \"the 1st\"");
    assert!(key.starts_with("kg_") && key.len() == 52, "{key}");
    assert!(!entry.contains(&key), "the key itself is not in what goes into the file");
    let gateway = Gateway::start(&format!("{}keys:\n{entry}", config("strict", &origin)));
    assert_eq!(get(&gateway, &key).status, 200);
    assert_eq!(get(&gateway, &keygen("bob").0).error_code(), Some("credential_invalid"));
}

#[test]
fn keygen_refuses_a_name_that_the_config_would_refuse() {
    for name in ["a\nb", "", " alice", "alice\u{a0}"] {
        let output = run_to_end(keygate(["keygen", "--name", name]));
        assert_eq!(output.status.code(), Some(1), "{name:?}");
        assert!(output.stdout.is_empty(), "no key is shown that would then be lost");
    }
}

fn digest_of(key: &str) -> String {
    keygate::policy::Digest::of(key.as_bytes()).to_string()
}

/// A strict config with these further lines.
fn with(origin: &Origin, lines: &str) -> String {
    format!("{}{lines}\n", config("strict", origin))
}

#[test]
fn a_key_in_clear_is_taken_with_a_warning_that_prints_its_replacement() {
    let origin = Origin::start();
    let gateway = Gateway::start(&with(&origin, "keys: [{name: alice, key: sk-alice-in-clear}]"));
    assert_eq!(get(&gateway, "sk-alice-in-clear").status, 200);
    let line = format!("replace the line by `digest: {}`", digest_of("sk-alice-in-clear"));
    gateway.program().wait_for("the warning", |log| log.join("\n").contains(&line).then_some(()));
    assert!(!gateway.program().log().join("\n").contains("sk-alice-in-clear"), "the key itself is not said");
}

#[test]
fn a_key_may_stand_in_the_environment_or_in_a_file() {
    let origin = Origin::start();
    let text = with(&origin, "keys: [{name: a, key: '${ALICE}'}, {name: b, key: 'file:bob'}]");
    let gateway = Gateway::start_with(&text, |command| {
        std::fs::write(command.get_current_dir().unwrap().join("bob"), "sk-bob\n").unwrap();
        command.env("ALICE", "sk-alice");
    });
    assert_eq!(get(&gateway, "sk-alice").status, 200);
    assert_eq!(get(&gateway, "sk-bob").status, 200);
    assert_eq!(get(&gateway, "${ALICE}").status, 401);
}

#[test]
fn a_file_of_keys_is_read_and_followed() {
    let origin = Origin::start();
    let line = |name: &str, key: &str| format!("{{\"name\":\"{name}\",\"digest\":\"{}\"}}\n", digest_of(key));
    let first = format!("# the team\n\n{}{}", line("alice", "sk-alice"), line("bob", "sk-bob"));
    let gateway = Gateway::start_with(&with(&origin, "keys_file: keys.jsonl"), |command| {
        std::fs::write(command.get_current_dir().unwrap().join("keys.jsonl"), &first).unwrap();
    });
    assert_eq!((get(&gateway, "sk-alice").status, get(&gateway, "sk-bob").status), (200, 200));
    let file = gateway.directory.path().join("keys.jsonl");
    crate::support::replace(&file, &line("alice", "sk-alice"));
    gateway.wait_for_generation(2);
    assert_eq!((get(&gateway, "sk-alice").status, get(&gateway, "sk-bob").status), (200, 401));
    // As while it is being written in place.
    crate::support::replace(&file, "");
    gateway.program().wait_for_log("the reason", |line| line.contains("keys.jsonl` is empty"));
    assert_eq!(get(&gateway, "sk-alice").status, 200);
    // A line that cannot be used changes nothing, and the log says where it stands.
    crate::support::replace(
        &file,
        &format!("{}{{\"name\":\"bob\",\"digset\":\"sk-bob\"}}\n", line("carol", "c")),
    );
    gateway.program().wait_for_log("the reason", |line| {
        line.contains("keys.jsonl:2:") && line.contains("error: ") && line.contains("unknown field `digset`")
    });
    assert_eq!((get(&gateway, "sk-alice").status, get(&gateway, "c").status), (200, 401));
    assert!(!gateway.program().log().join("\n").contains("sk-bob"), "values are not repeated");
}

#[test]
fn what_is_wrong_in_a_file_of_keys_is_found_all_at_once() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("keygate.yaml");
    std::fs::write(&file, "keys_file: k\nkeys: [{name: a, digest: x}, {name: b}]\n").unwrap();
    let digest = digest_of("k");
    // As a field's value, ` a` would be `a`.
    let white_space = format!("{{\"name\":\" a\",\"digest\":\"{}\"}}\n", digest_of("m"));
    let lines = format!(
        "{{\"name\":\"a\",\"digest\":\"{digest}\"}}\n{{\"name\":\"\",\"digest\":\"{}\"}}\nno JSON\n\
         {{\"name\":\"a\",\"digest\":\"{digest}\"}}\n{{\"name\":\"c\",\"digest\":\"x\",\"enabled\":\"sk-value\"}}\n\
         {{\"name\":\"d\",\"key\":\"file:x\"}}\n{{\"name\":\"e\",\"name\":\"e\",\"digest\":\"x\"}}\n{white_space}",
        digest_of("l")
    );
    std::fs::write(directory.path().join("k"), lines).unwrap();
    let output = run_to_end(keygate(["check".as_ref(), "-c".as_ref(), file.as_os_str()]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for expected in [
        "keygate.yaml:2:26: error: a digest is `sha256:` and 64 hex digits",
        "error: `digest` is missing",
        "k:2:1: error: a key's name is 1 to 128 bytes",
        "k:8:1: error: a key's name is 1 to 128 bytes",
        "k:3:2: error: this line is no JSON object",
        "k:4:1: error: another key is named `a`",
        "k:4:1: error: the same digest as key `a`",
        ": error: `enabled`: expected `true` or `false`, found text",
        "k:6:1: error: only the config itself is filled in from elsewhere",
        "error: a field stands twice in this line",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    assert!(!text.contains("sk-value"), "{text}");
}

#[test]
fn a_key_has_two_digests_while_it_is_changed() {
    let origin = Origin::start();
    let keys = |until: &str| {
        let (new, old) = (digest_of("sk-new"), digest_of("sk-old"));
        with(
            &origin,
            &format!("keys: [{{name: a, digest: '{new}', previous: {{digest: '{old}', until: {until}}}}}]"),
        )
    };
    let gateway = Gateway::start(&keys("2100-01-01T00:00:00Z"));
    assert_eq!((get(&gateway, "sk-new").status, get(&gateway, "sk-old").status), (200, 200));
    gateway.replace_config(&keys("2020-01-01T00:00:00Z"));
    gateway.wait_for_generation(2);
    assert_eq!(get(&gateway, "sk-new").status, 200);
    assert_eq!(get(&gateway, "sk-old").error_code(), Some("key_expired"));
}

#[test]
fn a_digest_that_is_about_to_count_no_more_is_warned_about_while_it_is_used() {
    let origin = Origin::start();
    let soon = chrono::Utc::now() + chrono::TimeDelta::days(3);
    let until = soon.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let entry = |name: &str| {
        let [new, old] = ["new", "old"].map(|which| digest_of(&format!("sk-{name}-{which}")));
        format!("{{name: {name}, digest: '{new}', previous: {{digest: '{old}', until: {until}}}}}")
    };
    let keys = |more: &str| format!("keys: [{}, {}{more}]", entry("used"), entry("unused"));
    let gateway = Gateway::start(&with(&origin, &keys("")));
    assert_eq!((get(&gateway, "sk-used-old").status, get(&gateway, "sk-unused-new").status), (200, 200));
    gateway.replace_config(&with(&origin, &keys(&format!(", {{name: c, digest: '{}'}}", digest_of("c")))));
    gateway.program().wait_for_log("the warning", |line| {
        line.contains("the previous digest of key `used`, last used at ")
            && line.ends_with(&format!(", counts until {until}"))
    });
    gateway.wait_for_generation(2);
    assert!(!gateway.program().log().join("\n").contains("of key `unused`"));
}

#[test]
fn a_key_that_is_about_to_expire_is_warned_about_and_counted() {
    let origin = Origin::start();
    let soon = chrono::Utc::now() + chrono::TimeDelta::minutes(3 * 24 * 60 + 30);
    let keys = format!(
        "keys: [{{name: soon, digest: '{}', expires_at: {}}}, {{name: later, digest: '{}', expires_at: \
         2999-01-01T00:00:00Z}}]",
        digest_of("sk-soon"),
        soon.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        digest_of("sk-later")
    );
    let gateway = Gateway::start(&with(&origin, &keys));
    gateway.program().wait_for_log("the warning", |line| line.contains("key `soon` expires in 3 d 0 h, at "));
    assert_eq!(get(&gateway, "sk-soon").status, 200);
    assert!(!gateway.program().log().join("\n").contains("`later`"));
}
