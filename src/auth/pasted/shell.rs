//! A command line as somebody copied it, taken apart as the shell would that it was written for: a POSIX shell or bash, or
//! the command prompt of Windows, for which browsers have a copy of their own.
//!
//! Nothing is expanded: a variable stays what it is, for that it was sent unexpanded may be the very mistake.

use std::iter::Peekable;
use std::str::Chars;

/// The words of the line; `None` if it ends within quotes.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    let line = if is_for_windows(line) { without_carets(line) } else { line.to_owned() };
    let mut words = shlex::split(&plain_quotes(&line))?;
    // A prompt, and variables for this one command.
    let command = words.iter().position(|word| !matches!(&**word, "$" | "%" | ">") && !is_assignment(word));
    words.drain(..command.unwrap_or(0));
    Some(words)
}

/// Whether the command line ends before this word, which no quotes made one.
pub(super) fn is_operator(word: &str) -> bool {
    matches!(word, "|" | "||" | "|&" | "&" | "&&" | ";")
        || word.trim_start_matches(['1', '2', '&']).starts_with('>')
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

/// `^"` opens each value in the copy that browsers make for Windows.
fn is_for_windows(line: &str) -> bool {
    line.contains("^\"") || line.lines().any(|line| line.ends_with(" ^"))
}

/// A caret takes its meaning from the character behind it; before the end of a line it joins two lines, and before an
/// empty one it stands for a line break.
fn without_carets(line: &str) -> String {
    let line = line.replace("\r\n", "\n");
    let (mut text, mut chars) = (String::new(), line.chars().peekable());
    while let Some(char) = chars.next() {
        match (char, chars.peek()) {
            ('^', Some('\n')) => {
                chars.next();
                text.extend(chars.next_if_eq(&'\n'));
            }
            ('^', Some(_)) => text.extend(chars.next()),
            _ => text.push(char),
        }
    }
    text
}

/// The line with `$'…'`, as browsers copy values with special characters, in plain quotes, and lines joined that a
/// backslash joins.
fn plain_quotes(line: &str) -> String {
    let (mut text, mut quote) = (String::new(), None);
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (None | Some('"'), '\\') => match chars.next() {
                Some('\n') => {}
                Some('\r') if chars.next_if_eq(&'\n').is_some() => {}
                escaped => text.extend(std::iter::once('\\').chain(escaped)),
            },
            (None, '$') if chars.next_if_eq(&'\'').is_some() => ansi(&mut chars, &mut text),
            (None, '\'' | '"') => {
                quote = Some(char);
                text.push(char);
            }
            (Some(open), _) => {
                quote = quote.filter(|_| char != open);
                text.push(char);
            }
            (None, _) => text.push(char),
        }
    }
    text
}

/// Puts what stands up to the closing quote into plain ones, its escapes resolved (Bash manual, §3.1.2.4). Without a closing
/// quote there is none here either.
fn ansi(chars: &mut Peekable<Chars<'_>>, text: &mut String) {
    text.push('\'');
    while let Some(char) = chars.next() {
        let char = match char {
            '\'' => return text.push('\''),
            '\\' => escaped(chars),
            other => other,
        };
        // A quote cannot stand within quotes: they are closed, and opened behind it.
        if char == '\'' { text.push_str("'\\''") } else { text.push(char) }
    }
}

fn escaped(chars: &mut Peekable<Chars<'_>>) -> char {
    match chars.next() {
        Some('a') => '\x07',
        Some('b') => '\x08',
        Some('e' | 'E') => '\x1b',
        Some('f') => '\x0c',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('v') => '\x0b',
        Some('x') => code_point(chars, 0, 16, 2),
        Some('u') => code_point(chars, 0, 16, 4),
        Some('U') => code_point(chars, 0, 16, 8),
        Some(digit @ '0'..='7') => code_point(chars, digit.to_digit(8).unwrap_or(0), 8, 2),
        Some(other) => other,
        None => '\\',
    }
}

/// Up to `most` further digits behind `start`.
fn code_point(chars: &mut Peekable<Chars<'_>>, start: u32, radix: u32, most: usize) -> char {
    let mut code = start;
    for _ in 0..most {
        let Some(digit) = chars.peek().and_then(|char| char.to_digit(radix)) else { break };
        chars.next();
        code = code.saturating_mul(radix).saturating_add(digit);
    }
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<String> {
        words(line).unwrap_or_else(|| panic!("{line}"))
    }

    #[test]
    fn quotes_are_those_of_bash() {
        for (line, expected) in [
            (r"curl 'a b' \'c", &["curl", "a b", "'c"][..]),
            (r#"curl $'it\'s' "$'no'""#, &["curl", "it's", "$'no'"]),
            (r"curl 'ends with $' -H 'b'", &["curl", "ends with $", "-H", "b"]),
            (r"$'\x41\x4' $'\u41-' $'\101' $'\U1F511' $'\q\\'", &["A\x04", "A-", "A", "\u{1f511}", "q\\"]),
            ("curl a\\\r\n  b\\\nc", &["curl", "a", "bc"]),
            ("$ KEY=x curl a # a comment", &["curl", "a"]),
            ("curl 'a' \"x$KEY\"", &["curl", "a", "x$KEY"]),
        ] {
            assert_eq!(split(line), expected, "{line}");
        }
        for line in ["curl 'a", "curl \"a", "curl $'a", "curl $'a\\"] {
            assert_eq!(words(line), None, "{line}");
        }
    }

    #[test]
    fn the_copy_for_windows_is_read_without_its_carets() {
        let line = "curl.exe ^\"https://a.example/v1?x=1^&y=^%^41^\" ^\r\n  -H ^\"x-api-key: sk-1^\" ^\r\n  \
                    --data-raw ^\"^{^\\^\"a^\\^\":^\\^\"b^\n\nc^\\^\"^}^\"";
        let expected = [
            "curl.exe",
            "https://a.example/v1?x=1&y=%41",
            "-H",
            "x-api-key: sk-1",
            "--data-raw",
            "{\"a\":\"b\nc\"}",
        ];
        assert_eq!(split(line), expected);
    }
}
