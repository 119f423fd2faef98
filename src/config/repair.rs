//! Changes to the values before they are read: `<<` filled in, wrong values taken out.

use serde_yaml::Value;

use super::fault::{Fault, Found};
use super::reader::hole;
use crate::problem::{FieldPath, Step};

/// Applies merge keys: the entries of the mappings that `<<` names are added where they are not given.
///
/// Inside out, so that a mapping that is merged has been merged itself (`serde_yaml` does it the other way round
/// and leaves a `<<` behind). The nesting has been limited before.
pub(super) fn merge(value: &mut Value) -> Result<(), Fault> {
    match value {
        Value::Sequence(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                merge(element).map_err(|fault| fault.inside(Step::Index(index)))?;
            }
        }
        Value::Mapping(entries) => {
            for (name, value) in entries.iter_mut() {
                merge(value).map_err(|fault| fault.inside(field(name)))?;
            }
            let added = match entries.shift_remove("<<") {
                Some(merged) => mappings(merged).map_err(|fault| fault.inside(Step::Field("<<".into())))?,
                None => Vec::new(),
            };
            for (name, value) in added.into_iter().flatten() {
                entries.entry(name).or_insert(value);
            }
        }
        _ => {}
    }
    Ok(())
}

fn field(name: &Value) -> Step {
    Step::Field(name.as_str().unwrap_or_default().to_owned())
}

/// What `<<` may stand for: a mapping or a list of them.
fn mappings(merged: Value) -> Result<Vec<serde_yaml::Mapping>, Fault> {
    let refused = || Fault::wrong("a mapping, or a list of mappings, to merge".to_owned(), Found::Other);
    let one = |value| match value {
        Value::Mapping(mapping) => Ok(mapping),
        _ => Err(refused()),
    };
    match merged {
        Value::Sequence(elements) => elements.into_iter().map(one).collect(),
        other => Ok(vec![one(other)?]),
    }
}

/// Takes out the value at `path`. In a list a hole stays, so that the other elements keep their numbers.
pub(super) fn remove(value: &mut Value, path: &FieldPath) -> bool {
    let Some((last, outer)) = path.0.split_last() else { return false };
    let parent = outer.iter().try_fold(value, |value, step| match step {
        Step::Field(name) => value.get_mut(name.as_str()),
        Step::Index(index) => value.get_mut(*index),
    });
    match (parent, last) {
        (Some(Value::Mapping(entries)), Step::Field(name)) => entries.shift_remove(name.as_str()).is_some(),
        (Some(Value::Sequence(elements)), Step::Index(index)) => match elements.get_mut(*index) {
            Some(element) if !matches!(element, Value::Tagged(_)) => {
                *element = hole();
                true
            }
            _ => false,
        },
        _ => false,
    }
}
