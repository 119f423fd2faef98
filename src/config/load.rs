//! From bytes to a [`Config`]: reads the file, finds every problem in it, fills in the secrets.
//!
//! A value that does not fit is reported and taken out, and the rest is read again, so that one run shows all
//! problems. Values are never repeated in a message: any of them may be a secret in the wrong place.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
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
use super::{Config, Env, MAX_PROBLEMS, Source, open, repair, text};
use crate::problem::{Complaint, FieldPath, Place, Position, Problem, Step};

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
    /// One that is wrong only beside other values is left out in a section where a value could not be read, and any at a place
    /// where something is wrong already: it may be no more than a consequence of that.
    pub fn add_checks(&mut self, check: impl FnOnce(&Config) -> Vec<Problem>) {
        let Some(partial) = &self.partial else { return };
        let found = check(&partial.config);
        let errors = self.problems.iter().filter(|problem| problem.is_error());
        let wrong_already: Vec<_> = errors.map(|problem| self.source.position(&problem.place)).collect();
        let elsewhere = |problem: &Problem| !wrong_already.contains(&self.source.position(&problem.place));
        let independent = found.into_iter().filter(elsewhere).filter(|problem| match &problem.place {
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
        self.source.put_in_order(&mut self.problems);
    }
}

/// Reads the config file at `path`. `env` looks up environment variables.
///
/// # Errors
/// Every problem of the file; it is a regular one, for it is read again at every reload.
pub fn load(path: &Path, env: Env<'_>) -> Result<Loaded, LoadFailure> {
    load_from(path, open::regular(path), env)
}

/// The same for a config that is read once: it may come from a pipe that the process was given (`/dev/stdin`).
///
/// # Errors
/// Every problem of the file.
pub fn load_once(path: &Path, env: Env<'_>) -> Result<Loaded, LoadFailure> {
    load_from(path, open::regular_or_given(path), env)
}

fn load_from(
    path: &Path,
    opened: io::Result<Option<(File, Metadata)>>,
    env: Env<'_>,
) -> Result<Loaded, LoadFailure> {
    let at = |message: String| Problem::error(FieldPath::root(), message);
    let problem = match opened {
        Ok(Some((file, metadata))) => match read_to_end(file) {
            Ok(bytes) => return Reading::new(path, Readers::of(&metadata), env).finish(&bytes),
            Err(error) => unreadable(at(format!("cannot read this file: {error}")), error.kind()),
        },
        Ok(None) => at("this is no regular file".to_owned())
            .with_help("a gateway reads its file again and again; `keygate check` takes `/dev/stdin` too"),
        Err(error) => unreadable(at(format!("cannot read this file: {error}")), error.kind()),
    };
    let mut reading = Reading::new(path, Readers::Some, env);
    reading.problems.push(problem);
    Err(reading.failure(None))
}

fn unreadable(complaint: Complaint, kind: io::ErrorKind) -> Problem {
    complaint.with_help(match kind {
        io::ErrorKind::NotFound => "`keygate init` writes one",
        io::ErrorKind::PermissionDenied => "it must be readable by the user that keygate runs as",
        _ => "`-c FILE` names another one",
    })
}

/// Reads a config from `bytes`, as [`load`] does from the file at `path`, which is not touched here.
///
/// # Errors
/// Every problem of the text.
pub fn parse(path: &Path, bytes: &[u8], env: Env<'_>) -> Result<Loaded, LoadFailure> {
    Reading::new(path, Readers::Some, env).finish(bytes)
}

/// The content, as far as it may be used.
fn read_to_end(file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    // One byte more than is allowed shows that there is more.
    file.take(text::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
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
                self.source.put_in_order(&mut self.problems);
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
            Ok(Value::Null) => {
                self.problems.push(says_nothing(text)?);
                Value::Mapping(Mapping::new())
            }
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
            if let Err(complaint) = outcome {
                touched.insert("keys_file".to_owned());
                self.problems.push(complaint);
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
        self.source.put_in_order(&mut self.problems);
        let Self { source, problems, files, .. } = self;
        LoadFailure { source, problems, files, partial }
    }
}

/// The warning that nothing is set in a file.
///
/// # Errors
/// There is not even a comment: such is a file that somebody is about to write, and the defaults ask nobody on this machine
/// for a key.
fn says_nothing(text: &str) -> Result<Problem, Vec<Problem>> {
    let start = Place::At(Position { line: 1, column: 1 });
    if text.trim().is_empty() {
        return Err(vec![
            Problem::error(start, "this file is empty, as while it is being written")
                .with_help("`keygate init` writes one; `proxy: {}` stands for the defaults"),
        ]);
    }
    let message = "nothing is set here, so the defaults count: no key is asked for, and there are no routes";
    Ok(Problem::warning(start, message).with_help("a line counts once the `#` before it is gone"))
}

#[cfg(test)]
mod tests;
