//! `Problem`: one thing that is wrong with the operator's file, with where, what and help.
//!
//! Problems are collected, never thrown one at a time: an operator fixes a file in one go. The config reader
//! finds what is wrong with a value by itself, the policy compiler what is wrong between values; both name the
//! place by its field path, and `config::Source` turns that into line and column.

use std::fmt;
use std::path::PathBuf;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file is used as it is.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Line and column of the file, both counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// One step into the document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The value of a mapping's entry.
    Field(String),
    /// An element of a sequence, from 0.
    Index(usize),
}

/// A place in the document, as steps from its top: `routes[2].upstream`. The empty path is the whole document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FieldPath(pub Vec<Step>);

impl FieldPath {
    /// The whole document.
    pub fn root() -> Self {
        Self::default()
    }

    /// This place's field `name`.
    #[must_use]
    pub fn field(&self, name: impl Into<String>) -> Self {
        self.with(Step::Field(name.into()))
    }

    /// This place's element `index`, from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if depth == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Where a problem is: a field, or a bare position (a text that is no YAML has no fields).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The value at this path.
    Value(FieldPath),
    /// The name (key) of the mapping's entry at this path: for unknown and duplicate fields.
    Name(FieldPath),
    /// A position that the parser gave.
    At(Position),
    /// A position in another file that the config names.
    Elsewhere {
        /// That file.
        file: PathBuf,
        /// Where in it.
        position: Position,
    },
}

impl From<FieldPath> for Place {
    fn from(path: FieldPath) -> Self {
        Self::Value(path)
    }
}

/// One thing that is wrong, or doubtful, in the operator's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// What is wrong: lower case, no full stop, names in backticks. Never contains a secret.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Whether it is wrong only beside another value of its section. Where one of those cannot be read, it may be no more
    /// than a consequence of that.
    pub relative: bool,
}

impl Problem {
    /// An error at `place`; a path is that of a value.
    pub fn error(place: impl Into<Place>, message: impl Into<String>) -> Complaint {
        Complaint { severity: Severity::Error, place: place.into(), message: message.into() }
    }

    /// A warning about what is at `place`.
    pub fn warning(place: impl Into<Place>, message: impl Into<String>) -> Complaint {
        Complaint { severity: Severity::Warning, ..Self::error(place, message) }
    }

    /// The same problem, wrong only beside another value of its section.
    #[must_use]
    pub fn relative(mut self) -> Self {
        self.relative = true;
        self
    }

    /// Whether the file cannot be used because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// What is wrong and where. It is no [`Problem`] before it says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Complaint {
    severity: Severity,
    place: Place,
    message: String,
}

impl Complaint {
    /// The problem, with what to do about it.
    pub fn with_help(self, help: impl Into<String>) -> Problem {
        let Self { severity, place, message } = self;
        Problem { severity, place, message, help: help.into(), relative: false }
    }
}

/// The candidate that was probably meant by `written`, if one is close enough.
///
/// "Close enough" is Jaro-Winkler similarity above 0.7, clap's own bound for its suggestions.
pub fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(written, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_like_the_file() {
        let path = FieldPath::root().field("routes").index(2).field("upstream");
        assert_eq!(path.to_string(), "routes[2].upstream");
        assert_eq!(FieldPath::root().to_string(), "");
    }

    #[test]
    fn a_typo_is_recognised_and_a_stranger_is_not() {
        assert_eq!(did_you_mean("opnai", ["openai", "anthropic"]), Some("openai"));
        assert_eq!(did_you_mean("zzz", ["openai", "anthropic"]), None);
    }
}
