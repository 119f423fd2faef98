//! What is wrong between the values is found, all of it, at its place.

use super::*;
use crate::config::{SecretOrigin, SecretRef};
use crate::problem::Place;
use crate::secret::Secret;

fn config(yaml: &str) -> Config {
    serde_yaml::from_str(yaml).unwrap()
}

/// `path: message` of every problem, in order.
fn problems(yaml: &str) -> Vec<String> {
    let problems = match compile(&config(yaml), 1, None) {
        Ok(compiled) => compiled.warnings,
        Err(problems) => problems,
    };
    problems
        .iter()
        .map(|problem| match &problem.place {
            Place::Value(path) => format!("{path}: {}", problem.message),
            other => format!("{other:?}"),
        })
        .collect()
}

const GOOD: &str = "
upstreams: {a: {peers: ['127.0.0.1:1']}}
routes: [{path_prefix: /, upstream: a}]
";

#[test]
fn a_good_config_has_no_problems() {
    assert_eq!(problems(GOOD), Vec::<String>::new());
}

#[test]
fn every_problem_is_found_at_its_place() {
    let found = problems(
        "
proxy: {listen: ['0.0.0.0:1', nonsense, '127.0.0.1:2', '127.0.0.1:2'], api_key: ' spaced',
  trusted_proxies: [10.0.0.0/8, 10.0.0.0/33, example.com]}
keys:
  - {name: api_key, digest: x}
  - {name: a, digest: 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'}
  - {name: a, digest: 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'}
upstreams:
  openai: {peers: ['127.0.0.1:1', 'http://x'], sni: x}
  none: {peers: []}
routes:
  - {path: /a, path_prefix: /, upstream: openai}
  - {upstream: openai}
  - {path: a, upstream: openai}
  - {path: /a, upstream: opnai}
  - {path: /healthz, upstream: openai}
  - {host: 'https://x', path: /, upstream: openai}
  - {path: /x, upstream: openai}
  - {path: /x, upstream: none}
  - {path: /y, upstream: openai, name: 'a b'}
  - {path: /z, upstream: openai, name: z}
  - {path: /zz, upstream: openai, name: z}
",
    );
    let places: Vec<&str> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "proxy.listen[0]",
            "proxy.listen[1]",
            "proxy.listen[3]",
            "proxy.api_key",
            "keys[0].name",
            "keys[0].digest",
            "keys[2].name",
            "keys[2].digest",
            "proxy.trusted_proxies[1]",
            "proxy.trusted_proxies[2]",
            "upstreams.none.peers",
            "upstreams.openai.peers[1]",
            "upstreams.openai.sni",
            "routes[8].name",
            "routes[10].name",
            "routes[0]",
            "routes[1]",
            "routes[2].path",
            "routes[3].upstream",
            "routes[4].path",
            "routes[5].host",
            "routes[7]",
        ],
        "{found:#?}"
    );
}

#[test]
fn what_a_url_cannot_name_is_no_name() {
    for upstream in ["..", ".", "''", "\"a\\n\""] {
        let text = format!("upstreams: {{{upstream}: {{peers: ['127.0.0.1:1']}}}}");
        let found = problems(&text);
        assert!(found.iter().any(|one| one.contains("an upstream's name is")), "{text}: {found:?}");
    }
    let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let found = problems(&format!("keys: [{{name: .., digest: '{digest}'}}]"));
    assert!(found.iter().any(|one| one.contains("a key's name is")), "{found:?}");
}

#[test]
fn an_api_key_that_cannot_arrive_is_refused_and_not_repeated() {
    for key in [" ", " sk-x", "sk-x\t", "sk-\u{e4}", "sk-\n"] {
        let mut config = config(GOOD);
        config.proxy.auth_mode = config::AuthMode::Strict;
        config.proxy.api_key =
            Some(SecretRef { origin: SecretOrigin::Literal, value: Secret::new(key.into()) });
        let problems = compile(&config, 1, None).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(!problems[0].message.contains("sk-"), "{}", problems[0].message);
    }
}

#[test]
fn an_empty_api_key_loads_with_a_warning() {
    let mut config = config(GOOD);
    config.proxy.auth_mode = config::AuthMode::Strict;
    config.proxy.api_key = Some(SecretRef { origin: SecretOrigin::Literal, value: Secret::default() });
    let compiled = compile(&config, 1, None).unwrap();
    assert!(compiled.snapshot.keys.is_empty());
    assert_eq!(compiled.warnings.len(), 1);
    assert!(!compiled.warnings[0].is_error());
}

#[test]
fn auto_follows_the_listeners_that_run() {
    let loopback = config(GOOD);
    let lan = config(&format!("proxy: {{allow_lan_access: true, api_key: k}}{GOOD}"));
    let started_on_lan = compile(&lan, 1, None).unwrap();
    assert_eq!(started_on_lan.snapshot.mode, EffectiveMode::AllExceptHealth);
    let reloaded = compile(&loopback, 2, Some(&started_on_lan.startup)).unwrap();
    assert_eq!(
        reloaded.snapshot.mode,
        EffectiveMode::AllExceptHealth,
        "the listener is still open to others"
    );

    let started_on_loopback = compile(&loopback, 1, None).unwrap();
    assert_eq!(started_on_loopback.snapshot.mode, EffectiveMode::Off);
    let reloaded = compile(&lan, 2, Some(&started_on_loopback.startup)).unwrap();
    assert_eq!(reloaded.snapshot.mode, EffectiveMode::Off, "nothing of the listener part is applied");
    assert_eq!(started_on_loopback.startup.differences(&reloaded.startup).len(), 1);
}

#[test]
fn an_open_listener_without_keys_must_be_written_out() {
    let listen =
        |mode: &str| format!("proxy: {{listen: ['0.0.0.0:1'], auth_mode: {mode}, api_key: k}}{GOOD}");
    assert!(compile(&config(&listen("auto")), 1, None).is_err());
    for mode in ["strict", "all_except_health"] {
        assert_eq!(problems(&listen(mode)), Vec::<String>::new());
    }
    assert_eq!(
        problems(&listen("off")),
        ["proxy.auth_mode: other machines reach this gateway and no key is needed"]
    );
}
