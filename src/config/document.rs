//! The shape of the file: where each name and value stands, and whether the file may be read at all.
//!
//! One bounded pass over the events of the YAML parser, before anything is built from the file: what is nested too
//! deeply, grows without bound through its aliases or is ambiguous is refused here. Names and positions are kept,
//! values are not, so that a secret cannot leave through this.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};

use super::text::NO_YAML;
use crate::problem::{Complaint, FieldPath, Place, Position, Problem, Step};

/// More nesting than any config has, and little enough for every recursion over it.
const MAX_DEPTH: usize = 64;

/// Values in the file, one behind an alias counted each time it is used: ten times what 10000 keys need.
const MAX_VALUES: usize = 250_000;

/// Positions of all names and values of a YAML document.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    nodes: Vec<Node>,
    root: Option<NodeId>,
}

/// Index into `Document::nodes`; a node behind an alias has several parents.
type NodeId = usize;

#[derive(Clone, Debug)]
struct Node {
    at: Position,
    /// Values in it, itself included, aliases followed.
    size: usize,
    /// Levels in it, itself included, aliases followed.
    height: usize,
    children: Children,
}

#[derive(Clone, Debug)]
enum Children {
    None,
    Elements(Vec<NodeId>),
    Entries(HashMap<String, Entry>),
}

#[derive(Clone, Debug)]
struct Entry {
    name_at: Position,
    value: NodeId,
}

impl Document {
    /// Reads the shape of `text`.
    ///
    /// # Errors
    /// Why the text cannot be read as one YAML document of names and values.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let mut outline = Outline::default();
        let mut parser = Parser::new_from_str(text);
        if let Err(problem) = outline.read(&mut parser) {
            outline.problems.push(problem);
        }
        if outline.problems.is_empty() { Ok(outline.document) } else { Err(outline.problems) }
    }

    /// Where the value at `path` stands, or else the closest value around it.
    pub(super) fn value(&self, path: &FieldPath) -> Position {
        self.find(path).0
    }

    /// Where the name of the entry at `path` stands, or else the closest value around it.
    pub(super) fn name(&self, path: &FieldPath) -> Position {
        let (value, name) = self.find(path);
        name.unwrap_or(value)
    }

    /// The position of the value, and of its name if the whole path exists and ends in one.
    fn find(&self, path: &FieldPath) -> (Position, Option<Position>) {
        let Some(mut node) = self.root.and_then(|root| self.nodes.get(root)) else {
            return (START, None);
        };
        let mut name_at = None;
        for step in &path.0 {
            let Some((child, name)) = self.child(node, step) else { return (node.at, None) };
            node = child;
            name_at = name;
        }
        (node.at, name_at)
    }

    fn child(&self, node: &Node, step: &Step) -> Option<(&Node, Option<Position>)> {
        match (step, &node.children) {
            (Step::Index(index), Children::Elements(elements)) => {
                Some((self.nodes.get(*elements.get(*index)?)?, None))
            }
            (Step::Field(name), Children::Entries(entries)) => match entries.get(name) {
                Some(entry) => Some((self.nodes.get(entry.value)?, Some(entry.name_at))),
                None => self.merged(entries).find_map(|merged| self.child(merged, step)),
            },
            _ => None,
        }
    }

    /// The mappings that a `<<` entry adds.
    fn merged<'a>(&'a self, entries: &HashMap<String, Entry>) -> impl Iterator<Item = &'a Node> {
        let merge = entries.get("<<").and_then(|entry| self.nodes.get(entry.value));
        let listed: &[NodeId] = match merge.map(|node| &node.children) {
            Some(Children::Elements(elements)) => elements,
            _ => &[],
        };
        merge.into_iter().chain(listed.iter().filter_map(|id| self.nodes.get(*id)))
    }
}

const START: Position = Position { line: 1, column: 1 };

/// A collection that has begun and not ended.
struct Open {
    id: NodeId,
    /// The name whose value comes next, in a mapping.
    name: Option<(String, Position)>,
}

/// The document as far as it has been read.
#[derive(Default)]
struct Outline {
    document: Document,
    open: Vec<Open>,
    /// By the parser's number.
    anchors: HashMap<usize, NodeId>,
    problems: Vec<Problem>,
}

impl Outline {
    fn read(&mut self, parser: &mut Parser<'_, StrInput<'_>>) -> Result<(), Problem> {
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|error| syntax_error(&error))?;
            let at = position(&span.start);
            match event {
                Event::DocumentStart(_) if self.document.root.is_some() => {
                    return Err(
                        error_at(at, "a second document begins here").with_help("a config is one document")
                    );
                }
                Event::Scalar(.., Some(_))
                | Event::SequenceStart(_, Some(_))
                | Event::MappingStart(_, Some(_)) => {
                    return Err(error_at(at, "tags (`!…`) are not used here").with_help(
                        "remove the tag; put the value in quotes if it begins with an exclamation mark",
                    ));
                }
                Event::Scalar(text, style, anchor, None) => self.scalar(&text, style, anchor, at)?,
                Event::SequenceStart(anchor, None) => {
                    self.begin(anchor, at, Children::Elements(Vec::new()))?;
                }
                Event::MappingStart(anchor, None) => {
                    self.begin(anchor, at, Children::Entries(HashMap::new()))?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.end()?,
                Event::Alias(anchor) => self.alias(anchor, at)?,
                Event::Nothing
                | Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentStart(_)
                | Event::DocumentEnd => {}
            }
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, at: Position) -> Result<(), Problem> {
        if self.name_comes_next() {
            return self.name(text, style, at);
        }
        let id = self.add(Node { at, size: 1, height: 1, children: Children::None });
        self.anchors.insert(anchor, id);
        self.put(id)
    }

    fn name(&mut self, text: &str, style: ScalarStyle, at: Position) -> Result<(), Problem> {
        if style == ScalarStyle::Plain && !reads_as_text(text) {
            return Err(error_at(at, "a name must be text").with_help("put it in quotes"));
        }
        if let Some(Children::Entries(entries)) = self.innermost()
            && let Some(first) = entries.get(text).map(|entry| entry.name_at)
        {
            let name = presentable(text).map_or_else(|| "this name".to_owned(), |name| format!("`{name}`"));
            let message = format!("{name} is given twice, first in line {}", first.line);
            self.problems.push(error_at(at, message).with_help("keep one of the two"));
            if self.problems.len() > super::MAX_PROBLEMS {
                return Err(error_at(at, "and more like this").with_help("keep one of each"));
            }
        }
        if let Some(open) = self.open.last_mut() {
            open.name = Some((text.to_owned(), at));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Problem> {
        if self.name_comes_next() {
            return Err(error_at(at, "a name must be text, not an alias").with_help("write the name out"));
        }
        match self.anchors.get(&anchor) {
            Some(id) if self.open.iter().any(|open| open.id == *id) => {
                Err(error_at(at, "this alias stands inside the value that it stands for")
                    .with_help("write out what was meant"))
            }
            Some(id) => self.put(*id),
            None => Err(error_at(at, "this alias has no anchor")
                .with_help("put `&NAME` before the value that `*NAME` stands for, further up")),
        }
    }

    fn begin(&mut self, anchor: usize, at: Position, children: Children) -> Result<(), Problem> {
        if self.name_comes_next() {
            return Err(error_at(at, "a name must be text, not a list or a mapping")
                .with_help("put it in quotes if it is text"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        let id = self.add(Node { at, size: 1, height: 1, children });
        self.anchors.insert(anchor, id);
        self.open.push(Open { id, name: None });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        match self.open.pop() {
            Some(ended) => self.put(ended.id),
            None => Ok(()),
        }
    }

    /// Puts a complete node where it belongs: into the innermost open collection, or at the top.
    fn put(&mut self, id: NodeId) -> Result<(), Problem> {
        let Some(open) = self.open.last_mut() else {
            self.document.root = Some(id);
            return Ok(());
        };
        let name = open.name.take();
        let Some(child) = self.document.nodes.get(id) else { return Ok(()) };
        let (at, size, height) = (child.at, child.size, child.height);
        let Some(parent) = self.document.nodes.get_mut(open.id) else { return Ok(()) };
        parent.size = parent.size.saturating_add(size);
        parent.height = parent.height.max(height.saturating_add(1));
        if parent.size > MAX_VALUES {
            return Err(error_at(at, format!("more than {MAX_VALUES} values"))
                .with_help("a value behind an alias counts each time it is used"));
        }
        if parent.height > MAX_DEPTH {
            return Err(too_deep(at));
        }
        match (&mut parent.children, name) {
            (Children::Elements(elements), _) => elements.push(id),
            (Children::Entries(entries), Some((name, name_at))) => {
                entries.insert(name, Entry { name_at, value: id });
            }
            (Children::Entries(_) | Children::None, _) => {}
        }
        Ok(())
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.document.nodes.push(node);
        self.document.nodes.len() - 1
    }

    fn innermost(&self) -> Option<&Children> {
        self.open.last().and_then(|open| self.document.nodes.get(open.id)).map(|node| &node.children)
    }

    fn name_comes_next(&self) -> bool {
        matches!(self.innermost(), Some(Children::Entries(_)))
            && self.open.last().is_some_and(|open| open.name.is_none())
    }
}

fn too_deep(at: Position) -> Problem {
    error_at(at, "nested deeper than 64 levels")
        .with_help("no field is: look for a bracket that is not closed")
}

/// A name may be repeated in a message while it looks like a field's: a key that slipped into its place is longer, or
/// has digits.
pub(super) fn presentable(name: &str) -> Option<&str> {
    let short = (1..=24).contains(&name.len());
    (short && name.bytes().all(|byte| byte.is_ascii_alphabetic() || b"_-<".contains(&byte))).then_some(name)
}

/// Whether a plain scalar is text for `serde_yaml`, rather than a number, a boolean or nothing.
fn reads_as_text(plain: &str) -> bool {
    let special = plain.is_empty()
        || plain.starts_with(|first: char| first.is_ascii_digit() || "+-.~".contains(first))
        || ["null", "true", "false"].iter().any(|word| plain.eq_ignore_ascii_case(word));
    !special || serde_yaml::from_str::<serde_yaml::Value>(plain).is_ok_and(|value| value.is_string())
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

fn error_at(at: Position, message: impl Into<String>) -> Complaint {
    Problem::error(Place::At(at), message)
}

fn syntax_error(error: &ScanError) -> Problem {
    let at = position(error.marker());
    match error.info() {
        // The scanner reads ahead of its events, and has a limit of its own.
        "recursion limit exceeded" => too_deep(at),
        info => error_at(at, format!("this is no YAML: {info}")).with_help(NO_YAML),
    }
}
