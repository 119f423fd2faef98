//! Many keys, each its own: made, named, limited, changed and revoked while requests flow.

use crate::support::{Gateway, Origin, config, keygate, run_to_end};

fn get(gateway: &Gateway, key: &str) -> crate::support::Response {
    gateway.exchange(format!("GET / HTTP/1.1\r\nHost: t\r\nx-api-key: {key}\r\n\r\n"))
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
    let output = run_to_end(keygate(["keygen", "--name", "a\nb"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "no key is shown that would then be lost");
}
