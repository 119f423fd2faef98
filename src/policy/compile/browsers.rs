//! What browsers may do: CORS, and the names by which a gateway without keys may be called.

use http::{HeaderName, HeaderValue, Method, Uri};

use super::is_host;
use crate::config;
use crate::policy::cors::{Cors, Origins};
use crate::problem::{FieldPath, Problem};

pub(super) fn compile_cors(cors: Option<&config::Cors>, problems: &mut Vec<Problem>) -> Option<Cors> {
    let cors = cors?;
    let path = FieldPath::root().field("proxy").field("cors");
    let origins = compile_origins(cors, &path, problems);
    for (at, method) in cors.methods.iter().enumerate() {
        if method.parse::<Method>().is_err() {
            let path = path.field("methods").index(at);
            problems.push(
                Problem::error(path, format!("`{method}` is no method")).with_help("write `GET` or `POST`"),
            );
        }
    }
    let any_header = cors.headers.iter().any(|header| header == "*");
    for (at, header) in cors.headers.iter().enumerate() {
        if header != "*" && header.parse::<HeaderName>().is_err() {
            let path = path.field("headers").index(at);
            problems.push(
                Problem::error(path, format!("`{header}` is no header name"))
                    .with_help("write the name alone: `authorization`; `*` stands for all"),
            );
        }
    }
    Some(Cors {
        origins,
        methods: HeaderValue::from_str(&cors.methods.join(", ")).ok()?,
        headers: if any_header { None } else { Some(HeaderValue::from_str(&cors.headers.join(", ")).ok()?) },
        credentials: cors.credentials,
        max_age: HeaderValue::from(cors.max_age.0.as_secs()),
    })
}

fn compile_origins(cors: &config::Cors, path: &FieldPath, problems: &mut Vec<Problem>) -> Origins {
    let path = path.field("origins");
    if cors.origins.is_empty() {
        problems.push(
            Problem::error(path.clone(), "no origin may call")
                .with_help("name one (`https://app.example.com`), or leave `cors` out")
                .relative(),
        );
    }
    for (at, origin) in cors.origins.iter().enumerate() {
        if origin == "*" && cors.credentials {
            problems.push(
                Problem::error(path.index(at), "browsers refuse `*` together with `credentials: true`")
                    .with_help("name the origins"),
            );
        } else if origin != "*" && !is_origin(origin) {
            problems.push(
                Problem::error(path.index(at), format!("`{origin}` is no origin"))
                    .with_help("write scheme, host and port alone: `https://app.example.com`"),
            );
        }
    }
    if cors.origins.iter().any(|origin| origin == "*") {
        return Origins::Any;
    }
    Origins::Listed(cors.origins.iter().map(|origin| origin.as_bytes().to_vec()).collect())
}

/// As browsers write it (RFC 6454 §6.2): lower case, no path, no default port.
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let default_port =
        matches!((uri.scheme_str(), uri.port_u16()), (Some("http"), Some(80)) | (Some("https"), Some(443)));
    uri.scheme().is_some()
        && uri.host().is_some()
        && !default_port
        && !text.ends_with('/')
        && uri.path() == "/"
        && uri.query().is_none()
        && !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Lower-case names without port.
pub(super) fn compile_allowed_hosts(hosts: &[String], problems: &mut Vec<Problem>) -> Vec<String> {
    let path = FieldPath::root().field("proxy").field("allowed_hosts");
    for (at, host) in hosts.iter().enumerate().filter(|(_, host)| !is_host(host)) {
        problems.push(
            Problem::error(path.index(at), format!("`{host}` is no host name"))
                .with_help("write it as in a URL, without scheme and port: `gateway.home`"),
        );
    }
    hosts.iter().map(|host| host.to_ascii_lowercase()).collect()
}
