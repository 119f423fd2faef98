//! `Fault`: why a value does not fit its field, and how that is said to the operator. It never holds the value.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use super::document::presentable;
use crate::problem::{FieldPath, Place, Problem, Step, did_you_mean};

/// One value that does not fit.
#[derive(Debug)]
pub(super) struct Fault {
    /// From the inside out: each level adds its step on the way up.
    steps: Vec<Step>,
    pub(super) kind: Kind,
}

/// In what way it does not fit.
#[derive(Debug)]
pub(super) enum Kind {
    /// Another kind of value, or one out of range.
    Wrong { expected: String, found: Found },
    /// None of these words.
    Word { expected: &'static [&'static str], written: Word },
    /// The mapping lacks a field.
    Missing { field: String },
    /// The mapping has a field that does not exist.
    Unknown { field: String, expected: &'static [&'static str] },
    /// What a type says about itself; must not repeat the value.
    Other { message: String },
}

/// What stands in the file, as far as it may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Bool,
    Number,
    /// Text that YAML 1.1 reads as a boolean: `yes`, `off`.
    BoolWord,
    /// Text with `${` in it.
    Variable,
    Text,
    List,
    Mapping,
    /// A value of the right kind, out of range.
    Other,
}

/// What stands where one of several words was expected, as far as it may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// One that is close to this one.
    CloseTo(&'static str),
    /// `true`, or what YAML 1.1 reads as a boolean.
    Bool,
    /// Another.
    Strange,
}

impl Found {
    pub(super) fn text(text: &str) -> Self {
        const BOOL_WORDS: &[&str] = &["yes", "no", "on", "off", "y", "n", "true", "false"];
        if BOOL_WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)) {
            Self::BoolWord
        } else if text.contains("${") {
            Self::Variable
        } else {
            Self::Text
        }
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Other => None,
            Self::Bool => Some("a boolean"),
            Self::Number => Some("a number"),
            Self::BoolWord | Self::Variable | Self::Text => Some("text"),
            Self::List => Some("a list"),
            Self::Mapping => Some("a mapping"),
        }
    }
}

impl Fault {
    pub(super) fn wrong(expected: String, found: Found) -> Self {
        Self::new(Kind::Wrong { expected, found })
    }

    fn new(kind: Kind) -> Self {
        Self { steps: Vec::new(), kind }
    }

    /// The same fault, seen from one level further out.
    pub(super) fn inside(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The value that does not fit; for an unknown field, its value, for a missing one the mapping around it.
    pub(super) fn path(&self) -> FieldPath {
        let path = FieldPath(self.steps.iter().rev().cloned().collect());
        match &self.kind {
            Kind::Unknown { field, .. } => path.field(field.as_str()),
            _ => path,
        }
    }

    /// For an unknown field: the one that was probably meant.
    pub(super) fn meant_field(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Unknown { field, expected } => did_you_mean(field, expected.iter().copied()),
            _ => None,
        }
    }

    /// The fault as the operator reads it.
    pub(super) fn problem(&self) -> Problem {
        let place = match self.kind {
            // Nothing has no place of its own.
            Kind::Unknown { .. } | Kind::Wrong { found: Found::Nothing, .. } => Place::Name(self.path()),
            _ => Place::Value(self.path()),
        };
        Problem::error(place, self.kind.message()).with_help(self.help())
    }

    fn help(&self) -> String {
        let port = matches!(&self.steps[..], [Step::Field(field), Step::Field(_)] if field == "port");
        match self.kind {
            Kind::Wrong { found: Found::Other, .. } if port => {
                "`listen: [\"127.0.0.1:0\"]` lets the system choose a port".to_owned()
            }
            _ => self.kind.help(),
        }
    }
}

impl Kind {
    fn message(&self) -> String {
        match self {
            Self::Wrong { expected, found: Found::Nothing } => format!("no value given, expected {expected}"),
            Self::Wrong { expected, found } => match found.name() {
                Some(found) => format!("expected {expected}, found {found}"),
                None => format!("expected {expected}"),
            },
            Self::Word { expected, .. } => format!("expected one of {}", listing(expected)),
            Self::Missing { field } => format!("`{field}` is missing"),
            Self::Unknown { field, .. } => match presentable(field) {
                Some(field) => format!("unknown field `{field}`"),
                None => "unknown field".to_owned(),
            },
            Self::Other { message } => message.clone(),
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Wrong { expected, found } => help_for(expected, *found).to_owned(),
            Self::Word { written: Word::CloseTo(meant), .. } => format!("did you mean `{meant}`?"),
            Self::Word { expected, written: Word::Bool } if expected.contains(&"off") => {
                "`on` and `true` are no mode: `strict` and `all_except_health` ask for keys; `off` needs no quotes".to_owned()
            }
            Self::Word { .. } => "write one of these words, in lower case as here".to_owned(),
            Self::Unknown { field, expected } => match did_you_mean(field, expected.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("the fields here are {}", listing(expected)),
            },
            Self::Missing { field } => {
                format!("add `{field}: …` here; `keygate schema` says what it takes")
            }
            Self::Other { .. } => SEE_SCHEMA.to_owned(),
        }
    }
}

const SEE_SCHEMA: &str = "`keygate schema` says what this field takes";

fn help_for(expected: &str, found: Found) -> &'static str {
    const BY_BEGINNING: &[(&str, &str)] = &[
        ("`true` or `false`", "write `true` or `false`, without quotes"),
        ("text as a name", "put it in quotes"),
        ("text", "put it in quotes, so that it stays text"),
        ("a list", "write `[ONE, ANOTHER]`, or each element behind `- ` in a line of its own"),
        ("a mapping, or", "`<<: *NAME` takes in the entries of the mapping that `&NAME` stands before"),
        ("a mapping", "write `{NAME: VALUE}`, or each `NAME: VALUE` in a line of its own"),
        ("a duration", "write a number and its unit: `250ms`, `30s`, `5min`, `2h`"),
        ("a size", "write a number and its unit: `512B`, `32KiB`, `1MiB`"),
        ("a number", "write a whole number of this range, without quotes and without a unit"),
        ("a time", "write date, time and zone, as RFC 3339 has them"),
        ("`host:port`", "write `\"127.0.0.1:9001\"`, or `{address: \"127.0.0.1:9001\", weight: 2}`"),
        ("one of", "write one of these words"),
        ("a path", "`file:/run/secrets/NAME` is replaced by the content of that file"),
        (
            "`${NAME}`",
            "put the whole secret into the variable; one with `${` in it needs a file: `file:PATH`",
        ),
    ];
    match (expected, found) {
        (_, Found::Nothing) => "give it a value, or remove the line to have the default",
        (_, Found::Variable) => "only secrets are filled in from the environment",
        ("a list", Found::Text | Found::Number | Found::BoolWord) => "write it as a list: `[VALUE]`",
        ("text", Found::List | Found::Mapping) => "write one value",
        _ if expected.starts_with("a size from") && found == Found::Other => "write one of this range",
        _ if expected.starts_with("a duration from 1") && found == Found::Other => {
            "there is no `0` for `no limit`; write the longest instead"
        }
        _ => BY_BEGINNING
            .iter()
            .find(|(beginning, _)| expected.starts_with(beginning))
            .map_or(SEE_SCHEMA, |(_, help)| help),
    }
}

fn listing(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Kind::Other { message: message.to_string() })
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match unexpected {
            Unexpected::Unit | Unexpected::Option => Found::Nothing,
            Unexpected::Bool(_) => Found::Bool,
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => Found::Number,
            Unexpected::Str(text) => Found::text(text),
            Unexpected::Seq => Found::List,
            Unexpected::Map => Found::Mapping,
            _ => Found::Other,
        };
        Self::wrong(expected.to_string(), found)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::wrong(expected.to_string(), Found::Other)
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::wrong(expected.to_string(), Found::Other)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let written = match (Found::text(variant), did_you_mean(variant, expected.iter().copied())) {
            (Found::BoolWord, _) => Word::Bool,
            (_, Some(meant)) => Word::CloseTo(meant),
            (_, None) => Word::Strange,
        };
        Self::new(Kind::Word { expected, written })
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Kind::Unknown { field: field.to_owned(), expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Kind::Missing { field: field.to_owned() })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path(), self.kind.message())
    }
}

impl std::error::Error for Fault {}
