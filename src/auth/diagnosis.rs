//! From a refusal to its cause and what to do about it, in an operator's words.
//!
//! For operators only: it names keys and tells how near a credential came. The caller is told what [`Deny`] says.

mod key_policy;
mod reason;

pub use reason::Reason;

use serde::Serialize;

use self::key_policy::key_policy;
use super::misplaced::Misplaced;
use super::near_miss::{self, Analysis, Damage, Mangling, NearMiss, SchemeMistake};
use super::{Cause, Credential, CredentialHeader, Deny, Facts, HEALTH_PATH, Malformed};
use crate::clock::UnixSeconds;
use crate::policy::{AuthMode, EffectiveMode, Snapshot};

/// What is the matter, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// The cause.
    pub reason: Reason,
    /// The cause in a sentence.
    pub cause: String,
    /// What to do.
    pub fix: String,
    /// The name of the key that was meant, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What an operator should know beside the request itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// The first problem of the config file, if it was edited and could not be put in force.
    pub rejected: Option<String>,
}

impl Diagnosis {
    /// Takes into account what happens around the request.
    pub fn consider(&mut self, around: &Circumstances) {
        if let Some(problem) = &around.rejected
            && self.reason.could_be_edited_away()
        {
            *self = reload_rejected(problem);
        }
    }
}

/// The file was edited, and what is in it is not in force.
pub fn reload_rejected(problem: &str) -> Diagnosis {
    let problem = problem.lines().next().unwrap_or_default();
    found(
        Reason::ReloadRejected,
        format!(
            "the config file was edited and cannot be used, so what was in force before still is: {problem}"
        ),
        "mend that line; the file is read again when it is saved, and `keygate check` says when it is right",
    )
}

const ONE_HEADER: &str =
    "send the key once, as `Authorization: Bearer <key>`, `x-api-key: <key>` or `x-goog-api-key: <key>`";
const WRITE_BEARER: &str = "write `Authorization: Bearer <key>`: capital B, one space";
const COPY_AGAIN: &str = "copy the key again, whole";

/// Finds the cause of a refusal.
pub fn diagnose(policy: &Snapshot, facts: &Facts<'_>, deny: Deny, now: UnixSeconds) -> Diagnosis {
    match deny.cause {
        Cause::CredentialMissing => without_credential(policy, facts),
        Cause::CredentialInvalid => not_matching(policy, facts, deny),
        Cause::CredentialMalformed(how) => malformed(policy, facts, deny, how),
        Cause::NoKeyConfigured => found(
            Reason::NoKeyConfigured,
            "no key is configured: `proxy.api_key` is empty and there is no other",
            "set `proxy.api_key`; `keygate keygen` prints a key",
        ),
        Cause::KeyExpired
        | Cause::KeyDisabled
        | Cause::KeyNotYetValid
        | Cause::AddressNotAllowed
        | Cause::MethodNotAllowed
        | Cause::RouteNotAllowed => key_policy(policy, facts, deny.cause, now),
        Cause::PreflightWithContent => found(
            Reason::PreflightWithContent,
            "an OPTIONS request with content is no preflight, and as a request it has no key that is accepted",
            "send no content, or a key",
        ),
    }
}

/// A diagnosis without a key.
pub fn found(reason: Reason, cause: impl Into<String>, fix: impl Into<String>) -> Diagnosis {
    Diagnosis { reason, cause: cause.into(), fix: fix.into(), key: None }
}

fn without_credential(policy: &Snapshot, facts: &Facts<'_>) -> Diagnosis {
    if policy.mode == EffectiveMode::Strict && facts.path == HEALTH_PATH {
        return found(
            Reason::StrictHealth,
            "`auth_mode: strict` asks for a key on `/healthz` too, and none was sent",
            "send a key with the health check, or set `auth_mode: all_except_health`",
        );
    }
    if policy.configured_mode == AuthMode::Auto {
        return found(
            Reason::LanAccess,
            "no key was sent, and `auth_mode: auto` acts as `all_except_health` while other machines can connect \
             (`allow_lan_access: true`), for calls from this machine too",
            "send the key, or set `allow_lan_access: false` and restart",
        );
    }
    found(Reason::NoCredential, "no key was sent: none of the three headers is present", ONE_HEADER)
}

fn malformed(policy: &Snapshot, facts: &Facts<'_>, deny: Deny, how: Malformed) -> Diagnosis {
    let header = deny.present.deciding().map_or("", CredentialHeader::label);
    match how {
        Malformed::Empty => empty_header(policy, facts, deny, header),
        Malformed::Repeated => found(
            Reason::RepeatedHeader,
            format!("the `{header}` header stands on more than one line, so it never matches"),
            "send it once",
        ),
        Malformed::Bytes => mangled(header, Mangling::OddBytes, None),
    }
}

fn empty_header(policy: &Snapshot, facts: &Facts<'_>, deny: Deny, header: &str) -> Diagnosis {
    let fix = match matching_ignored(policy, facts, deny) {
        Some((other, _)) => {
            format!(
                "set the variable, or leave `{header}` out: `{}` holds a key that would pass",
                other.label()
            )
        }
        None => "set the variable that should hold the key (`export` it where the program starts)".to_owned(),
    };
    found(
        Reason::EmptyHeader,
        format!(
            "the `{header}` header has no key in it, and it decides: most likely the variable for it is not set"
        ),
        fix,
    )
}

/// A request without a credential, since curl leaves out the header `name`, behind whose colon nothing stands.
pub fn left_out(name: &str) -> Diagnosis {
    found(
        Reason::EmptyHeader,
        format!(
            "nothing stands behind `{name}:`, and curl leaves such a header out: most likely the variable for it is not set"
        ),
        "set the variable that should hold the key (`export` it where the program starts)",
    )
}

/// None of the three headers holds a key, but it stands elsewhere.
pub fn key_elsewhere(place: Misplaced) -> Diagnosis {
    match place {
        Misplaced::Query => found(
            Reason::KeyInQuery,
            "no header holds a key; the query of the URL does (`?key=`), and it is not read, for queries stand in logs",
            ONE_HEADER,
        ),
        Misplaced::Header(name) => found(
            Reason::KeyInOtherHeader,
            format!("none of the three headers holds a key; the `{name}` header may, and it is not read"),
            ONE_HEADER,
        ),
    }
}

/// Why a browser keeps an answer from the page that asked.
pub fn hidden_from_page(cors_is_set: bool) -> Diagnosis {
    let (cause, fix) = if cors_is_set {
        ("`proxy.cors` does not allow the site of `Origin`", "add the site to `proxy.cors.origins`")
    } else {
        ("`proxy.cors` is not set, and the upstream may not allow the site of `Origin`", "set `proxy.cors`")
    };
    let cause = format!("{cause}: a browser then keeps the answer from the page, \"Failed to fetch\"");
    found(Reason::Cors, cause, format!("{fix}; `keygate doctor --origin SITE` shows what a browser sees"))
}

/// A page may not send this header, so that its browser does not even ask.
pub fn hidden_header(name: &str) -> Diagnosis {
    found(
        Reason::Cors,
        format!("`proxy.cors.headers` has no `{name}`, so a page may not send it: \"Failed to fetch\""),
        "add the header to `proxy.cors.headers`; `keygate doctor --origin SITE` shows what a browser sees",
    )
}

/// The key that `from` holds cannot be sent at all: the client fails before it asks anybody.
pub fn unsendable(from: &str) -> Diagnosis {
    found(
        Reason::MangledKey,
        format!(
            "`{from}` holds a line break, or another character that no header can hold, so no client can send it"
        ),
        "cut it off where the key is stored",
    )
}

/// The header, present and ignored, that holds a configured key, and that key's name.
fn matching_ignored<'a>(
    policy: &'a Snapshot,
    facts: &Facts<'_>,
    deny: Deny,
) -> Option<(CredentialHeader, &'a str)> {
    deny.present.ignored().find_map(|header| {
        match Credential::of(facts.headers, header, policy.protocol_keys)? {
            Credential::Presented(value) => Some((header, near_miss::configured(policy, value)?)),
            _ => None,
        }
    })
}

fn not_matching(policy: &Snapshot, facts: &Facts<'_>, deny: Deny) -> Diagnosis {
    let Some(deciding) = deny.present.deciding() else { return without_credential(policy, facts) };
    let value = deciding.values(facts.headers, policy.protocol_keys).next().unwrap_or_default();
    let Analysis { miss, key } = near_miss::analyse(policy, deciding, value);
    let header = deciding.label();
    if key.is_none()
        && let Some((other, name)) = matching_ignored(policy, facts, deny)
    {
        let cause = format!(
            "the `{header}` header decides and matches no key; `{}`, which would match, is ignored",
            other.label()
        );
        let fix = format!("leave `{header}` out of the request; send one of the headers only");
        return Diagnosis { key: Some(name.to_owned()), ..found(Reason::OtherHeaderDecides, cause, fix) };
    }
    let diagnosis = match miss {
        NearMiss::Scheme(mistake) => scheme(header, mistake),
        NearMiss::Mangled(how) => return mangled(header, how, key),
        NearMiss::Damaged(damage) => damaged(header, damage, key.as_deref()),
        NearMiss::Foreign(whose) => found(
            Reason::ForeignCredential,
            format!(
                "the `{header}` header holds {whose}, which is for its provider and not for this gateway"
            ),
            "send a key of the gateway; it adds the provider's key itself",
        ),
        NearMiss::Retired(since) => found(
            Reason::RetiredKey,
            format!(
                "the `{header}` header holds an old key{}, which counts no more since {}",
                named(key.as_deref()),
                since
            ),
            "use the new key",
        ),
        NearMiss::OtherGateway => found(
            Reason::UnknownKey,
            format!(
                "the `{header}` header holds a key of keygate, undamaged, that this gateway does not know"
            ),
            "is it a key of another gateway, or one that is not in this config (or not yet in force)?",
        ),
        NearMiss::NothingBehindScheme => return empty_header(policy, facts, deny, header),
        NearMiss::Unknown => found(
            Reason::UnknownKey,
            format!("the value of the `{header}` header matches no key, and resembles none"),
            "send a key of this gateway; is it the right gateway, and the right file?",
        ),
    };
    Diagnosis { key, ..diagnosis }
}

fn scheme(header: &str, mistake: SchemeMistake) -> Diagnosis {
    let what = match mistake {
        SchemeMistake::SpaceMissing => {
            let cause = "the space after `Bearer` is missing, so the whole value counts as the key";
            return found(Reason::SpaceMissing, cause, WRITE_BEARER);
        }
        SchemeMistake::NotHere => {
            let cause = format!("`{header}` takes the key alone, and `Bearer` stands before it");
            return found(Reason::Scheme, cause, format!("write `{header}: <key>`"));
        }
        SchemeMistake::OtherCase => "`Bearer` is written in another case",
        SchemeMistake::MoreSpaces => "there is more than one space after `Bearer`",
        SchemeMistake::Twice => "`Bearer` stands there twice",
        SchemeMistake::Other => "the scheme is another than `Bearer`",
    };
    found(Reason::Scheme, format!("{what}, so the prefix is not taken off and nothing matches"), WRITE_BEARER)
}

fn mangled(header: &str, how: Mangling, key: Option<String>) -> Diagnosis {
    let (what, fix) = match how {
        Mangling::Quotes => {
            ("quotes are part of the value", "leave the quotes out of the header or the `.env` file")
        }
        Mangling::EscapedWhiteSpace => {
            ("a line break, written as `\\n`, is part of the value", "cut it off where the key is stored")
        }
        Mangling::PercentEncoded => ("the value is percent-encoded (`%20`, `%0A`)", "send the key as it is"),
        Mangling::WhiteSpace => ("there is white space within the value", COPY_AGAIN),
        Mangling::NameIncluded => {
            ("a name (`KEY=`, `x-api-key:`) is part of the value", "send the key alone")
        }
        Mangling::Punctuation => ("there is a comma or semicolon behind the key", COPY_AGAIN),
        Mangling::Brackets => {
            ("the brackets of an example are part of the value", "send the key without them")
        }
        Mangling::OddBytes => ("there are characters in it that no key can hold", COPY_AGAIN),
        Mangling::Unexpanded => (
            "a variable was sent by its name, not its value",
            "use double quotes in the shell (`\"Bearer $KEY\"`), and the syntax of the place where it stands",
        ),
        Mangling::Placeholder => ("the placeholder of an example was sent", "put your key in its place"),
    };
    let cause = format!("the `{header}` header does not hold the key as it is: {what}");
    Diagnosis { key, ..found(Reason::MangledKey, cause, fix) }
}

fn damaged(header: &str, damage: Damage, key: Option<&str>) -> Diagnosis {
    let what = match damage {
        Damage::Truncated => "a part is missing",
        Damage::Extended => "there are extra characters",
        Damage::OtherCase => "letters are in another case",
        Damage::Altered => "some characters are others",
    };
    let cause = format!("the `{header}` header holds nearly a key{}: {what}", named(key));
    found(Reason::DamagedKey, cause, COPY_AGAIN)
}

/// "", or the key's name as a part of a sentence.
fn named(key: Option<&str>) -> String {
    key.map_or_else(String::new, |name| format!(" `{name}`"))
}
