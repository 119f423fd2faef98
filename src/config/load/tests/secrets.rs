//! Secrets: where they come from, and that they never show.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config::SecretOrigin;

/// A directory that is removed with everything in it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("keygate-config-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Everything that is said about a file with this `api_key`, without the path of the directory.
    fn said(&self, api_key: &str, mode: u32) -> Vec<String> {
        let path = self.write("k.yaml", format!("proxy:\n  api_key: {api_key}\n"), mode);
        let (source, problems) = match load(&path, &no_env) {
            Ok(loaded) => (loaded.source, loaded.warnings),
            Err(failure) => (failure.source, failure.problems),
        };
        let directory = format!("{}/", self.0.display());
        problems.iter().map(|problem| source.render(problem).replace(&directory, "")).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn api_key(loaded: &Loaded) -> &str {
    loaded.config.proxy.api_key.as_ref().unwrap().value.expose()
}

fn with_env(yaml: &str) -> Result<Loaded, LoadFailure> {
    let env = |name: &str| match name {
        "KEY" => Some("sk-1".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    parse(Path::new("k.yaml"), yaml.as_bytes(), &env)
}

#[test]
fn a_literal_is_taken_as_it_is() {
    for literal in ["sk-1", "$KEY", "a$b", "{KEY}", "$(KEY)", "files:x"] {
        let loaded = with_env(&format!("proxy: {{api_key: '{literal}'}}")).unwrap();
        assert_eq!(api_key(&loaded), literal);
        assert_eq!(loaded.config.proxy.api_key.as_ref().unwrap().origin, SecretOrigin::Literal);
    }
}

#[test]
fn a_variable_is_looked_up() {
    assert_eq!(api_key(&with_env("proxy: {api_key: '${KEY}'}").unwrap()), "sk-1");
    assert_eq!(api_key(&with_env("proxy:\n  api_key: ${KEY}\n").unwrap()), "sk-1");
    assert_eq!(api_key(&with_env("proxy: {api_key: '${EMPTY}'}").unwrap()), "");
}

#[test]
fn a_variable_that_is_not_set_is_an_error() {
    assert_eq!(
        problem("proxy:\n  api_key: ${KEYGATE_API_KEY}\n"),
        "k.yaml:2:12: error: the environment variable `KEYGATE_API_KEY` is not set\n  help: set it where keygate is \
         started; to try a file out, any text will do: `KEYGATE_API_KEY=any keygate check`"
    );
}

#[test]
fn a_variable_with_a_slip_in_it_is_no_literal() {
    for written in
        ["${A}${B}", "${", "${}", "${A", "x${A}", "${A}x", "${A-B}", "${1A}", "${A B}", "${A:-x}", "$${A}"]
    {
        assert_eq!(
            headline(format!("proxy: {{api_key: '{written}'}}")),
            "k.yaml:1:18: error: expected `${NAME}` with the name of one environment variable and nothing around it"
        );
    }
}

#[test]
fn a_key_that_yaml_takes_for_something_else_is_not_repeated() {
    for written in ["12345", "1e5", "0x10", "true"] {
        let found = problem(format!("proxy: {{api_key: {written}}}"));
        let kind = if written == "true" { "a boolean" } else { "a number" };
        assert_eq!(
            found,
            format!(
                "k.yaml:1:18: error: expected text, found {kind}\n  help: put it in quotes, so that it stays text"
            )
        );
    }
    assert_eq!(
        problem("proxy: {api_key: 12345678901234567890123456789012}"),
        "k.yaml:1:18: error: this number is too large\n  help: put it in quotes if it is text"
    );
}

#[test]
fn a_secret_file_is_read_beside_the_config() {
    let directory = Directory::new("file");
    for (content, value) in [
        ("sk-1", "sk-1"),
        ("sk-1\n", "sk-1"),
        ("sk-1\r\n", "sk-1"),
        ("sk-1\n\n", "sk-1\n"),
        (" sk-1 \n", " sk-1 "),
        ("", ""),
    ] {
        let secret = directory.write("key", content, 0o600);
        let config = directory.write("k.yaml", "proxy: {api_key: 'file:key'}", 0o644);
        let loaded = load(&config, &no_env).unwrap();
        assert_eq!(api_key(&loaded), value);
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.files, [config, secret]);
    }
}

#[test]
fn a_secret_file_that_cannot_be_read_is_an_error() {
    let directory = Directory::new("unreadable");
    let help = "help: a path without `/` in front is relative to the directory of the config file";
    assert_eq!(
        directory.said("file:none", 0o600),
        [format!("k.yaml:2:12: error: cannot read `none`: No such file or directory (os error 2)\n  {help}")]
    );
    directory.write("big", vec![b'x'; 64 * 1024], 0o600);
    assert_eq!(directory.said("file:big", 0o600), Vec::<String>::new());
    directory.write("big", vec![b'x'; 64 * 1024 + 1], 0o600);
    let help = "help: name a file that holds the secret alone";
    assert_eq!(
        directory.said("file:big", 0o600),
        [format!("k.yaml:2:12: error: `big` is larger than 64 KiB\n  {help}")]
    );
    assert_eq!(
        directory.said("file:.", 0o600),
        [format!("k.yaml:2:12: error: `.` is no regular file\n  {help}")]
    );
    directory.write("latin1", b"caf\xe9", 0o600);
    assert_eq!(
        directory.said("file:latin1", 0o600),
        ["k.yaml:2:12: error: `latin1` is not UTF-8\n  help: a secret is text"]
    );
    assert_eq!(
        directory.said("'file:'", 0o600),
        [
            "k.yaml:2:12: error: expected a path after `file:`\n  help: `file:/run/secrets/NAME` is replaced by the content \
          of that file"
        ]
    );
}

#[test]
fn a_failure_names_the_files_too_so_that_they_can_be_watched() {
    let directory = Directory::new("watch");
    let config = directory.write("k.yaml", "proxy: {api_key: 'file:none'}", 0o600);
    let failure = load(&config, &no_env).unwrap_err();
    assert_eq!(failure.files, [config, directory.0.join("none")]);
}

#[test]
fn a_secret_that_everybody_can_read_is_warned_about() {
    let directory = Directory::new("mode");
    assert_eq!(
        directory.said("sk-1", 0o644),
        [
            "k.yaml:2:12: warning: every user of this machine can read `k.yaml`, which holds this secret\n  help: chmod \
             600 k.yaml"
        ]
    );
    assert_eq!(directory.said("sk-1", 0o640), Vec::<String>::new());
    assert_eq!(directory.said("''", 0o644), Vec::<String>::new());
    directory.write("key", "sk-1", 0o604);
    assert_eq!(
        directory.said("file:key", 0o600),
        [
            "k.yaml:2:12: warning: every user of this machine can read `key`, which holds this secret\n  help: chmod \
             600 key"
        ]
    );
}

#[test]
fn what_is_wrong_with_the_whole_file_stands_at_its_beginning() {
    let failure = load(Path::new("/nonexistent/k.yaml"), &no_env).unwrap_err();
    assert_eq!(
        failure.source.render(&failure.problems[0]),
        "/nonexistent/k.yaml:1:1: error: cannot read this file: No such file or directory (os error 2)\n  help: `keygate \
         init` writes one"
    );
    assert_eq!(failure.files, [Path::new("/nonexistent/k.yaml")]);
    let failure = load(Path::new("/"), &no_env).unwrap_err();
    assert_eq!(
        failure.source.render(&failure.problems[0]),
        "/:1:1: error: this is no regular file\n  help: a gateway reads its file again and again; `keygate check` takes \
         `/dev/stdin` too"
    );
}

#[test]
fn what_came_of_it_does_not_show_the_secret() {
    let loaded = with_env("proxy: {api_key: '${KEY}'}").unwrap();
    assert!(!format!("{loaded:?}").contains("sk-1"));
    let failure = with_env("proxy: {api_key: sk-1, port: 0}").unwrap_err();
    assert!(!format!("{failure:?}").contains("sk-1"));
}
