//! What `keygate doctor` makes of answers that are no plain refusal: of none, of a 429, of a preflight's; and of the address.

use std::io::Write;
use std::net::TcpListener;

use serde_json::Value;

use crate::admin::administered;
use crate::doctor::{doctor, like_keygate};
use crate::support::{Gateway, KEY, Origin, config};

/// A key beside the right one.
fn nearly() -> String {
    format!("{KEY}0")
}

fn text<'a>(report: &'a Value, pointer: &str) -> &'a str {
    report.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer}: {report}"))
}

/// Whether `whole` has all of `parts` in it.
fn has_all(whole: &str, parts: &[&str]) -> bool {
    parts.iter().all(|part| whole.contains(part))
}

#[test]
fn an_upstream_that_is_silent_is_no_gateway_that_is_well_and_is_waited_for_once() {
    let origin = Origin::start();
    // The kernel takes the connection, and nobody ever reads from it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let to_silent = silent.local_addr().unwrap().to_string();
    let gateway = Gateway::start(&config("strict", &origin).replace(&origin.address.to_string(), &to_silent));
    let (code, report) = doctor(&[&format!("http://{}", gateway.address()), "--key", KEY], &[]);
    assert_eq!((code, text(&report, "/verdict/reason")), (Some(3), "unreachable"), "{report}");
    let parts = ["the gateway answers its health check, but not this call", "there is no answer in time"];
    assert!(has_all(text(&report, "/verdict/cause"), &parts), "{report}");
    assert_eq!(report["steps"].as_array().unwrap().len(), 3, "{report}");
    assert_eq!(report["verdict"]["step"], 3);
    assert!(
        report["notes"]
            .to_string()
            .contains("not called, since the one before had no answer in time: with --key")
    );
}

#[test]
fn a_call_that_breaks_off_behind_a_health_check_that_does_not_is_told() {
    let origin = Origin::answering(|request, stream| {
        if request.head.contains("/healthz") {
            return stream.write_all(
                b"HTTP/1.1 200 OK\r\nAllow: GET, HEAD, OPTIONS\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n",
            );
        }
        stream.shutdown(std::net::Shutdown::Both)
    });
    let (code, report) = doctor(&[&format!("http://{}", origin.address), "--key", KEY], &[]);
    assert_eq!((code, text(&report, "/verdict/reason")), (Some(3), "unreachable"), "{report}");
}

#[test]
fn a_wrong_key_that_is_one_of_too_many_is_still_a_wrong_key() {
    let origin = Origin::start();
    let limits = "limits: {failed_auth: {requests: 1, per: minute, burst: 1}}\n";
    let gateway = Gateway::start(&format!("{}{limits}", administered("strict", &origin)));
    let (url, admin) = (format!("http://{}", gateway.address()), format!("http://{}", gateway.admin()));
    let arguments = [&url, "-H", &format!("x-api-key: {}", nearly()), "--admin", &admin];
    let token = [("KEYGATE_ADMIN_TOKEN", crate::admin::TOKEN)];
    let mut results = Vec::new();
    for _ in 0..2 {
        let (code, report) = doctor(&arguments, &token);
        assert_eq!((code, text(&report, "/verdict/reason")), (Some(1), "damaged_key"), "{report}");
        results.push(text(&report, "/steps/2/result").to_owned());
    }
    assert_eq!(
        results,
        ["401 credential_invalid, from the gateway", "429 too_many_failed_attempts, from the gateway"]
    );
}

#[test]
fn a_key_that_has_used_up_what_it_may_is_not_well() {
    let origin = Origin::start();
    let limits = "limits: {rate: {requests: 1, per: hour, burst: 1}}\n";
    let gateway = Gateway::start(&format!("{}{limits}", config("strict", &origin)));
    let arguments = [&format!("http://{}", gateway.address()), "--key", KEY];
    let (code, report) = doctor(&arguments.map(|argument| argument as &str), &[]);
    assert_eq!((code, text(&report, "/verdict/reason")), (Some(1), "rate_limited"), "{report}");
    assert_eq!(report["verdict"]["step"], 4, "the first one passes: {report}");
}

#[test]
fn a_gateway_without_keys_that_minds_who_asks_says_nothing_of_a_key() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("auto", &origin));
    let url = format!("http://{}", gateway.address());
    let (code, report) = doctor(&[&url, "-H", "Origin: https://app.example"], &[]);
    assert_eq!((code, text(&report, "/verdict/reason")), (Some(7), "cors"), "{report}");
    assert!(
        has_all(text(&report, "/verdict/cause"), &["asks for no key", "`cross_site_request`"]),
        "{report}"
    );
}

#[test]
fn a_name_without_an_address_is_told_from_what_speaks_no_http_or_no_tls() {
    for url in ["http://nobody.invalid:8045", "https://nobody.invalid:8045"] {
        let (code, report) = doctor(&[url], &[]);
        assert_eq!(
            (code, text(&report, "/verdict/cause")),
            (Some(3), "the host name has no address"),
            "{url}"
        );
    }
}

#[test]
fn the_url_of_a_call_is_called_and_its_query_is_not_printed() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    let url = format!("http://{}", gateway.address());
    let (code, report) = doctor(&[&format!("{url}/v1beta/models?key={KEY}")], &[]);
    assert_eq!((code, text(&report, "/verdict/reason")), (Some(1), "key_in_query"), "{report}");
    assert_eq!(text(&report, "/url"), url);
    let (code, report) = doctor(&[&url, "--path", "v1/models", "--key", KEY], &[]);
    assert_eq!(code, Some(0), "{report}");
    assert!(origin.received().iter().all(|request| request.head.starts_with("GET /v1/models ")));
}

#[test]
fn a_user_in_the_url_is_refused_and_nothing_is_sent_or_printed() {
    let origin = like_keygate();
    let output = crate::support::run_to_end(crate::support::keygate([
        "doctor",
        &format!("http://me:secret@{}", origin.address),
    ]));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("the URL holds a user or a password") && !errors.contains("secret"), "{errors}");
    assert!(origin.received().is_empty() && output.stdout.is_empty());
}

#[test]
fn a_server_without_a_name_and_the_admin_api_are_no_gateway() {
    let nameless = Origin::answering(|_, stream| {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    });
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    for (address, cause) in [
        (nameless.address, "it is not keygate that answers there, but a server that gives no name"),
        (gateway.admin(), "it is the admin API of keygate that answers there, not the gateway itself"),
    ] {
        let (code, report) = doctor(&[&format!("http://{address}"), "--key", KEY], &[]);
        assert_eq!((code, text(&report, "/verdict/cause")), (Some(5), cause));
    }
}

#[test]
fn a_header_that_a_page_may_not_send_stops_the_browser() {
    let origin = Origin::start();
    let cors = "cors: {origins: ['https://app.example'], headers: [content-type, x-api-key]}";
    let gateway =
        Gateway::start(&config("strict", &origin).replacen("proxy:\n", &format!("proxy:\n  {cors}\n"), 1));
    let url = format!("http://{}", gateway.address());
    let from_page = |sent: &str| doctor(&[&url, "-H", sent, "--origin", "https://app.example/"], &[]);
    let (code, report) = from_page(&format!("Authorization: Bearer {KEY}"));
    assert_eq!((code, text(&report, "/verdict/reason")), (Some(7), "cors"), "{report}");
    let missing = "`access-control-allow-headers` of the answer has no `authorization`";
    assert!(text(&report, "/verdict/cause").starts_with(missing), "{report}");
    assert_eq!(from_page(&format!("x-api-key: {KEY}")).0, Some(0));
}

#[test]
fn an_admin_api_that_does_not_answer_the_question_is_named() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let (url, admin) = (format!("http://{}", gateway.address()), format!("http://{}", gateway.admin()));
    let (code, report) =
        doctor(&[&url, "--key", &nearly(), "--admin", &admin], &[("KEYGATE_ADMIN_TOKEN", "another")]);
    assert_eq!(code, Some(1), "{report}");
    assert!(report["notes"].to_string().contains("the gateway itself was not asked: "), "{report}");
}

#[test]
fn an_admin_api_that_is_silent_is_asked_once() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, admin) =
        (format!("http://{}", gateway.address()), format!("http://{}", silent.local_addr().unwrap()));
    let (code, report) =
        doctor(&[&url, "--key", &nearly(), "--admin", &admin], &[("KEYGATE_ADMIN_TOKEN", "a-token")]);
    assert_eq!((code, text(&report, "/verdict/reason")), (Some(1), "unknown_key"), "{report}");
    assert!(
        has_all(&report["notes"].to_string(), &["no admin API answers at", "no answer in time"]),
        "{report}"
    );
    silent.set_nonblocking(true).unwrap();
    let asked = std::iter::from_fn(|| silent.accept().ok()).count();
    assert_eq!(asked, 1);
}
