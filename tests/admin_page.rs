//! The page for people, as files: what is served and to whom, with which rules for the browser, and that it keeps to them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use crate::admin::{TOKEN, administered, code};
use crate::support::{Client, Gateway, Origin, Response};

/// Name and text of every file of the page.
fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/page");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let text = std::fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), text)
        })
        .collect();
    files.sort();
    assert!(files.len() > 10, "a sweep must have swept something: {}", files.len());
    files
}

fn scripts() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|(name, _)| name.ends_with(".js"))
}

fn address_of(name: &str) -> String {
    if name == "index.html" { "/".to_owned() } else { format!("/page/{name}") }
}

fn get(admin: SocketAddr, path: &str, fields: &str) -> Response {
    Client::connect(admin).exchange(format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\n{fields}\r\n"))
}

fn start() -> Gateway {
    Gateway::start(&administered("strict", &Origin::start()))
}

#[test]
fn every_file_is_served_as_it_stands_and_needs_no_token() {
    let gateway = start();
    for (name, text) in files() {
        let response = get(gateway.admin(), &address_of(&name), "");
        assert_eq!((response.status, response.body.as_slice()), (200, text.as_bytes()), "{name}");
        let kind = match name.rsplit('.').next().unwrap() {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("of what kind is {other}?"),
        };
        assert_eq!(response.header("content-type"), Some(kind), "{name}");
        assert!(!text.contains(TOKEN));
    }
    for path in ["/page/", "/page/nothing.js", "/page/../mod.rs", "/page/%2e%2e/mod.rs", "/index.html"] {
        let response = get(gateway.admin(), path, "");
        assert_eq!((response.status, code(&response).as_str()), (401, "token_missing"), "{path}");
    }
}

#[test]
fn a_browser_is_told_to_load_nothing_else_and_to_keep_nothing() {
    let gateway = start();
    for (name, _) in files() {
        let response = get(gateway.admin(), &address_of(&name), "");
        let policy = response.header("content-security-policy").unwrap();
        let rules: BTreeSet<&str> = policy.split("; ").collect();
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(rules.contains(rule), "{name}: {rule}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        for (header, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(response.header(header), Some(value), "{name}: {header}");
        }
    }
}

#[test]
fn another_site_does_not_even_get_the_page() {
    let gateway = start();
    let admin = gateway.admin();
    for path in ["/", "/page/app.js"] {
        let rebound = format!("GET {path} HTTP/1.1\r\nHost: rebound.example:{}\r\n\r\n", admin.port());
        let response = Client::connect(admin).exchange(rebound);
        assert_eq!((response.status, code(&response).as_str()), (421, "foreign_host"), "{path}");
        for fields in ["Origin: http://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
            let response = get(admin, path, fields);
            assert_eq!((response.status, code(&response).as_str()), (403, "cross_site"), "{path}");
        }
        assert_eq!(get(admin, path, "Sec-Fetch-Site: same-origin\r\n").status, 200);
        // A link that was followed shows the page in a window of its own; a frame or a script of the other site gets nothing.
        let fetched = |mode: &str, dest: &str| {
            let fields =
                format!("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: {mode}\r\nSec-Fetch-Dest: {dest}\r\n");
            get(admin, path, &fields).status
        };
        assert_eq!(fetched("navigate", "document"), 200, "{path}");
        for (mode, dest) in
            [("navigate", "iframe"), ("navigate", "object"), ("no-cors", "script"), ("cors", "empty")]
        {
            assert_eq!(fetched(mode, dest), 403, "{path} {mode} {dest}");
        }
    }
    for path in ["/metrics", "/api/status", "/api/events"] {
        let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
        let response = get(admin, path, &format!("{link}Authorization: Bearer {TOKEN}\r\n"));
        assert_eq!((response.status, code(&response).as_str()), (403, "cross_site"), "{path}");
    }
    let posted = Client::connect(admin)
        .exchange(format!("POST / HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(posted.status, 405);
}

#[test]
fn the_page_refers_to_its_own_files_only() {
    let known: BTreeSet<String> = files().into_iter().map(|(name, _)| name).collect();
    let mut referred = BTreeSet::from(["index.html".to_owned()]);
    for (name, text) in files() {
        for (before, prefix) in [("from \"", "./"), ("src=\"", "/page/"), ("href=\"", "/page/")] {
            for rest in text.split(before).skip(1) {
                let target = rest.split('"').next().unwrap();
                let file = target.strip_prefix(prefix);
                let file = file.unwrap_or_else(|| panic!("{name} refers to {target}"));
                assert!(known.contains(file), "{name} refers to {target}, which is no file");
                referred.insert(file.to_owned());
            }
        }
    }
    assert_eq!(referred, known, "nothing is served that nothing needs");
}

#[test]
fn what_comes_from_the_gateway_can_only_become_text() {
    for (name, text) in scripts() {
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "DOMParser",
            "eval(",
            "Function(",
        ] {
            assert!(!text.contains(word), "{name}: {word}");
        }
        assert!(!text.contains("localStorage.") && !text.contains("document.cookie"), "{name}");
        assert!(text.starts_with("// "), "{name}: what is it for?");
        assert!(text.lines().count() <= 300, "{name} is long");
    }
}

/// A text that is written beside the others would not be translated with them.
#[test]
fn the_words_stand_in_one_file() {
    for (name, text) in scripts() {
        if ["text.js", "snippets.js"].contains(&name.as_str()) {
            continue;
        }
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with(['/', '*']))
            .collect::<Vec<_>>()
            .join("\n");
        for literal in code.split('"').skip(1).step_by(2) {
            let sentence =
                literal.starts_with(|first: char| first.is_ascii_uppercase()) && literal.contains(' ');
            assert!(!sentence, "{name}: {literal:?} belongs into text.js");
        }
    }
}
