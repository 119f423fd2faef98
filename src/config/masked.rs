//! What is written in a config, for people to look at: secrets, digests and the values of header fields are masked.

use serde_yaml::Value;

use super::{Config, SecretOrigin};
use crate::problem::Step;

/// What stands in place of a secret.
const MASK: &str = "***";

/// Mappings of header fields, of which any may be a credential.
const OF_FIELDS: &[&str] = &["headers", "set", "add"];

/// The values of the file that `config` was read from, without secrets.
pub(super) fn masked(mut written: Value, config: &mut Config) -> serde_json::Value {
    for (path, secret) in config.secrets() {
        // The name of a variable or a file is no secret, and says where to look.
        if secret.origin != SecretOrigin::Literal {
            continue;
        }
        let place = path.0.iter().try_fold(&mut written, |value, step| match step {
            Step::Field(name) => value.get_mut(name.as_str()),
            Step::Index(index) => value.get_mut(*index),
        });
        if let Some(value) = place {
            *value = MASK.into();
        }
    }
    mask_names(&mut written);
    serde_json::to_value(written).unwrap_or_default()
}

/// The nesting was limited when the file was read.
fn mask_names(value: &mut Value) {
    match value {
        Value::Mapping(entries) => {
            for (name, value) in entries.iter_mut() {
                match (name.as_str().unwrap_or_default(), value) {
                    ("digest", value) => *value = MASK.into(),
                    (name, Value::Mapping(fields)) if OF_FIELDS.contains(&name) => {
                        fields.values_mut().for_each(|value| *value = MASK.into());
                    }
                    (_, value) => mask_names(value),
                }
            }
        }
        Value::Sequence(elements) => elements.iter_mut().for_each(mask_names),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    #[test]
    fn no_secret_is_shown_and_everything_else_is() {
        let text = "proxy: {api_key: sk-hidden, port: 9, auth_mode: off}\nadmin: {token: '${TOKEN}'}\n\
                    keys: [{name: a, digest: hidden, previous: {digest: hidden, until: 2027-01-31T00:00:00Z}}, {name: b, key: hidden}]\n\
                    upstreams: {one: {peers: ['a:1'], credential: {header: x, value: hidden}}}\n\
                    routes: [{upstream: one, headers: {x: hidden}, request_headers: {set: {a: hidden}, add: {b: hidden}}}]\n";
        let env = |_: &str| Some("hidden".to_owned());
        let shown = parse(Path::new("k.yaml"), text.as_bytes(), &env).unwrap().shown;
        let printed = shown.to_string();
        assert!(!printed.contains("hidden"), "{printed}");
        assert_eq!(shown["proxy"]["port"], 9);
        assert_eq!(shown["proxy"]["api_key"], "***");
        assert_eq!(shown["admin"]["token"], "${TOKEN}");
        assert_eq!(shown["keys"][1]["name"], "b");
        assert_eq!(shown["routes"][0]["request_headers"]["set"]["a"], "***");
    }
}
