//! No text makes the reader panic, hang or repeat a secret.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const CONFIG: &str = "\
proxy:
  port: 8045
  listen: ['127.0.0.1:1', \"[::1]:2\"]
  auth_mode: auto # comment
  api_key: SLOT
  shutdown: {grace: 30s, delay: 0s}
keys:
  - name: a
    digest: |
      sha256:00
    expires_at: 2027-01-31T00:00:00Z
upstreams:
  a: &a {peers: [x:1, {address: x:2, weight: 2}]}
  b: {<<: *a, timeouts: {read: 5min}}
routes:
- {path_prefix: /, upstream: a}
";

/// Longer than anything that is repeated, and nothing else looks like it.
const KEY: &str = "sk-f00dcafe4bad5eed8ace1dea2fee3dab";

/// Ways to write the key, right and wrong.
const SLOTS: &[&str] = &[
    "KEY",
    "'KEY'",
    "\"KEY\"",
    "'KEY",
    "\"KEY",
    "\"\\KEY\"",
    "[KEY]",
    "[KEY",
    "{KEY: x}",
    "{KEY}",
    "{x: KEY}",
    "*KEY",
    "&KEY",
    "&KEY x",
    "!KEY x",
    "!KEY",
    "!<KEY> x",
    "@KEY",
    "`KEY`",
    "%KEY",
    "${KEY",
    "${KEY}",
    "$${KEY}",
    "KEY: x",
    "x: KEY",
    "? KEY",
    "- KEY",
    "|\n    KEY",
    "|KEY",
    ">\nKEY",
    "\nKEY",
    "\nKEY: x",
    "\nKEY: x\nKEY: x",
    "\n  KEY: x",
    "\n  api_kee: KEY",
    "\n%KEY",
    "\n--- KEY",
    "\n*KEY : x",
    "\n? [KEY]\n",
    "KEY # x",
    "#KEY",
    "\tKEY",
    "\0KEY",
    "KEY\u{85}KEY",
    "x\n  port: KEY",
    "x\n  threads: KEY",
    "x\n  allow_lan_access: KEY",
    "x\n  auth_mode: KEY",
    "x\n  listen: KEY",
    "x\n  keepalive_timeout: KEY",
    "x\n  <<: KEY",
    "x\n  shutdown: {KEY: KEY}",
    "x\nkeys: KEY\n",
    "x\nkeys2: KEY\n",
];

/// Everything that is said about `text`, also by `Debug`.
fn said(text: &[u8]) -> String {
    let started = Instant::now();
    let said = match parse(Path::new("k.yaml"), text, &no_env) {
        Ok(loaded) => format!("{loaded:?} {:?}", loaded.warnings),
        Err(mut failure) => {
            failure.add_checks(|config| policy::compile(config, 1, None).err().unwrap_or_default());
            let lines: Vec<String> =
                failure.problems.iter().map(|problem| failure.source.render(problem)).collect();
            assert!(!lines.is_empty());
            lines.join("\n")
        }
    };
    assert!(started.elapsed() < Duration::from_secs(20), "{:?} for {} bytes", started.elapsed(), text.len());
    said
}

#[track_caller]
fn assert_hidden(text: &str) {
    let said = said(text.as_bytes());
    let leaked = KEY.as_bytes().windows(8).any(|part| said.contains(std::str::from_utf8(part).unwrap()));
    assert!(!leaked, "{said}\n--- for\n{text}");
}

#[test]
fn a_key_is_never_repeated_however_it_is_written() {
    for slot in SLOTS {
        assert_hidden(&CONFIG.replace("SLOT", slot).replace("KEY", KEY));
    }
}

/// Within a few seconds in a debug build, whatever a megabyte of it is.
#[test]
fn repetition_takes_no_unbounded_time() {
    let units = [
        "[",
        "{",
        "- ",
        "? ",
        "! ",
        "&a ",
        "*a ",
        "'",
        "\"",
        "|\n",
        "#",
        ": ",
        "a: ",
        "a:\n ",
        "[a: ",
        "{a: ",
        "[],",
        "a,",
        "\n",
        "\t",
        "\r",
        "- - \n",
        "%a\n",
        "---\n",
        "...\n",
        "\u{85}",
        "\u{feff}",
        "a ",
        "- a\n",
        "\"a\":",
        "&a [",
        "{? ",
        "'a' ",
        "- &a a\n- *a\n",
        " ",
        "[\n",
        "x\n\n",
    ];
    for unit in units {
        for prefix in ["", "keys: ", "keys: [", "proxy: {", "keys: \"", "keys: |\n "] {
            let size = 200_000;
            said(format!("{prefix}{}", unit.repeat(size / unit.len())).as_bytes());
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        said(&bytes);
    }

    #[test]
    fn arbitrary_yaml_like_text_does_not_panic(text in "[-\\[\\]{},:?!&*|>'\"%@#<~a0 \n\t]{0,60}") {
        said(text.as_bytes());
    }

    #[test]
    fn a_mutated_config_does_not_panic_or_tell(
        slot in prop::sample::select(SLOTS),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), 0usize..3, "[-\\[\\]{},:?!&*|>'\"%@#<~a0 \n\t]"), 0..4),
    ) {
        let mut text: Vec<char> = CONFIG.replace("SLOT", slot).replace("KEY", KEY).chars().collect();
        for (at, kind, with) in mutations {
            let at = at.index(text.len());
            let with = with.chars().next().unwrap();
            match kind {
                0 => text.insert(at, with),
                1 => text[at] = with,
                _ => { text.remove(at); }
            }
        }
        assert_hidden(&text.into_iter().collect::<String>());
    }
}
