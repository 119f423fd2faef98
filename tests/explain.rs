//! `keygate explain`: the decision of the gateway, asked of its config.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;

use crate::support::{KEY, keygate, run_to_end};

/// A directory with a config, whose `proxy` section has these further lines.
struct Asked {
    directory: TempDir,
}

struct Said {
    code: Option<i32>,
    text: String,
    errors: String,
}

impl Asked {
    fn new(mode: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let config = format!(
            "proxy:\n  auth_mode: {mode}\n  api_key: {KEY}\n\
             upstreams: {{origin: {{peers: ['127.0.0.1:9']}}}}\nroutes: [{{path_prefix: /v1, upstream: origin}}]\n"
        );
        std::fs::write(directory.path().join("keygate.yaml"), config).unwrap();
        Self { directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("keygate.yaml")
    }

    fn explain(&self, arguments: &[&str]) -> Said {
        let mut command = keygate([&["explain"], arguments].concat());
        command.current_dir(self.directory.path());
        said(run_to_end(command))
    }

    fn explain_input(&self, input: &str) -> Said {
        let mut command = keygate(["explain", "--", "-"]);
        command.current_dir(self.directory.path()).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        said(child.wait_with_output().unwrap())
    }
}

fn said(output: std::process::Output) -> Said {
    Said {
        code: output.status.code(),
        text: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn the_steps_are_those_of_the_contract_with_a_mark_at_the_one_that_decided() {
    let asked = Asked::new("strict");
    let right = asked.explain(&["-H", &format!("x-api-key: {KEY}"), "--path", "/v1/models?limit=1"]);
    assert_eq!(right.code, Some(0), "{}", right.errors);
    assert!(right.text.contains("> 6. the credential is the key `api_key` -> ALLOW"), "{}", right.text);
    assert!(right.text.contains("lets this request pass, to `origin`"), "{}", right.text);
    let wrong = asked.explain(&["-H", "x-api-key: sk-ffffffffffffffffffffffffffffffff"]);
    assert_eq!(wrong.code, Some(1));
    for line in [
        "  1. the method is GET, not OPTIONS",
        "  2. the effective mode is `strict`, not `off`",
        "  4. `x-api-key` decides, it is the first present: \"sk-…\"(35 bytes)",
        "> 6. the credential is no key that may be used -> DENY",
        "401 credential_invalid",
        "cause: the value of the `x-api-key` header matches no key, and resembles none",
    ] {
        assert!(wrong.text.contains(line), "{line}\n{}", wrong.text);
    }
    let preflight = asked.explain(&["--method", "OPTIONS"]);
    assert!(preflight.text.contains("> 1. ") && preflight.text.contains("  6. (not asked)"));
}

#[test]
fn a_curl_command_line_is_read_as_curl_reads_it() {
    let asked = Asked::new("strict");
    let bearer = format!("Authorization: Bearer {KEY}");
    let key = format!("x-api-key: {KEY}");
    for words in [
        vec!["curl", "http://localhost:8045/v1/models", "-H", &bearer],
        vec!["curl", "--header", &key, "--url", "https://gateway.example/v1/models?x=1"],
        vec!["curl", "-sSL", "-XPOST", &format!("-H{key}"), "--json", "{}", "localhost:8045/v1/messages"],
        vec!["curl", "-H", &key, "-d", "@body", "-o", "/dev/null", "-b", "a=b", "localhost:8045/v1"],
        vec!["curl", "--oauth2-bearer", KEY, "localhost/v1"],
        vec!["curl", "-u", "me:secret", "-H", &bearer, "localhost/v1"],
    ] {
        let said = asked.explain(&[&["--"], words.as_slice()].concat());
        assert_eq!(said.code, Some(0), "{words:?}\n{}{}", said.text, said.errors);
        assert!(said.text.contains("to `origin`"), "{}", said.text);
    }
    let basic = asked.explain(&["--", "curl", "-u", "me:secret", "localhost/v1"]);
    assert_eq!(basic.code, Some(1));
    assert!(basic.text.contains("the scheme is another than `Bearer`"), "{}", basic.text);
    let unset = asked.explain(&["--", "curl", "-H", "x-api-key: ", "localhost/v1"]);
    assert!(unset.text.contains("curl leaves such a header out"), "{}", unset.text);
}

#[test]
fn a_pasted_line_may_have_continuations_and_every_kind_of_quotes() {
    let asked = Asked::new("strict");
    let pasted = format!(
        "curl 'http://localhost:8045/v1/chat' \\\n  -X 'POST' \\\n  -H 'accept: */*' \\\n  -H $'x-api-key: {KEY}' \\\n  \
         --data-raw $'{{\"a\":\"it\\'s \\u0041\"}}' \\\n  --compressed\n"
    );
    let said = asked.explain_input(&pasted);
    assert_eq!(said.code, Some(0), "{}{}", said.text, said.errors);
    assert!(said.text.contains("the method is POST"), "{}", said.text);
    let one_word = asked.explain(&["--", &format!("curl localhost/v1 -H \"x-api-key: {KEY}\"")]);
    assert_eq!(one_word.code, Some(0), "{}", one_word.errors);
}

#[test]
fn the_copies_of_browsers_are_read_for_every_shell() {
    let asked = Asked::new("strict");
    let bash = format!(
        "curl 'http://localhost:8045/v1/chat?x=1' \\\n  -H 'accept: */*' \\\n  -b 'session=1; theme=dark' \\\n  -H 'x-api-key: {KEY}' \\\n  \
         -H 'priority: u=1, i' \\\n  --data-raw $'{{\"a\":\"it\\'s\\u0021\"}}' \\\n  --insecure"
    );
    let cmd = format!(
        "curl ^\"http://localhost:8045/v1/chat?x=1^&y=2^\" ^\r\n  -X ^\"POST^\" ^\r\n  -H ^\"accept: */*^\" ^\r\n  -H ^\"x-api-key: {KEY}^\" \
         ^\r\n  --data-raw ^\"^{{^\\^\"a^\\^\":1^}}^\" ^\r\n  --compressed"
    );
    let firefox = format!(
        "curl 'http://localhost:8045/v1/chat' --compressed -X POST -H 'User-Agent: Mozilla/5.0 (X11)' -H 'x-api-key: {KEY}' --data-raw '{{}}'"
    );
    for pasted in [bash, cmd, firefox] {
        let said = asked.explain_input(&pasted);
        assert_eq!(said.code, Some(0), "{pasted}\n{}{}", said.text, said.errors);
        assert!(said.text.contains("the method is POST"), "{}", said.text);
    }
}

#[test]
fn lines_of_docs_and_terminals_are_read_up_to_where_the_command_ends() {
    let asked = Asked::new("strict");
    for line in [
        format!("$ curl -s localhost/v1 -H 'x-api-key: {KEY}' | jq -r '.data[].id' -H 'x: y'"),
        format!("KEY=1 curl.exe localhost/v1 -H \"x-api-key: {KEY}\" > out.json 2>&1"),
        format!(
            "curl --retry-max-time 9 --tls-max 1.3 localhost/v1 -H 'x-api-key: {KEY}' && echo 'Authorization: x'"
        ),
        format!("curl localhost/v1 -H 'x-api-key: {KEY}' --next -H 'Authorization: x' localhost"),
        format!(
            "curl localhost/v1 --url-query 'a=b' -H 'x-api-key: {KEY}' -u me:secret --digest # and so on"
        ),
        format!("curl localhost/v1 -u me:secret -H 'Authorization:' -H 'x-api-key: {KEY}'"),
    ] {
        let said = asked.explain_input(&line);
        assert_eq!(said.code, Some(0), "{line}\n{}{}", said.text, said.errors);
        assert!(said.text.contains("to `origin`"), "{}", said.text);
    }
}

#[test]
fn headers_that_stand_in_a_file_are_asked_for() {
    let asked = Asked::new("strict");
    for (option, line) in [
        ("-K", "curl -sK curlrc localhost/v1"),
        ("--config", "curl --config curlrc localhost/v1"),
        ("-n", "curl -sn localhost/v1"),
        ("--netrc-file", "curl --netrc-file n localhost/v1"),
        ("-H @FILE", "curl -H @headers localhost/v1"),
        ("--expand-header", "curl --variable %KEY --expand-header 'x-api-key: {{KEY}}' localhost/v1"),
    ] {
        let said = asked.explain_input(line);
        assert_eq!((said.code, said.text.as_str()), (Some(2), ""), "{line}");
        assert!(
            said.errors.contains(&format!("curl's `{option}` takes headers or credentials from")),
            "{}",
            said.errors
        );
    }
}

#[test]
fn nothing_that_was_pasted_reaches_the_terminal_as_it_is() {
    let asked = Asked::new("strict");
    for line in [
        "curl --expand-\u{1b}[31m x localhost/v1",
        "curl localhost/v1 -H $'x-api-key: \\e[31m0123456789'",
        "curl localhost/v1 -X $'\\e[31m'",
        "curl $'localhost/\\e[31m'",
        "curl localhost/v1 -H $'\\e[31m: x'",
    ] {
        let said = asked.explain_input(line);
        assert!(matches!(said.code, Some(1 | 2)), "{line:?}");
        let printed = format!("{}{}", said.text, said.errors);
        assert!(!printed.contains('\u{1b}') && printed.contains(|char| char != '\n'), "{printed:?}");
    }
}

#[test]
fn a_key_in_the_query_is_told_of_however_it_gets_there() {
    let asked = Asked::new("strict");
    for words in [
        vec!["--path", "/v1/models?key=abc"],
        vec!["--", "curl", "localhost/v1beta/models?alt=json&KEY=abc"],
        vec!["--", "curl", "-G", "-d", "api_key=abc", "localhost/v1"],
        vec!["--", "curl", "--url-query", "access_token=abc", "localhost/v1"],
    ] {
        let said = asked.explain(&words);
        assert_eq!(said.code, Some(1), "{}", said.errors);
        assert!(
            said.text.contains("cause: no header holds a key; the query of the URL does"),
            "{}",
            said.text
        );
    }
    for other in ["/v1/models?key=", "/v1/models?monkey=1", "/v1/models?a=key"] {
        let said = asked.explain(&["--path", other]);
        assert!(said.text.contains("cause: no key was sent"), "{other}: {}", said.text);
    }
}

#[test]
fn what_auto_means_can_be_asked_beforehand() {
    let asked = Asked::new("auto");
    assert_eq!(asked.explain(&[]).code, Some(0));
    assert_eq!(asked.explain(&["--reachable", "loopback"]).code, Some(0));
    let exposed = asked.explain(&["--reachable", "network"]);
    assert_eq!(exposed.code, Some(1));
    assert!(exposed.text.contains("`auth_mode: auto` acts as `all_except_health`"), "{}", exposed.text);
}

#[test]
fn json_has_the_same_in_it() {
    let asked = Asked::new("strict");
    let said = asked.explain(&["--json", "-H", &format!("Authorization: bearer {KEY}")]);
    let json: serde_json::Value = serde_json::from_str(&said.text).unwrap();
    assert_eq!(json["decision"], "deny");
    assert_eq!(json["diagnosis"]["reason"], "scheme");
    assert_eq!(json["diagnosis"]["key"], "api_key");
    assert_eq!(json["steps"].as_array().unwrap().len(), 6);
    assert_eq!(json["refusal"]["code"], "credential_invalid");
}

#[test]
fn a_config_or_a_command_line_that_cannot_be_used_exits_2() {
    let asked = Asked::new("strict");
    for wrong in [
        vec!["--", "wget", "localhost"],
        vec!["--", "curl", "-H"],
        vec!["--", "curl 'localhost"],
        vec!["-H", "no colon"],
        vec!["-c", "missing.yaml"],
        vec!["--", "curl"],
    ] {
        let said = asked.explain(&wrong);
        assert_eq!(said.code, Some(2), "{wrong:?} {}", said.text);
        assert!(!said.errors.is_empty());
    }
    std::fs::write(asked.file(), "proxy:\n  auth_mod: strict\n").unwrap();
    let said = asked.explain(&[]);
    assert_eq!(said.code, Some(2));
    assert!(said.errors.contains("keygate.yaml:2:3: error:"), "{}", said.errors);
    assert!(said.errors.contains("keeps what was in force before it was edited"), "{}", said.errors);
}

#[test]
fn no_key_is_printed() {
    let asked = Asked::new("strict");
    for line in
        [format!("x-api-key: {KEY}x"), format!("Authorization: Bearer{KEY}"), format!("x-api-key: {KEY}")]
    {
        let said = asked.explain(&["-H", &line, "--path", "/v1/x"]);
        assert!(!said.text.contains(&KEY[3..9]) && said.errors.is_empty(), "{}{}", said.text, said.errors);
    }
}

#[test]
fn an_unset_variable_is_the_cause_whatever_other_headers_there_are() {
    let asked = Asked::new("strict");
    // As Anthropic's and OpenAI's docs write them, the variable not set.
    for unset in ["x-api-key: ", "Authorization:"] {
        let others =
            ["-H", "anthropic-version: 2023-06-01", "-H", "content-type: application/json", "-d", "{}"];
        let said =
            asked.explain(&[&["--", "curl", "localhost/v1/messages", "-H", unset], &others[..]].concat());
        assert_eq!(said.code, Some(1), "{}", said.errors);
        assert!(said.text.contains("and curl leaves such a header out"), "{}", said.text);
    }
    // Where another header decides, that one is the cause.
    let said =
        asked.explain(&["--", "curl", "localhost/v1", "-H", "x-api-key: ", "-H", "Authorization: Bearer x"]);
    assert!(said.text.contains("cause: the value of the `Authorization` header"), "{}", said.text);
}

#[test]
fn what_ends_a_command_or_stands_before_it_is_no_part_of_a_key() {
    let asked = Asked::new("strict");
    let curl = format!("curl localhost/v1 -H 'x-api-key: {KEY}'");
    for line in [
        format!("{curl};\ncurl other/v1 -H 'x-api-key: x'"),
        format!("{curl}\ncurl other/v1 -H 'x-api-key: x'"),
        format!("{curl}|jq -r .data"),
        format!("{curl}>out.json"),
        format!("{curl} -d @- <<EOF\n{{\"a\": it's \\\"\n-H 'x-api-key: x'\nEOF\n"),
        format!("curl -d @- <<'EOF' localhost/v1 -H 'x-api-key: {KEY}'\nit's\nEOF\n"),
        format!("echo '{{}}' | sudo {curl} -d @-"),
        format!("```bash\n# don't forget the key\nexport A=1\n{curl}\n```\n"),
        format!("me@host:~$ {curl}\r\n"),
        format!("curl.exe -X POST `\r\n  localhost/v1 `\r\n  -H \"x-api-key: {KEY}\"\r\n"),
        format!("curl \"${{BASE}}/v1/models\" -H 'x-api-key: {KEY}' -d \"$BODY\" -H \"x-trace: $TRACE\""),
        format!("curl https://${{REGION}}.example/v1 -H 'x-api-key: {KEY}' -d @<(echo a)"),
    ] {
        let said = asked.explain_input(&line);
        assert_eq!(said.code, Some(0), "{line}\n{}{}", said.text, said.errors);
        assert!(said.text.contains("to `origin`"), "{line}\n{}", said.text);
    }
}

#[test]
fn what_cannot_be_known_or_sent_is_not_taken_for_a_cause() {
    let asked = Asked::new("strict");
    for (line, why) in [
        (
            "curl localhost/v1 -H \"Authorization: Bearer $KEY\"",
            "value of a variable into the `Authorization` header",
        ),
        ("curl localhost/v1 -H x-api-key:${KEY}", "value of a variable into the `x-api-key` header"),
        (
            "curl localhost/v1 -H \"x-goog-api-key: $(cat key)\"",
            "value of a variable into the `x-goog-api-key` header",
        ),
        ("curl localhost/v1 --oauth2-bearer $KEY", "value of a variable into the `Authorization` header"),
        ("curl localhost/v1 -H \"$AUTH\"", "value of a variable into a header"),
        ("curl localhost/v1 --header='x-api-key: k'", "curl takes no `=` behind `--header`"),
        ("curl localhost/v1 -H \u{201c}x-api-key: k\u{201d}", "typographic quotes"),
    ] {
        let said = asked.explain_input(line);
        assert_eq!((said.code, said.text.as_str()), (Some(2), ""), "{line}");
        assert!(said.errors.contains(why), "{line}: {}", said.errors);
    }
    // Here the shell puts nothing in, and the name is sent.
    for line in ["curl localhost/v1 -H 'x-api-key: $KEY'", "curl localhost/v1 -H \"x-api-key: \\$KEY\""] {
        let said = asked.explain_input(line);
        assert!(
            said.text.contains("a variable was sent by its name"),
            "{line}: {}{}",
            said.text,
            said.errors
        );
    }
}
