//! The OpenAPI document of the admin API: every route is in it, every answer is what it says, and each is refused to
//! those who may not.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::admin::{TOKEN, administered, ask, code};
use crate::support::{Client, Gateway, KEY, Origin, Response, wait_for};

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

fn document() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Every method and path of the document.
fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, methods): (&String, &Value)| {
        let path = path.clone();
        methods
            .as_object()
            .unwrap()
            .keys()
            .map(move |method| (method.clone(), path.clone()))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

/// Every method and path that the sources route: `.route("PATH", get(…).post(…))`.
fn routes() -> BTreeSet<(String, String)> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/mod.rs");
    let source = std::fs::read_to_string(file).unwrap();
    let mut found = BTreeSet::new();
    for route in source.split(".route(\"").skip(1) {
        let (path, rest) = route.split_once('"').unwrap();
        let methods = rest.lines().next().unwrap();
        for method in METHODS.iter().filter(|method| methods.contains(&format!("{method}("))) {
            // The page is for people: it and what it loads are no part of the API.
            if path.starts_with("/api/") || path == "/metrics" {
                found.insert(((*method).to_owned(), path.to_owned()));
            }
        }
    }
    found
}

/// Checks `value` against a schema within the document.
fn matches(document: &Value, schema: &Value, value: &Value, what: &str) {
    let mut whole = json!({"components": document["components"]});
    whole.as_object_mut().unwrap().extend(schema.as_object().unwrap().clone());
    let validator = jsonschema::validator_for(&whole).unwrap();
    let problems: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{what}: {problems:#?}\n{value:#}");
}

fn send(address: SocketAddr, method: &str, path: &str, fields: &str, body: &str) -> Response {
    let method = method.to_uppercase();
    Client::connect(address).exchange(format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// Sends what the document describes and checks the answer against it.
struct Asking {
    document: Value,
    admin: SocketAddr,
    /// What has been asked.
    asked: BTreeSet<(String, String)>,
}

impl Asking {
    fn done(&mut self, method: &str, path: &str, names: &[(&str, &str)], body: &Value) -> Value {
        let operation = self.document["paths"][path][method].clone();
        let mut url = path.to_owned();
        for (name, value) in names {
            url = url.replace(&format!("{{{name}}}"), value);
        }
        let mut fields = format!("Authorization: Bearer {TOKEN}\r\n");
        if operation["parameters"].to_string().contains("If-Match") {
            let etag = ask(self.admin, "GET /api/config").header("etag").unwrap().to_owned();
            fields += &format!("If-Match: {etag}\r\n");
        }
        let text = if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
            matches(&self.document, schema, body, &format!("the body of {method} {path}"));
            fields += "Content-Type: application/json\r\n";
            body.to_string()
        } else {
            String::new()
        };
        let response = send(self.admin, method, &url, &fields, &text);
        assert_eq!(response.status, 200, "{method} {url}: {response:?}");
        let (kind, described) =
            operation["responses"]["200"]["content"].as_object().unwrap().iter().next().unwrap();
        assert!(
            response.header("content-type").unwrap().starts_with(kind.as_str()),
            "{method} {url}: {response:?}"
        );
        assert_eq!(
            operation["responses"]["200"]["headers"]["ETag"].is_object(),
            response.header("etag").is_some()
        );
        self.asked.insert((method.to_owned(), path.to_owned()));
        if kind != "application/json" {
            return Value::Null;
        }
        matches(
            &self.document,
            &described["schema"],
            &response.json(),
            &format!("the answer of {method} {path}"),
        );
        response.json()
    }
}

#[test]
fn every_route_is_in_the_document_and_nothing_else() {
    let routes = routes();
    assert!(routes.len() > 15, "a sweep must have swept something: {routes:?}");
    assert_eq!(operations(&document()), routes);
}

#[test]
fn every_answer_is_what_the_document_says() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let mut api = Asking { document: document(), admin: gateway.admin(), asked: BTreeSet::new() };
    assert_eq!(gateway.exchange("GET / HTTP/1.1\r\nHost: x\r\nx-api-key: wrong\r\n\r\n").status, 401);
    assert_eq!(
        gateway.exchange(format!("GET / HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\n\r\n")).status,
        200
    );
    for path in ["/metrics", "/api/status", "/api/config", "/api/upstreams", "/api/openapi.json"] {
        api.done("get", path, &[], &Value::Null);
    }
    let denied = wait_for("an explained denial", || {
        api.done("get", "/api/denials", &[], &Value::Null).as_array().unwrap().first().cloned()
    });
    let id = denied["request_id"].as_str().unwrap().to_owned();
    api.done("get", "/api/denials/{request_id}", &[("request_id", &id)], &Value::Null);
    for body in [json!({"curl": "curl http://x -H 'x-api-key: a'"}), json!({"headers": [["x-api-key", KEY]]})]
    {
        api.done("post", "/api/explain", &[], &body);
    }
    api.done("put", "/api/config/auth_mode", &[], &json!({"auth_mode": "all_except_health"}));
    api.done("put", "/api/config/allow_lan_access", &[], &json!({"allow_lan_access": false}));
    api.done("put", "/api/config/api_key", &[], &json!({"api_key": "sk-another0123456789"}));
    api.done("post", "/api/config/api_key/regenerate", &[], &json!({"keep_old_seconds": 60}));
    api.done("post", "/api/config/api_key/reveal", &[], &Value::Null);
    api.done("post", "/api/keys", &[], &json!({"name": "alice", "expires_at": "2031-01-31T00:00:00Z"}));
    api.done("patch", "/api/keys/{name}", &[("name", "alice")], &json!({"enabled": false}));
    api.done("get", "/api/keys", &[], &Value::Null);
    api.done("delete", "/api/keys/{name}", &[("name", "alice")], &Value::Null);
    let peer = origin.address.to_string();
    let names = [("upstream", "origin"), ("peer", &*peer)];
    api.done("patch", "/api/upstreams/{upstream}/peers/{peer}", &names, &json!({"drain": true}));
    api.done("get", "/api/upstreams", &[], &Value::Null);
    api.done("get", "/api/config", &[], &Value::Null);
    api.done("post", "/api/reload", &[], &Value::Null);
    gateway.replace_config("proxy: {prot: 1}\n");
    let rejected = ask(gateway.admin(), "POST /api/reload");
    matches(
        &api.document,
        &json!({"$ref": "#/components/schemas/LastReload"}),
        &rejected.json(),
        "a rejected reload",
    );
    events_match(&api.document, gateway.admin());
    api.asked.insert(("get".to_owned(), "/api/events".to_owned()));
    assert_eq!(api.asked, operations(&api.document), "every operation was asked");
}

/// Both kinds of events.
fn events_match(document: &Value, admin: SocketAddr) {
    let mut client = Client::connect(admin);
    client
        .send(format!("GET /api/events HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"));
    client.read_head();
    let text = String::from_utf8(client.read_chunk().unwrap()).unwrap();
    let mut seen = BTreeSet::new();
    for block in text.split("\n\n") {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let Some(event) = field("event: ") else { continue };
        let schema = match event {
            "live" => json!({"$ref": "#/components/schemas/LiveEvent"}),
            _ => json!({"$ref": "#/components/schemas/DenialEvent"}),
        };
        matches(document, &schema, &serde_json::from_str(field("data: ").unwrap()).unwrap(), event);
        seen.insert(event.to_owned());
    }
    assert_eq!(seen, BTreeSet::from(["denial".to_owned(), "live".to_owned()]));
}

/// Who may not gets nothing, whatever is asked; and the refusal is one that the document knows.
#[test]
fn every_operation_is_refused_to_those_who_may_not() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let (admin, document) = (gateway.admin(), document());
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let refused = |method: &str, path: &str, response: &Response, expected: (u16, &str)| {
        assert_eq!((response.status, code(response).as_str()), expected, "{method} {path}");
        matches(&document, &json!({"$ref": "#/components/schemas/Error"}), &response.json(), path);
        let described = &document["paths"][path][method]["responses"][response.status.to_string()];
        assert!(described.is_object(), "{method} {path}: {} is not described", response.status);
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
        assert!(response.header("content-security-policy").unwrap().contains("default-src 'none'"));
        assert_eq!(response.header("access-control-allow-origin"), None);
    };
    for (method, path) in operations(&document) {
        let foreign = format!("{token}Origin: http://evil.example\r\n");
        refused(&method, &path, &send(admin, &method, &path, &foreign, ""), (403, "cross_site"));
        let site = format!("{token}Sec-Fetch-Site: cross-site\r\n");
        refused(&method, &path, &send(admin, &method, &path, &site, ""), (403, "cross_site"));
        let rebound = format!(
            "{} {path} HTTP/1.1\r\nHost: rebound.example\r\n{token}Content-Length: 0\r\n\r\n",
            method.to_uppercase()
        );
        refused(&method, &path, &Client::connect(admin).exchange(rebound), (421, "foreign_host"));
        if path != "/metrics" {
            refused(&method, &path, &send(admin, &method, &path, "", ""), (401, "token_missing"));
        }
        // The gateway's own listener knows none of it: this goes to the upstream like everything else.
        let key = format!("x-api-key: {KEY}\r\n");
        let forwarded = send(gateway.address(), &method, &path.replace(['{', '}'], ""), &key, "");
        assert_eq!(forwarded.body, b"ok", "{method} {path}");
    }
    let operations = operations(&document).len();
    assert_eq!(origin.received().len(), operations);
    let other = ask(admin, "OPTIONS /api/status");
    assert_eq!((other.status, code(&other).as_str()), (405, "method_not_allowed"));
}
