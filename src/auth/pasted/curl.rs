//! The request that a curl command line would send.

mod options;

use std::ops::ControlFlow;

use base64::Engine;
use http::{Method, Uri, header};

use self::options::{Meaning, meaning};
use super::{Pasted, Unreadable, query_holds_key, shell};
use crate::auth::is_credential_header;

/// What the options say, before it becomes a request.
#[derive(Default)]
struct Line {
    url: Option<String>,
    method: Option<String>,
    headers: Vec<String>,
    user: Option<String>,
    bearer: Option<String>,
    content: Option<&'static str>,
    /// The values of `-d` and the like, for `-G`.
    data: Vec<String>,
    query: Vec<String>,
    as_query: bool,
    head: bool,
    when_asked: bool,
}

pub(super) fn parse(words: &[String]) -> Result<Pasted, Unreadable> {
    // Before it may stand a prompt, `sudo`, variables, or what its input comes from.
    let before = words.iter().position(|word| is_curl(word));
    let before = before.ok_or_else(|| Unreadable::because("there is no `curl` in the command line"))?;
    let mut words = words.iter().map(String::as_str).skip(before + 1);
    let mut line = Line::default();
    while let Some(word) = words.next() {
        let flow = match word.strip_prefix('-') {
            Some(long) if long.starts_with('-') => line.option(word, None, &mut words)?,
            Some(flags) if !flags.is_empty() => line.short(flags, &mut words)?,
            _ if shell::is_end(word) => ControlFlow::Break(()),
            _ if shell::is_input(word) => {
                words.next();
                ControlFlow::Continue(())
            }
            _ if word.trim().is_empty() => ControlFlow::Continue(()),
            _ => {
                line.url.get_or_insert_with(|| word.to_owned());
                ControlFlow::Continue(())
            }
        };
        if flow.is_break() {
            break;
        }
    }
    line.request()
}

/// By whatever path, and as Windows calls it.
fn is_curl(program: &str) -> bool {
    let name = program.rsplit(['/', '\\']).next().unwrap_or_default();
    name == "curl" || name.eq_ignore_ascii_case("curl.exe")
}

impl Line {
    /// Short options in one word: `-sSH 'x: y'`.
    fn short<'a>(
        &mut self,
        flags: &'a str,
        words: &mut impl Iterator<Item = &'a str>,
    ) -> Result<ControlFlow<()>, Unreadable> {
        for (at, flag) in flags.char_indices() {
            let name = format!("-{flag}");
            let rest = flags.get(at + flag.len_utf8()..).filter(|rest| !rest.is_empty());
            if meaning(&name).takes_value() {
                return self.option(&name, rest, words);
            }
            if self.option(&name, None, words)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Takes in one option, with its value from the same word or the next; breaks where another request begins.
    fn option<'a>(
        &mut self,
        name: &str,
        attached: Option<&str>,
        words: &mut impl Iterator<Item = &'a str>,
    ) -> Result<ControlFlow<()>, Unreadable> {
        let meaning = meaning(name);
        if let Some((name, _)) = name.split_once('=')
            && options::meaning(name).takes_value()
        {
            return Err(Unreadable::because(format!(
                "curl takes no `=` behind `{name}`; a space stands there"
            )));
        }
        let mut value = String::new();
        if meaning.takes_value() {
            let found = attached.or_else(|| words.next());
            found
                .ok_or_else(|| Unreadable::because(format!("curl's `{name}` needs a value")))?
                .clone_into(&mut value);
        }
        match meaning {
            Meaning::Header => self.headers.push(value),
            Meaning::Method => self.method = Some(value),
            Meaning::User => self.user = Some(value),
            Meaning::Bearer => self.bearer = Some(value),
            Meaning::Url => self.url = Some(value),
            Meaning::Query => self.query.push(value),
            Meaning::Content(method) => {
                self.content = Some(method);
                self.data.push(value);
            }
            Meaning::AsQuery => self.as_query = true,
            Meaning::Head => self.head = true,
            Meaning::WhenAsked => self.when_asked = true,
            Meaning::FromElsewhere => return Err(from_elsewhere(name)),
            Meaning::Next => return Ok(ControlFlow::Break(())),
            Meaning::Flag | Meaning::Value => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn request(self) -> Result<Pasted, Unreadable> {
        let url =
            self.url.as_deref().ok_or_else(|| Unreadable::because("the curl command line has no URL"))?;
        let url = without_braces(url);
        let with_scheme = if url.contains("://") { url } else { format!("http://{url}") };
        let uri: Uri = with_scheme
            .parse()
            .map_err(|_| Unreadable::because("the URL of the curl command line cannot be read"))?;
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let (in_url, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let content = self.content.filter(|_| !self.as_query);
        let default = if self.head { "HEAD" } else { content.unwrap_or("GET") };
        let method = self.method.as_deref().unwrap_or(default);
        let as_query = self.data.iter().filter(|_| self.as_query);
        let queries = self.query.iter().chain(as_query).map(String::as_str).chain(uri.query());
        let mut request = Pasted {
            method: method.parse::<Method>().map_err(|_| Unreadable::because("this is no method"))?,
            path: uri.path().as_bytes().to_vec(),
            host: Some(host.to_owned()),
            has_content: content.is_some(),
            key_in_query: queries.map(str::as_bytes).any(query_holds_key),
            ..Pasted::default()
        };
        for line in &self.headers {
            add(&mut request, line)?;
        }
        self.add_credential(&mut request, in_url)?;
        Ok(request)
    }

    /// What curl makes of `-u` and the like, unless a header given with `-H` takes its place, or takes it out.
    fn add_credential(&self, request: &mut Pasted, in_url: Option<&str>) -> Result<(), Unreadable> {
        let left_out = |name: &String| name.eq_ignore_ascii_case("authorization");
        if request.headers.contains_key(header::AUTHORIZATION) || request.left_out.iter().any(left_out) {
            return Ok(());
        }
        if let Some(token) = &self.bearer {
            if token.contains(shell::EXPANDED) {
                return Err(from_variable("the `Authorization` header"));
            }
            return request.add("authorization", &format!("Bearer {token}"));
        }
        match self.user.as_deref().or(in_url).filter(|_| !self.when_asked) {
            Some(user) => {
                let pair = if user.contains(':') { user.to_owned() } else { format!("{user}:") };
                let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
                request.add("authorization", &format!("Basic {encoded}"))
            }
            None => Ok(()),
        }
    }
}

/// A variable that the shell would put in leaves its name: what is asked for is known by its path.
fn without_braces(url: &str) -> String {
    let mut parts = url.split(shell::EXPANDED);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |before, part| match part.strip_prefix('{') {
        Some(rest) => format!("{before}${}", rest.replacen('}', "", 1)),
        None => format!("{before}${part}"),
    })
}

/// `Name: value`; `Name;` is an empty value; `Name:` without one is not sent (curl's manual, `--header`).
fn add(request: &mut Pasted, line: &str) -> Result<(), Unreadable> {
    match line.split_once(':') {
        _ if line.starts_with('@') => Err(from_elsewhere("-H @FILE")),
        _ if line.starts_with(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) => Err(Unreadable::because(
            "there are typographic quotes in the command line, which a shell takes for letters; write straight ones",
        )),
        Some((name, value)) if value.trim().is_empty() => {
            request.left_out.push(name.trim().to_owned());
            Ok(())
        }
        Some((name, value)) if value.contains(shell::EXPANDED) => {
            if is_credential_header(name.trim()) {
                return Err(from_variable(&format!("the `{}` header", name.trim())));
            }
            request.add(name, &value.replace(shell::EXPANDED, "$"))
        }
        Some((name, value)) => request.add(name, value),
        None if line.contains(shell::EXPANDED) => Err(from_variable("a header")),
        None => match line.strip_suffix(';') {
            Some(name) => request.add(name, ""),
            None => Ok(()),
        },
    }
}

/// The shell puts a variable's value in before curl sees the line.
fn from_variable(what: &str) -> Unreadable {
    Unreadable::because(format!(
        "the shell puts the value of a variable into {what}, which is not known here: let it do so \
         (`keygate explain -- curl …` where the variable is set), or write the key in its place"
    ))
}

/// What stands in a file is not read, for the explanation would then depend on where it is asked.
fn from_elsewhere(option: &str) -> Unreadable {
    Unreadable::because(format!(
        "curl's `{}` takes headers or credentials from a file or a variable, which is not read here; give them with \
         `-H`, or take the option out",
        option.escape_debug()
    ))
}
