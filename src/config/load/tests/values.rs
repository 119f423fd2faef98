//! Values that do not fit their field.

use super::*;

#[test]
fn every_problem_is_found_in_one_go() {
    let yaml = "\
proxy:
  prot: 80
  port: 0
  allow_lan_access: yes
  auth_mode: stric
  threads: 1025
  keepalive_timeout: 0s
  shutdown: {grace: 2days, delay: 10}
  listen: 127.0.0.1:80
keys:
  - {name: 7, digest: x, expires_at: tomorrow}
  - {name: a}
upstreams:
  a:
    peers: [x:1, {address: x:2, weight: 0}, {adress: x:3}, 4]
    timeouts: {connect: 1, read: soon, write: , idle: 0ms}
    tls:
  b: {}
routes: {path: /}
";
    let expected = "\
k.yaml:2:3: error: unknown field `prot`
  help: did you mean `port`?
k.yaml:3:9: error: expected a number from 1 to 65535
  help: `listen: [\"127.0.0.1:0\"]` lets the system choose a port
k.yaml:4:21: error: expected `true` or `false`, found text
  help: write `true` or `false`, without quotes
k.yaml:5:14: error: expected one of `off`, `strict`, `all_except_health`, `auto`
  help: did you mean `strict`?
k.yaml:6:12: error: expected a number from 1 to 1024
  help: write a whole number of this range, without quotes and without a unit
k.yaml:7:22: error: expected a duration from 1s to 1day
  help: there is no `0` for `no limit`; write the longest instead
k.yaml:8:21: error: expected a duration from 0s to 1day
  help: write a number and its unit: `250ms`, `30s`, `5min`, `2h`
k.yaml:8:35: error: expected a duration with its unit, such as `30s`, found a number
  help: write a number and its unit: `250ms`, `30s`, `5min`, `2h`
k.yaml:9:11: error: expected a list, found text
  help: write it as a list: `[VALUE]`
k.yaml:11:12: error: expected text, found a number
  help: put it in quotes, so that it stays text
k.yaml:11:38: error: expected a time such as `2027-01-31T00:00:00Z`
  help: write date, time and zone, as RFC 3339 has them
k.yaml:15:41: error: expected a number from 1 to 1000
  help: write a whole number of this range, without quotes and without a unit
k.yaml:15:46: error: unknown field `adress`
  help: did you mean `address`?
k.yaml:15:60: error: expected `host:port`, or a mapping of `address` and `weight`, found a number
  help: write `\"127.0.0.1:9001\"`, or `{address: \"127.0.0.1:9001\", weight: 2}`
k.yaml:16:25: error: expected a duration with its unit, such as `30s`, found a number
  help: write a number and its unit: `250ms`, `30s`, `5min`, `2h`
k.yaml:16:34: error: expected a duration with its unit, such as `30s`, found text
  help: write a number and its unit: `250ms`, `30s`, `5min`, `2h`
k.yaml:16:40: error: no value given, expected a duration with its unit, such as `30s`
  help: give it a value, or remove the line to have the default
k.yaml:16:55: error: expected a duration from 1ms to 1day
  help: there is no `0` for `no limit`; write the longest instead
k.yaml:17:5: error: no value given, expected `true` or `false`
  help: give it a value, or remove the line to have the default
k.yaml:18:6: error: `peers` is missing
  help: add `peers: …` here; `keygate schema` says what it takes
k.yaml:19:9: error: expected a list, found a mapping
  help: write `[ONE, ANOTHER]`, or each element behind `- ` in a line of its own";
    assert_eq!(problems(yaml.as_bytes()).join("\n"), expected);
}

#[test]
fn what_is_optional_may_be_left_empty() {
    let config = config("proxy: {api_key: , threads: ~}\nroutes: [{path: , path_prefix: /, upstream: a}]");
    assert!(config.proxy.api_key.is_none() && config.proxy.threads.is_none());
    assert_eq!(config.routes[0].path, None);
}

#[test]
fn what_is_not_optional_may_not() {
    assert_eq!(
        problem("proxy:\nroutes: []\n"),
        "k.yaml:1:1: error: no value given, expected a mapping\n  help: give it a value, or remove the line to \
         have the default"
    );
}

#[test]
fn the_bounds_are_allowed() {
    let config = config(
        "proxy: {port: 65535, threads: 1024, keepalive_timeout: 24h, shutdown: {grace: 0s, delay: 1h}, \
         listen: ['127.0.0.1:0']}\nupstreams: {a: {peers: [{address: 'x:1', weight: 1000}], \
         timeouts: {connect: 1ms, read: 1day}}}",
    );
    assert_eq!((config.proxy.port, config.proxy.threads), (65535, Some(1024)));
    assert_eq!(config.upstreams["a"].peers[0].weight, 1000);
}

#[test]
fn numbers_out_of_every_range_are_refused() {
    for number in ["0", "-1", "65536", "18446744073709551615"] {
        let found = headline(format!("proxy: {{port: {number}}}"));
        assert_eq!(found, "k.yaml:1:15: error: expected a number from 1 to 65535");
    }
    assert_eq!(
        headline("proxy: {request_limits: {send_timeout: 3min}}"),
        "k.yaml:1:40: error: expected a duration from 1ms to 2m",
        "TCP would not wait so long"
    );
    for number in ["18446744073709551616", "-9223372036854775809"] {
        assert_eq!(
            problem(format!("proxy: {{port: {number}}}")),
            "k.yaml:1:15: error: this number is too large\n  help: put it in quotes if it is text"
        );
    }
    for number in ["1.5", ".nan", "80.0"] {
        let found = headline(format!("proxy: {{port: {number}}}"));
        assert_eq!(found, "k.yaml:1:15: error: expected a number from 1 to 65535, found a number");
    }
}

#[test]
fn off_is_off_however_yaml_reads_it() {
    for written in ["off", "'off'", "false"] {
        assert_eq!(
            config(&format!("proxy: {{auth_mode: {written}}}")).proxy.auth_mode,
            super::super::super::AuthMode::Off
        );
    }
    assert_eq!(
        problem("proxy: {auth_mode: true}"),
        "k.yaml:1:20: error: expected one of `off`, `strict`, `all_except_health`, `auto`\n  help: `on` and `true` are no \
         mode: `strict` and `all_except_health` ask for keys; `off` needs no quotes"
    );
}

#[test]
fn a_stranger_gets_the_list_of_fields() {
    assert_eq!(
        problem("proxy: {shutdown: {zzz: 1}}"),
        "k.yaml:1:20: error: unknown field `zzz`\n  help: the fields here are `grace`, `delay`"
    );
}

#[test]
fn only_secrets_come_from_the_environment() {
    assert_eq!(
        problem("proxy: {port: '${PORT}'}"),
        "k.yaml:1:15: error: expected a number from 1 to 65535, found text\n  help: only secrets are filled in \
         from the environment"
    );
}

#[test]
fn after_a_hundred_problems_it_says_that_there_are_more() {
    let found = problems(format!("keys: [{}]", vec!["1"; 5000].join(",")).as_bytes());
    assert_eq!(found.len(), 101);
    let last = "error: there are more problems than these 100\n  help: mend these first";
    assert!(found[100].ends_with(last), "{}", found[100]);
    let names: String = (0..300).map(|_| "port: 1\n").collect();
    assert_eq!(problems(names.as_bytes()).len(), 101);
}

#[test]
fn columns_count_characters() {
    assert_eq!(problem("routes: [{upstream: ä, path: 1}]").split(": ").next(), Some("k.yaml:1:30"));
}
