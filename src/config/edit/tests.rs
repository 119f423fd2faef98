//! Changed texts, byte for byte.

use proptest::prelude::*;

use super::*;

/// As an operator writes it who knows all of YAML's ways.
const COMMENTED: &str = "\
# The gateway of the workshop.   \n\
---\n\
proxy:   # who may\n  \
  port: 8045   # as in the firewall\n\n  \
  # Bob wants `off`; see the ticket.\n  \
  auth_mode: \"auto\"    # not strict!\n  \
  api_key: sk-old  # from the safe\n\n\
keys: # people\n  \
# the first of them\n  \
- name: alice   # Alice\n    \
  # her laptop's\n    \
  digest: 'sha256:aa'\n  \
- {name: bob, digest: \"sha256:bb\"}  # Bob\n\
\n\
upstreams: {one: {peers: [\"127.0.0.1:1\", # the old one\n    '127.0.0.1:2']}}\n\
routes: []   # none yet\n\
limits:\n\
# The end. ünïcode\n";

fn path(text: &str) -> FieldPath {
    let steps = text.split('.').map(|step| match step.parse() {
        Ok(index) => Step::Index(index),
        Err(_) => Step::Field(step.to_owned()),
    });
    FieldPath(steps.collect())
}

fn set(at: &str, value: impl Into<Value>) -> Edit {
    Edit::Set(path(at), value.into())
}

fn carol() -> Mapping {
    [("name", "carol"), ("digest", "sha256:cc")]
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn edited(text: &str, edits: &[Edit]) -> Option<String> {
    edit(text.as_bytes(), edits).ok().map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn after_ten_changes_a_commented_file_differs_in_the_values_alone() {
    let edits = [
        set("proxy.auth_mode", "strict"),
        set("proxy.api_key", "sk-new"),
        set("proxy.port", 9),
        set("proxy.allow_lan_access", true),
        Edit::Append(path("keys"), carol()),
        set("keys.0.enabled", false),
        set("keys.1.enabled", false),
        set("keys.0.digest", "sha256:dd"),
        set("limits.max_concurrent", 5),
        set("upstreams.one.peers.1", "127.0.0.1:3"),
    ];
    let expected = COMMENTED
        .replace("\"auto\"", "\"strict\"")
        .replace("sk-old", "sk-new")
        .replace("port: 8045", "port: 9")
        .replace("from the safe\n", "from the safe\n  allow_lan_access: true\n")
        .replace("# Bob\n", "# Bob\n  - name: carol\n    digest: \"sha256:cc\"\n")
        .replace("'sha256:aa'\n", "\"sha256:dd\"\n    enabled: false\n")
        .replace("\"sha256:bb\"", "\"sha256:bb\", enabled: false")
        .replace("limits:", "limits: {max_concurrent: 5}")
        .replace("'127.0.0.1:2'", "\"127.0.0.1:3\"");
    similar(&edited(COMMENTED, &edits).unwrap(), &expected);
    let windows = COMMENTED.replace('\n', "\r\n");
    similar(&edited(&windows, &edits).unwrap(), &expected.replace('\n', "\r\n"));
    let marked = format!("\u{feff}{COMMENTED}");
    similar(&edited(&marked, &edits).unwrap(), &format!("\u{feff}{expected}"));
}

fn similar(got: &str, expected: &str) {
    assert!(got == expected, "got:\n{got}\nexpected:\n{expected}");
}

#[test]
fn an_element_goes_with_its_lines() {
    let without = |at: &str, text| edited(text, &[Edit::Remove(path(at))]);
    let text = "keys:\n  # a\n  - name: a  # a\n    # of a\n    digest: x\n  # b\n  - {name: b}\nproxy: {}\n";
    assert_eq!(without("keys.0", text).unwrap(), "keys:\n  # a\n  # b\n  - {name: b}\nproxy: {}\n");
    assert_eq!(
        without("keys.1", text).unwrap(),
        "keys:\n  # a\n  - name: a  # a\n    # of a\n    digest: x\n  # b\nproxy: {}\n"
    );
    assert_eq!(without("keys.0", "keys:\n- name: a\nx: 1\n").unwrap(), "keys: []\nx: 1\n");
    assert_eq!(without("keys.0", "keys: [{name: a}, {name: b}]").unwrap(), "keys: [{name: b}]");
    assert_eq!(without("keys.1", "keys: [{name: a}, {name: b}]").unwrap(), "keys: [{name: a}]");
    assert_eq!(without("keys.0", "keys: [{name: a}]").unwrap(), "keys: []");
    assert_eq!(without("keys.2", text), None);
}

#[test]
fn what_is_not_there_is_added() {
    for (before, after) in [
        ("", "\nproxy: {port: 9}\n"),
        ("# nothing\n", "# nothing\nproxy: {port: 9}\n"),
        ("{}", "{proxy: {port: 9}}"),
        ("proxy:\n", "proxy: {port: 9}\n"),
        ("proxy: {}", "proxy: {port: 9}"),
        ("\"proxy\" : {a: '}'} # c", "\"proxy\" : {a: '}', port: 9} # c"),
        ("proxy: {a: 1}", "proxy: {a: 1, port: 9}"),
        ("proxy:\n    a: 1 # c", "proxy:\n    a: 1 # c\n    port: 9\n"),
        ("proxy:\n  a:\n    b: 1\n\nx: 1\n", "proxy:\n  a:\n    b: 1\n  port: 9\n\nx: 1\n"),
        ("proxy:\n  a: |\n    text\n\nx: 1\n", "proxy:\n  a: |\n    text\n\n  port: 9\nx: 1\n"),
    ] {
        assert_eq!(edited(before, &[set("proxy.port", 9)]).as_deref(), Some(after), "{before:?}");
    }
    for before in ["x: 1\n", "keys:\n", "keys: []\n", "keys:\n- name: a\n", "x:\n  - 1\n"] {
        let after = edited(before, &[Edit::Append(path("keys"), carol())]).unwrap();
        assert!(after.contains("carol"), "{after}");
    }
}

#[test]
fn what_would_change_something_else_is_refused() {
    let mode = |text| edited(text, &[set("proxy.auth_mode", "strict")]);
    assert_eq!(mode("a: &m auto\nproxy: {auth_mode: *m}\n"), None, "an alias");
    assert_eq!(mode("proxy: {auth_mode: &m auto}\na: *m\n"), None, "what an alias stands for");
    assert_eq!(mode("proxy:\n  auth_mode: |\n    auto\n"), None, "a text of several lines");
    assert_eq!(mode("proxy: [1]\n"), None, "no mapping");
    assert_eq!(mode("proxy: {auth_mode: auto"), None, "no YAML");
    let merged = "base: &b {auth_mode: auto}\nproxy:\n  <<: *b\n";
    assert_eq!(
        mode(merged).as_deref(),
        Some("base: &b {auth_mode: auto}\nproxy:\n  <<: *b\n  auth_mode: strict\n")
    );
}

#[test]
fn no_text_is_taken_for_something_else() {
    for text in
        ["sk-abc", "off", "true", "null", "0x1f", "1e5", "~", "", "a: b", "a #b", "ü\n\"", "-", "12:30"]
    {
        let after = edited("proxy:\n  api_key: old # c\n", &[set("proxy.api_key", text)]).unwrap();
        let value: Value = serde_yaml::from_str(&after).unwrap();
        assert_eq!(value["proxy"]["api_key"], Value::from(text));
        assert!(after.ends_with(" # c\n"));
    }
}

proptest! {
    /// Whatever is set where: either it is refused, or the values are what was meant, which `edit` itself compares,
    /// and every comment is still there.
    #[test]
    fn comments_survive(values in proptest::collection::vec(("[ -~]{0,20}", 0_usize..6), 1..12)) {
        let places = ["proxy.auth_mode", "proxy.api_key", "keys.0.name", "keys.1.name", "keys.0.id", "limits.x"];
        let edits: Vec<Edit> =
            values.iter().map(|(value, at)| set(places[*at], value.as_str())).collect();
        let after = edited(COMMENTED, &edits).unwrap();
        for comment in ["# who may", "# as in the firewall", "# Bob wants", "# not strict!", "# from the safe", "# people",
            "# the first of them", "# Alice", "# her laptop's", "# Bob\n", "# the old one", "# none yet", "# The end. ünïcode"]
        {
            prop_assert!(after.contains(comment), "{comment}: {after}");
        }
    }
}
