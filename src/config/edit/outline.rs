//! Where in a text each value begins and ends, in bytes.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use crate::problem::Step;

/// A value in the text. The nesting and size of the text have been checked before.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where its name begins, if it has one.
    pub(super) name_start: Option<usize>,
    /// Behind the colon of its name, if it has one.
    pub(super) after_name: Option<usize>,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Plain,
    Quoted,
    /// A name without a value.
    Nothing {
        after_name: usize,
    },
    /// An alias, or a text of several lines.
    Fixed,
    Sequence {
        flow: bool,
        elements: Vec<Node>,
    },
    Mapping {
        flow: bool,
        entries: Vec<(String, Node)>,
    },
}

impl Node {
    pub(super) fn child(&self, step: &Step) -> Option<&Self> {
        match (&self.kind, step) {
            (Kind::Sequence { elements, .. }, Step::Index(at)) => elements.get(*at),
            (Kind::Mapping { entries, .. }, Step::Field(name)) => {
                entries.iter().find(|(other, _)| other == name).map(|(_, node)| node)
            }
            _ => None,
        }
    }
}

/// The outermost value; `Some(None)` where there is none, `None` where the text cannot be read.
pub(super) fn read(text: &str) -> Option<Option<Node>> {
    let offsets = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut outline = Outline { text, offsets, open: Vec::new(), root: None };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        outline.take(&event, &span.start, &span.end)?;
    }
    Some(outline.root.filter(|root| root.start < root.end))
}

struct Outline<'a> {
    text: &'a str,
    /// The byte at which each character begins.
    offsets: Vec<usize>,
    /// Collections that have begun, the outermost first, and the name whose value comes next.
    open: Vec<(Node, Option<Name>)>,
    root: Option<Node>,
}

struct Name {
    text: String,
    start: usize,
    end: usize,
}

impl Outline<'_> {
    fn take(&mut self, event: &Event<'_>, start: &Marker, end: &Marker) -> Option<()> {
        let (start, end) = (*self.offsets.get(start.index())?, *self.offsets.get(end.index())?);
        match event {
            Event::Scalar(text, style, ..) => {
                let kind = scalar(*style, start, end);
                let end = if let Kind::Quoted = kind { self.end_of_quoted(start)? } else { end };
                if let Some((Node { kind: Kind::Mapping { .. }, .. }, name @ None)) = self.open.last_mut() {
                    *name = Some(Name { text: text.to_string(), start, end });
                    return Some(());
                }
                self.put(start, end, kind)
            }
            Event::Alias(_) => self.put(start, end, Kind::Fixed),
            Event::SequenceStart(..) => {
                let flow = self.text.get(start..)?.starts_with('[');
                self.begin(start, end, Kind::Sequence { flow, elements: Vec::new() });
                Some(())
            }
            Event::MappingStart(..) => {
                let flow = self.text.get(start..)?.starts_with('{');
                self.begin(start, end, Kind::Mapping { flow, entries: Vec::new() });
                Some(())
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (mut node, _) = self.open.pop()?;
                match &node.kind {
                    Kind::Sequence { flow: true, .. } | Kind::Mapping { flow: true, .. } => {
                        // Here too the parser's end may be behind a comment.
                        node.end = start + 1;
                        if !self.text.get(..node.end)?.ends_with(['}', ']']) {
                            return None;
                        }
                    }
                    // A block ends with the last value in it; the parser says so when the next one begins.
                    Kind::Sequence { elements, .. } => node.end = elements.last()?.end,
                    Kind::Mapping { entries, .. } => node.end = entries.last()?.1.end,
                    _ => return None,
                }
                self.put(node.start, node.end, node.kind)
            }
            _ => Some(()),
        }
    }

    /// The parser takes the comment behind a quoted text for a part of it.
    fn end_of_quoted(&self, start: usize) -> Option<usize> {
        let text = self.text.get(start..)?;
        let quote = text.chars().next()?;
        let mut inside = text.char_indices().skip(1).peekable();
        while let Some((at, char)) = inside.next() {
            let doubled = char == '\'' && inside.peek().is_some_and(|(_, next)| *next == '\'');
            if (char == '\\' && quote == '"') || (doubled && quote == '\'') {
                inside.next();
            } else if char == quote {
                return Some(start + at + 1);
            }
        }
        None
    }

    fn begin(&mut self, start: usize, end: usize, kind: Kind) {
        self.open.push((Node { start, end, name_start: None, after_name: None, kind }, None));
    }

    /// Puts a complete value where it belongs.
    fn put(&mut self, mut start: usize, mut end: usize, mut kind: Kind) -> Option<()> {
        let Some((parent, name)) = self.open.last_mut() else {
            self.root = Some(Node { start, end, name_start: None, after_name: None, kind });
            return Some(());
        };
        let name = name.take();
        let mut after_name = None;
        if let Some(name) = &name {
            let colon = name.end + self.text.get(name.end..)?.find(':')? + 1;
            after_name = Some(colon);
            if let Kind::Nothing { after_name } = &mut kind {
                (*after_name, start, end) = (colon, colon, colon);
            }
        }
        let node = Node { start, end, name_start: name.as_ref().map(|name| name.start), after_name, kind };
        match (&mut parent.kind, name) {
            (Kind::Sequence { elements, .. }, _) => elements.push(node),
            (Kind::Mapping { entries, .. }, Some(name)) => entries.push((name.text, node)),
            _ => return None,
        }
        Some(())
    }
}

fn scalar(style: ScalarStyle, start: usize, end: usize) -> Kind {
    match style {
        _ if start == end => Kind::Nothing { after_name: end },
        ScalarStyle::Plain => Kind::Plain,
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Kind::Quoted,
        ScalarStyle::Literal | ScalarStyle::Folded => Kind::Fixed,
    }
}
