//! The admin API as things happen: a pasted request explained, the stream of events, how peers do.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::admin::{TOKEN, administered, ask, code, post};
use crate::support::{Client, Gateway, KEY, Origin, keygate, run_to_end, wait_for};

/// An event: its name, its id, its data.
type Event = (String, String, Value);

/// A client of the stream.
struct Stream {
    client: Client,
    text: String,
}

impl Stream {
    fn open(admin: SocketAddr, fields: &str) -> Self {
        let mut client = Client::connect(admin);
        client.send(format!(
            "GET /api/events HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {TOKEN}\r\n{fields}\r\n"
        ));
        let head = client.read_head().to_lowercase();
        assert!(
            head.starts_with("http/1.1 200") && head.contains("content-type: text/event-stream"),
            "{head}"
        );
        let mut this = Self { client, text: String::new() };
        assert_eq!(this.block().unwrap(), "retry: 1000");
        this
    }

    /// What stands before the next empty line; `None` at the end of the stream.
    fn block(&mut self) -> Option<String> {
        while !self.text.contains("\n\n") {
            self.text.push_str(&String::from_utf8(self.client.read_chunk()?).unwrap());
        }
        let (block, rest) = self.text.split_once("\n\n").unwrap();
        let (block, rest) = (block.to_owned(), rest.to_owned());
        self.text = rest;
        Some(block)
    }

    fn next(&mut self) -> Option<Event> {
        let block = self.block()?;
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        Some((field("event: "), field("id: "), serde_json::from_str(&field("data: ")).unwrap()))
    }

    /// The next event that is this, those before it left out.
    fn find(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        wait_for(what, || {
            let event = self.next().unwrap();
            wanted(&event).then_some(event)
        })
    }
}

fn denied(gateway: &Gateway, path: &str) {
    let response = gateway.exchange(format!("GET {path} HTTP/1.1\r\nHost: x\r\nx-api-key: wrong\r\n\r\n"));
    assert_eq!(response.status, 401);
}

#[test]
fn a_stream_tells_what_happens_and_what_was_missed() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let admin = gateway.admin();
    denied(&gateway, "/before");
    let mut stream = Stream::open(admin, "");
    let (.., first) = stream.find("what was before", |(event, ..)| event == "denial");
    assert_eq!((&first["path"], &first["code"]), (&json!("/before"), &json!("credential_invalid")));
    assert!(first["cause"].as_str().is_some() && first["request_id"].as_str().is_some(), "{first}");
    assert_eq!(
        gateway.exchange(format!("GET / HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\n\r\n")).status,
        200
    );
    let (.., live) =
        stream.find("the request", |(event, _, data)| event == "live" && data["by_status"]["2xx"] == 1);
    assert_eq!((&live["requests"], &live["denials"]["credential_invalid"]), (&json!(2), &json!(1)));
    assert_eq!(
        (&live["generation"], &live["effective_mode"], &live["draining"]),
        (&json!(1), &json!("strict"), &json!(false))
    );
    assert_eq!(live["own_time"]["count"], 2);
    let upstream = &live["upstreams"][0];
    assert_eq!((&upstream["name"], &upstream["first_byte"]["count"]), (&json!("origin"), &json!(1)));
    assert_eq!(upstream["peers"][0]["addresses"][0]["healthy"], true);
    denied(&gateway, "/seen");
    let (_, id, _) =
        stream.find("a new one", |(event, _, data)| event == "denial" && data["path"] == "/seen");
    drop(stream);
    denied(&gateway, "/missed");
    let mut again = Stream::open(admin, &format!("Last-Event-ID: {id}\r\n"));
    let (.., missed) = again.find("what was missed", |(event, ..)| event == "denial");
    assert_eq!(missed["path"], "/missed", "and nothing twice");
    let mut stranger = Stream::open(admin, "Last-Event-ID: 1.1-3\r\n");
    let (.., all) = stranger.find("everything", |(event, ..)| event == "denial");
    assert_eq!(all["path"], "/before", "another process said that id");
}

#[test]
fn a_stream_tells_of_a_key_when_something_about_it_is_other() {
    let origin = Origin::start();
    let digest = keygate::policy::Digest::of(b"sk-alice");
    let keys = format!("keys: [{{name: alice, digest: '{digest}'}}]\n");
    let gateway = Gateway::start(&(administered("strict", &origin) + &keys));
    let mut stream = Stream::open(gateway.admin(), "");
    let of = |data: &Value, name: &str| {
        data["keys"].as_array().unwrap().iter().find(|key| key["name"] == name).cloned()
    };
    let mut next = |what: &str, wanted: &dyn Fn(&Value) -> bool| {
        stream.find(what, |(event, _, data)| event == "live" && wanted(data)).2
    };
    let first = next("the first", &|_| true);
    assert_eq!(first["keys"].as_array().unwrap().len(), 2, "all: {first}");
    assert_eq!(of(&first, "api_key").unwrap()["last_used_at"], Value::Null);
    assert_eq!(next("a quiet second", &|_| true)["keys"], json!([]));
    let used = format!("GET / HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\n\r\n");
    assert_eq!(gateway.exchange(used).status, 200);
    let seen = next("its use", &|data| of(data, "api_key").is_some());
    assert!(
        of(&seen, "api_key").unwrap()["last_used_at"].is_string() && of(&seen, "alice").is_none(),
        "{seen}"
    );
}

#[test]
fn streams_are_limited_and_end_with_the_gateway() {
    let origin = Origin::start();
    let mut gateway = Gateway::start(&administered("strict", &origin));
    let admin = gateway.admin();
    let mut streams: Vec<Stream> = (0..16).map(|_| Stream::open(admin, "")).collect();
    let full = ask(admin, "GET /api/events");
    assert_eq!((full.status, code(&full).as_str()), (503, "streams_full"));
    assert_eq!(ask(admin, "GET /api/status").status, 200, "questions are answered beside them");
    drop(streams.pop());
    wait_for("a place that is free again", || {
        let mut client = Client::connect(admin);
        client.send(format!(
            "GET /api/events HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        ));
        client.read_head().starts_with("HTTP/1.1 200").then_some(())
    });
    gateway.signal("TERM");
    assert!(gateway.wait().success(), "open streams do not hold up the end");
}

#[test]
fn a_pasted_request_is_explained_as_the_command_line_does() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let admin = gateway.admin();
    let explain = |body: &Value| {
        let response = post(admin, "/api/explain", body);
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    };
    let line = format!(
        "curl http://localhost/v1/models -H 'Authorization: Bearer{KEY}' \\\n  -H \"x-api-key: {KEY}\""
    );
    let mut said = explain(&json!({"curl": line}));
    let text = said.as_object_mut().unwrap().remove("text").unwrap();
    let file = gateway.file();
    let explained = |json: &str| {
        let arguments = ["explain", "-c", file.to_str().unwrap(), json, "--", &line];
        let output = run_to_end(keygate(arguments.into_iter().filter(|argument| !argument.is_empty())));
        String::from_utf8(output.stdout).unwrap()
    };
    let other: Value = serde_json::from_str(&explained("--json")).unwrap();
    assert_eq!(said, other);
    assert_eq!(text.as_str().unwrap().trim_end(), explained("").trim_end());
    assert!(text.as_str().unwrap().contains("the space after `Bearer` is missing"), "{text}");
    let lines = explain(
        &json!({"headers": format!("Authorization: Bearer{KEY}\r\n\r\nx-api-key: {KEY}\n"), "path": "/v1/models"}),
    );
    assert_eq!(lines["diagnosis"], said["diagnosis"]);
    let pairs =
        explain(&json!({"headers": [["x-api-key", KEY]], "method": "POST", "path": "/v1/models?x=1"}));
    assert_eq!(pairs["decision"], "allow");
    assert!(!said.to_string().contains(KEY) && !text.to_string().contains(KEY), "no key comes back");
    for body in [
        json!({"curl": "wget http://x"}),
        json!({"curl": "curl 'http://x"}),
        json!({"headers": "no header"}),
        json!({"method": "G T"}),
        json!({"curl": 1}),
        json!({"url": "http://x"}),
    ] {
        let response = post(admin, "/api/explain", &body);
        assert_eq!((response.status, code(&response).as_str()), (400, "bad_request"), "{body}");
    }
}

#[test]
fn what_is_live_needs_the_token() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    for request in ["GET /api/events", "POST /api/explain"] {
        let admin = gateway.admin();
        let response = Client::connect(admin)
            .exchange(format!("{request} HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!((response.status, code(&response).as_str()), (401, "token_missing"), "{request}");
        assert_eq!(ask(admin, "DELETE /api/events").status, 405);
        assert_eq!(ask(gateway.admin(), "GET /api/explain").status, 405);
    }
}

#[test]
fn a_stream_ends_when_its_token_counts_no_more() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let mut stream = Stream::open(gateway.admin(), "");
    assert!(stream.next().is_some());
    gateway.replace_config(&administered("strict", &origin).replace(TOKEN, "admin-another0123456789"));
    gateway.wait_for_generation(2);
    // It ends with the next second; what was on its way by then may still come.
    wait_for("the end", || stream.next().is_none().then_some(()));
}
