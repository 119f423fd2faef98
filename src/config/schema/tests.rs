//! The schema says what the reader does.

use serde_json::json;

use super::*;
use crate::config::{fault::Fault, reader::Reader};

fn accepts(config: &Value) -> bool {
    jsonschema::draft202012::new(&schema()).unwrap().is_valid(config)
}

#[test]
fn it_is_a_schema_of_its_draft_with_a_title() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["title"], "keygate config");
    jsonschema::draft202012::meta::validate(&schema).unwrap();
}

#[test]
fn every_mapping_is_closed_and_every_field_documented() {
    let mut mappings = 0;
    let mut rest = vec![schema()];
    while let Some(value) = rest.pop() {
        if let Some(fields) = value.get("properties").and_then(Value::as_object) {
            mappings += 1;
            assert_eq!(value["additionalProperties"], false, "{value}");
            for (name, field) in fields {
                assert!(field["description"].is_string(), "{name} has no description");
            }
        }
        rest.extend(value.as_object().into_iter().flat_map(|object| object.values().cloned()));
        rest.extend(value.as_array().into_iter().flatten().cloned());
    }
    assert!(mappings >= 7, "{mappings}");
}

/// Of each pair the first is right and the second wrong, for the schema and for the reader.
#[test]
fn it_accepts_what_the_reader_accepts() {
    let pairs = [
        (json!({}), json!([])),
        (json!({"proxy": {"port": 1}}), json!({"proxy": {"port": 0}})),
        (json!({"proxy": {"port": 65535}}), json!({"proxy": {"port": 65536}})),
        (json!({"proxy": {"auth_mode": false}}), json!({"proxy": {"auth_mode": true}})),
        (json!({"proxy": {"auth_mode": "auto"}}), json!({"proxy": {"auth_mode": "on"}})),
        (json!({"proxy": {"api_key": "x"}}), json!({"proxy": {"api_key": 1}})),
        (json!({"proxy": {"api_key": null}}), json!({"proxy": {"listen": null}})),
        (json!({"proxy": {"threads": null}}), json!({"proxy": {"threads": 1025}})),
        (
            json!({"proxy": {"shutdown": {"grace": "1h 30min"}}}),
            json!({"proxy": {"shutdown": {"grace": "1"}}}),
        ),
        (json!({"upstreams": {"a": {"peers": ["x:1"]}}}), json!({"upstreams": {"a": {}}})),
        (
            json!({"upstreams": {"a": {"peers": [{"address": "x:1", "weight": 1000}]}}}),
            json!({"upstreams": {"a": {"peers": [{"address": "x:1", "weight": 1001}]}}}),
        ),
        (
            json!({"keys": [{"name": "a", "digest": "x", "expires_at": null}]}),
            json!({"keys": [{"name": "a", "digest": "x", "expires": null}]}),
        ),
        (json!({"routes": [{"upstream": "a"}]}), json!({"routes": [{"path": "/"}]})),
    ];
    for (right, wrong) in pairs {
        assert!(accepts(&right) && read(&right).is_ok(), "{right}");
        assert!(!accepts(&wrong) && read(&wrong).is_err(), "{wrong}");
    }
}

fn read(config: &Value) -> Result<Config, Fault> {
    let value = serde_yaml::to_value(config).unwrap();
    serde::Deserialize::deserialize(Reader(&value))
}
