//! What the gateway tells an upstream: its own credential, and who the caller is.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};

use crate::config;
use crate::policy::upstreams::UpstreamCredential;
use crate::problem::{FieldPath, Problem};

/// Fields that say something else already.
const TAKEN: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

pub(super) fn compile_credential(
    upstream: &config::Upstream,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> Option<UpstreamCredential> {
    let config::Credential { header, value } = upstream.credential.as_ref()?;
    let path = path.field("credential");
    let name = HeaderName::try_from(header.as_str())
        .ok()
        .filter(|name| !TAKEN.contains(&name.as_str()) && !name.as_str().starts_with("x-keygate-"));
    let value = field_value(name.as_ref(), value.value.expose());
    if name.is_none() {
        let message = format!("`{header}` cannot be the field of a credential");
        problems.push(
            Problem::error(path.field("header"), message)
                .with_help("write `authorization`, `x-api-key`, `x-goog-api-key` or another field name"),
        );
    }
    if let Err(what) = value {
        problems.push(
            Problem::error(path.field("value"), what)
                .with_help("write the provider's key, as `${NAME}` or `file:PATH`, with nothing around it"),
        );
    }
    Some(UpstreamCredential { header: name?, value: value.ok()? })
}

/// `Authorization` needs a scheme, which a provider's key on its own does not have.
fn field_value(name: Option<&HeaderName>, value: &str) -> Result<HeaderValue, &'static str> {
    if value.trim().is_empty() {
        return Err("the credential is empty");
    }
    let scheme = if name == Some(&header::AUTHORIZATION) && !value.contains(' ') { "Bearer " } else { "" };
    let visible = value.trim() == value && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match HeaderValue::try_from(format!("{scheme}{value}")) {
        Ok(mut value) if visible => {
            value.set_sensitive(true);
            Ok(value)
        }
        _ => Err("the credential has a character outside visible ASCII, or white space at an end"),
    }
}

pub(super) fn compile_labels(
    upstream: &config::Upstream,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> Vec<(Arc<str>, HeaderName)> {
    let mut labels = Vec::with_capacity(upstream.forward_labels.len());
    for (at, label) in upstream.forward_labels.iter().enumerate() {
        match HeaderName::try_from(format!("x-keygate-label-{label}")) {
            Ok(name) if super::key_rules::is_label(label) => labels.push((label.as_str().into(), name)),
            _ => problems.push(
                Problem::error(
                    path.field("forward_labels").index(at),
                    format!("`{label}` is no name of a label: 1 to 32 lower-case letters, digits and `-`"),
                )
                .with_help("write it as under `labels` of a key: `team`"),
            ),
        }
    }
    labels
}
