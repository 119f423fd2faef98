//! `Bearer `, written in other ways than the one that counts.

use crate::auth::CredentialHeader;

/// How the scheme before a key is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemeMistake {
    /// `Bearer<key>`.
    SpaceMissing,
    /// `bearer <key>`, `BEARER <key>`.
    OtherCase,
    /// `Bearer  <key>`.
    MoreSpaces,
    /// `Bearer Bearer <key>`.
    Twice,
    /// `Basic …`, `Token …`: another scheme.
    Other,
    /// `Bearer <key>` in a header that takes the key alone.
    NotHere,
}

/// Schemes that people send in place of `Bearer`. What follows one is what was sent.
const OTHERS: &[&str] =
    &["basic", "token", "apikey", "api-key", "x-api-key", "key", "digest", "negotiate", "oauth", "jwt"];

/// The mistake, if there is one, and the value without any scheme.
pub(super) fn take_off(header: CredentialHeader, value: &[u8]) -> (Option<SchemeMistake>, &[u8]) {
    let Some((exact, rest)) = bearer(value) else {
        if header == CredentialHeader::Authorization
            && let Some(rest) = other_scheme(value)
        {
            return (Some(SchemeMistake::Other), rest);
        }
        return (None, value);
    };
    let inner = rest.trim_ascii_start();
    if header != CredentialHeader::Authorization {
        return (Some(SchemeMistake::NotHere), inner);
    }
    if let Some((_, further)) = bearer(inner) {
        let mut innermost = further.trim_ascii_start();
        while let Some((_, further)) = bearer(innermost) {
            innermost = further.trim_ascii_start();
        }
        return (Some(SchemeMistake::Twice), innermost);
    }
    let mistake = match (exact, rest) {
        (_, []) => None,
        (false, _) => Some(SchemeMistake::OtherCase),
        (true, [b' ', b' ' | b'\t', ..] | [b'\t', ..]) => Some(SchemeMistake::MoreSpaces),
        (true, [b' ', ..]) => None,
        (true, [b':' | b'=', ..]) => return (Some(SchemeMistake::SpaceMissing), after_sign(rest)),
        (true, _) => Some(SchemeMistake::SpaceMissing),
    };
    (mistake, inner)
}

/// What follows `Bearer` in any case, and whether it was written exactly so.
fn bearer(value: &[u8]) -> Option<(bool, &[u8])> {
    let (word, rest) = value.split_at_checked(6)?;
    word.eq_ignore_ascii_case(b"bearer").then_some((word == b"Bearer", rest))
}

fn after_sign(rest: &[u8]) -> &[u8] {
    rest.get(1..).unwrap_or_default().trim_ascii_start()
}

fn other_scheme(value: &[u8]) -> Option<&[u8]> {
    let space = value.iter().position(u8::is_ascii_whitespace)?;
    let (word, rest) = value.split_at_checked(space)?;
    let known = OTHERS.iter().any(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes()));
    known.then(|| rest.trim_ascii_start())
}
