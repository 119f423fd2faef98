//! Reads serde types from YAML values, strictly, and says what is wrong as a [`Fault`]: a kind and a path, never
//! the value, since the value may be a secret.
//!
//! Stricter than `serde_yaml`'s own: no list in place of a mapping, no `null` except for what is optional.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_yaml::{Mapping, Value};

use super::fault::{Fault, Found};
use crate::problem::Step;

/// A value to read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'de>(pub(super) &'de Value);

/// Stands where an element of a list was that has been reported: skipped, so that the others keep their numbers.
/// (Tags of the file itself have been refused before.)
pub(super) fn hole() -> Value {
    let tag = serde_yaml::value::Tag::new("hole");
    Value::Tagged(Box::new(serde_yaml::value::TaggedValue { tag, value: Value::Null }))
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null | Value::Tagged(_) => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Sequence(elements) => visitor.visit_seq(Elements { rest: elements.iter(), index: 0 }),
            Value::Mapping(mapping) => visitor.visit_map(Entries::new(mapping)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_bool() { self.deserialize_any(visitor) } else { self.wrong("`true` or `false`") }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_string() { self.deserialize_any(visitor) } else { self.wrong("text") }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_sequence() { self.deserialize_any(visitor) } else { self.wrong("a list") }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_mapping() { self.deserialize_any(visitor) } else { self.wrong("a mapping") }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            Value::String(text) => {
                visitor.visit_enum(IntoDeserializer::<Fault>::into_deserializer(text.as_str()))
            }
            _ => self.wrong("text"),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}

impl Reader<'_> {
    fn wrong<T>(self, expected: &str) -> Result<T, Fault> {
        let found = match self.0 {
            Value::Null | Value::Tagged(_) => Found::Nothing,
            Value::Bool(_) => Found::Bool,
            Value::Number(_) => Found::Number,
            Value::String(text) => Found::text(text),
            Value::Sequence(_) => Found::List,
            Value::Mapping(_) => Found::Mapping,
        };
        Err(Fault::wrong(expected.to_owned(), found))
    }
}

struct Elements<'de> {
    rest: std::slice::Iter<'de, Value>,
    /// Of the next element, holes counted.
    index: usize,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        for value in self.rest.by_ref() {
            let index = self.index;
            self.index += 1;
            if !matches!(value, Value::Tagged(_)) {
                return seed
                    .deserialize(Reader(value))
                    .map(Some)
                    .map_err(|fault| fault.inside(Step::Index(index)));
            }
        }
        Ok(None)
    }
}

struct Entries<'de> {
    rest: serde_yaml::mapping::Iter<'de>,
    current: Option<(&'de str, &'de Value)>,
}

impl<'de> Entries<'de> {
    fn new(mapping: &'de Mapping) -> Self {
        Self { rest: mapping.iter(), current: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        let name = name.as_str().ok_or_else(|| Fault::wrong("text as a name".to_owned(), Found::Other))?;
        self.current = Some((name, value));
        seed.deserialize(StrDeserializer::<Fault>::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (name, value) = self.current.take().unwrap_or(("", &Value::Null));
        seed.deserialize(Reader(value)).map_err(|fault| fault.inside(Step::Field(name.to_owned())))
    }
}
