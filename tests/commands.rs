//! `keygate check`, `init`, `keygen` and `schema` as a person at a terminal sees them, and the files of `conf/`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Gateway, KEY, Origin, config, keygate, run_to_end};

/// What a command printed and how it ended.
struct Said {
    status: i32,
    stdout: String,
    stderr: String,
}

fn say(command: Command) -> Said {
    let output = run_to_end(command);
    Said {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command of the program in `directory`.
fn in_directory(directory: &TempDir, arguments: &[&str]) -> Said {
    let mut command = keygate(arguments);
    command.current_dir(directory.path());
    say(command)
}

/// `keygate check` of a file with this content, which only its owner can read.
fn check(content: impl AsRef<[u8]>) -> Said {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("keygate.yaml");
    std::fs::write(&file, content).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    in_directory(&directory, &["check"])
}

#[test]
fn check_says_every_problem_at_once_with_its_place_and_what_to_do() {
    let said = check(
        "proxy:\n  prot: 8045\n  auth_mode: stict\n  api_key: ${KEYGATE_NOT_SET}\nupstreams:\n  openai:\n    \
         peers: [\"127.0.0.1\"]\nroutes:\n  - path_prefix: /\n    upstream: opnai\n",
    );
    assert_eq!(said.status, 2);
    assert_eq!(said.stderr, "");
    assert_eq!(
        said.stdout,
        "keygate.yaml:2:3: error: unknown field `prot`\n  help: did you mean `port`?\n\
         keygate.yaml:3:14: error: expected one of `off`, `strict`, `all_except_health`, `auto`\n  \
         help: did you mean `strict`?\n\
         keygate.yaml:4:12: error: the environment variable `KEYGATE_NOT_SET` is not set\n  \
         help: set it where keygate is started; to try a file out, any text will do: `KEYGATE_NOT_SET=any keygate \
         check`\n\
         keygate.yaml:7:13: error: upstream `openai`: `127.0.0.1` has no port; write `host:port`\n  \
         help: a peer is `127.0.0.1:9001`, `[::1]:9001` or `api.example.com:443`\n\
         keygate.yaml:10:15: error: no upstream named `opnai`\n  help: did you mean `openai`?\n\
         keygate.yaml: cannot be used: 5 errors\n"
    );
    assert!(check("proxy: {port: 0}").stdout.ends_with("keygate.yaml: cannot be used: 1 error\n"));
}

#[test]
fn check_says_what_a_config_means() {
    let text = "proxy: {port: 8099, allow_lan_access: true, api_key: k}\nadmin: {enabled: false}\n\
                upstreams:\n  a: {peers: ['127.0.0.1:1', {address: 'b.example:2', weight: 3}]}\n\
                routes:\n  - {host: x.example, path: /one, upstream: a}\n  - {path_prefix: /v1, upstream: a}\n";
    let said = check(text);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    for line in [
        "keygate.yaml: can be used",
        "  effective mode  all_except_health (auth_mode: auto)",
        "  listeners       http://0.0.0.0:8099, http://[::]:8099",
        "  keys            1",
        "  routes          2",
        "    x.example /one -> a (127.0.0.1:1, b.example:2)",
        "    * /v1[/...] -> a (127.0.0.1:1, b.example:2)",
    ] {
        assert!(said.stdout.lines().any(|said| said == line), "{line:?} is not in\n{}", said.stdout);
    }
    let loopback = check(text.replace("true", "false")).stdout;
    assert!(loopback.contains("  effective mode  off (auth_mode: auto)\n"), "{loopback}");
    assert!(loopback.contains("  listeners       http://127.0.0.1:8099, http://[::1]:8099\n"), "{loopback}");
}

#[test]
fn text_that_no_config_can_be_is_refused_with_its_reason() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &["ab", "bc", "cd", "de", "ef", "fg", "gh"]
            .map(|pair| {
                let (from, to) = pair.split_at(1);
                format!("{to}: &{to} [{}]\n", [format!("*{from}").as_str(); 9].join(","))
            })
            .concat();
    let deep = format!("proxy: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (content, reason) in [
        (bomb.into_bytes(), ":5:4: error: more than 250000 values"),
        (deep.into_bytes(), "error: nested deeper than 64 levels"),
        (b"proxy: {api_key: \"\xff\xfe\"}\n".to_vec(), ":1:19: error: this byte is not UTF-8"),
        (vec![b'#'; (1 << 20) + 1], "error: this file is larger than 1 MiB"),
        (b"proxy:\n  port: 1\n  port: 2\n".to_vec(), ":3:3: error: `port` is given twice, first in line 2"),
        (b"proxy: [".to_vec(), "error: "),
        (b"- proxy\n".to_vec(), ":1:1: error: "),
    ] {
        let said = check(&content);
        let start = content[..content.len().min(40)].escape_ascii().to_string();
        assert_eq!(said.status, 2, "{start}: {}", said.stdout);
        let first = said.stdout.lines().next().unwrap();
        assert!(first.starts_with("keygate.yaml") && first.contains(reason), "{start}: {first}");
        assert!(said.stdout.len() < 2000 && said.stderr.is_empty(), "{start}: {}", said.stdout);
    }
    // One byte less is no problem.
    assert_eq!(check(vec![b'#'; 1 << 20]).status, 0);
}

#[test]
fn warnings_are_no_errors_and_all_stand_in_the_order_of_the_file() {
    let said = check("proxy: {auth_mode: strict}\nroutes:\n  - {path: x, upstream: a}\n");
    assert_eq!(said.status, 2);
    let lines: Vec<&str> = said.stdout.lines().filter(|line| !line.starts_with("  help: ")).collect();
    assert_eq!(
        lines,
        [
            "keygate.yaml:1:8: warning: `api_key` is empty; no key is configured, so every request that needs one is \
             denied",
            "keygate.yaml:3:12: error: `x` does not start with `/`",
            "keygate.yaml:3:25: error: no upstream named `a`",
            "keygate.yaml: cannot be used: 2 errors, 1 warning",
        ]
    );
}

#[test]
fn a_file_of_comments_alone_is_warned_about_and_an_empty_one_refused() {
    let said = check("# proxy:\n#   auth_mode: strict\n");
    assert_eq!(said.status, 0, "{}", said.stdout);
    let warning = "keygate.yaml:1:1: warning: nothing is set here, so the defaults count: no key is asked for, and there \
                   are no routes\n  help: a line counts once the `#` before it is gone\n";
    assert!(said.stdout.starts_with(warning), "{}", said.stdout);
    assert!(said.stdout.contains("effective mode  off"), "{}", said.stdout);
    let said = check("");
    assert_eq!(said.status, 2);
    assert!(said.stdout.starts_with("keygate.yaml:1:1: error: this file is empty"), "{}", said.stdout);
}

#[test]
fn a_pipe_that_nobody_writes_to_is_refused_and_not_waited_for() {
    let directory = TempDir::new().unwrap();
    assert!(Command::new("mkfifo").arg(directory.path().join("pipe")).status().unwrap().success());
    let place = |name: &str, said: Said| {
        assert_eq!(said.status, 2, "{name}: {}{}", said.stdout, said.stderr);
        let (first, rest) = said.stdout.split_once('\n').unwrap_or((&said.stdout, ""));
        assert!(rest.starts_with("  help: ") || !said.stderr.is_empty(), "{name}: {rest}");
        first.to_owned() + said.stderr.lines().next().unwrap_or_default()
    };
    for arguments in [["check", "-c", "pipe"], ["run", "-c", "pipe"], ["explain", "-c", "pipe"]] {
        let first = place(arguments[0], in_directory(&directory, &arguments));
        assert_eq!(first, "pipe:1:1: error: this is no regular file");
    }
    let file = directory.path().join("keygate.yaml");
    for (text, message) in [
        ("proxy: {api_key: 'file:pipe'}", "keygate.yaml:1:18: error: `pipe` is no regular file"),
        ("proxy: {api_key: 'file:/dev/zero'}", "keygate.yaml:1:18: error: `/dev/zero` is no regular file"),
        ("keys_file: pipe", "keygate.yaml:1:12: error: `pipe` is no regular file"),
        (
            "proxy: {tls: {certificates: [{cert: pipe, key: pipe}]}}",
            "keygate.yaml:1:37: error: `pipe` is no regular file",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        for command in ["check", "run"] {
            assert_eq!(place(text, in_directory(&directory, &[command])), message);
        }
    }
}

#[test]
fn a_config_from_standard_input_can_be_checked_and_not_served() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("good"), "proxy: {port: 1}").unwrap();
    let piped = |subcommand: &str| {
        let mut command = Command::new("sh");
        let script = format!("cat good | {} {subcommand} -c /dev/stdin", env!("CARGO_BIN_EXE_keygate"));
        command.args(["-c", &script]).current_dir(directory.path());
        say(command)
    };
    let said = piped("check");
    assert_eq!(said.status, 0, "{}", said.stdout);
    assert!(said.stdout.contains("/dev/stdin: can be used\n"), "{}", said.stdout);
    let said = piped("run");
    assert_eq!(said.status, 2);
    assert!(said.stderr.contains("/dev/stdin:1:1: error: this is no regular file"), "{}", said.stderr);
}

#[test]
fn a_file_that_is_not_there_is_said_with_what_writes_one() {
    let directory = TempDir::new().unwrap();
    let said = in_directory(&directory, &["check", "-c", "nowhere.yaml"]);
    assert_eq!(said.status, 2);
    assert!(said.stdout.starts_with("nowhere.yaml:1:1: error: cannot read this file: "), "{}", said.stdout);
    assert!(said.stdout.contains("help: `keygate init` writes one"), "{}", said.stdout);
}

#[test]
fn a_secret_that_others_can_read_is_warned_about() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("keygate.yaml");
    std::fs::write(&file, format!("proxy:\n  api_key: {KEY}\n")).unwrap();
    for (mode, readable) in [(0o644, true), (0o640, false), (0o600, false)] {
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let said = in_directory(&directory, &["check"]);
        assert_eq!(said.status, 0, "a warning only");
        let warned = said.stdout.contains(
            "keygate.yaml:2:12: warning: every user of this machine can read `keygate.yaml`, which holds this secret\n  \
             help: chmod 600 keygate.yaml\n",
        );
        assert_eq!(warned, readable, "{mode:o}: {}", said.stdout);
        assert!(!said.stdout.contains(KEY));
    }
    // Without a secret in it the file may be read by everybody.
    std::fs::write(&file, "proxy:\n  api_key: ${KEYGATE_API_KEY}\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let mut command = keygate(["check"]);
    command.current_dir(directory.path()).env("KEYGATE_API_KEY", KEY);
    assert!(!say(command).stdout.contains("can read"));
}

#[test]
fn an_empty_key_loads_with_a_warning_and_refuses_with_the_message_of_the_contract() {
    let said = check("proxy:\n  auth_mode: strict\n  api_key: ''\n");
    assert_eq!(said.status, 0);
    let warning = "keygate.yaml:3:12: warning: `api_key` is empty; no key is configured, so every request that needs \
                   one is denied\n  help: `keygate keygen` prints a new key\n";
    assert!(said.stdout.contains(warning), "{}", said.stdout);

    let origin = Origin::start();
    let text = config("strict", &origin).replace(KEY, "''");
    let gateway = Gateway::start(&text);
    gateway.program().wait_for_log("the warning", |line| line.contains("`api_key` is empty"));
    let response = gateway.exchange(format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n\r\n"));
    assert_eq!((response.status, response.error_code()), (401, Some("no_key_configured")));
    gateway.program().wait_for_log("the message", |line| {
        line.contains("ERROR") && line.contains("Proxy auth is enabled but api_key is empty; denying request")
    });
}

#[test]
fn init_writes_a_file_for_its_owner_alone_and_never_over_another() {
    let directory = TempDir::new().unwrap();
    let said = in_directory(&directory, &["init"]);
    assert_eq!(said.status, 0, "{}", said.stderr);
    let file = directory.path().join("keygate.yaml");
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(!said.stdout.contains(&key_of(&written)), "the key is in the file alone");
    let again = in_directory(&directory, &["init"]);
    assert_eq!(again.status, 1);
    assert!(again.stderr.contains("`keygate.yaml` exists and is left as it is"), "{}", again.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
    assert_eq!(in_directory(&directory, &["init", "other.yaml"]).status, 0, "another name can be given");
    let other = std::fs::read_to_string(directory.path().join("other.yaml")).unwrap();
    assert_ne!(key_of(&written), key_of(&other), "each key is fresh");
    assert_eq!(in_directory(&directory, &["init", "no/such/directory.yaml"]).status, 1);
}

/// The `api_key` of a file that `keygate init` wrote: `sk-` and 32 lower-case hex digits.
fn key_of(text: &str) -> String {
    let line = text.lines().find(|line| line.trim_start().starts_with("api_key: ")).unwrap();
    let key = line.split('"').nth(1).unwrap();
    let digits = key.strip_prefix("sk-").unwrap();
    assert_eq!(digits.len(), 32);
    assert!(digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{digits}");
    key.to_owned()
}

#[test]
fn what_init_writes_passes_check_and_serves() {
    let directory = TempDir::new().unwrap();
    assert_eq!(in_directory(&directory, &["init"]).status, 0);
    let said = in_directory(&directory, &["check"]);
    assert_eq!(said.status, 0);
    assert!(said.stdout.starts_with("keygate.yaml: can be used\n"), "no warning: {}", said.stdout);
    // The ports are the kernel's in a test, and the upstream is there.
    let origin = Origin::start();
    let file = directory.path().join("keygate.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text
        .replace("127.0.0.1:9001\"]", &format!("{}\"]", origin.address))
        .replace("admin:", "admin:\n  listen: 127.0.0.1:0\n#");
    std::fs::write(&file, &text).unwrap();
    let mut command = keygate(["run", "--listen", "127.0.0.1:0"]);
    command.current_dir(directory.path());
    let gateway = Gateway::run(command, directory);
    let request = |key: &str| {
        format!("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n")
    };
    assert_eq!(gateway.exchange(request(&key_of(&text))).status, 200);
    assert_eq!(gateway.exchange(request(KEY)).status, 401);
}

#[test]
fn keygen_prints_a_key_and_the_line_that_admits_it() {
    let directory = TempDir::new().unwrap();
    let said = in_directory(&directory, &["keygen"]);
    assert_eq!(said.status, 0);
    let key = said.stdout.lines().last().unwrap();
    let hex = key.strip_prefix("sk-").unwrap();
    assert!(hex.len() == 32 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{key}");
    let digest = said.stderr.lines().find_map(|line| line.trim().strip_prefix("digest: ")).unwrap();
    assert!(!said.stderr.contains(key), "the key is on standard output alone");
    assert_ne!(in_directory(&directory, &["keygen"]).stdout, said.stdout, "each key is fresh");

    let origin = Origin::start();
    let keys = format!("keys:\n  - name: made\n    digest: {digest}\n");
    let gateway = Gateway::start(&(config("strict", &origin) + &keys));
    let status = |key: &str| {
        gateway.exchange(format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\n\r\n")).status
    };
    assert_eq!((status(key), status(digest)), (200, 401), "the digest is no key");
}

/// The files of `conf/`, recipes too.
fn conf_files() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let files: Vec<PathBuf> = [top.clone(), top.join("recipes")]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    assert!(files.len() >= 7, "a sweep must have swept something: {files:?}");
    files
}

#[test]
fn each_file_of_conf_says_how_to_check_it_and_that_works() {
    for file in conf_files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("# Try it out: ")).unwrap();
        let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
        let end = format!("keygate check -c {}", name.display());
        let before = line.strip_suffix(&end).unwrap_or_else(|| panic!("{line} does not end in {end}"));
        let script = format!("{before}{} check -c {}", env!("CARGO_BIN_EXE_keygate"), name.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("KEYGATE_API_KEY");
        let said = say(command);
        assert_eq!(said.status, 0, "{line}: {}{}", said.stdout, said.stderr);
    }
}

#[test]
fn every_file_of_conf_passes_check_and_the_schema() {
    let schema = say(keygate(["schema"]));
    assert_eq!((schema.status, schema.stderr.as_str()), (0, ""));
    let schema: serde_json::Value = serde_json::from_str(&schema.stdout).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    for file in conf_files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut command = keygate(["check".as_ref(), "-c".as_ref(), file.as_os_str()]);
        for name in text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name) {
            command.env(name, format!("value-of-{name}-for-this-test"));
        }
        let said = say(command);
        assert_eq!(said.status, 0, "{}: {}", file.display(), said.stdout);
        assert!(!said.stdout.contains("warning"), "{}: {}", file.display(), said.stdout);

        let document: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        let faults: Vec<String> = schema.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{}: {faults:?}", file.display());
        let mut wrong = document;
        wrong["proxy"]["prot"] = 1.into();
        assert!(!schema.is_valid(&wrong), "an unknown field is refused");
    }
}

#[test]
fn wrong_usage_is_exit_2_and_help_has_an_example() {
    for wrong in [&["chekc"][..], &[], &["run", "--port", "1"], &["check", "keygate.yaml"]] {
        let said = say(keygate(wrong));
        assert_eq!((said.status, said.stdout.as_str()), (2, ""), "{wrong:?}");
        assert!(said.stderr.contains("Usage: keygate"), "{wrong:?}: {}", said.stderr);
    }
    let help = say(keygate(["--help"]));
    assert_eq!(help.status, 0);
    let commands = help.stdout.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<&str> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.split_whitespace().next().unwrap())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() >= 6, "{}", help.stdout);
    for name in names {
        let said = say(keygate([name, "--help"]));
        assert_eq!(said.status, 0, "{name}");
        assert!(said.stdout.contains(&format!("\n  keygate {name}")), "{name}: {}", said.stdout);
    }
}
