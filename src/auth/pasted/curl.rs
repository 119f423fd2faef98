//! The request that a curl command line would send.

use base64::Engine;
use http::{Method, Uri, header};

use super::{Pasted, Unreadable};

/// Options whose value changes nothing here.
const WITH_VALUE: &[&str] = &[
    "-A",
    "--user-agent",
    "-e",
    "--referer",
    "-b",
    "--cookie",
    "-c",
    "--cookie-jar",
    "-o",
    "--output",
    "-m",
    "--max-time",
    "--connect-timeout",
    "-x",
    "--proxy",
    "--cacert",
    "-E",
    "--cert",
    "--key",
    "--resolve",
    "--connect-to",
    "-w",
    "--write-out",
    "--retry",
    "--retry-delay",
    "--limit-rate",
    "-r",
    "--range",
    "--interface",
    "--max-redirs",
    "-y",
    "-Y",
    "--unix-socket",
    "-D",
    "--dump-header",
];

/// Options that make the request carry content.
const CONTENT: &[&str] = &[
    "-d",
    "--data",
    "--data-raw",
    "--data-binary",
    "--data-ascii",
    "--data-urlencode",
    "--json",
    "-F",
    "--form",
    "--form-string",
    "-T",
    "--upload-file",
];

/// What the options say, before it becomes a request.
#[derive(Default)]
struct Line {
    url: Option<String>,
    method: Option<String>,
    headers: Vec<String>,
    user: Option<String>,
    bearer: Option<String>,
    content: Option<&'static str>,
    as_query: bool,
    head: bool,
}

pub(super) fn parse(words: &[String]) -> Result<Pasted, Unreadable> {
    let mut words = words.iter().map(String::as_str).peekable();
    let program = words.next().unwrap_or_default();
    if program != "curl" && !program.ends_with("/curl") {
        return Err(Unreadable::because("a command line begins with `curl`"));
    }
    let mut line = Line::default();
    while let Some(word) = words.next() {
        if let Some(flags) = word.strip_prefix('-').filter(|rest| !rest.is_empty() && !rest.starts_with('-'))
        {
            let mut at = 0;
            while let Some(flag) = flags.get(at..).and_then(|rest| rest.chars().next()) {
                at += flag.len_utf8();
                let name = format!("-{flag}");
                if !takes_value(&name) {
                    line.flag(&name);
                    continue;
                }
                let rest = flags.get(at..).filter(|rest| !rest.is_empty());
                line.option(&name, rest.or_else(|| words.next()).ok_or_else(|| needs_value(&name))?);
                break;
            }
        } else if word.starts_with("--") {
            if takes_value(word) {
                line.option(word, words.next().ok_or_else(|| needs_value(word))?);
            } else {
                line.flag(word);
            }
        } else if !word.trim().is_empty() {
            line.url.get_or_insert_with(|| word.to_owned());
        }
    }
    line.request()
}

fn needs_value(option: &str) -> Unreadable {
    Unreadable::because(format!("curl's `{option}` needs a value"))
}

fn takes_value(option: &str) -> bool {
    matches!(option, "-H" | "--header" | "-X" | "--request" | "-u" | "--user" | "--url" | "--oauth2-bearer")
        || CONTENT.contains(&option)
        || WITH_VALUE.contains(&option)
}

impl Line {
    fn option(&mut self, name: &str, value: &str) {
        let value = value.to_owned();
        match name {
            "-H" | "--header" => self.headers.push(value),
            "-X" | "--request" => self.method = Some(value),
            "-u" | "--user" => self.user = Some(value),
            "--oauth2-bearer" => self.bearer = Some(value),
            "--url" => self.url = Some(value),
            "-T" | "--upload-file" => self.content = Some("PUT"),
            _ if CONTENT.contains(&name) => self.content = Some("POST"),
            _ => {}
        }
    }

    fn flag(&mut self, name: &str) {
        match name {
            "-G" | "--get" => self.as_query = true,
            "-I" | "--head" => self.head = true,
            _ => {}
        }
    }

    fn request(self) -> Result<Pasted, Unreadable> {
        let url = self.url.ok_or_else(|| Unreadable::because("the curl command line has no URL"))?;
        let with_scheme = if url.contains("://") { url } else { format!("http://{url}") };
        let uri: Uri = with_scheme
            .parse()
            .map_err(|_| Unreadable::because("the URL of the curl command line cannot be read"))?;
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let (in_url, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, authority),
        };
        let content = self.content.filter(|_| !self.as_query);
        let default = if self.head { "HEAD" } else { content.unwrap_or("GET") };
        let mut request = Pasted {
            method: self
                .method
                .as_deref()
                .unwrap_or(default)
                .parse::<Method>()
                .map_err(|_| Unreadable::because("this is no method"))?,
            path: uri.path().as_bytes().to_vec(),
            host: Some(host.to_owned()),
            has_content: content.is_some(),
            ..Pasted::default()
        };
        for line in &self.headers {
            add(&mut request, line)?;
        }
        if !request.headers.contains_key(header::AUTHORIZATION) {
            if let Some(token) = self.bearer {
                request.add("authorization", &format!("Bearer {token}"))?;
            } else if let Some(user) = self.user.or(in_url) {
                let pair = if user.contains(':') { user } else { format!("{user}:") };
                let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
                request.add("authorization", &format!("Basic {encoded}"))?;
            }
        }
        Ok(request)
    }
}

/// `Name: value`; `Name;` is an empty value; `Name:` without one is not sent (curl's manual, `--header`).
fn add(request: &mut Pasted, line: &str) -> Result<(), Unreadable> {
    match line.split_once(':') {
        Some((name, value)) if value.trim().is_empty() => {
            request.left_out.push(name.trim().to_owned());
            Ok(())
        }
        Some((name, value)) => request.add(name, value),
        None => match line.strip_suffix(';') {
            Some(name) => request.add(name, ""),
            None if line.starts_with('@') => {
                Err(Unreadable::because("headers from a file (`-H @FILE`) are not read; give them with -H"))
            }
            None => Ok(()),
        },
    }
}

/// `$'…'`, as browsers copy values with special characters, as plain quotes.
pub(super) fn without_ansi_quotes(line: &str) -> String {
    let mut parts = line.split("$'");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (quoted, rest) = ansi(part);
        text.push('\'');
        text.push_str(&quoted.replace('\'', "'\\''"));
        text.push('\'');
        text.push_str(rest);
    }
    text
}

/// The text up to the closing quote, escapes resolved, and what is behind it.
fn ansi(part: &str) -> (String, &str) {
    let mut text = String::new();
    let mut chars = part.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\'' => return (text, part.get(at + 1..).unwrap_or_default()),
            '\\' => match chars.next().map(|(_, escaped)| escaped) {
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('t') => text.push('\t'),
                Some('u') => text.push(code_point(&mut chars, 4)),
                Some('x') => text.push(code_point(&mut chars, 2)),
                Some(other) => text.push(other),
                None => {}
            },
            other => text.push(other),
        }
    }
    (text, "")
}

fn code_point(chars: &mut std::str::CharIndices<'_>, digits: usize) -> char {
    let hex: String = chars.by_ref().take(digits).map(|(_, char)| char).collect();
    u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32).unwrap_or('\u{fffd}')
}
