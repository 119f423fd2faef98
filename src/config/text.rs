//! From bytes to text: size, encoding, and what the YAML parser says about a text that it refuses.

use crate::problem::{Complaint, FieldPath, Place, Position, Problem};

/// A config of 10000 keys has about this size.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// The text, without a byte order mark.
pub(super) fn decode(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.len() > MAX_BYTES {
        return Err(Problem::error(FieldPath::root(), "this file is larger than 1 MiB")
            .with_help("a large set of keys has a file of its own: `keys_file`"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        at(end_of(&String::from_utf8_lossy(valid)), "this byte is not UTF-8")
            .with_help("save the file with the encoding UTF-8")
    })
}

fn end_of(text: &str) -> Position {
    let last = text.rsplit('\n').next().unwrap_or_default();
    Position { line: text.matches('\n').count() + 1, column: last.chars().count() + 1 }
}

fn at(position: Position, message: impl Into<String>) -> Complaint {
    Problem::error(Place::At(position), message)
}

/// What `serde_yaml` refuses although the pass over the events did not.
pub(super) fn refused(error: &serde_yaml::Error) -> Problem {
    let position = error.location().map_or(Position { line: 1, column: 1 }, |location| Position {
        line: location.line().max(1),
        column: location.column().max(1),
    });
    let text = error.to_string();
    if text.contains("invalid type: integer") {
        return at(position, "this number is too large").with_help("put it in quotes if it is text");
    }
    // It ends in the position, and may quote the file: neither is wanted.
    let said = text.split(" at line ").next().filter(|said| !said.contains(['"', '`', '\'']));
    let said = said.map_or_else(String::new, |said| format!(": {said}"));
    at(position, format!("this is no YAML{said}")).with_help(NO_YAML)
}

/// What to look at where the parser lost the thread.
pub(super) const NO_YAML: &str = "look at indentation, quotes and brackets, here and in the lines before";
