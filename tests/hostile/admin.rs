//! The cases of the admin listener. They name an API of their own, under `/admin/`; this one is under `/`, and a config
//! is not sent to it whole but lies in its file, which `POST /api/reload` reads.

use std::net::SocketAddr;

use super::case::{ADMIN_TOKEN, Case, KEY, Outcome, expand};
use super::exchange::{self, Seen};
use super::judge::UPSTREAM_SECRET;
use crate::support::{Gateway, find};

/// Sends a case as it is spelled here, and tells what came, and what the case's note asks for but its fields do not say.
pub(super) fn run(case: &Case, gateway: &Gateway) -> (Seen, Vec<String>) {
    let admin = gateway.admin();
    let send = |request: &str, address: SocketAddr| {
        let case = Case { raw: Some(request.to_owned()), ..case.clone() };
        exchange::send(&case, address, &case.request(&address.to_string()))
    };
    let raw = case.raw.as_deref().unwrap();
    let raw = raw.replace(" /admin/api/", " /api/").replace(" /admin/ ", " / ");
    match case.id.as_str() {
        // A reload has no body that could be of the wrong type, nor one that could be too long.
        "AD-013" => (send(&raw.replace("/api/reload", "/api/explain"), admin), Vec::new()),
        "AD-018" => {
            let raw = raw.replace("/api/config", "/api/explain").replace("/yaml", "/json");
            (send(&raw, admin), Vec::new())
        }
        "AD-017" | "AD-019" | "AD-020" | "AD-021" => {
            let before = std::fs::read_to_string(gateway.file()).unwrap();
            gateway.replace_config(&config(case, &before));
            let reload = "POST /api/reload HTTP/1.1\r\nHost: {{HOST}}\r\nAuthorization: Bearer {{ADMIN_KEY}}\r\n\
                          Content-Length: 0\r\n\r\n";
            let reload = exchange::send(case, admin, &expand(reload, &admin.to_string(), 0));
            gateway.replace_config(&before);
            (reload, Vec::new())
        }
        "AD-022" => {
            let seen = send(&raw, admin);
            let shown = [KEY, ADMIN_TOKEN, UPSTREAM_SECRET]
                .into_iter()
                .filter(|secret| find(&seen.bytes, secret.as_bytes()).is_some());
            let faults = shown.map(|secret| format!("it shows {secret}")).collect();
            (seen, faults)
        }
        "AD-023" => (send(&raw, gateway.address()), Vec::new()),
        "AD-024" => guess(case, |number| send(&raw.replace("{{N}}", &number.to_string()), admin)),
        "AD-025" => {
            let seen = send(&raw, admin);
            let head = String::from_utf8_lossy(&seen.bytes).to_ascii_lowercase();
            let missing = ["x-frame-options: deny", "frame-ancestors 'none'"]
                .into_iter()
                .filter(|field| !head.contains(field))
                .map(|field| format!("no {field}"))
                .collect();
            (seen, missing)
        }
        _ => (send(&raw, admin), Vec::new()),
    }
}

/// What the body of these means here, as a config file.
fn config(case: &Case, before: &str) -> String {
    let body = String::from_utf8(expand(&case.body, "", 0)).unwrap();
    match case.id.as_str() {
        // Whose `auth_mode: off` is written out says by it that it wants just that; a mode that asks nobody without saying
        // so is the mistake.
        "AD-020" => before
            .replace("listen: ['127.0.0.1:0']", "listen: ['0.0.0.0:0']")
            .replace("auth_mode: strict", "auth_mode: auto"),
        "AD-021" => before.replace("upstreams:\n", "upstreams:\n  x: {peers: ['169.254.169.254:80']}\n"),
        "AD-019" => format!("{before}{body}"),
        _ => body,
    }
}

/// Sixty wrong tokens, of which some must be refused for their number; the first with an outcome that may not be.
fn guess(case: &Case, send: impl Fn(usize) -> Seen + Sync) -> (Seen, Vec<String>) {
    // Once ten were wrong each waits for a second, and an address has 32 connections.
    const CLIENTS: usize = 12;
    let send = &send;
    let mut guesses: Vec<Seen> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || (client..60).step_by(CLIENTS).map(send).collect::<Vec<_>>()))
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let refused = guesses.iter().filter(|seen| seen.outcomes == [Outcome::Status(429)]).count();
    let faults = if refused == 0 { vec!["no guess got 429".to_owned()] } else { Vec::new() };
    let may_be = |seen: &Seen| seen.outcomes.first().is_some_and(|first| case.expect.allow.contains(first));
    let worst = guesses.iter().position(|seen| !may_be(seen)).unwrap_or(0);
    (guesses.swap_remove(worst), faults)
}
