//! Credentials of somebody else, recognised by what they begin with.

/// Prefixes that providers document for what they hand out.
const PREFIXES: &[(&str, &str)] = &[
    ("sk-ant-", "an Anthropic key"),
    ("sk-proj-", "an OpenAI project key"),
    ("sk-svcacct-", "an OpenAI service account key"),
    ("sk-admin-", "an OpenAI admin key"),
    ("sk-or-", "an OpenRouter key"),
    ("AIza", "a Google API key"),
    ("ya29.", "a Google access token"),
    ("hf_", "a Hugging Face token"),
    ("gsk_", "a Groq key"),
    ("xai-", "an xAI key"),
    ("pplx-", "a Perplexity key"),
    ("nvapi-", "an NVIDIA key"),
    ("r8_", "a Replicate token"),
    ("ghp_", "a GitHub token"),
    ("gho_", "a GitHub token"),
    ("github_pat_", "a GitHub token"),
    ("AKIA", "an AWS access key id"),
    ("ASIA", "an AWS access key id"),
];

/// Stands in the middle of OpenAI's keys of every kind.
const OPENAI_MARK: &[u8] = b"T3BlbkFJ";

/// Whose credential this is.
pub(super) fn recognise(value: &[u8]) -> Option<&'static str> {
    let by_prefix = PREFIXES.iter().find(|(prefix, _)| value.starts_with(prefix.as_bytes()));
    if let Some((_, whose)) = by_prefix {
        return Some(whose);
    }
    if value.windows(OPENAI_MARK.len()).any(|window| window == OPENAI_MARK) {
        return Some("an OpenAI key");
    }
    is_jwt(value).then_some("a JSON Web Token")
}

/// Three parts of base64url, the first of which begins with `{"` (RFC 7519 §3). Of a long one that was cut there may be two;
/// then both do.
fn is_jwt(value: &[u8]) -> bool {
    let is_base64url = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let parts: Vec<&[u8]> = value.splitn(4, |byte| *byte == b'.').collect();
    let has_parts = match parts.as_slice() {
        [_, claims] => claims.starts_with(b"eyJ"),
        parts => parts.len() == 3,
    };
    has_parts && value.starts_with(b"eyJ") && parts.iter().all(|part| part.iter().all(is_base64url))
}
