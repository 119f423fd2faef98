//! What keys may do: routes that exist, methods and addresses that can be; the same rules stored once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::Method;

use super::keys::At;
use crate::config::{self, Config};
use crate::policy::keys::{AddressRange, KeyRules, KeyTable, PathRule, Period, Rate, RulesId};
use crate::problem::{Problem, did_you_mean};

/// Entries in a list of one key; each request compares itself with all of them.
const MOST_ENTRIES: usize = 100;

/// Labels of one key.
const MOST_LABELS: usize = 16;

pub(super) struct RuleCompiler {
    /// Names of routes.
    routes: HashSet<Arc<str>>,
    defaults: KeyRules,
    /// Rules that a key has had already.
    known: HashMap<KeyRules, RulesId>,
    default_id: Option<RulesId>,
}

impl RuleCompiler {
    pub(super) fn new(config: &Config) -> Self {
        let limits = &config.limits;
        let defaults = KeyRules {
            rate: limits.rate.as_ref().map(compile_rate),
            max_concurrent: limits.max_concurrent,
            ..KeyRules::default()
        };
        let routes = config.routes.iter().filter_map(|route| route.name.as_deref().map(Arc::from)).collect();
        Self { routes, defaults, known: HashMap::new(), default_id: None }
    }

    /// What a key may do that says nothing about it.
    pub(super) fn default_rules(&mut self, table: &mut KeyTable) -> RulesId {
        *self.default_id.get_or_insert_with(|| table.add_rules(self.defaults.clone()))
    }

    pub(super) fn compile(
        &mut self,
        at: &At<'_>,
        key: &config::Key,
        table: &mut KeyTable,
        problems: &mut Vec<Problem>,
    ) -> RulesId {
        if says_nothing(key) {
            return self.default_rules(table);
        }
        let rules = KeyRules {
            routes: list(at, "routes", &key.routes, problems, |text| self.path_rule(text)),
            methods: list(at, "methods", &key.methods, problems, method),
            addresses: list(at, "addresses", &key.addresses, problems, address),
            rate: key.rate.as_ref().map(compile_rate).or(self.defaults.rate),
            max_concurrent: key.max_concurrent.or(self.defaults.max_concurrent),
            labels: labels(at, key, problems),
        };
        *self.known.entry(rules).or_insert_with_key(|rules| table.add_rules(rules.clone()))
    }

    /// A path prefix, or the name of a route.
    fn path_rule(&self, text: &str) -> Result<PathRule, Wrong> {
        if text.starts_with('/') {
            if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['?', '#']) {
                return Err(Wrong {
                    message: format!("`{text}` can be the beginning of no path"),
                    help: "write it without query, fragment and spaces: `/v1`".to_owned(),
                });
            }
            return Ok(PathRule::Prefix(text.trim_end_matches('/').into()));
        }
        match self.routes.get(text) {
            Some(name) => Ok(PathRule::Route(Arc::clone(name))),
            None => Err(Wrong {
                message: format!("no route named `{text}`"),
                help: match did_you_mean(text, self.routes.iter().map(|name| &**name)) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "give a route a `name`, or write a path prefix: `/v1`".to_owned(),
                },
            }),
        }
    }
}

/// What is wrong with an entry of a list.
struct Wrong {
    message: String,
    help: String,
}

/// Whether nothing is said of what the key may do.
fn says_nothing(key: &config::Key) -> bool {
    key.routes.is_none()
        && key.methods.is_none()
        && key.addresses.is_none()
        && key.rate.is_none()
        && key.max_concurrent.is_none()
        && key.labels.is_empty()
}

/// Compiles every entry of a list; `None` where there is no list.
fn list<T>(
    at: &At<'_>,
    field: &str,
    texts: &Option<Vec<String>>,
    problems: &mut Vec<Problem>,
    compile: impl Fn(&str) -> Result<T, Wrong>,
) -> Option<Vec<T>> {
    let texts = texts.as_ref()?;
    if texts.is_empty() || texts.len() > MOST_ENTRIES {
        let message = format!("`{field}` has {} entries; 1 to {MOST_ENTRIES} can be used", texts.len());
        problems.push(
            Problem::error(at.field(field), message)
                .with_help("without the field nothing is restricted; `enabled: false` refuses everything"),
        );
    }
    let mut compiled = Vec::with_capacity(texts.len());
    for text in texts.iter().take(MOST_ENTRIES) {
        match compile(text) {
            Ok(entry) => compiled.push(entry),
            Err(Wrong { message, help }) => {
                problems.push(Problem::error(at.field(field), message).with_help(help));
            }
        }
    }
    Some(compiled)
}

fn method(text: &str) -> Result<Method, Wrong> {
    let upper = text.to_ascii_uppercase();
    if text != upper {
        let help = format!("write `{upper}`");
        return Err(Wrong { message: "methods are case-sensitive".to_owned(), help });
    }
    Method::from_bytes(text.as_bytes()).map_err(|_| Wrong {
        message: format!("`{text}` is no method"),
        help: "write one word: `GET`, `POST`".to_owned(),
    })
}

fn address(text: &str) -> Result<AddressRange, Wrong> {
    parse_range(text).map_err(|(message, help)| Wrong { message, help: help.to_owned() })
}

/// A range of addresses, or what is wrong with it and what helps.
pub(super) fn parse_range(text: &str) -> Result<AddressRange, (String, &'static str)> {
    AddressRange::parse(text).ok_or_else(|| {
        let message = format!("`{text}` is no address and no range of addresses");
        (message, "write `192.0.2.7`, `10.0.0.0/8` or `2001:db8::/32`")
    })
}

pub(super) fn compile_rate(rate: &config::Rate) -> Rate {
    let per = match rate.per {
        config::Period::Second => Period::Second,
        config::Period::Minute => Period::Minute,
        config::Period::Hour => Period::Hour,
    };
    Rate { requests: rate.requests, per, burst: rate.burst.unwrap_or(rate.requests) }
}

/// Whether a label may have this name.
pub(super) fn is_label(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Labels become header fields: `x-keygate-label-NAME`.
fn labels(at: &At<'_>, key: &config::Key, problems: &mut Vec<Problem>) -> Vec<(Arc<str>, Arc<str>)> {
    let is_value = |value: &str| value.len() <= 128 && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if key.labels.len() > MOST_LABELS
        || !key.labels.iter().all(|(name, value)| is_label(name) && is_value(value))
    {
        let message = format!(
            "at most {MOST_LABELS} labels: names of 1 to 32 lower-case letters, digits and `-`, values of at most 128 \
             visible ASCII characters"
        );
        problems.push(Problem::error(at.field("labels"), message).with_help("`{team: search, tier: gold}`"));
    }
    key.labels.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
}
