//! The embedded default of `keygate run`: a gateway to try at once, without a file.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;

use super::run::announce;
use crate::config::{
    AuthMode, Balance, Config, Ejection, Peer, Protocol, Proxy, Retries, Route, SecretOrigin, SecretRef,
    Timeouts, Upstream,
};
use crate::policy;
use crate::secret::Secret;
use crate::server::{self, ConfigSource, Options, OriginListener, RunError};

/// Serves it until it is told to stop.
pub(super) fn run(listen: Vec<SocketAddr>) -> anyhow::Result<Result<(), RunError>> {
    let key = policy::generate_key().context("the system has no random numbers for a key")?;
    let origin = match OriginListener::bind((Ipv4Addr::LOCALHOST, 0).into()) {
        Ok(origin) => origin,
        Err(error) => return Ok(Err(error.into())),
    };
    let options = Options {
        config: ConfigSource::Embedded(Box::new(config(&key, origin.address()))),
        listen,
        origin: Some(origin),
    };
    Ok(server::run(options, |addresses| {
        if let Some(address) = addresses.first() {
            announce(&what_to_try(*address, &key));
        }
    }))
}

fn config(key: &Secret, origin: SocketAddr) -> Config {
    let api_key = SecretRef { origin: SecretOrigin::Literal, value: key.clone() };
    let upstream = Upstream {
        peers: vec![Peer { address: origin.to_string(), weight: 1, drain: false }],
        timeouts: Timeouts::default(),
        response_header_bytes: Upstream::RESPONSE_HEADER_BYTES,
        balance: Balance::default(),
        hash_by: None,
        retries: Retries::default(),
        ejection: Ejection::default(),
        health_check: None,
        tls: false,
        sni: None,
        tls_ca: None,
        tls_client_certificate: None,
        tls_verify: true,
        protocol: Protocol::default(),
        credential: None,
        forward_key_name: true,
        forward_labels: Vec::new(),
        host: None,
    };
    let route =
        Route { path_prefix: Some("/".to_owned()), upstream: "origin".to_owned(), ..Route::default() };
    Config {
        proxy: Proxy { auth_mode: AuthMode::AllExceptHealth, api_key: Some(api_key), ..Proxy::default() },
        upstreams: BTreeMap::from([("origin".to_owned(), upstream)]),
        routes: vec![route],
        ..Config::default()
    }
}

/// The key is shown: it was made for this, and is good for nothing else.
fn what_to_try(address: SocketAddr, key: &Secret) -> String {
    let key = key.expose();
    format!(
        r#"keygate serves http://{address} without a config file: a key made for this run, and a mock origin behind it.

  key: {key}

Try, as an OpenAI, an Anthropic and a Gemini client would:

  curl http://{address}/v1/models -H 'Authorization: Bearer {key}'
  curl http://{address}/v1/messages -H 'x-api-key: {key}' -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' -d '{{"model":"claude-mock","max_tokens":64,"messages":[{{"role":"user","content":"Hello"}}]}}'
  curl -N 'http://{address}/v1beta/models/gemini-mock:streamGenerateContent?alt=sse' -H 'x-goog-api-key: {key}' -H 'content-type: application/json' -d '{{"contents":[{{"parts":[{{"text":"Hello"}}]}}]}}'

Leave the key out to see what a 401 says. `keygate init` writes a config of your own. Ctrl-C stops."#
    )
}
