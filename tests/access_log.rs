//! The access log: its fields, where it goes, and what it never does: hold a request up, or show a key.

use std::path::Path;

use serde_json::Value;

use crate::support::{Client, Gateway, KEY, Origin, config, wait_for};

/// A config in mode `strict` with an access log.
fn logged(origin: &Origin, access_log: &str) -> String {
    config("strict", origin).replace("admin: {enabled: false}", "admin: {listen: '127.0.0.1:0'}")
        + &format!("access_log: {{{access_log}}}\n")
}

fn lines_of(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn wait_for_lines(file: &Path, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} lines"), || Some(lines_of(file)).filter(|lines| lines.len() >= count))
}

fn send(gateway: &Gateway, path: &str, fields: &str) -> u16 {
    gateway.exchange(format!("GET {path} HTTP/1.1\r\nHost: t\r\n{fields}\r\n")).status
}

/// Lines that were written and dropped, as the metrics have it.
fn counts(gateway: &Gateway) -> (u64, u64) {
    let response =
        Client::connect(gateway.admin()).exchange("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let text = String::from_utf8(response.body).unwrap();
    let count = |outcome: &str| {
        let sample = format!("keygate_access_log_lines_total{{outcome=\"{outcome}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&sample)?.parse().ok()).unwrap()
    };
    (count("written"), count("dropped"))
}

#[test]
fn a_line_has_every_field_and_says_what_happened() {
    let origin = Origin::start();
    let gateway = Gateway::start(&logged(&origin, "to: access.log"));
    let file = gateway.directory.path().join("access.log");
    let request = format!(
        "POST /v1/chat?key=secret HTTP/1.1\r\nHost: t\r\nx-request-id: r-1\r\nx-api-key: {KEY}\r\nContent-Length: 5\r\n\r\nhello"
    );
    assert_eq!(gateway.exchange(request).status, 200);
    let line = wait_for_lines(&file, 1).remove(0);
    let names: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "time",
            "id",
            "client",
            "method",
            "path",
            "route",
            "upstream",
            "peer",
            "status",
            "error",
            "header",
            "key",
            "bytes_in",
            "bytes_out",
            "first_byte_ms",
            "duration_ms",
            "generation"
        ]
    );
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/access-log.md")).unwrap();
    assert!(
        names.iter().all(|name| page.contains(&format!("| `{name}` |"))),
        "docs/access-log.md names each"
    );
    for (field, value) in [
        ("id", Value::from("r-1")),
        ("client", Value::from("127.0.0.1")),
        ("method", Value::from("POST")),
        ("path", Value::from("/v1/chat")),
        ("route", Value::from("/")),
        ("upstream", Value::from("origin")),
        ("peer", Value::from(origin.address.to_string())),
        ("status", Value::from(200)),
        ("error", Value::Null),
        ("header", Value::Null),
        ("key", Value::from("api_key")),
        ("bytes_in", Value::from(5)),
        ("bytes_out", Value::from(2)),
        ("generation", Value::from(1)),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    let (first, whole) = (line["first_byte_ms"].as_f64().unwrap(), line["duration_ms"].as_f64().unwrap());
    assert!(0.0 < first && first <= whole, "{line}");
    let time = line["time"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z') && time.starts_with("20"), "{time}");
}

#[test]
fn a_refusal_is_logged_with_its_cause_and_the_deciding_header() {
    let origin = Origin::start();
    let gateway = Gateway::start(&logged(&origin, "to: access.log"));
    let file = gateway.directory.path().join("access.log");
    assert_eq!(send(&gateway, "/v1/models", "Authorization: Bearer wrong\r\nx-api-key: a\r\n"), 401);
    assert_eq!(send(&gateway, "/healthz", &format!("x-api-key: {KEY}\r\n")), 200);
    let mut lines = wait_for_lines(&file, 2);
    // A line is written after its answer, so two connections' may change places.
    lines.sort_by_key(|line| std::cmp::Reverse(line["status"].as_u64()));
    assert_eq!(lines[0]["error"], "credential_invalid");
    assert_eq!(lines[0]["header"], "Authorization");
    assert_eq!((&lines[0]["key"], &lines[0]["peer"]), (&Value::Null, &Value::Null));
    assert_eq!((lines[1]["status"].as_u64(), &lines[1]["error"]), (Some(200), &Value::Null));
}

#[test]
fn without_the_setting_there_is_none_and_stdout_is_the_other_place() {
    let origin = Origin::start();
    let silent = Gateway::start(&config("strict", &origin));
    let spoken = Gateway::start(&logged(&origin, "to: stdout"));
    for gateway in [&silent, &spoken] {
        assert_eq!(send(gateway, "/", &format!("x-api-key: {KEY}\r\n")), 200);
    }
    let line = spoken.program().wait_for_stdout("a line", |line| line.starts_with('{'));
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["path"], "/");
    assert!(silent.program().stdout().is_empty());
}

#[test]
fn sigusr1_opens_the_file_anew() {
    let origin = Origin::start();
    let gateway = Gateway::start(&logged(&origin, "to: access.log"));
    let directory = gateway.directory.path();
    let (file, moved) = (directory.join("access.log"), directory.join("access.log.1"));
    send(&gateway, "/one", "");
    wait_for_lines(&file, 1);
    std::fs::rename(&file, &moved).unwrap();
    send(&gateway, "/two", "");
    assert_eq!(wait_for_lines(&moved, 2)[1]["path"], "/two", "until it is told, the old file goes on");
    gateway.signal("USR1");
    gateway.program().wait_for_log("the new file", |line| line.contains("opened anew"));
    send(&gateway, "/three", "");
    assert_eq!(wait_for_lines(&file, 1)[0]["path"], "/three");
    assert_eq!(lines_of(&moved).len(), 2);
}

#[test]
fn a_full_disk_costs_lines_and_no_request() {
    let origin = Origin::start();
    let gateway = Gateway::start(&logged(&origin, "to: /dev/full"));
    for _ in 0..50 {
        assert_eq!(send(&gateway, "/", &format!("x-api-key: {KEY}\r\n")), 200);
    }
    wait_for("50 dropped lines", || (counts(&gateway) == (0, 50)).then_some(()));
    let complaints = gateway.program().log().iter().filter(|line| line.contains("access log:")).count();
    assert_eq!(complaints, 1, "said once, not for each line");
}

#[test]
fn a_reader_that_does_not_read_costs_lines_and_no_request() {
    let origin = Origin::start();
    let directory = tempfile::TempDir::new().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Held open for both, so that neither side waits for the other; nobody ever reads.
    let _held = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let gateway = Gateway::start(&logged(&origin, &format!("to: {}, queue: 16", pipe.display())));
    let mut client = gateway.connect();
    let request = format!("GET /{} HTTP/1.1\r\nHost: t\r\nx-api-key: {KEY}\r\n\r\n", "a".repeat(1500));
    // A pipe takes 64 KiB before its writer waits, and a batch may be as large.
    let dropped = wait_for("dropped lines", || {
        assert_eq!(client.exchange(&request).status, 200);
        Some(counts(&gateway).1).filter(|dropped| *dropped >= 20)
    });
    assert!(dropped >= 20);
}

#[test]
fn the_last_lines_are_written_at_the_end() {
    let origin = Origin::start();
    let mut gateway = Gateway::start(&logged(&origin, "to: access.log"));
    for number in 0..20 {
        send(&gateway, &format!("/{number}"), "");
    }
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    assert_eq!(lines_of(&gateway.directory.path().join("access.log")).len(), 20);
}

#[test]
fn no_key_is_ever_in_a_line() {
    const PRESENTED: &str = "sk-wrong-presented-0123456789";
    let origin = Origin::start();
    let gateway = Gateway::start(&logged(&origin, "to: access.log"));
    let file = gateway.directory.path().join("access.log");
    let mut sent = 0;
    for key in [KEY, PRESENTED] {
        for field in ["Authorization: Bearer ", "x-api-key: ", "x-goog-api-key: ", "Authorization: Basic "] {
            for path in [format!("/v1beta/models?key={key}"), format!("/{key}/models"), format!("/key={key}")]
            {
                send(&gateway, &path, &format!("{field}{key}\r\n"));
                sent += 1;
            }
        }
    }
    wait_for_lines(&file, sent);
    let text = std::fs::read_to_string(&file).unwrap();
    for secret in [KEY, PRESENTED] {
        for length in 8..=secret.len() {
            assert!(!text.contains(&secret[..length]), "{text}");
            assert!(!text.contains(&secret[secret.len() - length..]), "{text}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_start() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("keygate.yaml");
    let config =
        "proxy: {listen: ['127.0.0.1:0']}\nadmin: {enabled: false}\naccess_log: {to: none/access.log}\n";
    std::fs::write(&file, config).unwrap();
    let run = crate::support::keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]);
    let output = crate::support::run_to_end(run);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot open the access log: `") && error.contains("none/access.log"), "{error}");
}
