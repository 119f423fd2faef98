//! What is wrong between the values is shown with what is wrong with them.

use super::*;

fn checked(yaml: &str) -> Vec<String> {
    let mut failure = parse(Path::new("k.yaml"), yaml.as_bytes(), &no_env).unwrap_err();
    failure.add_checks(|config| policy::compile(config, 1, None).err().unwrap_or_default());
    failure.problems.iter().map(|problem| failure.source.render(problem)).collect()
}

#[test]
fn they_are_shown_with_the_others() {
    let found = checked(
        "proxy: {port: 0}\nupstreams: {openai: {peers: ['x:1']}}\nroutes: [{path: /, upstream: opnai}]",
    );
    assert_eq!(
        found,
        [
            "k.yaml:1:15: error: expected a number from 1 to 65535\n  help: `listen: [\"127.0.0.1:0\"]` lets the system \
             choose a port",
            "k.yaml:3:30: error: no upstream named `opnai`\n  help: did you mean `openai`?",
        ]
    );
}

#[test]
fn mere_consequences_are_not_shown() {
    // The default `auto` would be refused on this address, but it is not what was written.
    let found = checked("proxy: {listen: ['0.0.0.0:1'], auth_mode: of}");
    assert_eq!(found.len(), 1, "{found:#?}");
    // An upstream that is gone makes no route wrong.
    let found = checked("upstreams: {a: {peer: ['x:1']}}\nroutes: [{path: /, upstream: a}]");
    assert_eq!(found, ["k.yaml:1:17: error: unknown field `peer`\n  help: did you mean `peers`?"]);
}

#[test]
fn what_is_wrong_by_itself_is_shown_whatever_stands_beside_it() {
    let found = checked(
        "proxy: {prot: 1, listen: ['localhost:80']}\nupstreams: {a: {peers: ['x:1']}}\n\
         routes: [{path_prefix: /, upstream: b}, {path: x, upstream: a, hots: z}]",
    );
    let messages: Vec<&str> = found.iter().map(|text| text.lines().next().unwrap()).collect();
    assert_eq!(
        messages,
        [
            "k.yaml:1:9: error: unknown field `prot`",
            "k.yaml:1:27: error: `localhost:80` is no address to listen on",
            "k.yaml:3:37: error: no upstream named `b`",
            "k.yaml:3:48: error: `x` does not start with `/`",
            "k.yaml:3:64: error: unknown field `hots`",
        ]
    );
}
