//! Routes by host suffix, method and header; what they change on the way; paths that can be read in two ways.

use std::io::Write;

use crate::support::{Gateway, Origin, Response, keygate, run_to_end};

/// Without a key, names of the machine alone would be answered.
const HOSTS: &str = "other, example, x.example, y.x.example, x.eu.example, a.eu.example";

/// A gateway in mode `off` with these routes, all to one upstream named `o`.
fn gateway(origin: &Origin, routes: &str) -> Gateway {
    Gateway::start(&format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: off, allowed_hosts: [{HOSTS}]}}\nupstreams: {{o: {{peers: ['{}']}}}}\nroutes:\n{routes}\n",
        origin.address
    ))
}

fn send(gateway: &Gateway, line: &str, host: &str, fields: &str) -> Response {
    gateway.exchange(format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"))
}

#[test]
fn what_a_route_sets_or_removes_does_not_come_under_an_alias() {
    let origin = Origin::start();
    let rules = "{set: {X-Tenant: good}, remove: [x-debug]}";
    let gateway = gateway(&origin, &format!("  - {{path_prefix: /, request_headers: {rules}, upstream: o}}"));
    let fields = "X_Tenant: evil\r\nx-tenant: evil\r\nX_Debug: 1\r\nx-debug: 1\r\nx_other: stays\r\n";
    assert_eq!(send(&gateway, "GET /", "localhost", fields).status, 200);
    let received = origin.only_request();
    assert_eq!(received.header("x-tenant"), Some("good"));
    for gone in ["x_tenant", "x_debug", "x-debug"] {
        assert_eq!(received.header(gone), None, "{}", received.head);
    }
    assert_eq!(received.header("x_other"), Some("stays"));
}

#[test]
fn host_suffix_method_and_header_choose_the_route() {
    let origin = Origin::start();
    let mark = |name: &str| format!("response_headers: {{set: {{x-route: {name}}}}}, upstream: o");
    let routes = [
        format!("{{path_prefix: /, {}}}", mark("any")),
        format!("{{path_prefix: /, host: '*.example', {}}}", mark("suffix")),
        format!("{{path_prefix: /, host: '*.eu.example', {}}}", mark("longer")),
        format!("{{path_prefix: /, host: a.eu.example, {}}}", mark("exact")),
        format!("{{path_prefix: /v1, methods: [POST, PUT], {}}}", mark("write")),
        format!("{{path_prefix: /v1, headers: {{x-tenant: acme}}, {}}}", mark("tenant")),
        format!("{{path_prefix: /v1, headers: {{x-tenant: '*', x-beta: '*'}}, {}}}", mark("beta")),
    ];
    let gateway = gateway(&origin, &format!("  - {}", routes.join("\n  - ")));
    for (line, host, fields, expected) in [
        ("GET /", "other", "", "any"),
        ("GET /", "example", "", "any"),
        ("GET /", "x.example", "", "suffix"),
        ("GET /", "Y.X.Example:80", "", "suffix"),
        ("GET /", "x.eu.example", "", "longer"),
        ("GET /", "a.eu.example", "", "exact"),
        // The host counts more than all else.
        ("POST /v1/x", "x.example", "Content-Length: 0\r\n", "suffix"),
        ("POST /v1/x", "localhost", "Content-Length: 0\r\n", "write"),
        ("GET /v1/x", "localhost", "", "any"),
        ("GET /v1/x", "localhost", "x-tenant: acme\r\n", "tenant"),
        ("GET /v1/x", "localhost", "x-tenant: Acme\r\n", "any"),
        // A header counts more than a method, two more than one.
        ("PUT /v1/x", "localhost", "Content-Length: 0\r\nX-Tenant: acme\r\n", "tenant"),
        ("GET /v1/x", "localhost", "x-tenant: acme\r\nx-beta: 1\r\n", "beta"),
    ] {
        let response = send(&gateway, line, host, fields);
        assert_eq!(response.header("x-route"), Some(expected), "{host} {line} {fields:?}");
    }
}

#[test]
fn a_path_is_rewritten_and_the_query_stays() {
    let origin = Origin::start();
    let gateway = gateway(
        &origin,
        "  - {path_prefix: /openai/, strip_prefix: true, upstream: o}\n  \
         - {path_prefix: /v1, rewrite_prefix: /api/v2, upstream: o}\n  \
         - {path: /old, rewrite_path: /new, upstream: o}\n  - {path_prefix: /, upstream: o}",
    );
    for (asked, forwarded) in [
        ("/openai/v1/models?x=/openai/", "/v1/models?x=/openai/"),
        ("/openai/", "/"),
        ("/openai", "/openai"),
        ("/v1?a", "/api/v2?a"),
        ("/v1/chat%20x", "/api/v2/chat%20x"),
        ("/old?q=1?2", "/new?q=1?2"),
        ("/old/", "/old/"),
    ] {
        assert_eq!(send(&gateway, &format!("GET {asked}"), "localhost", "").status, 200);
        let line = origin.received().last().unwrap().head.lines().next().unwrap().to_owned();
        assert_eq!(line, format!("GET {forwarded} HTTP/1.1"));
    }
}

#[test]
fn fields_are_removed_set_and_added_on_both_ways() {
    let origin = Origin::answering(|_, stream| {
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: secret/1\r\nx-old: 1\r\nx-more: 1\r\n\r\n",
        )
    });
    let gateway = gateway(
        &origin,
        "  - path_prefix: /\n    upstream: o\n    \
         request_headers: {remove: [x-debug], set: {X-Env: prod}, add: {x-more: '2'}}\n    \
         response_headers: {remove: [server], set: {x-old: '2'}, add: {x-more: '2'}}",
    );
    let fields = "x-debug: 1\r\nx-env: dev\r\nx-env: test\r\nx-more: 1\r\nx-kept: 1\r\nConnection: x-env\r\n";
    let response = send(&gateway, "GET /", "localhost", fields);
    let received = origin.only_request();
    assert_eq!(received.header("x-debug"), None);
    // A client cannot strip it by naming it in `Connection`.
    let lines = |head: &str, name: &str| {
        head.lines().filter(|line| line.to_ascii_lowercase().starts_with(name)).count()
    };
    assert_eq!((received.header("x-env"), lines(&received.head, "x-env:")), (Some("prod"), 1));
    assert_eq!((received.header("x-kept"), lines(&received.head, "x-more:")), (Some("1"), 2));
    assert_eq!((response.header("server"), response.header("x-old")), (None, Some("2")));
    assert_eq!(lines(&response.head, "x-more:"), 2);
}

#[test]
fn a_path_that_can_be_read_in_two_ways_reaches_no_upstream() {
    let origin = Origin::start();
    let gateway = gateway(
        &origin,
        "  - {path_prefix: /, upstream: o}\n  - {path_prefix: /models, encoded_slashes: true, upstream: o}\n  \
         - {path_prefix: /caf%C3%A9, upstream: o}",
    );
    for path in [
        "/%6dodels",
        "/model%73/x",
        "/caf%c3%a9",
        "/c%61f%C3%A9/x",
        "//",
        "/v1//x",
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/.%2E/admin",
        "/.",
        "/v1/..;a/admin",
        "/v1%2fadmin",
        "/v1%5Cadmin",
        "/v1\\admin",
        "/a%00",
        "/models/..%2f..%2fadmin",
        "/models/%2e%2e%5cadmin",
    ] {
        let response = send(&gateway, &format!("GET {path}"), "localhost", "");
        assert_eq!((response.status, response.error_code()), (400, Some("ambiguous_path")), "{path}");
    }
    assert!(origin.received().is_empty());
    for path in [
        "/v1/",
        "/...",
        "/a.b/..c",
        "/v1/%252e%252e/x",
        "/%20",
        "/v1/x:generate",
        "/models/org%2Fname",
        "/v1/ft%3A%61",
        "/models/%61",
        "/caf%C3%A9/x",
    ] {
        assert_eq!(send(&gateway, &format!("GET {path}?/../x//%2f"), "localhost", "").status, 200, "{path}");
        let line = origin.received().last().unwrap().head.lines().next().unwrap().to_owned();
        assert_eq!(line, format!("GET {path}?/../x//%2f HTTP/1.1"), "not a byte is changed");
    }
}

#[test]
fn whoever_has_no_key_does_not_hear_about_paths() {
    let origin = Origin::start();
    let gateway = Gateway::start(&crate::support::config("strict", &origin));
    let response = send(&gateway, "GET /v1/../admin", "localhost", "");
    assert_eq!((response.status, response.error_code()), (401, Some("credential_missing")));
}

#[test]
fn a_route_that_cannot_be_is_refused_at_its_line() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("k.yaml");
    let wrong = [
        ("path_prefix: /a, methods: [get]", "`get` is no method"),
        ("path_prefix: /a, methods: []", "no method is listed"),
        ("path_prefix: /a, methods: [GET, TRACE]", "`TRACE` is refused everywhere"),
        ("path_prefix: /a, timeouts: {first_byte: 2s, total: 1s}", "`first_byte` is longer than `total`"),
        ("path_prefix: /a, headers: {'a b': x}", "`a b` is no name of a header field"),
        ("path_prefix: /a, headers: {Authorization: x}", "`authorization` decides who passes"),
        ("path: /a, strip_prefix: true", "`strip_prefix` needs a `path_prefix`"),
        ("path_prefix: /a, strip_prefix: true, rewrite_path: /b", "exclude each other"),
        ("path_prefix: /a, rewrite_prefix: b", "`b` does not start with `/`"),
        ("path_prefix: /a/../b", "is a path that is refused"),
        ("path_prefix: /%61/caf%c3%a9", "write `/a/caf%C3%A9`"),
        ("path_prefix: /a, host: '*.*.x'", "`*.*.x` is no host name"),
        ("path_prefix: /a, request_headers: {set: {x-api-key: x}}", "`x-api-key` carries a credential"),
        ("path_prefix: /a, response_headers: {remove: [content-length]}", "`content-length` is set by"),
        ("path_prefix: /a, request_headers: {add: {x: ' y'}}", "white space at an end"),
        ("path_prefix: /a, timeouts: {total: 0s}", "a duration from"),
    ];
    for (route, message) in wrong {
        let text =
            format!("upstreams: {{o: {{peers: ['127.0.0.1:1']}}}}\nroutes:\n  - {{{route}, upstream: o}}\n");
        std::fs::write(&file, text).unwrap();
        let output = run_to_end(keygate(["check".as_ref(), "-c".as_ref(), file.as_os_str()]));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(2), "{route}: {said}");
        assert!(said.contains("k.yaml:3:") && said.contains(message), "{route}: {said}");
    }
}
