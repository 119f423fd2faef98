//! The file that a config came from: turns problems into `FILE:LINE:COL: …`.

use std::path::{Path, PathBuf};

use super::document::Document;
use crate::problem::{Place, Position, Problem};

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

    /// The problem as people and editors read it: `FILE:LINE:COL: error: MESSAGE`, and a second line `  help: …`
    /// where there is help.
    pub fn render(&self, problem: &Problem) -> String {
        let place = self
            .position(&problem.place)
            .map_or_else(String::new, |at| format!("{}:{}:", at.line, at.column));
        let Problem { severity, message, .. } = problem;
        let file = match &problem.place {
            Place::Elsewhere { file, .. } => file,
            Place::Value(_) | Place::Name(_) | Place::At(_) => &self.path,
        };
        let line = format!("{}:{place} {severity}: {message}", file.display());
        match &problem.help {
            Some(help) => format!("{line}\n  help: {help}"),
            None => line,
        }
    }

    /// Line and column of `place`; a path that is not in the file stands where its closest ancestor does.
    pub fn position(&self, place: &Place) -> Option<Position> {
        match place {
            Place::At(position) | Place::Elsewhere { position, .. } => Some(*position),
            Place::Value(path) => self.document.as_ref().map(|document| document.value(path)),
            Place::Name(path) => self.document.as_ref().map(|document| document.name(path)),
        }
    }
}
