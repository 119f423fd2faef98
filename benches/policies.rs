//! Configs and policies of any size, and what is asked of them: what the benchmarks share.

#![allow(dead_code, reason = "each benchmark uses its part")]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderValue, Method, header};
use keygate::auth::{Content, CredentialHeader, Facts};
use keygate::config::{self, Config};
use keygate::policy::{self, Digest, Snapshot};

/// What no key is, as long as one.
pub(crate) const WRONG_KEY: &str = "kg_wrongkey_0123456789abcdefghjkmnpqrstvwxyz_0000000";

/// The path of every request.
pub(crate) const PATH: &str = "/v1/chat/completions";

/// What a policy is made of.
pub(crate) struct Shape {
    pub(crate) mode: &'static str,
    pub(crate) keys: usize,
    pub(crate) routes: Routes,
}

/// How many routes, and what tells them apart.
#[derive(Clone, Copy)]
pub(crate) enum Routes {
    /// `/tenant-0/v1` and so on, on any host.
    ByPath(usize),
    /// `/v1` on `tenant-0.example` and so on.
    ByHost(usize),
    /// One for everything.
    One,
}

/// A policy with so many keys and one route.
pub(crate) fn with_keys(mode: &'static str, keys: usize) -> Snapshot {
    compile(&config(&Shape { mode, keys, routes: Routes::One }))
}

/// A policy with one key and such routes.
pub(crate) fn with_routes(routes: Routes) -> Snapshot {
    compile(&config(&Shape { mode: "strict", keys: 1, routes }))
}

pub(crate) fn compile(config: &Config) -> Snapshot {
    policy::compile(config, 1, None).unwrap().snapshot
}

/// A config as it is after reading.
pub(crate) fn config(shape: &Shape) -> Config {
    let directory = tempfile::tempdir().unwrap();
    config::load(&write(directory.path(), shape), &|_| None).unwrap().config
}

/// Writes a config; the path of its file.
pub(crate) fn write(directory: &Path, shape: &Shape) -> PathBuf {
    let mut keys = String::new();
    for number in 0..shape.keys {
        let digest = Digest::of(key(number).as_bytes());
        writeln!(keys, "{{\"name\":\"{}\",\"digest\":\"{digest}\"}}", key_name(number)).unwrap();
    }
    std::fs::write(directory.join("keys.jsonl"), keys).unwrap();
    let mut yaml = format!(
        "proxy: {{listen: ['127.0.0.1:1'], auth_mode: {}, websocket_protocol_keys: true}}\nkeys_file: keys.jsonl\n\
         limits: {{rate: {{requests: 1000000, per: second}}}}\nupstreams: {{a: {{peers: ['127.0.0.1:2']}}}}\nroutes:\n",
        shape.mode
    );
    match shape.routes {
        Routes::ByPath(count) => (0..count).for_each(|number| {
            writeln!(yaml, "  - {{path_prefix: /tenant-{number}/v1, upstream: a}}").unwrap();
        }),
        Routes::ByHost(count) => (0..count).for_each(|number| {
            writeln!(yaml, "  - {{host: tenant-{number}.example, path_prefix: /v1, upstream: a}}").unwrap();
        }),
        Routes::One => yaml.push_str("  - {path_prefix: /, upstream: a}\n"),
    }
    let file = directory.join("keygate.yaml");
    std::fs::write(&file, yaml).unwrap();
    file
}

/// A key, in the form that `keygate keygen` gives them.
pub(crate) fn key(number: usize) -> String {
    format!("kg_{number:08}_0123456789abcdefghjkmnpqrstvwxyz_0000000")
}

/// The name of that key.
pub(crate) fn key_name(number: usize) -> String {
    format!("user-{number:07}")
}

/// The headers of a request that presents `key` in `header`, as the clients of that header write it.
pub(crate) fn presenting(header: CredentialHeader, key: &str) -> HeaderMap {
    let value = match header {
        CredentialHeader::Authorization => format!("Bearer {key}"),
        CredentialHeader::XApiKey | CredentialHeader::XGoogApiKey => key.to_owned(),
        CredentialHeader::WebSocketProtocol => format!("realtime, openai-insecure-api-key.{key}"),
    };
    let mut headers = HeaderMap::from_iter([
        (header::HOST, HeaderValue::from_static("api.example")),
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::USER_AGENT, HeaderValue::from_static("OpenAI/Python 2.8.0")),
    ]);
    headers.insert(header.name(), HeaderValue::from_str(&value).unwrap());
    headers
}

/// A `POST` with content.
pub(crate) fn facts(headers: &HeaderMap) -> Facts<'_> {
    Facts { method: &Method::POST, path: PATH.as_bytes(), headers, content: Content::Some }
}
