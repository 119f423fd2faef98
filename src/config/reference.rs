//! The reference: one config file with every setting, its meaning and its default. Generated from the schema, which
//! is generated from the doc comments of the config types. `conf/full.yaml` is this text.

use serde_json::Value;

use super::schema;

/// The whole reference, a config file that loads.
pub fn reference() -> String {
    let schema = schema();
    let mut page = Page { schema: &schema, text: HEADER.to_owned() };
    page.fields(&schema, 0);
    page.text
}

const HEADER: &str = "\
# keygate: every setting. Generated from the program; `keygate schema` gives the same to editors.
# Settings show their default. What has none is an example: names, addresses, keys, and all that is commented out.
# Try it out: KEYGATE_API_KEY=any keygate check -c conf/full.yaml
";

/// Columns that a comment may fill.
const WIDTH: usize = 100;

struct Page<'a> {
    schema: &'a Value,
    text: String,
}

/// How a field is shown.
enum Shown<'a> {
    /// A mapping of its own: a section.
    Section(&'a Value),
    /// A section that may be left out: all of it commented out.
    OptionalSection(&'a Value),
    /// A list with one element.
    List(&'a Value),
    /// Entries under names, one of them shown.
    Named(&'a Value),
    /// A value; the setting is in force.
    Live(&'a Value),
    /// An example of what has no default.
    Commented(&'a Value),
}

impl<'a> Page<'a> {
    /// All fields of a mapping, those in force first: they would otherwise be cut in two by the first element's dash.
    fn fields(&mut self, mapping: &'a Value, indent: usize) {
        let fields = mapping.get("properties").and_then(Value::as_object);
        let (commented, live): (Vec<_>, Vec<_>) = fields
            .into_iter()
            .flatten()
            .map(|(name, field)| (name, field, self.shown(mapping, name, field)))
            .partition(|(.., shown)| matches!(shown, Shown::Commented(_) | Shown::OptionalSection(_)));
        for (name, field, shown) in live.into_iter().chain(commented) {
            self.text += "\n";
            self.comment(field, indent);
            self.field(name, &shown, indent);
        }
    }

    fn field(&mut self, name: &str, shown: &Shown<'a>, indent: usize) {
        let pad = " ".repeat(indent);
        match shown {
            Shown::Live(value) => self.text += &format!("{pad}{name}: {}\n", yaml(value)),
            Shown::Commented(value) => self.text += &format!("{pad}# {name}: {}\n", yaml(value)),
            Shown::Section(mapping) => {
                self.text += &format!("{pad}{name}:");
                self.fields(mapping, indent + 2);
            }
            Shown::OptionalSection(mapping) => {
                let before = self.text.len();
                self.text += &format!("{pad}{name}:");
                self.fields(mapping, indent + 2);
                let section = self.text.split_off(before);
                self.text += &commented_out(&section, indent);
            }
            Shown::Named(mapping) => {
                self.text += &format!("{pad}{name}:\n{pad}  {EXAMPLE_NAME}:");
                self.fields(mapping, indent + 4);
            }
            Shown::List(mapping) => {
                self.text += &format!("{pad}{name}:");
                let before = self.text.len();
                self.fields(mapping, indent + 4);
                let element = self.text.split_off(before);
                self.text += &dashed(&element, indent + 2);
            }
        }
    }

    /// What to show of `mapping`'s field `name`.
    fn shown(&self, mapping: &'a Value, name: &str, field: &'a Value) -> Shown<'a> {
        let target = self.resolve(field);
        if target.get("properties").is_some() {
            return Shown::Section(target);
        }
        if let Some(section) = self.optional_section(field) {
            return Shown::OptionalSection(section);
        }
        if let Some(example) = first_example(mapping).and_then(|example| example.get(name)) {
            return Shown::Live(example);
        }
        let element = |keyword| field.get(keyword).map(|element| self.resolve(element));
        match (element("items"), element("additionalProperties")) {
            (Some(element), _) if element.get("properties").is_some() => return Shown::List(element),
            (_, Some(element)) if element.get("properties").is_some() => return Shown::Named(element),
            _ => {}
        }
        match field.get("default") {
            None | Some(Value::Null) => Shown::Commented(first_example(field).unwrap_or(&Value::Null)),
            Some(default) => Shown::Live(default),
        }
    }

    /// The mapping that a field may hold, where it may also hold nothing.
    fn optional_section(&self, field: &'a Value) -> Option<&'a Value> {
        let alternatives = field.get("anyOf")?.as_array()?;
        let section = alternatives.iter().map(|alternative| self.resolve(alternative));
        section.into_iter().find(|target| target.get("properties").is_some())
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let reference = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
        reference.and_then(|pointer| self.schema.pointer(pointer)).unwrap_or(schema)
    }

    fn comment(&mut self, field: &Value, indent: usize) {
        let description = field.get("description").and_then(Value::as_str).unwrap_or_default();
        let range = match (field.get("minimum"), field.get("maximum")) {
            (Some(minimum), Some(maximum)) => format!(" From {minimum} to {maximum}."),
            _ => String::new(),
        };
        let mut line = format!("{}#", " ".repeat(indent));
        for word in words(&format!("{description}{range}")) {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.text += &line;
                self.text += "\n";
                line.truncate(indent + 1);
            }
            line.push(' ');
            line += &word;
        }
        self.text += &line;
        self.text += "\n";
    }
}

/// The name in `conf/` for the one upstream of an example.
const EXAMPLE_NAME: &str = "openai";

fn first_example(schema: &Value) -> Option<&Value> {
    schema.get("examples")?.get(0)
}

/// The words of a text; what stands between backticks is one.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for part in text.split_whitespace() {
        match words.last_mut() {
            Some(open) if open.matches('`').count() % 2 == 1 => *open += &format!(" {part}"),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// The lines of a section, each behind a `# ` at `indent`: without these it is the section.
fn commented_out(section: &str, indent: usize) -> String {
    let pad = " ".repeat(indent);
    let behind = |line: &str| format!("{pad}# {}", line.get(indent..).unwrap_or_default());
    let lines = section.split_inclusive('\n');
    lines.map(|line| if line.trim().is_empty() { line.to_owned() } else { behind(line) }).collect()
}

/// The lines of a mapping as an element of a list: with a dash at `indent` before its first field.
fn dashed(element: &str, indent: usize) -> String {
    let mut waiting = true;
    let mut text = String::new();
    for line in element.split_inclusive('\n') {
        let field = line.trim_start();
        if waiting && !field.is_empty() && !field.starts_with('#') {
            waiting = false;
            text += &format!("{}- {field}", " ".repeat(indent));
        } else {
            text += line;
        }
    }
    text
}

/// A value in one line. JSON is YAML; text that reads as itself needs no quotes.
fn yaml(value: &Value) -> String {
    match value.as_str() {
        Some(text) if serde_yaml::from_str::<serde_yaml::Value>(text).is_ok_and(|read| read == *text) => {
            text.to_owned()
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
