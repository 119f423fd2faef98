//! `keygate admin`: a gateway that runs, asked and changed from a terminal.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use tempfile::TempDir;

use crate::admin::{TOKEN, administered};
use crate::support::{Gateway, KEY, Origin, keygate, run_to_end, wait_for};

/// Somebody at a terminal, with a config that names the port that the system chose for the gateway.
struct Asking<'a> {
    gateway: &'a Gateway,
    directory: TempDir,
}

impl<'a> Asking<'a> {
    fn of(gateway: &'a Gateway, config: &str) -> Self {
        let this = Self { gateway, directory: TempDir::new().unwrap() };
        this.with(config);
        this
    }

    fn with(&self, config: &str) {
        let address = format!("{}', token", self.gateway.admin());
        std::fs::write(self.file(), config.replace("127.0.0.1:0', token", &address)).unwrap();
    }

    fn file(&self) -> String {
        self.directory.path().join("asking.yaml").display().to_string()
    }

    /// The exit code, standard output, standard error.
    fn run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let file = self.file();
        let output = run_to_end(keygate([&["admin", "-c", &file], words].concat()));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

fn status_with(gateway: &Gateway, key: &str) -> u16 {
    gateway.exchange(format!("GET /v1 HTTP/1.1\r\nHost: x\r\nx-api-key: {key}\r\n\r\n")).status
}

#[test]
fn the_command_line_asks_the_same() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let asking = Asking::of(&gateway, &administered("strict", &origin));
    let run = |question: &str| {
        let (code, out, error) = asking.run(&[question]);
        (code, out + &error)
    };
    let (code, status) = run("status");
    assert_eq!(code, Some(0), "{status}");
    assert!(
        status.contains("strict (auth_mode: strict)") && status.contains(&gateway.address().to_string()),
        "{status}"
    );
    assert!(status.lines().count() <= 24, "one screen: {status}");
    assert!(run("keys").1.contains("api_key"));
    assert!(run("upstreams").1.contains(&origin.address.to_string()));
    let (code, reload) = run("reload");
    assert!(code == Some(0) && reload.contains("accepted") && reload.contains("generation 2"), "{reload}");
    gateway.replace_config(&administered("strict", &origin).replace("proxy:", "proxy:\n  prot: 1"));
    let (code, reload) = run("reload");
    assert!(code == Some(1) && reload.contains("keygate.yaml:2:3: error: unknown field `prot`"), "{reload}");
    let wrong: String = (0..30).map(|number| format!("  wrong{number}: 1\n")).collect();
    gateway.replace_config(&administered("strict", &origin).replace("proxy:\n", &format!("proxy:\n{wrong}")));
    let status = wait_for("the problems", || {
        Some(run("status").1).filter(|status| status.contains("keygate.yaml:3:3: error: unknown field\n"))
    });
    let on_screen: usize = status.lines().map(|line| line.len().div_ceil(80).max(1)).sum();
    assert!(on_screen <= 23 && status.contains("more lines: `keygate check`"), "one screen: {status}");
    assert!(status.contains("last reload     rejected"), "what counts comes first: {status}");
    asking.with(&administered("strict", &origin).replace(TOKEN, "admin-another0123456789"));
    let (code, refused) = run("status");
    assert!(code == Some(1) && refused.contains("This is not the admin token"), "{refused}");
    asking.with("admin: {enabled: false}\nproxy: {auth_mode: off}\n");
    assert!(run("status").1.contains("`admin.enabled` is false"));
}

#[test]
fn keys_and_settings_are_changed_from_a_terminal() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let asking = Asking::of(&gateway, &administered("strict", &origin));
    let done = |words: &[&str]| {
        let (code, out, error) = asking.run(words);
        assert_eq!(code, Some(0), "{words:?}: {out}{error}");
        out.trim_end().to_owned()
    };
    let alice = done(&["keys", "create", "alice/a", "--expires-at", "2031-01-31T00:00:00Z"]);
    assert!(alice.starts_with("kg_") && !alice.contains('\n'), "the key alone: {alice}");
    assert_eq!(status_with(&gateway, &alice), 200);
    done(&["keys", "expire", "alice/a", "2020-01-31T00:00:00Z"]);
    assert_eq!(status_with(&gateway, &alice), 401);
    done(&["keys", "expire", "alice/a", "never"]);
    done(&["keys", "disable", "alice/a"]);
    assert_eq!(status_with(&gateway, &alice), 401);
    done(&["keys", "enable", "alice/a"]);
    assert_eq!(status_with(&gateway, &alice), 200);
    done(&["keys", "remove", "alice/a"]);
    assert_eq!(status_with(&gateway, &alice), 401);
    let new = done(&["regenerate", "--keep-old", "60"]);
    assert_eq!((status_with(&gateway, &new), status_with(&gateway, KEY)), (200, 200));
    done(&["set", "allow_lan_access", "false"]);
    let peer = origin.address.to_string();
    done(&["drain", "origin", &peer]);
    assert!(done(&["upstreams"]).contains("(no new requests)"));
    assert_eq!(status_with(&gateway, &new), 503);
    done(&["undrain", "origin", &peer]);
    assert_eq!(status_with(&gateway, &new), 200);
    done(&["set", "auth_mode", "all_except_health"]);
    assert!(done(&["status"]).contains("all_except_health"));
    for (words, message) in [
        (&["set", "auth_mode", "on"][..], "`auth_mode` is one of"),
        (&["keys", "expire", "alice/a", "tomorrow"], "expected a time such as 2027-01-31T00:00:00Z"),
        (&["keys", "disable", "nobody"], "There is none of this name"),
        (&["keys", "create", "api_key"], "`api_key` is the name of the primary key"),
    ] {
        let (code, out, error) = asking.run(words);
        assert!(code == Some(1) && out.is_empty() && error.contains(message), "{words:?}: {error}");
    }
}

#[test]
fn denials_are_listed_and_followed() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let asking = Asking::of(&gateway, &administered("strict", &origin));
    assert_eq!(status_with(&gateway, "sk-wrong"), 401);
    let listed = wait_for("an explained denial", || {
        let (_, out, _) = asking.run(&["denials"]);
        out.contains("credential_invalid").then_some(out)
    });
    assert!(
        listed.contains("GET /v1") && listed.lines().count() == 2 && !listed.contains("sk-wrong"),
        "{listed}"
    );
    let mut command = keygate(["admin", "-c", &asking.file(), "denials", "--follow"]);
    let mut following = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("credential_invalid"), "what was before comes first");
    assert_eq!(gateway.exchange("GET /new HTTP/1.1\r\nHost: x\r\n\r\n").status, 401);
    assert!(lines.find(|line| line.contains("credential_missing")).unwrap().contains("GET /new"));
    drop(gateway);
    assert_eq!(wait_for("its end", || following.try_wait().unwrap()).code(), Some(1));
}

#[test]
fn a_refusal_of_the_stream_is_told() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let asking =
        Asking::of(&gateway, &administered("strict", &origin).replace(TOKEN, "admin-another0123456789"));
    let (code, _, error) = asking.run(&["denials", "--follow"]);
    assert!(code == Some(1) && error.contains("This is not the admin token"), "{error}");
}
