//! From bytes to a [`Config`]: reads the file, finds every problem in it, fills in the secrets.
//!
//! A value that does not fit is reported and taken out, and the rest is read again, so that one run shows all
//! problems. Values are never repeated in a message: any of them may be a secret in the wrong place.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_yaml::{Mapping, Value};
use zeroize::Zeroizing;

use super::document::Document;
use super::fault::Kind;
use super::masked::masked;
use super::reader::Reader;
use super::secrets::{self, Readers};
use super::{Config, Env, MAX_PROBLEMS, Source, repair, text};
use crate::problem::{FieldPath, Place, Problem, Step};

/// A config with its secrets, and where it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// Where each of its values stands.
    pub source: Source,
    /// What is doubtful, but works.
    pub warnings: Vec<Problem>,
    /// What is written in it, for people: without secrets and digests.
    pub shown: serde_json::Value,
    /// All files it was read from: the config file and the secrets that have one of their own.
    pub files: Vec<PathBuf>,
}

/// Why there is no config.
#[derive(Debug)]
pub struct LoadFailure {
    /// Where the problems stand.
    pub source: Source,
    /// All of them, warnings included, in the order of the file.
    pub problems: Vec<Problem>,
    /// The files that a config would be read from, as far as is known.
    pub files: Vec<PathBuf>,
    /// What could be read all the same.
    pub partial: Option<Box<Partial>>,
}

/// A config without the values that do not fit: good for looking for further problems, not for use.
#[derive(Debug)]
pub struct Partial {
    config: Config,
    /// Top-level fields in which something is missing now.
    touched: BTreeSet<String>,
}

impl LoadFailure {
    /// Adds the errors that `check` finds between the values that could be read.
    ///
    /// One that is wrong only beside other values is left out in a section where a value could not be read: it may be no more
    /// than a consequence of that.
    pub fn add_checks(&mut self, check: impl FnOnce(&Config) -> Vec<Problem>) {
        let Some(partial) = &self.partial else { return };
        let found = check(&partial.config);
        let independent = found.into_iter().filter(|problem| match &problem.place {
            Place::Value(FieldPath(steps)) | Place::Name(FieldPath(steps)) => match steps.first() {
                Some(Step::Field(section)) => {
                    problem.is_error() && !(problem.relative && partial.touched.contains(section))
                }
                _ => false,
            },
            Place::Elsewhere { .. } => !partial.touched.contains("keys_file"),
            Place::At(_) => false,
        });
        self.problems.extend(independent);
        in_order(&mut self.problems, &self.source);
    }
}

/// Reads the config file at `path`. `env` looks up environment variables.
///
/// # Errors
/// Every problem of the file.
pub fn load(path: &Path, env: Env<'_>) -> Result<Loaded, LoadFailure> {
    match read_file(path) {
        Ok((bytes, readers)) => Reading::new(path, readers, env).finish(&bytes),
        Err(error) => {
            let mut reading = Reading::new(path, Readers::Some, env);
            let problem = Problem::error(FieldPath::root(), format!("cannot read this file: {error}"));
            reading.problems.push(match error.kind() {
                io::ErrorKind::NotFound => problem.with_help("`keygate init` writes one"),
                _ => problem,
            });
            Err(reading.failure(None))
        }
    }
}

/// Reads a config from `bytes`, as [`load`] does from the file at `path`, which is not touched here.
///
/// # Errors
/// Every problem of the text.
pub fn parse(path: &Path, bytes: &[u8], env: Env<'_>) -> Result<Loaded, LoadFailure> {
    Reading::new(path, Readers::Some, env).finish(bytes)
}

/// The content, as far as it may be used, and who can read it.
fn read_file(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, Readers)> {
    let file = File::open(path)?;
    let readers = Readers::of(&file.metadata()?);
    let mut bytes = Zeroizing::new(Vec::new());
    // One byte more than is allowed shows that there is more.
    file.take(text::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes, readers))
}

/// The state of one reading.
struct Reading<'a> {
    path: &'a Path,
    readers: Readers,
    env: Env<'a>,
    source: Source,
    problems: Vec<Problem>,
    files: Vec<PathBuf>,
}

impl<'a> Reading<'a> {
    fn new(path: &'a Path, readers: Readers, env: Env<'a>) -> Self {
        let source = Source::new(path);
        Self { path, readers, env, source, problems: Vec::new(), files: vec![path.to_owned()] }
    }

    fn finish(mut self, bytes: &[u8]) -> Result<Loaded, LoadFailure> {
        let value = match self.yaml(bytes) {
            Ok(value) => value,
            Err(problems) => {
                self.problems = problems;
                return Err(self.failure(None));
            }
        };
        let mut touched = BTreeSet::new();
        let written = value.clone();
        let config = self.typed(value, &mut touched).map(|mut config| {
            self.fill_secrets(&mut config, &mut touched);
            config
        });
        match config {
            Some(mut config) if !self.problems.iter().any(Problem::is_error) => {
                let shown = masked(written, &mut config);
                in_order(&mut self.problems, &self.source);
                let Self { source, problems: warnings, files, .. } = self;
                Ok(Loaded { config, source, warnings, shown, files })
            }
            config => Err(self.failure(config.map(|config| Box::new(Partial { config, touched })))),
        }
    }

    /// The values of the file, each allowed by itself.
    fn yaml(&mut self, bytes: &[u8]) -> Result<Value, Vec<Problem>> {
        let text = text::decode(bytes).map_err(|problem| vec![problem])?;
        let document = Document::parse(text)?;
        self.source = Source::new(self.path).with_document(document);
        let mut value = match serde_yaml::from_str(text) {
            Ok(Value::Null) => Value::Mapping(Mapping::new()),
            Ok(value) => value,
            Err(error) => return Err(vec![text::refused(&error)]),
        };
        repair::merge(&mut value).map_err(|fault| vec![fault.problem()])?;
        Ok(value)
    }

    /// Reads the value as often as something in it has to be taken out first. `None` where what is left is no base
    /// for further checks: a whole element is gone.
    fn typed(&mut self, mut value: Value, touched: &mut BTreeSet<String>) -> Option<Config> {
        let mut removed: Vec<FieldPath> = Vec::new();
        let mut whole = true;
        loop {
            let fault = match Config::deserialize(Reader(&value)) {
                Ok(config) => return whole.then_some(config),
                Err(fault) => fault,
            };
            let path = fault.path();
            let (consequence, element) = match &fault.kind {
                Kind::Missing { field } => (removed.contains(&path.field(field.as_str())), true),
                _ => (false, matches!(path.0.last(), Some(Step::Index(_)))),
            };
            if !consequence {
                self.problems.push(fault.problem());
            }
            whole &= !element;
            let Some(Step::Field(section)) = path.0.first() else { return None };
            touched.insert(section.clone());
            if self.problems.len() > MAX_PROBLEMS || !repair::remove(&mut value, &path) {
                return None;
            }
            if let (Some(meant), Some((_, around))) = (fault.meant_field(), path.0.split_last()) {
                // With its right name it would not be missing.
                removed.push(FieldPath(around.to_vec()).field(meant));
            }
            removed.push(path);
        }
    }

    fn fill_secrets(&mut self, config: &mut Config, touched: &mut BTreeSet<String>) {
        let directory = self.path.parent().unwrap_or(Path::new(""));
        for (path, secret) in config.secrets() {
            let filled = secrets::fill(secret, directory, self.env, &mut self.files);
            match filled {
                Ok(Readers::Everyone) => self.problems.push(secrets::exposed(path, secret, self.path)),
                Ok(Readers::Some) if secrets::is_literal(secret) && self.readers == Readers::Everyone => {
                    self.problems.push(secrets::exposed(path, secret, self.path));
                }
                Ok(Readers::Some) => {}
                Err(failed) => {
                    if let Some(Step::Field(section)) = path.0.first() {
                        touched.insert(section.clone());
                    }
                    self.problems.push(failed.problem(path));
                }
            }
        }
        if let Some(keys_file) = &mut config.keys_file {
            let (path, outcome) = keys_file.read(directory);
            self.files.push(path);
            if let Err(message) = outcome {
                touched.insert("keys_file".to_owned());
                self.problems.push(Problem::error(FieldPath::root().field("keys_file"), message));
            }
        }
        for (path, file) in config.pem_files() {
            if let Err(failed) = secrets::fill_pem(file, directory, &mut self.files) {
                touched.extend(path.0.first().and_then(|step| match step {
                    Step::Field(section) => Some(section.clone()),
                    Step::Index(_) => None,
                }));
                self.problems.push(failed.problem(path));
            }
        }
    }

    fn failure(mut self, partial: Option<Box<Partial>>) -> LoadFailure {
        in_order(&mut self.problems, &self.source);
        let Self { source, problems, files, .. } = self;
        LoadFailure { source, problems, files, partial }
    }
}

/// In the order of the file, each once (a value behind an alias is read several times), not more than anyone reads.
fn in_order(problems: &mut Vec<Problem>, source: &Source) {
    let position = |problem: &Problem| source.position(&problem.place);
    problems.sort_by(|a, b| position(a).cmp(&position(b)).then_with(|| a.message.cmp(&b.message)));
    problems.dedup_by(|a, b| position(a) == position(b) && a.message == b.message);
    if problems.len() > MAX_PROBLEMS {
        problems.truncate(MAX_PROBLEMS);
        let place = problems.last().map_or(Place::Value(FieldPath::root()), |last| last.place.clone());
        let message = format!("there are more problems than these {MAX_PROBLEMS}");
        problems.push(Problem::error(place, message));
    }
}

#[cfg(test)]
mod tests;
