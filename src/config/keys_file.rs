//! `keys_file`: many keys in a file of their own, one JSON object a line.
//!
//! YAML takes its time and its memory; a million lines of JSON are read in about a second, and are never all in memory
//! as config types.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::reader::Reader;
use super::{Key, open};
use crate::problem::{FieldPath, Place, Position, Problem};

/// Five million keys with all that a key can have.
const MAX_BYTES: u64 = 4 << 30;

/// `{"name":"a","key":"b"}` is the shortest line that is a key.
const SHORTEST_LINE: usize = 22;

/// The file of keys, and, once the config is loaded, what stands in it.
#[derive(Clone, PartialEq)]
pub struct KeysFile {
    path: PathBuf,
    /// Tells whether the content is still the same when it is gone from memory.
    fingerprint: Option<[u8; 32]>,
    content: Content,
}

/// The bytes of the file. All are equal: the fingerprint tells them apart.
#[derive(Clone, Default)]
struct Content(Option<Arc<Zeroizing<Vec<u8>>>>);

impl PartialEq for Content {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for KeysFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeysFile").field(&self.path).finish()
    }
}

impl<'de> Deserialize<'de> for KeysFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = String::deserialize(deserializer)?.into();
        Ok(Self { path, fingerprint: None, content: Content::default() })
    }
}

impl JsonSchema for KeysFile {
    fn schema_name() -> Cow<'static, str> {
        "KeysFile".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "The path of a file of keys."})
    }
}

impl KeysFile {
    /// Reads the file, relative to `directory`. Returns its path, also if it cannot be read.
    pub(super) fn read(&mut self, directory: &Path) -> (PathBuf, Result<(), Problem>) {
        self.path = directory.join(&self.path);
        let outcome = read(&self.path).map(|bytes| {
            self.fingerprint = Some(Sha256::digest(&*bytes).into());
            self.content = Content(Some(Arc::new(bytes)));
        });
        let problem = |(what, help): (String, &str)| {
            let message = format!("`{}` {what}", self.path.display());
            Problem::error(FieldPath::root().field("keys_file"), message).with_help(help)
        };
        (self.path.clone(), outcome.map_err(problem))
    }

    /// Forgets the content, which was compiled; whether a file is the same can still be told.
    pub fn forget_content(&mut self) {
        self.content = Content::default();
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// No more keys than this are in it: as many as lines, as far as those are long enough.
    pub fn most_keys(&self) -> usize {
        let bytes = self.content.0.as_ref().map_or(&[][..], |bytes| bytes.as_slice());
        let lines = 1 + bytes.iter().filter(|&&byte| byte == b'\n').count();
        lines.min(1 + bytes.len() / SHORTEST_LINE)
    }

    /// The keys in it, each with the number of its line; what is no key, as the problem to report.
    pub fn keys(&self) -> impl Iterator<Item = (usize, Result<Key, Problem>)> {
        let bytes = self.content.0.as_ref().map_or(&[][..], |bytes| bytes.as_slice());
        bytes.split(|&byte| byte == b'\n').enumerate().filter_map(|(at, line)| {
            let line = line.trim_ascii();
            let blank = line.is_empty() || line.starts_with(b"#");
            (!blank).then(|| (at + 1, self.key(at + 1, line)))
        })
    }

    fn key(&self, number: usize, line: &[u8]) -> Result<Key, Problem> {
        serde_json::from_slice(line).map_err(|error| self.problem(number, line, &error))
    }

    /// A position in this file.
    pub fn place(&self, line: usize, column: usize) -> Place {
        let position = Position { line, column: column.max(1) };
        Place::Elsewhere { file: self.path.clone(), position }
    }

    /// What is wrong with a line, in our own words: those of the JSON reader would repeat values.
    fn problem(&self, number: usize, line: &[u8], error: &serde_json::Error) -> Problem {
        let wrong = |message: String, help: &str| {
            Problem::error(self.place(number, error.column()), message).with_help(help)
        };
        let value: serde_yaml::Value = match serde_json::from_slice(line) {
            Ok(value) => value,
            Err(error) if error.is_data() => {
                return wrong("a field stands twice in this line".to_owned(), "keep one of the two");
            }
            Err(_) => return wrong("this line is no JSON object".to_owned(), A_LINE),
        };
        match Key::deserialize(Reader(&value)) {
            Err(fault) => {
                let problem = fault.problem();
                let path = fault.path();
                let place = if path == FieldPath::root() { String::new() } else { format!("`{path}`: ") };
                wrong(format!("{place}{}", problem.message), &problem.help)
            }
            // What the JSON reader refuses, this one does too; should it not, the line still is no key.
            Ok(_) => wrong("this line is no key".to_owned(), A_LINE),
        }
    }
}

const A_LINE: &str = "a key is one line: `{\"name\":\"alice\",\"digest\":\"sha256:…\"}`";

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, (String, &'static str)> {
    let unreadable = |error: std::io::Error| {
        let help = "a path without `/` in front is relative to the directory of the config file";
        (format!("cannot be read: {error}"), help)
    };
    let Some((file, metadata)) = open::regular(path).map_err(unreadable)? else {
        return Err(("is no regular file".to_owned(), "name a file of keys, one JSON object a line"));
    };
    if metadata.len() > MAX_BYTES {
        return Err(("is larger than 4 GiB".to_owned(), "so many keys need several gateways"));
    }
    let mut bytes =
        Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 1));
    if metadata.len() == 0 {
        // Taken at its word it would refuse everybody for a moment.
        let what = "is empty, as while it is being written".to_owned();
        return Err((what, "a line `#` stands for no keys"));
    }
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}
