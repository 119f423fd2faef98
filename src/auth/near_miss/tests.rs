//! One value a line, and what it is taken for.

use super::*;
use crate::config::{Config, SecretOrigin, SecretRef};
use crate::policy::{Digest, compile, key_format};
use crate::secret::Secret;

const KEY: &str = "sk-0123456789abcdef0123456789abcdef";

fn policy(kg: &str) -> Snapshot {
    let id = &kg[3..11];
    let text = format!("keys: [{{name: alice, digest: '{}', id: '{id}'}}]", Digest::of(kg.as_bytes()));
    let mut config: Config = serde_yaml::from_str(&text).unwrap();
    config.proxy.auth_mode = crate::config::AuthMode::Strict;
    let value = Secret::new(KEY.to_owned());
    config.proxy.api_key = Some(SecretRef { origin: SecretOrigin::Literal, value });
    compile(&config, 1, None).unwrap().snapshot
}

/// With so many bytes of claims.
fn jwt(claims: usize) -> String {
    format!("eyJhbGciOiJSUzI1NiJ9.eyJzdWIi{}.abc_-", "x".repeat(claims))
}

#[test]
fn what_is_wrong_with_a_credential_is_named_and_whose_it_is() {
    use CredentialHeader::{Authorization, XApiKey};
    let kg = key_format::generate().unwrap();
    let kg = kg.expose();
    let policy = policy(kg);
    let scheme = NearMiss::Scheme;
    let mangled = NearMiss::Mangled;
    let upper = KEY.to_uppercase();
    for (header, value, miss, key) in [
        (Authorization, format!("Bearer{KEY}"), scheme(SchemeMistake::SpaceMissing), Some("api_key")),
        (Authorization, format!("Bearer: {KEY}"), scheme(SchemeMistake::SpaceMissing), Some("api_key")),
        (Authorization, format!("bearer {KEY}"), scheme(SchemeMistake::OtherCase), Some("api_key")),
        (Authorization, format!("BEARER {kg}"), scheme(SchemeMistake::OtherCase), Some("alice")),
        (Authorization, format!("Bearer  {KEY}"), scheme(SchemeMistake::MoreSpaces), Some("api_key")),
        (Authorization, format!("Bearer Bearer {KEY}"), scheme(SchemeMistake::Twice), Some("api_key")),
        (Authorization, format!("Token {KEY}"), scheme(SchemeMistake::Other), Some("api_key")),
        (Authorization, "Basic dTpw".into(), scheme(SchemeMistake::Other), None),
        (XApiKey, format!("Bearer {KEY}"), scheme(SchemeMistake::NotHere), Some("api_key")),
        (Authorization, "Bearer".into(), NearMiss::NothingBehindScheme, None),
        (Authorization, format!("Bearer \"{KEY}\""), mangled(Mangling::Quotes), Some("api_key")),
        (XApiKey, format!("'{KEY}'"), mangled(Mangling::Quotes), Some("api_key")),
        (XApiKey, format!("{KEY}\\n"), mangled(Mangling::EscapedWhiteSpace), Some("api_key")),
        (XApiKey, format!("{KEY}%20"), mangled(Mangling::PercentEncoded), Some("api_key")),
        (XApiKey, format!("<{KEY}>"), mangled(Mangling::Brackets), Some("api_key")),
        (XApiKey, format!("OPENAI_API_KEY={KEY}"), mangled(Mangling::NameIncluded), Some("api_key")),
        (XApiKey, format!("{KEY},"), mangled(Mangling::Punctuation), Some("api_key")),
        (XApiKey, format!("{} {}", &KEY[..9], &KEY[9..]), mangled(Mangling::WhiteSpace), Some("api_key")),
        (XApiKey, format!("\u{201c}{KEY}\u{201d}"), mangled(Mangling::OddBytes), Some("api_key")),
        (Authorization, "Bearer $KEY".into(), mangled(Mangling::Unexpanded), None),
        (XApiKey, "${OPENAI_API_KEY}".into(), mangled(Mangling::Unexpanded), None),
        (Authorization, "Bearer os.environ/OPENAI_API_KEY".into(), mangled(Mangling::Unexpanded), None),
        (Authorization, "Bearer process.env.KEY".into(), mangled(Mangling::Unexpanded), None),
        (XApiKey, "$env:OPENAI_API_KEY".into(), mangled(Mangling::Unexpanded), None),
        (XApiKey, "%KEY%".into(), mangled(Mangling::Unexpanded), None),
        (XApiKey, "{{ key }}".into(), mangled(Mangling::Unexpanded), None),
        (XApiKey, "<key>".into(), mangled(Mangling::Placeholder), None),
        (XApiKey, "YOUR_API_KEY".into(), mangled(Mangling::Placeholder), None),
        (XApiKey, "sk-...".into(), mangled(Mangling::Placeholder), None),
        (XApiKey, "undefined".into(), mangled(Mangling::Placeholder), None),
        (XApiKey, KEY[..30].into(), NearMiss::Damaged(Damage::Truncated), Some("api_key")),
        (XApiKey, format!("{KEY}x"), NearMiss::Damaged(Damage::Extended), Some("api_key")),
        (XApiKey, upper, NearMiss::Damaged(Damage::OtherCase), Some("api_key")),
        (XApiKey, kg[..40].into(), NearMiss::Damaged(Damage::Truncated), Some("alice")),
        (XApiKey, format!("{kg}a"), NearMiss::Damaged(Damage::Extended), Some("alice")),
        (XApiKey, kg.to_uppercase(), NearMiss::Damaged(Damage::OtherCase), Some("alice")),
        (XApiKey, format!("{}!", &kg[..51]), NearMiss::Damaged(Damage::Altered), Some("alice")),
        (Authorization, "Bearer sk-ant-api03-abc".into(), NearMiss::Foreign("an Anthropic key"), None),
        (XApiKey, "sk-proj-abcdef".into(), NearMiss::Foreign("an OpenAI project key"), None),
        (XApiKey, "AIzaSyAbc".into(), NearMiss::Foreign("a Google API key"), None),
        (XApiKey, "eyJhbGciOi.eyJzdWIi.abc_-".into(), NearMiss::Foreign("a JSON Web Token"), None),
        (Authorization, format!("Bearer {}", jwt(2000)), NearMiss::Foreign("a JSON Web Token"), None),
        (Authorization, format!("bearer {}", jwt(2000)), NearMiss::Foreign("a JSON Web Token"), None),
        (XApiKey, jwt(2000)[..1024].into(), NearMiss::Foreign("a JSON Web Token"), None),
        (XApiKey, "eyJhbGciOi.abc".into(), NearMiss::Unknown, None),
        (XApiKey, "sk-ffffffffffffffffffffffffffffffff".into(), NearMiss::Unknown, None),
        (Authorization, "Bearer something-else".into(), NearMiss::Unknown, None),
        (XApiKey, "x".repeat(LONGEST + 1), NearMiss::Unknown, None),
    ] {
        let analysis = analyse(&policy, header, value.as_bytes());
        assert_eq!((&analysis.miss, analysis.key.as_deref()), (&miss, key), "{value}");
    }
    let other = key_format::generate().unwrap();
    assert_eq!(analyse(&policy, XApiKey, other.expose().as_bytes()).miss, NearMiss::OtherGateway);
}

#[test]
fn nothing_that_is_presented_makes_it_panic_or_loop() {
    let kg = key_format::generate().unwrap();
    let policy = policy(kg.expose());
    proptest::proptest!(|(value in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600))| {
        analyse(&policy, CredentialHeader::Authorization, &value);
    });
    for odd in
        ["\"\"", "'", "$", "%%", "<>", "{}", "Bearer Bearer Bearer", "=", "\\n\\n", "%20%20%20", ":", "kg_"]
    {
        analyse(&policy, CredentialHeader::XApiKey, odd.as_bytes());
    }
}
