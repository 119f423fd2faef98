//! The primary key and the named ones: digests that are well-formed, names and digests that are unique.

use std::collections::HashMap;

use crate::clock::UnixSeconds;
use crate::config::{self, Config};
use crate::policy::keys::{Digest, KeyRecord, KeyTable, MAX_KEY_BYTES, is_key_name};
use crate::problem::{FieldPath, Problem};

pub(super) fn compile_keys(config: &Config, problems: &mut Vec<Problem>) -> KeyTable {
    let mut table = KeyTable::default();
    let api_key_path = FieldPath::root().field("proxy").field("api_key");
    if let Some(api_key) = config.proxy.api_key.as_ref().filter(|key| !key.value.is_empty()) {
        match check_key(api_key.value.expose().as_bytes()) {
            Ok(()) => {
                let record = KeyRecord { name: "api_key".into(), enabled: true, expires_at: None };
                // The table is empty: nothing can be there twice.
                let _ = table.insert(Digest::of(api_key.value.expose().as_bytes()), record);
            }
            Err(what) => problems.push(
                Problem::error(api_key_path, format!("`api_key` {what}, so no request could ever carry it"))
                    .with_help("`keygate keygen` prints a new key"),
            ),
        }
    }
    let mut names: HashMap<&str, usize> = HashMap::from([("api_key", usize::MAX)]);
    for (at, key) in config.keys.iter().enumerate() {
        let path = FieldPath::root().field("keys").index(at);
        if !is_key_name(&key.name) {
            problems.push(Problem::error(
                path.field("name"),
                "a key's name is 1 to 128 bytes without control characters",
            ));
        } else if let Some(&other) = names.get(key.name.as_str()) {
            problems.push(duplicate_name(&path, &key.name, other));
        }
        names.insert(&key.name, at);
        insert_key(&mut table, &path, key, problems);
    }
    table
}

fn duplicate_name(path: &FieldPath, name: &str, other: usize) -> Problem {
    let message = match other {
        usize::MAX => format!("`{name}` is the name of the primary key, `proxy.api_key`"),
        other => format!("`{name}` is also the name of `keys[{other}]`"),
    };
    Problem::error(path.field("name"), message).with_help("a name tells keys apart in logs; make it unique")
}

fn insert_key(table: &mut KeyTable, path: &FieldPath, key: &config::Key, problems: &mut Vec<Problem>) {
    let digest = match key.digest.parse::<Digest>() {
        Ok(digest) => digest,
        Err(error) => {
            // What stands there may be the key itself: it is not repeated.
            problems.push(Problem::error(path.field("digest"), error.to_string()).with_help(
                "`keygate keygen` prints a key and its digest line; the key itself does not belong here",
            ));
            return;
        }
    };
    let expires_at = key.expires_at.map(|at| UnixSeconds(at.timestamp()));
    let record = KeyRecord { name: key.name.as_str().into(), enabled: key.enabled, expires_at };
    if let Err(other) = table.insert(digest, record) {
        let message = format!("the same digest as key `{other}`");
        problems.push(Problem::error(path.field("digest"), message));
    }
}

/// A key must be able to arrive: field values are visible ASCII, space and tab, without white space at their ends
/// (RFC 9110 §5.5).
fn check_key(key: &[u8]) -> Result<(), &'static str> {
    if key.len() > MAX_KEY_BYTES {
        return Err("is longer than 4096 bytes");
    }
    if !key.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Err("has a character outside visible ASCII");
    }
    if key.trim_ascii().len() != key.len() {
        return Err("has white space at its beginning or end");
    }
    Ok(())
}
