//! Durations as people write them (`30s`, `5min`, `250ms`), and the ranges that fields allow.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time, written with its unit: `30s`, `5min`, `1h 30min`. A bare number is refused: of what?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// That many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// For the default in the schema.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, such as `30s`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                humantime::parse_duration(text)
                    .map(Span)
                    .map_err(|_| E::invalid_type(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration with its unit: `30s`, `5min`, `250ms`.",
            "pattern": r"^(\s*[0-9]+\s*[a-zµ]+)+\s*$",
            "examples": ["30s"],
        })
    }
}

/// Milliseconds.
pub(super) const MINUTE: u64 = 60 * 1000;
/// Milliseconds.
pub(super) const HOUR: u64 = 60 * MINUTE;

/// Reads a duration of at least `MIN` and at most `MAX` milliseconds.
pub(super) fn span<'de, const MIN: u64, const MAX: u64, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Span, D::Error> {
    let allowed = Duration::from_millis(MIN)..=Duration::from_millis(MAX);
    let span = Span::deserialize(deserializer)?;
    if allowed.contains(&span.0) {
        return Ok(span);
    }
    let expected = format!("a duration from {} to {}", Span(*allowed.start()), Span(*allowed.end()));
    Err(de::Error::invalid_value(de::Unexpected::Other("duration"), &expected.as_str()))
}

/// A number of bytes, written with its unit: `32KiB`, `1MiB`, `10MB`. A bare number is refused: of what?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let whole = |(unit, _): &&(u64, &str)| self.0 >= *unit && self.0.is_multiple_of(*unit);
        match UNITS.iter().find(whole) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// For the default in the schema.
impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size with its unit, such as `1MiB`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                let unit = text.ends_with(['b', 'B']);
                match text.parse::<bytesize::ByteSize>() {
                    Ok(size) if unit => Ok(Size(size.as_u64())),
                    _ => Err(E::invalid_type(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A size with its unit: `32KiB`, `1MiB`, `10MB`.",
            "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgGtT]i?)?[bB]$",
            "examples": ["1MiB"],
        })
    }
}

/// Reads a size of at least `MIN` and at most `MAX` bytes.
pub(super) fn size<'de, const MIN: u64, const MAX: u64, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Size, D::Error> {
    let size = Size::deserialize(deserializer)?;
    if (MIN..=MAX).contains(&size.0) {
        return Ok(size);
    }
    let expected = format!("a size from {} to {}", Size(MIN), Size(MAX));
    Err(de::Error::invalid_value(de::Unexpected::Other("size"), &expected.as_str()))
}

/// Reads a duration of at least `MIN` and at most `MAX` milliseconds, or nothing.
pub(super) fn optional_span<'de, const MIN: u64, const MAX: u64, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Span>, D::Error> {
    struct Inner<const MIN: u64, const MAX: u64>(Span);
    impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Inner<MIN, MAX> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            span::<MIN, MAX, D>(deserializer).map(Self)
        }
    }
    Ok(Option::<Inner<MIN, MAX>>::deserialize(deserializer)?.map(|Inner(span)| span))
}

/// Reads a size of at least `MIN` and at most `MAX` bytes, or nothing.
pub(super) fn optional_size<'de, const MIN: u64, const MAX: u64, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Size>, D::Error> {
    struct Inner<const MIN: u64, const MAX: u64>(Size);
    impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Inner<MIN, MAX> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            size::<MIN, MAX, D>(deserializer).map(Self)
        }
    }
    Ok(Option::<Inner<MIN, MAX>>::deserialize(deserializer)?.map(|Inner(size)| size))
}

/// Reads a whole number from `MIN` to `MAX`.
pub(super) fn number<'de, const MIN: u64, const MAX: u64, N: TryFrom<u64>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<N, D::Error> {
    let Number(number) = Number::<MIN, MAX>::deserialize(deserializer)?;
    N::try_from(number).map_err(|_| {
        let expected = format!("a number from {MIN} to {MAX}");
        de::Error::invalid_value(de::Unexpected::Unsigned(number), &expected.as_str())
    })
}

/// Reads a whole number from `MIN` to `MAX`, or nothing.
pub(super) fn optional_number<'de, const MIN: u64, const MAX: u64, N: TryFrom<u64>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<N>, D::Error> {
    struct Inner<const MIN: u64, const MAX: u64, N>(N);
    impl<'de, const MIN: u64, const MAX: u64, N: TryFrom<u64>> Deserialize<'de> for Inner<MIN, MAX, N> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            number::<MIN, MAX, N, D>(deserializer).map(Self)
        }
    }
    Ok(Option::<Inner<MIN, MAX, N>>::deserialize(deserializer)?.map(|Inner(number)| number))
}

struct Number<const MIN: u64, const MAX: u64>(u64);

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Number<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<const MIN: u64, const MAX: u64>;
        impl<const MIN: u64, const MAX: u64> de::Visitor<'_> for Visitor<MIN, MAX> {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number from {MIN} to {MAX}")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
                if (MIN..=MAX).contains(&number) {
                    return Ok(number);
                }
                Err(E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor::<MIN, MAX>).map(Self)
    }
}

/// Reads a point in time, or nothing.
pub(super) fn optional_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| parse_time(&text)).transpose()
}

/// Reads a point in time.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    parse_time(&String::deserialize(deserializer)?)
}

fn parse_time<E: de::Error>(text: &str) -> Result<DateTime<Utc>, E> {
    struct Time;
    impl de::Expected for Time {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a time such as `2027-01-31T00:00:00Z`")
        }
    }
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_| E::invalid_value(de::Unexpected::Other("text"), &Time))
}
