//! Changes to the text of a config file that keep everything else as it is: comments, order, quotes, line ends.
//!
//! Each is a splice at a position that the parser gave. What came of it is read again and compared with what was meant,
//! so that a file that is written in a way not foreseen here is refused, never changed into something else. A library
//! that edits YAML brings a parser of its own; two parsers of one file can disagree.

mod outline;

use serde_yaml::{Mapping, Value};

use super::{repair, text};
use crate::problem::{FieldPath, Step};
use outline::{Kind, Node};

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Gives the entry at this path a value: a scalar, or names and scalars. It is added where it is not there yet.
    Set(FieldPath, Value),
    /// Adds an element of names and scalars at the end of the list at this path.
    Append(FieldPath, Mapping),
    /// Takes the element at this path out of its list.
    Remove(FieldPath),
}

/// The file is written in a way in which this cannot be changed, only by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this value is written in a way (an alias, a text of several lines, …) that can be changed by hand only"
)]
pub struct NotEditable;

/// The text of a config with these changes, one after the other.
///
/// # Errors
/// One of them cannot be made without changing something else.
pub fn edit(bytes: &[u8], edits: &[Edit]) -> Result<Vec<u8>, NotEditable> {
    let text = text::decode(bytes).map_err(|_| NotEditable)?;
    let mark = bytes.get(..bytes.len() - text.len()).unwrap_or_default();
    let mut text = text.to_owned();
    for edit in edits {
        let mut meant = read(&text)?;
        edit.apply_to(&mut meant).ok_or(NotEditable)?;
        let splice = Splices { text: &text }.of(edit).ok_or(NotEditable)?;
        text = splice.apply(&text).ok_or(NotEditable)?;
        if read(&text)? != meant {
            return Err(NotEditable);
        }
    }
    Ok([mark, text.as_bytes()].concat())
}

fn read(text: &str) -> Result<Value, NotEditable> {
    let mut value = serde_yaml::from_str(text).map_err(|_| NotEditable)?;
    repair::merge(&mut value).map_err(|_| NotEditable)?;
    Ok(value)
}

impl Edit {
    /// The same on the values, where it is simple.
    fn apply_to(&self, value: &mut Value) -> Option<()> {
        match self {
            Self::Set(path, new) => *place(value, &path.0)? = new.clone(),
            Self::Append(path, element) => match place(value, &path.0)? {
                Value::Sequence(elements) => elements.push(Value::Mapping(element.clone())),
                nothing @ Value::Null => *nothing = vec![Value::Mapping(element.clone())].into(),
                _ => return None,
            },
            Self::Remove(path) => {
                let (Step::Index(at), list) = path.0.split_last()? else { return None };
                let Value::Sequence(elements) = place(value, list)? else { return None };
                (*at < elements.len()).then(|| elements.remove(*at))?;
            }
        }
        Some(())
    }
}

/// The value at a path; mappings on the way are made.
fn place<'a>(value: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Index(index) => value.get_mut(*index),
        Step::Field(name) => {
            if value.is_null() {
                *value = Value::Mapping(Mapping::new());
            }
            Some(value.as_mapping_mut()?.entry(name.as_str().into()).or_insert(Value::Null))
        }
    })
}

/// Bytes to take out, and what to put there.
struct Splice {
    from: usize,
    to: usize,
    text: String,
}

impl Splice {
    fn at(at: usize, text: String) -> Self {
        Self { from: at, to: at, text }
    }

    fn apply(&self, text: &str) -> Option<String> {
        Some([text.get(..self.from)?, &self.text, text.get(self.to..)?].concat())
    }
}

/// Makes splices of changes.
struct Splices<'a> {
    text: &'a str,
}

impl Splices<'_> {
    fn of(&self, edit: &Edit) -> Option<Splice> {
        let root = outline::read(self.text)?;
        match edit {
            Edit::Set(path, value) => self.set(root.as_ref(), &path.0, value),
            Edit::Append(path, element) => self.append(root.as_ref(), &path.0, element),
            Edit::Remove(path) => self.remove(root.as_ref()?, &path.0),
        }
    }

    fn set(&self, root: Option<&Node>, path: &[Step], value: &Value) -> Option<Splice> {
        let Some(root) = root else {
            return Some(self.at_the_end(path.first()?, &nested(path.get(1..)?, value)?));
        };
        let (found, missing) = descend(root, path);
        match missing.split_first() {
            None => self.replace(found, value),
            Some((Step::Field(name), deeper)) => self.add(found, name, &nested(deeper, value)?),
            Some((Step::Index(_), _)) => None,
        }
    }

    fn replace(&self, node: &Node, value: &Value) -> Option<Splice> {
        let plain = match node.kind {
            Kind::Nothing { after_name } => {
                return Some(Splice::at(after_name, format!(" {}", flow(value)?)));
            }
            Kind::Quoted => false,
            Kind::Plain | Kind::Mapping { flow: true, .. } => true,
            Kind::Fixed | Kind::Mapping { .. } | Kind::Sequence { .. } => return None,
        };
        let text = match value.as_str() {
            Some(text) if !plain => quoted(text),
            _ => flow(value)?,
        };
        Some(Splice { from: node.start, to: node.end, text })
    }

    /// Adds an entry behind the last one of a mapping.
    fn add(&self, mapping: &Node, name: &str, value: &str) -> Option<Splice> {
        match &mapping.kind {
            Kind::Nothing { after_name } => Some(Splice::at(*after_name, format!(" {{{name}: {value}}}"))),
            Kind::Mapping { flow: true, entries } => match entries.last() {
                Some((_, last)) => Some(Splice::at(last.end, format!(", {name}: {value}"))),
                None => Some(Splice::at(mapping.start + 1, format!("{name}: {value}"))),
            },
            Kind::Mapping { flow: false, entries } => {
                let indent = " ".repeat(self.column(entries.first()?.1.name_start?)?);
                Some(self.line_behind(mapping.end, &format!("{indent}{name}: {value}")))
            }
            _ => None,
        }
    }

    fn append(&self, root: Option<&Node>, path: &[Step], element: &Mapping) -> Option<Splice> {
        let inline = flow(&Value::Mapping(element.clone()))?;
        let Some(root) = root else {
            return Some(self.at_the_end(path.first()?, &format!("[{inline}]")));
        };
        let (found, missing) = descend(root, path);
        match (&found.kind, missing) {
            (Kind::Sequence { flow: true, elements }, []) => match elements.last() {
                Some(last) => Some(Splice::at(last.end, format!(", {inline}"))),
                None => Some(Splice::at(found.start + 1, inline)),
            },
            (Kind::Sequence { flow: false, elements }, []) => {
                let dash = self.column(self.dash(elements.first()?)?)?;
                Some(self.line_behind(found.end, &self.block(element, dash)?))
            }
            (Kind::Nothing { after_name }, []) => {
                Some(Splice::at(*after_name, format!("{}{}", self.line_end(), self.block(element, 2)?)))
            }
            (Kind::Mapping { flow: false, entries }, [Step::Field(name)]) => {
                let column = self.column(entries.first()?.1.name_start?)?;
                let (end, indent) = (self.line_end(), " ".repeat(column));
                let lines = format!("{indent}{name}:{end}{}", self.block(element, column + 2)?);
                Some(self.line_behind(found.end, &lines))
            }
            _ => None,
        }
    }

    fn remove(&self, root: &Node, path: &[Step]) -> Option<Splice> {
        let (Step::Index(at), list) = path.split_last()? else { return None };
        let (list, []) = descend(root, list) else { return None };
        let Kind::Sequence { flow, elements } = &list.kind else { return None };
        let element = elements.get(*at)?;
        if elements.len() == 1 {
            let (from, text) = if *flow { (list.start, "[]") } else { (list.after_name?, " []") };
            return Some(Splice { from, to: list.end, text: text.to_owned() });
        }
        if *flow {
            let before = at.checked_sub(1).and_then(|before| elements.get(before));
            let (from, to) = match before {
                Some(before) => (before.end, element.end),
                None => (element.start, elements.get(at + 1)?.start),
            };
            return Some(Splice { from, to, text: String::new() });
        }
        let dash = self.dash(element)?;
        let from = dash - self.column(dash)?;
        let blank = self.text.get(from..dash)?.bytes().all(|byte| byte == b' ');
        let to = self.next_line(element.end);
        blank.then_some(Splice { from, to, text: String::new() })
    }

    /// The dash in front of an element.
    fn dash(&self, element: &Node) -> Option<usize> {
        let before = self.text.get(..element.start)?.trim_end_matches(' ');
        before.ends_with('-').then(|| before.len() - 1)
    }

    /// An element as lines, its dash in this column.
    fn block(&self, element: &Mapping, column: usize) -> Option<String> {
        let lines = element.iter().enumerate().map(|(at, (name, value))| {
            let mark = if at == 0 { "- " } else { "  " };
            Some(format!("{:column$}{mark}{}: {}", "", name.as_str()?, flow(value)?))
        });
        Some(lines.collect::<Option<Vec<_>>>()?.join(self.line_end()))
    }

    /// `lines` behind the line in which `at` is, with the comment at its end.
    fn line_behind(&self, at: usize, lines: &str) -> Splice {
        let next = self.next_line(at);
        let end = self.line_end();
        if self.text.get(..next).is_some_and(|before| before.ends_with('\n')) {
            return Splice::at(next, format!("{lines}{end}"));
        }
        Splice::at(next, format!("{end}{lines}{end}"))
    }

    /// An entry in a file that has none.
    fn at_the_end(&self, name: &Step, value: &str) -> Splice {
        let name = match name {
            Step::Field(name) => name.as_str(),
            Step::Index(_) => "",
        };
        self.line_behind(self.text.len(), &format!("{name}: {value}"))
    }

    /// Where the line behind that of `at` begins; of `at` itself, if it begins a line.
    fn next_line(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        if self.text.get(..at).is_some_and(|before| before.ends_with('\n')) {
            return at;
        }
        rest.find('\n').map_or(self.text.len(), |end| at + end + 1)
    }

    fn line_end(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    /// Bytes before `at` in its line.
    fn column(&self, at: usize) -> Option<usize> {
        let before = self.text.get(..at)?;
        Some(at - before.rfind('\n').map_or(0, |end| end + 1))
    }
}

/// As far as the path leads, and what is left of it.
fn descend<'a, 'b>(root: &'a Node, path: &'b [Step]) -> (&'a Node, &'b [Step]) {
    let (mut node, mut rest) = (root, path);
    while let Some((step, further)) = rest.split_first() {
        let Some(child) = node.child(step) else { break };
        (node, rest) = (child, further);
    }
    (node, rest)
}

/// A value within the mappings that lead to it, in one line.
fn nested(path: &[Step], value: &Value) -> Option<String> {
    path.iter().rev().try_fold(flow(value)?, |inner, step| match step {
        Step::Field(name) => Some(format!("{{{name}: {inner}}}")),
        Step::Index(_) => None,
    })
}

/// A value in one line: as people write it, where it cannot be taken for something else, else as JSON, which is YAML too.
fn flow(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => serde_json::to_string(value).ok(),
        Value::String(text) => Some(scalar(text)),
        Value::Mapping(entries) => {
            let entries =
                entries.iter().map(|(name, value)| Some(format!("{}: {}", name.as_str()?, flow(value)?)));
            Some(format!("{{{}}}", entries.collect::<Option<Vec<_>>>()?.join(", ")))
        }
        Value::Sequence(_) | Value::Tagged(_) => None,
    }
}

fn scalar(text: &str) -> String {
    let harmless = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        && text.starts_with(|first: char| first.is_ascii_alphabetic());
    let same = || serde_yaml::from_str::<Value>(text).is_ok_and(|value| value.as_str() == Some(text));
    if harmless && same() { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
