//! The file that a config came from: turns problems into `FILE:LINE:COL: …`.

use std::path::{Path, PathBuf};

use super::MAX_PROBLEMS;
use super::document::Document;
use crate::problem::{FieldPath, Place, Position, Problem};

/// A config file by name, and where in it each name and value stands. It holds no values, so no secrets.
#[derive(Clone, Debug)]
pub struct Source {
    path: PathBuf,
    /// `None` where the text could not be read as a document.
    document: Option<Document>,
}

impl Source {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), document: None }
    }

    pub(super) fn with_document(self, document: Document) -> Self {
        Self { document: Some(document), ..self }
    }

    /// The file as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The problem as people and editors read it: `FILE:LINE:COL: error: MESSAGE`, and a second line `  help: …`.
    pub fn render(&self, problem: &Problem) -> String {
        let Position { line, column } = self.position(&problem.place);
        let Problem { severity, message, help, .. } = problem;
        let file = match &problem.place {
            Place::Elsewhere { file, .. } => file,
            Place::Value(_) | Place::Name(_) | Place::At(_) => &self.path,
        };
        format!("{}:{line}:{column}: {severity}: {message}\n  help: {help}", file.display())
    }

    /// Sorts problems as they stand in the file, and leaves each once (a value behind an alias is read several times), and not
    /// more than anyone reads.
    pub fn put_in_order(&self, problems: &mut Vec<Problem>) {
        let position = |problem: &Problem| self.position(&problem.place);
        problems.sort_by(|a, b| position(a).cmp(&position(b)).then_with(|| a.message.cmp(&b.message)));
        problems.dedup_by(|a, b| position(a) == position(b) && a.message == b.message);
        if problems.len() > MAX_PROBLEMS {
            problems.truncate(MAX_PROBLEMS);
            let place = problems.last().map_or(Place::Value(FieldPath::root()), |last| last.place.clone());
            let message = format!("there are more problems than these {MAX_PROBLEMS}");
            problems.push(Problem::error(place, message).with_help("mend these first"));
        }
    }

    /// Line and column of `place`; a path that is not in the file stands where its closest ancestor does, and what is
    /// wrong with a file as a whole at its beginning.
    pub fn position(&self, place: &Place) -> Position {
        let found = match place {
            Place::At(position) | Place::Elsewhere { position, .. } => Some(*position),
            Place::Value(path) => self.document.as_ref().map(|document| document.value(path)),
            Place::Name(path) => self.document.as_ref().map(|document| document.name(path)),
        };
        found.unwrap_or(Position { line: 1, column: 1 })
    }
}
