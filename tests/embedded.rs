//! `keygate run` without a config, and `keygate origin`, which stands behind it.

use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::{Client, Gateway, RunningOrigin, keygate};

/// A gateway without a config, in an empty directory.
fn start() -> Gateway {
    let directory = TempDir::new().unwrap();
    let mut command = keygate(["run", "--listen", "127.0.0.1:0"]);
    command.current_dir(directory.path());
    Gateway::run(command, directory)
}

impl RunningOrigin {
    fn exchange(&self, request: impl AsRef<[u8]>) -> crate::support::Response {
        Client::connect(self.address).exchange(request)
    }

    fn post(&self, path: &str, more: &str, body: &str) -> crate::support::Response {
        let length = body.len();
        self.exchange(format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{more}Content-Length: {length}\r\n\r\n{body}"
        ))
    }

    fn get(&self, path: &str) -> crate::support::Response {
        self.exchange(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }
}

fn shell(line: &str) -> Output {
    Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn each_line_that_it_prints_to_try_works_and_none_without_the_key() {
    let gateway = start();
    gateway.program().wait_for_stdout("the end of what to try", |line| line.contains("Ctrl-C stops"));
    let printed = gateway.program().stdout();
    let key = printed.iter().find_map(|line| line.trim().strip_prefix("key: ")).unwrap();
    assert!(key.starts_with("sk-") && key.len() == 35, "{key}");
    let lines: Vec<&String> = printed.iter().filter(|line| line.trim().starts_with("curl ")).collect();
    assert_eq!(lines.len(), 3, "{printed:#?}");
    for (line, expected) in
        lines.into_iter().zip(["\"object\":\"list\"", "\"type\":\"message\"", "\"candidates\""])
    {
        let answered = shell(&format!("{line} -sS --fail"));
        let said = String::from_utf8(answered.stdout).unwrap();
        assert!(answered.status.success() && said.contains(expected), "{line}\n{said}");
        let refused = shell(&format!("{} -sS", line.replace(key, "wrong")));
        let said = String::from_utf8(refused.stdout).unwrap();
        assert!(said.contains("header decided"), "{line}\n{said}");
    }
}

#[test]
fn it_is_on_loopback_asks_for_a_key_and_has_a_free_health_check() {
    let gateway = start();
    let [address] = gateway.addresses[..] else { panic!("{:?}", gateway.addresses) };
    assert!(address.ip().is_loopback());
    let get = |path: &str| gateway.exchange(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_eq!(get("/healthz").status, 200);
    assert_eq!(get("/v1/models").error_code(), Some("credential_missing"));
    gateway.program().wait_for_log("the mode", |line| line.contains("effective mode all_except_health"));
}

#[test]
fn two_runs_have_two_keys() {
    let key =
        |gateway: &Gateway| gateway.program().wait_for_stdout("the key", |line| line.contains("key: sk-"));
    assert_ne!(key(&start()), key(&start()));
}

#[test]
fn the_origin_answers_like_openai() {
    let origin = RunningOrigin::start();
    assert_eq!(origin.get("/v1/models").json()["data"][0]["id"], "gpt-mock");
    assert_eq!(origin.get("/v1/models/x").json()["id"], "x");
    let chat = origin.post("/v1/chat/completions", "", r#"{"model":"m","messages":[]}"#).json();
    assert_eq!((&chat["model"], &chat["choices"][0]["finish_reason"]), (&"m".into(), &"stop".into()));
    let response = origin.post("/v1/responses", "", r#"{"model":"m","input":"x"}"#).json();
    assert_eq!(
        (&response["object"], &response["output"][0]["type"]),
        (&"response".into(), &"message".into())
    );
    assert_eq!(origin.post("/v1/responses", "", "no json").status, 400);
    assert!(origin.post("/v1/embeddings", "", "{}").json()["data"][0]["embedding"].is_array());
    assert_eq!(origin.post("/v1/chat/completions", "", "no json").status, 400);
    assert_eq!(origin.get("/v1/nothing").json()["error"]["type"], "invalid_request_error");
}

#[test]
fn the_origin_answers_like_anthropic() {
    let origin = RunningOrigin::start();
    let version = "anthropic-version: 2023-06-01\r\n";
    let models =
        origin.exchange(format!("GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{version}\r\n")).json();
    assert_eq!(models["data"][0]["type"], "model");
    let message = origin.post("/v1/messages", version, r#"{"model":"m"}"#).json();
    assert_eq!((&message["type"], &message["model"]), (&"message".into(), &"m".into()));
    assert_eq!(origin.post("/v1/messages/count_tokens", version, "{}").json()["input_tokens"], 1);
    assert_eq!(origin.get("/v1/messages/x").json()["error"]["type"], "not_found_error");
}

#[test]
fn the_origin_answers_like_gemini() {
    let origin = RunningOrigin::start();
    for version in ["v1beta", "v1alpha"] {
        assert_eq!(
            origin.get(&format!("/{version}/models")).json()["models"][0]["name"],
            "models/gemini-mock"
        );
        let path = format!("/{version}/models/m:generateContent");
        let generated = origin.post(&path, "", "{}").json();
        assert!(generated["candidates"][0]["content"]["parts"][0]["text"].is_string());
        assert_eq!(generated["modelVersion"], "m");
        let counted = origin.post(&format!("/{version}/models/m:countTokens"), "", "{}").json();
        assert_eq!(counted["totalTokens"], 1);
        assert_eq!(origin.get(&format!("/{version}/nothing")).json()["error"]["status"], "NOT_FOUND");
    }
    let array = origin.post("/v1beta/models/m:streamGenerateContent?chunks=2", "", "{}").json();
    assert_eq!(array.as_array().unwrap().len(), 3);
}

#[test]
fn a_stream_has_as_many_events_as_were_asked_for() {
    let origin = RunningOrigin::start();
    for (path, body, marker, last) in [
        (
            "/v1/chat/completions",
            r#"{"stream":true}"#,
            "\"delta\":{\"content\":\" Hello\"}",
            "data: [DONE]\n\n",
        ),
        (
            "/v1/responses",
            r#"{"stream":true}"#,
            "event: response.output_text.delta\n",
            "\"total_tokens\":7}}}\n\n",
        ),
        (
            "/v1/messages",
            r#"{"stream":true}"#,
            "event: content_block_delta\n",
            "{\"type\":\"message_stop\"}\n\n",
        ),
        ("/v1beta/models/m:streamGenerateContent?alt=sse", "{}", "\" Hello\"", "\n\n"),
    ] {
        for (query, events) in [("", 5), ("chunks=0", 0), ("chunks=3&delay_ms=1", 3), ("chunks=x", 5)] {
            let separator = if path.contains('?') { '&' } else { '?' };
            let response = origin.post(&format!("{path}{separator}{query}"), "", body);
            let text = String::from_utf8(response.body.clone()).unwrap();
            assert_eq!(response.header("content-type"), Some("text/event-stream"));
            assert_eq!(text.matches(marker).count(), events, "{path} {query}: {text}");
            assert!(text.ends_with(last), "{text}");
        }
    }
}

#[test]
fn the_origin_shows_what_it_received_and_answers_as_it_is_told() {
    let origin = RunningOrigin::start();
    let request =
        "POST /echo?a=b HTTP/1.1\r\nHost: localhost\r\nX-Odd-Case: 1\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(origin.exchange(request).body, request.as_bytes());
    for status in [200, 204, 304, 404, 418, 503] {
        assert_eq!(origin.get(&format!("/status/{status}")).status, status);
    }
    for wrong in ["/status/99", "/status/600", "/status/x", "/nothing"] {
        assert_eq!(origin.get(wrong).status, 404, "{wrong}");
    }
    assert_eq!(origin.get("/slow?ms=1").body, b"slow\n");
    assert_eq!(origin.get("/ok").body, b"ok\n");
    assert!(String::from_utf8(origin.get("/").body).unwrap().contains("/v1/chat/completions"));
    let mut client = Client::connect(origin.address);
    assert_eq!(client.exchange("HEAD /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    assert_eq!(
        client.exchange("GET /ok HTTP/1.1\r\nHost: localhost\r\n\r\n").body,
        b"ok\n",
        "on the same connection"
    );
}

#[test]
fn the_origin_closes_a_connection_for_whom_that_asks_and_keeps_it_for_others() {
    let origin = RunningOrigin::start();
    for closing in ["GET /ok HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", "GET /ok HTTP/1.0\r\n\r\n"] {
        let mut client = Client::connect(origin.address);
        client.send(closing);
        let response = client.response();
        assert_eq!((response.body.as_slice(), response.header("connection")), (&b"ok\n"[..], Some("close")));
        client.expect_close();
    }
    let mut client = Client::connect(origin.address);
    for _ in 0..2 {
        assert_eq!(client.exchange("GET /ok HTTP/1.1\r\nHost: t\r\n\r\n").body, b"ok\n");
    }
}

#[test]
fn the_origin_asks_for_the_body_of_a_client_that_waits_to_be_asked() {
    let origin = RunningOrigin::start();
    let mut client = Client::connect(origin.address);
    let head = "POST /echo HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    client.send(head);
    assert!(client.read_head().starts_with("HTTP/1.1 100 "));
    client.send("hello");
    assert_eq!(client.response().body, format!("{head}hello").as_bytes());
    // One that does not wait is not asked.
    let unasked = head.replace("Expect: 100-continue\r\n", "");
    client.send(format!("{unasked}hello"));
    assert_eq!(client.response().body, format!("{unasked}hello").as_bytes());
}

#[test]
fn the_origin_refuses_a_body_that_is_longer_than_anyones() {
    let origin = RunningOrigin::start();
    let megabyte = vec![b'x'; 1 << 20];
    let mut client = Client::connect(origin.address);
    client.send(format!("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", 33 << 20));
    for _ in 0..33 {
        client.send(&megabyte);
    }
    assert_eq!(client.response().status, 413);
}

#[test]
fn a_stream_of_the_origin_comes_event_by_event() {
    let origin = RunningOrigin::start();
    let mut client = Client::connect(origin.address);
    let body = r#"{"stream":true}"#;
    // The next event would come in ten minutes: the first ones must not wait for it.
    client.send(format!(
        "POST /v1/messages?chunks=2&delay_ms=600000 HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(client.read_head().starts_with("HTTP/1.1 200 "));
    for name in ["message_start", "content_block_start"] {
        let event = String::from_utf8(client.read_chunk().unwrap()).unwrap();
        assert!(event.starts_with(&format!("event: {name}\n")), "{event}");
    }
}
