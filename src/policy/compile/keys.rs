//! The primary key and the named ones: digests that are well-formed, names and digests that are unique.

use super::key_rules::RuleCompiler;
use crate::clock::UnixSeconds;
use crate::config::{self, Config, SecretOrigin};
use crate::policy::key_format::PublicId;
use crate::policy::keys::{Digest, DuplicateKey, KEY_NAME, KeyId, KeyTable, MAX_KEY_BYTES, NewKey, is_name};
use crate::problem::{FieldPath, Place, Problem};

/// More problems than anyone reads at once: then the rest of a file of keys is not looked at.
const MAX_PROBLEMS: usize = 100;

pub(super) fn compile_keys(config: &Config, problems: &mut Vec<Problem>) -> KeyTable {
    let rules = RuleCompiler::new(config);
    let most = 1 + config.keys.len() + config.keys_file.as_ref().map_or(0, config::KeysFile::most_keys);
    let mut keys = KeyCompiler { table: KeyTable::for_keys(most), rules, problems };
    keys.add_api_key(config);
    for (at, key) in config.keys.iter().enumerate() {
        keys.add(&At::Config(FieldPath::root().field("keys").index(at)), key);
    }
    if let Some(file) = &config.keys_file {
        keys.add_file(file);
    }
    keys.table.shrink_to_fit();
    keys.table
}

/// Where a key stands.
pub(super) enum At<'a> {
    /// In the config itself.
    Config(FieldPath),
    /// In a line of the file of keys.
    Line(&'a config::KeysFile, usize),
}

impl At<'_> {
    /// Where its field `name` stands.
    pub(super) fn field(&self, name: &str) -> Place {
        match self {
            Self::Config(path) => Place::Value(path.field(name)),
            Self::Line(file, line) => file.place(*line, 1),
        }
    }
}

struct KeyCompiler<'a> {
    table: KeyTable,
    rules: RuleCompiler,
    problems: &'a mut Vec<Problem>,
}

impl KeyCompiler<'_> {
    fn add_api_key(&mut self, config: &Config) {
        let Some(api_key) = config.proxy.api_key.as_ref().filter(|key| !key.value.is_empty()) else { return };
        let path = FieldPath::root().field("proxy").field("api_key");
        let key = api_key.value.expose().as_bytes();
        if let Err(what) = check_key(key) {
            self.problems.push(
                Problem::error(path, format!("`api_key` {what}, so no request could ever carry it"))
                    .with_help("`keygate keygen` prints a new key"),
            );
            return;
        }
        let rules = self.rules.default_rules(&mut self.table);
        let (public_id, not_before, expires_at) = (None, None, None);
        let digest = Digest::of(key);
        // The table is empty: nothing can be there twice.
        let inserted = self.table.insert(NewKey {
            name: "api_key",
            digest,
            public_id,
            enabled: true,
            not_before,
            expires_at,
            rules,
        });
        if let Ok(id) = inserted {
            self.table.remember_shape(id, key);
            let at = At::Config(FieldPath::root().field("proxy"));
            self.add_previous(
                &at,
                ("api_key_previous", "api_key"),
                config.proxy.api_key_previous.as_ref(),
                id,
            );
        }
    }

    fn add_file(&mut self, file: &config::KeysFile) {
        for (line, key) in file.keys() {
            match key {
                Ok(key) => self.add(&At::Line(file, line), &key),
                Err(problem) => self.problems.push(problem),
            }
            if self.problems.len() > MAX_PROBLEMS {
                return;
            }
        }
    }

    fn add(&mut self, at: &At<'_>, key: &config::Key) {
        if key.name == "api_key" {
            let message = "`api_key` is the name of the primary key, `proxy.api_key`";
            self.problems
                .push(Problem::error(at.field("name"), message).with_help("give this key another name"));
        } else if !is_name(&key.name) {
            self.problems
                .push(Problem::error(at.field("name"), KEY_NAME).with_help("say whose key it is: `alice`"));
        }
        let digest = self.digest(at, key);
        let public_id = self.public_id(at, key);
        let rules = self.rules.compile(at, key, &mut self.table, self.problems);
        let Some(digest) = digest else { return };
        let time = |time: chrono::DateTime<chrono::Utc>| UnixSeconds(time.timestamp());
        let new = NewKey {
            name: &key.name,
            digest,
            public_id,
            enabled: key.enabled,
            not_before: key.not_before.map(time),
            expires_at: key.expires_at.map(time),
            rules,
        };
        match self.table.insert(new) {
            Ok(id) => {
                if let Some(secret) = &key.key {
                    self.table.remember_shape(id, secret.value.expose().as_bytes());
                }
                self.add_previous(at, ("previous", &key.name), key.previous.as_ref(), id);
            }
            Err(duplicate) => {
                let digest_too = match (&duplicate, self.table.find_digest(&digest)) {
                    (DuplicateKey::Name, Some((_, other))) => {
                        Some(DuplicateKey::Digest(other.name().to_owned()))
                    }
                    _ => None,
                };
                let duplicates = [Some(duplicate), digest_too].into_iter().flatten();
                self.problems.extend(
                    duplicates.map(|duplicate| duplicate_problem(at, "digest", &key.name, duplicate)),
                );
            }
        }
    }

    /// The digest of a key, which is given, or made from the key itself.
    fn digest(&mut self, at: &At<'_>, key: &config::Key) -> Option<Digest> {
        match (&key.digest, &key.key) {
            (Some(digest), None) => self.parse_digest(at, "digest", digest),
            (None, Some(secret)) => self.digest_of(at, secret),
            (given, _) => {
                let both = given.is_some();
                let message =
                    if both { "a key has `digest` or `key`, not both" } else { "`digest` is missing" };
                self.problems.push(
                    Problem::error(at.field("name"), message)
                        .with_help("`keygate keygen --name NAME` prints a key and its entry")
                        .relative(),
                );
                None
            }
        }
    }

    fn parse_digest(&mut self, at: &At<'_>, field: &str, digest: &str) -> Option<Digest> {
        match digest.parse() {
            Ok(digest) => Some(digest),
            Err(error) => {
                // What stands there may be the key itself: it is not repeated.
                self.problems.push(Problem::error(at.field(field), format!("{error}")).with_help(
                    "`keygate keygen` prints a key and its digest line; the key itself does not belong here",
                ));
                None
            }
        }
    }

    fn digest_of(&mut self, at: &At<'_>, secret: &config::SecretRef) -> Option<Digest> {
        let problem = match (&secret.origin, at) {
            (SecretOrigin::Env(_) | SecretOrigin::File(_), At::Line(..)) => {
                Some("only the config itself is filled in from elsewhere")
            }
            _ if secret.value.is_empty() => Some("`key` is empty"),
            _ => None,
        };
        if let Some(message) = problem {
            self.problems.push(Problem::error(at.field("key"), message).with_help(DIGEST_INSTEAD));
            return None;
        }
        let key = secret.value.expose().as_bytes();
        if let Err(what) = check_key(key) {
            let message = format!("`key` {what}, so no request could ever carry it");
            self.problems.push(Problem::error(at.field("key"), message).with_help(DIGEST_INSTEAD));
            return None;
        }
        let digest = Digest::of(key);
        if secret.origin == SecretOrigin::Literal {
            let message = "the key itself stands here; its digest is enough";
            let help = match at {
                At::Config(_) => format!("replace the line by `digest: {digest}`"),
                At::Line(..) => format!("replace it by `\"digest\":\"{digest}\"`"),
            };
            self.problems.push(Problem::warning(at.field("key"), message).with_help(help));
        }
        Some(digest)
    }

    fn public_id(&mut self, at: &At<'_>, key: &config::Key) -> Option<PublicId> {
        match key.id.as_deref()?.parse() {
            Ok(id) => Some(id),
            Err(error) => {
                self.problems
                    .push(Problem::error(at.field("id"), format!("{error}")).with_help(
                        "it is the part of the key behind `kg_`; only keys of that form have one",
                    ));
                None
            }
        }
    }

    fn add_previous(
        &mut self,
        at: &At<'_>,
        (field, name): (&str, &str),
        previous: Option<&config::PreviousDigest>,
        id: KeyId,
    ) {
        let Some(previous) = previous else { return };
        let Some(digest) = self.parse_digest(at, field, &previous.digest) else { return };
        let until = UnixSeconds(previous.until.timestamp());
        if let Err(duplicate) = self.table.add_previous(id, digest, until) {
            self.problems.push(duplicate_problem(at, field, name, duplicate));
        }
    }
}

const DIGEST_INSTEAD: &str = "give the `digest`: `keygate keygen` prints a key and its digest line";

fn duplicate_problem(at: &At<'_>, digest_field: &str, name: &str, duplicate: DuplicateKey) -> Problem {
    match duplicate {
        DuplicateKey::Digest(other) => {
            Problem::error(at.field(digest_field), format!("the same digest as key `{other}`"))
                .with_help("each key belongs to one name: `keygate keygen` makes another")
        }
        DuplicateKey::Name => Problem::error(at.field("name"), format!("another key is named `{name}`"))
            .with_help("a name tells keys apart in logs; make it unique"),
        DuplicateKey::Full => {
            Problem::error(at.field("name"), format!("there are more than {} keys", KeyTable::MAX_KEYS))
                .with_help("remove the keys that are not used any more")
        }
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
