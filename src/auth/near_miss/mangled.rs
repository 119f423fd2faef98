//! Keys that were copied or expanded wrongly.

/// What happened to a key on its way into the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mangling {
    /// Quotes are part of the value.
    Quotes,
    /// `\n`, `\r` or `\t` as two characters.
    EscapedWhiteSpace,
    /// `%20`, `%0A` and the like.
    PercentEncoded,
    /// White space within.
    WhiteSpace,
    /// `KEY=…`, `x-api-key: …`: the name is part of the value.
    NameIncluded,
    /// A comma or semicolon at the end.
    Punctuation,
    /// `<key>`: brackets of an example are part of the value.
    Brackets,
    /// Bytes that no key can hold: typographic quotes, invisible characters.
    OddBytes,
    /// `$KEY`, `${KEY}`, `%KEY%`, `{{key}}`: a variable that nobody put in.
    Unexpanded,
    /// `YOUR_API_KEY`, `<key>`, `sk-...`: an example's placeholder.
    Placeholder,
}

/// Texts that stand in the place of a key in examples, without case, `_`, `-` and space; each as the whole value.
const PLACEHOLDERS: &[&str] = &[
    "apikey",
    "key",
    "token",
    "secret",
    "none",
    "null",
    "nil",
    "undefined",
    "empty",
    "dummy",
    "test",
    "placeholder",
    "notneeded",
    "changeme",
    "replaceme",
    "xxx",
    "bearer",
    "na",
    "sk",
    "skxxx",
];

/// The same, anywhere in the value.
const PLACEHOLDER_PARTS: &[&str] = &[
    "yourapikey",
    "yourkey",
    "yourtoken",
    "youropenai",
    "youranthropic",
    "yourgateway",
    "keyhere",
    "mykey",
    "myapikey",
    "insertkey",
    "insertyour",
    "replacewith",
    "xxxxxx",
    "changeme",
];

/// How settings begin that name a variable (LiteLLM's, JavaScript's, PowerShell's), where nobody put its value in.
const NAMES_OF_VARIABLES: &[&str] = &["os.environ", "process.env.", "$env:"];

/// The outermost thing that does not belong to a key, and what is left without it.
pub(super) fn take_off(value: &[u8]) -> Option<(Mangling, Vec<u8>)> {
    let is_quote = |byte: &u8| matches!(byte, b'"' | b'\'' | b'`');
    if value.iter().any(|byte| !byte.is_ascii() || byte.is_ascii_control() && *byte != b'\t') {
        let visible = value.iter().copied().filter(|byte| (b' '..=b'~').contains(byte)).collect();
        return Some((Mangling::OddBytes, visible));
    }
    if value.first().is_some_and(is_quote) || value.last().is_some_and(is_quote) {
        return Some((Mangling::Quotes, trimmed(value, is_quote)));
    }
    if let Some(inner) = without(value, &[b"\\n", b"\\r", b"\\t"]) {
        return Some((Mangling::EscapedWhiteSpace, inner));
    }
    if let Some(inner) = without(value, &[b"%20", b"%0A", b"%0a", b"%0D", b"%0d", b"%22", b"%27"]) {
        return Some((Mangling::PercentEncoded, inner));
    }
    if let [b'<', inner @ .., b'>'] | [b'[', inner @ .., b']'] | [b'{', inner @ .., b'}'] = value
        && stands_for_a_key(value) != Some(Mangling::Unexpanded)
    {
        return (!looks_like_a_word(inner)).then(|| (Mangling::Brackets, inner.to_vec()));
    }
    if names_variable(value) {
        return None;
    }
    if let [inner @ .., b',' | b';'] = value {
        return Some((Mangling::Punctuation, inner.to_vec()));
    }
    if let Some(at) = value.iter().position(|byte| matches!(byte, b'=' | b':'))
        && let Some((name, rest)) = value.split_at_checked(at)
        && is_name(name)
        && rest.len() > 1
    {
        return Some((Mangling::NameIncluded, rest.get(1..).unwrap_or_default().trim_ascii().to_vec()));
    }
    if value.iter().any(u8::is_ascii_whitespace) {
        let joined = value.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        return Some((Mangling::WhiteSpace, joined));
    }
    None
}

/// Whether the value is no key but something that was to be replaced by one.
pub(super) fn stands_for_a_key(value: &[u8]) -> Option<Mangling> {
    let is_variable = match value {
        [b'$', b'{' | b'(', .., b'}' | b')'] | [b'{', b'{', .., b'}', b'}'] => true,
        [b'$', name @ ..] | [b'%', name @ .., b'%'] => is_name(name),
        _ => false,
    };
    if is_variable || names_variable(value) {
        return Some(Mangling::Unexpanded);
    }
    let folded: String = value
        .iter()
        .filter(|byte| !matches!(byte, b'_' | b'-' | b' ' | b'.' | b'*'))
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect();
    let dots = value.ends_with(b"...") || value.ends_with(b"***");
    let bracketed = matches!(value, [b'<', .., b'>'] | [b'[', .., b']'] | [b'{', .., b'}']);
    let placeholder = dots
        || bracketed
        || PLACEHOLDERS.contains(&folded.as_str())
        || PLACEHOLDER_PARTS.iter().any(|part| folded.contains(part));
    placeholder.then_some(Mangling::Placeholder)
}

fn names_variable(value: &[u8]) -> bool {
    NAMES_OF_VARIABLES.iter().any(|start| value.starts_with(start.as_bytes()))
}

fn looks_like_a_word(inner: &[u8]) -> bool {
    inner.len() < 20
        && inner.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b' '))
}

/// A name of a variable or a header.
fn is_name(name: &[u8]) -> bool {
    (1..=40).contains(&name.len())
        && !name.first().is_some_and(u8::is_ascii_digit)
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn trimmed(value: &[u8], extra: impl Fn(&u8) -> bool) -> Vec<u8> {
    let start = value.iter().position(|byte| !extra(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !extra(byte)).map_or(start, |at| at + 1);
    value.get(start..end).unwrap_or_default().to_vec()
}

/// The value without one of `escapes` at its end or beginning.
fn without(value: &[u8], escapes: &[&[u8]]) -> Option<Vec<u8>> {
    escapes
        .iter()
        .find_map(|escape| value.strip_suffix(*escape).or(value.strip_prefix(*escape)))
        .map(<[u8]>::to_vec)
}
