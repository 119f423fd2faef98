//! A command line as somebody copied it, taken apart as the shell would that it was written for: a POSIX shell or bash, or
//! the command prompt of Windows, for which browsers have a copy of their own.
//!
//! Nothing is expanded. A variable in single quotes stays what it is, for that it was sent so may be the very mistake; where the
//! shell would put its value in, that is marked.

use std::iter::{self, Peekable};
use std::ops::ControlFlow;
use std::str::Chars;

/// Stands in a word for a `$` in whose place the shell puts something that is not known here.
pub(super) const EXPANDED: char = '\u{e000}';

/// The words of the line; `None` if it ends within quotes.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    let line = line.replace("\r\n", "\n");
    let line = if is_for_windows(&line) { without_carets(&line) } else { marked(&line) };
    shlex::split(&line)
}

/// Whether the command line ends before this word.
pub(super) fn is_end(word: &str) -> bool {
    matches!(word, "|" | "||" | "|&" | "&" | "&&" | ";")
        || word.trim_start_matches(['1', '2']).starts_with('>')
}

/// Whether the next word is a file, or the end of a text, that the shell reads.
pub(super) fn is_input(word: &str) -> bool {
    word == "<"
}

/// `^"` opens each value in the copy that browsers make for Windows.
fn is_for_windows(line: &str) -> bool {
    line.contains("^\"") || line.lines().any(|line| line.ends_with(" ^"))
}

/// A caret takes its meaning from the character behind it; before the end of a line it joins two lines, and before an
/// empty one it stands for a line break.
fn without_carets(line: &str) -> String {
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

/// The line in plain quotes only: `$'…'`, as browsers copy values with special characters, is resolved, and lines are joined
/// that a backslash joins, or the backtick of PowerShell. What ends a command stands by itself, comments and the text behind
/// `<<` are left out, and [`EXPANDED`] is where the shell would put something in.
fn marked(line: &str) -> String {
    let mut reader =
        Reader { chars: line.chars().peekable(), text: String::new(), quote: None, ends: Ends::Never };
    while let Some(char) = reader.chars.next() {
        if reader.take(char).is_break() {
            break;
        }
    }
    reader.text
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    text: String,
    quote: Option<char>,
    ends: Ends,
}

/// White space and prompt before a command that is looked for.
const MOST_INDENT: usize = 64;

/// Where the command ends at the latest.
#[derive(PartialEq, Eq)]
enum Ends {
    Never,
    /// Behind this line comes the text that it reads.
    WithLine,
}

impl Reader<'_> {
    fn take(&mut self, char: char) -> ControlFlow<()> {
        match (self.quote, char) {
            (None | Some('"'), '\\') => match self.chars.next() {
                // One at the very end joined the line to one that was not copied.
                Some('\n') | None => {}
                escaped => self.text.extend(iter::once('\\').chain(escaped)),
            },
            (None, '$') if self.chars.next_if_eq(&'\'').is_some() => ansi(&mut self.chars, &mut self.text),
            (None | Some('"'), '$') if self.chars.peek().is_some_and(|char| begins_expansion(*char)) => {
                self.text.push(EXPANDED);
            }
            (None, '\'' | '"') => {
                self.quote = Some(char);
                self.text.push(char);
            }
            (Some(open), _) => {
                self.quote = self.quote.filter(|_| char != open);
                self.text.push(char);
            }
            (None, _) => return self.take_unquoted(char),
        }
        ControlFlow::Continue(())
    }

    fn take_unquoted(&mut self, char: char) -> ControlFlow<()> {
        let begins_word = self.text.chars().next_back().is_none_or(char::is_whitespace);
        match char {
            '#' if begins_word => while self.chars.next_if(|char| *char != '\n').is_some() {},
            '`' if begins_word && self.chars.next_if_eq(&'\n').is_some() => {}
            '\n' if self.ends == Ends::WithLine => return ControlFlow::Break(()),
            '\n' if self.is_before_command() => self.text.push_str(" ; "),
            // What reads from a command (`<(…)`) is a word.
            '<' if self.chars.peek() == Some(&'(') => self.text.push(char),
            '<' => self.input(),
            ';' | '|' | '&' => self.text.extend([' ', char, ' ']),
            '>' => {
                let word = self.text.rsplit(char::is_whitespace).next();
                self.text.push_str(if matches!(word, Some("1" | "2")) { ">" } else { " >" });
            }
            _ => self.text.push(char),
        }
        ControlFlow::Continue(())
    }

    /// `< FILE`, `<< END`, `<<- END`, `<<< WORD`.
    fn input(&mut self) {
        let mut signs = 1;
        while self.chars.next_if_eq(&'<').is_some() {
            signs += 1;
        }
        if signs == 2 {
            self.chars.next_if_eq(&'-');
            self.ends = Ends::WithLine;
        }
        self.text.push_str(" < ");
    }

    /// Whether the next line is another curl command, as where all requests of a page were copied.
    fn is_before_command(&self) -> bool {
        let near = self.chars.clone().take(MOST_INDENT);
        let mut next = near.skip_while(|char| char.is_whitespace() || *char == '$');
        "curl".chars().all(|letter| next.next() == Some(letter))
            && next.next().is_some_and(char::is_whitespace)
    }
}

/// `$NAME`, `${NAME}`, `$(command)`.
fn begins_expansion(char: char) -> bool {
    char.is_ascii_alphabetic() || matches!(char, '_' | '{' | '(')
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
            ("curl a # isn't\n 'b'", &["curl", "a", "b"]),
            ("curl a 'b' \\", &["curl", "a", "b"]),
            ("curl a#b '#'", &["curl", "a#b", "#"]),
            ("curl `\r\n a `\n b", &["curl", "a", "b"]),
            ("curl 'a';b|c&&d 'e;|&'", &["curl", "a", ";", "b", "|", "c", "&", "&", "d", "e;|&"]),
            ("curl 'a1'>b 2>c http://a/v1>d", &["curl", "a1", ">b", "2>c", "http://a/v1", ">d"]),
            ("curl a <<'E' b\nit's\nE", &["curl", "a", "<", "E", "b"]),
            ("curl a <b <<<c\nd", &["curl", "a", "<", "b", "<", "c", "d"]),
            ("curl -d@<(x) a\nb", &["curl", "-d@<(x)", "a", "b"]),
            ("curl a\n$ curl b\ncurlew", &["curl", "a", ";", "$", "curl", "b", "curlew"]),
            (
                "'$A' \"$A\" $A ${A} \"\\$A\" \"$(a b)\" $ $1",
                &["$A", "\u{e000}A", "\u{e000}A", "\u{e000}{A}", "$A", "\u{e000}(a b)", "$", "$1"],
            ),
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
