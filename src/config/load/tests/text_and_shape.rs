//! What is no text, no YAML or too much of it.

use super::*;

#[test]
fn a_document_that_says_nothing_is_all_defaults_with_a_warning() {
    let warning = "k.yaml:1:1: warning: nothing is set here, so the defaults count: no key is asked for, and there are no \
                   routes";
    for yaml in ["# nothing\n", "---\n", "null"] {
        assert_eq!(config(yaml).proxy.port, 8045, "{yaml:?}");
        assert_eq!(headline(yaml), warning);
    }
    for yaml in ["--- {}\n...\n", "proxy: {}"] {
        assert_eq!(config(yaml).proxy.port, 8045, "{yaml:?}");
        assert_eq!(problems(yaml.as_bytes()), Vec::<String>::new());
    }
}

#[test]
fn an_empty_file_is_refused() {
    for yaml in ["", "\n", "  \n\n"] {
        assert_eq!(headline(yaml), "k.yaml:1:1: error: this file is empty, as while it is being written");
    }
}

#[test]
fn a_byte_order_mark_is_no_content() {
    assert_eq!(config("\u{feff}proxy: {port: 1}").proxy.port, 1);
    assert_eq!(
        problem("\u{feff}prox: 1"),
        "k.yaml:1:1: error: unknown field `prox`\n  help: did you mean `proxy`?"
    );
}

#[test]
fn the_top_is_a_mapping() {
    assert_eq!(headline("hello"), "k.yaml:1:1: error: expected a mapping, found text");
    assert_eq!(headline("\n- 1"), "k.yaml:2:1: error: expected a mapping, found a list");
}

#[test]
fn a_large_file_is_refused() {
    let mut yaml = b"proxy: {} #".to_vec();
    yaml.resize(1024 * 1024, b'#');
    assert_eq!(problems(&yaml), Vec::<String>::new());
    yaml.push(b'#');
    assert_eq!(headline(yaml), "k.yaml:1:1: error: this file is larger than 1 MiB");
}

#[test]
fn the_first_byte_that_is_not_utf8_is_named() {
    assert_eq!(
        problem(b"proxy:\n  # caf\xc3\xa9 caf\xe9\n"),
        "k.yaml:2:13: error: this byte is not UTF-8\n  help: save the file with the encoding UTF-8"
    );
}

#[test]
fn one_document_only() {
    assert_eq!(
        problem("proxy: {}\n---\nproxy: {}\n"),
        "k.yaml:2:1: error: a second document begins here\n  help: a config is one document"
    );
}

#[test]
fn nesting_is_limited() {
    let nested = |depth: usize| format!("proxy: {}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(headline(nested(63)), "k.yaml:1:8: error: expected a mapping, found a list");
    assert_eq!(headline(nested(64)), "k.yaml:1:71: error: nested deeper than 64 levels");
    assert_eq!(headline(nested(400_000)), "k.yaml:1:263: error: nested deeper than 64 levels");
    let list = format!("keys:\n{}x", "- ".repeat(400_000));
    assert_eq!(headline(list), "k.yaml:2:127: error: nested deeper than 64 levels");
}

#[test]
fn nesting_through_aliases_is_limited() {
    let half = |inner: &str| format!("{}{inner}{}", "[".repeat(40), "]".repeat(40));
    let yaml = format!("a: &a {}\nb: {}\n", half("1"), half("*a"));
    assert_eq!(headline(yaml), "k.yaml:2:21: error: nested deeper than 64 levels");
}

#[test]
fn aliases_cannot_multiply_without_bound() {
    let mut yaml = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let before = format!("*a{}", level - 1);
        yaml += &format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(", "));
    }
    assert!(problem(&yaml).starts_with("k.yaml:5:"), "{}", problem(&yaml));
    assert!(problem(&yaml).contains("error: more than 250000 values\n"), "{}", problem(&yaml));
    // One level, but each alias stands for a long list: the file stays small.
    let long = vec!["1"; 100_000].join(",");
    let flat = format!("a: &a [{long}]\nb: [{}]", vec!["*a"; 100_000].join(","));
    assert!(problem(flat).contains("more than 250000 values"));
}

#[test]
fn an_alias_inside_itself_is_refused() {
    assert_eq!(
        headline("keys: &a [*a]"),
        "k.yaml:1:11: error: this alias stands inside the value that it stands for"
    );
}

#[test]
fn aliases_and_merge_keys_work() {
    let config = config(
        "upstreams:\n  a: &a {peers: ['x:1'], timeouts: &t {read: 1s}}\n  b: &b {<<: *a, tls: true}\n  \
         c: {<<: [*b], timeouts: {<<: *t, write: 2s}}\n",
    );
    let c = &config.upstreams["c"];
    assert!(c.tls && c.peers[0].address == "x:1");
    assert_eq!(c.timeouts.read.to_string() + &c.timeouts.write.to_string(), "1s2s");
}

#[test]
fn a_problem_behind_a_merge_key_stands_where_it_is_written() {
    assert_eq!(
        headline("upstreams:\n  a: &a\n    peers: ['x:1']\n    tls: 1\n  b: {<<: *a}\n"),
        "k.yaml:4:10: error: expected `true` or `false`, found a number"
    );
    assert_eq!(
        headline("proxy: {<<: 1}"),
        "k.yaml:1:13: error: expected a mapping, or a list of mappings, to merge"
    );
}

#[test]
fn a_name_given_twice_is_refused() {
    assert_eq!(
        problems(b"proxy:\n  port: 1\n  port: 2\nroutes: []\nroutes: []\n"),
        [
            "k.yaml:3:3: error: `port` is given twice, first in line 2\n  help: keep one of the two",
            "k.yaml:5:1: error: `routes` is given twice, first in line 4\n  help: keep one of the two",
        ]
    );
}

#[test]
fn names_are_text() {
    for yaml in ["1: {}", "true: {}", "~: {}", "-1.5: {}", "0x10: {}"] {
        assert_eq!(problem(yaml), "k.yaml:1:1: error: a name must be text\n  help: put it in quotes");
    }
    assert_eq!(headline("? [a]\n: b"), "k.yaml:1:3: error: a name must be text, not a list or a mapping");
    assert_eq!(headline("a: &a b\n*a : c"), "k.yaml:2:1: error: a name must be text, not an alias");
    assert!(problem("'1': {}").starts_with("k.yaml:1:1: error: unknown field\n"));
}

#[test]
fn tags_are_refused() {
    for yaml in ["proxy: !env X", "proxy: !!map {}", "proxy: ! x", "proxy: !a [1]"] {
        assert_eq!(
            problem(yaml),
            "k.yaml:1:8: error: tags (`!…`) are not used here\n  help: remove the tag; put the value in quotes \
             if it begins with an exclamation mark"
        );
    }
}

#[test]
fn syntax_errors_have_their_place() {
    let tab = problem("proxy:\n\tport: 1\n");
    assert!(tab.starts_with("k.yaml:2:"), "{tab}");
    for yaml in ["proxy: [", "proxy: {a", "a: b: c", "'", "proxy: @x", "a: *b", "proxy:\n  a: 1\n b: 2"] {
        let found = problem(yaml);
        assert!(found.starts_with("k.yaml:") && found.contains("error: this is no YAML: "), "{found}");
    }
}
