//! The page for people in a real browser: what an operator does, and what another site's page cannot.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::admin::{TOKEN, administered};
use crate::support::{Browser, Gateway, KEY, Origin, RunningOrigin, run_to_end, sdk_python};

const VIEWS: [&str; 5] = ["proxy", "why", "traffic", "keys", "config"];

/// A browser that has logged in, as a person does.
fn logged_in(gateway: &Gateway) -> Browser {
    let mut browser = Browser::start();
    browser.open(&format!("http://{}/", gateway.admin()));
    browser.fill("#token", TOKEN);
    browser.press("Enter", 13);
    browser.wait("document.querySelector('#state')?.textContent === 'Live'");
    browser
}

fn go_to(browser: &mut Browser, view: &str) {
    browser.click(&format!("nav a[href='#{view}']"));
    browser.wait(&format!("document.querySelector('nav [aria-current=page]')?.hash === '#{view}'"));
}

fn choose(browser: &mut Browser, selector: &str, value: &str) {
    browser.evaluate(&format!(
        "(() => {{ const one = document.querySelector({}); one.value = {}; one.dispatchEvent(new Event('change')); }})()",
        json!(selector),
        json!(value)
    ));
}

fn status(gateway: &Gateway, key: &str) -> u16 {
    gateway.exchange(format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\n\r\n")).status
}

#[test]
fn only_the_token_logs_in_and_it_stays_in_the_tab() {
    let gateway = Gateway::start(&administered("strict", &Origin::start()));
    let mut browser = Browser::start();
    browser.open(&format!("http://{}/", gateway.admin()));
    browser.fill("#token", "admin-another-0123456789");
    browser.press("Enter", 13);
    browser.wait_for_text("This is not the admin token");
    browser.evaluate("document.querySelector('#token').value = ''");
    browser.fill("#token", TOKEN);
    browser.click("button[type=submit]");
    browser.wait("document.querySelector('#state')?.textContent === 'Live'");
    assert_eq!(browser.evaluate("localStorage.length + document.cookie.length"), 0);
    browser.order("Page.reload", &json!({}));
    browser.wait("document.querySelector('#state')?.textContent === 'Live'");
    browser.click("header button");
    browser.wait("document.activeElement?.id === 'token'");
    assert_eq!(browser.evaluate("sessionStorage.length"), 0, "logging out forgets the token");
    assert_eq!(browser.complaints(), [""; 0]);
    let markup = "try { document.body.innerHTML = '<b>'; 'taken' } catch (error) { error.name }";
    assert_eq!(browser.evaluate(markup), "TypeError", "no string becomes markup");
    assert_eq!(browser.complaints().len(), 1, "and it is noticed");
}

#[test]
fn a_regenerated_key_counts_at_once_for_an_sdk() {
    let origin = RunningOrigin::start();
    let gateway = Gateway::start(&format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: strict, api_key: {KEY}}} # comments stay\n\
         upstreams: {{origin: {{peers: ['{}']}}}}\nroutes: [{{path_prefix: /, upstream: origin}}]\n\
         admin: {{listen: '127.0.0.1:0', token: {TOKEN}}}\n",
        origin.address
    ));
    let models = |key: &str| {
        let mut python = Command::new(sdk_python());
        // Nothing of the caller's environment may take the place of what is given here.
        python.env_clear().stdin(Stdio::null());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/openai_client.py");
        python.args([script, &format!("http://{}", gateway.address()), key, "models"]);
        String::from_utf8(run_to_end(python).stdout).unwrap().trim().to_owned()
    };
    assert_eq!(models(KEY), "gpt-mock");
    let mut browser = logged_in(&gateway);
    assert!(!browser.text("main").contains(KEY), "it is masked");
    browser.click("[aria-controls=api-key]");
    browser.wait_for_text(KEY);
    browser.click(".keyline button:nth-child(3)");
    browser.click("dialog [type=submit]");
    browser.wait(&format!("/^sk-\\w{{16,}}$/.test(document.querySelector('#api-key').innerText) && !document.querySelector('dialog') && !document.querySelector('#api-key').innerText.includes({})", json!(KEY)));
    let new_key = browser.text("#api-key");
    assert!(models(KEY).starts_with("AuthenticationError 401 invalid_api_key: "), "the old one is refused");
    assert_eq!(models(&new_key), "gpt-mock", "the new one is accepted");
    let file = std::fs::read_to_string(gateway.file()).unwrap();
    assert!(file.contains(&new_key) && file.contains("# comments stay"), "{file}");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_mode_is_switched_and_a_lost_update_is_shown() {
    let gateway = Gateway::start(&administered("off", &Origin::start()));
    let mut browser = logged_in(&gateway);
    browser.wait_for_text("Nobody needs a key; only this machine can connect.");
    assert_eq!(status(&gateway, "wrong"), 200);
    choose(&mut browser, "#mode", "strict");
    browser.wait_for_text("In effect: strict");
    browser.wait_for_text("Generation 2 is in force");
    assert_eq!((status(&gateway, "wrong"), status(&gateway, KEY)), (401, 200));
    // As if somebody else had changed the file between two looks at it.
    browser.evaluate(
        "{ const send = fetch; window.fetch = (path, options) => send(path, {...options, headers: \
         {...options.headers, ...(options.headers['If-Match'] && {'If-Match': '\"older\"'})}}); }",
    );
    choose(&mut browser, "#mode", "off");
    browser.wait_for_text("The config file was changed in the meantime");
    browser.wait("document.querySelector('#mode').value === 'strict'");
    assert_eq!(status(&gateway, "wrong"), 401, "nothing was saved");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_pasted_request_is_explained_and_a_denial_comes_live() {
    let gateway = Gateway::start(&administered("strict", &Origin::start()));
    let mut browser = logged_in(&gateway);
    go_to(&mut browser, "why");
    let line = format!("curl http://{}/v1/models -H 'Authorization: bearer {KEY}'", gateway.address());
    browser.fill("#pasted", &line);
    browser.click("form button");
    browser.wait_for_text("401 credential_invalid");
    browser.wait_for_text("Bearer is written in another case");
    choose(&mut browser, "#pasted", "");
    browser.fill("#pasted", &format!("GET /v1/models HTTP/1.1\nx-api-key: {KEY}"));
    browser.click("form button");
    browser.wait_for_text("This request passes, to the upstream origin");
    gateway.exchange(format!(
        "GET /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: wrong\r\nx-api-key: {KEY}\r\n\r\n"
    ));
    browser.wait_for_text("which would match, is ignored");
    browser.click(".denial");
    browser.wait_for_text("send one of the headers only");
    assert_eq!(browser.evaluate("document.querySelector('.denial').getAttribute('aria-expanded')"), "true");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_key_is_made_shown_once_and_disabled() {
    let gateway = Gateway::start(&administered("strict", &Origin::start()));
    let mut browser = logged_in(&gateway);
    go_to(&mut browser, "keys");
    browser.click("main .primary");
    browser.fill("#name", "alice");
    browser.press("Enter", 13);
    browser.wait("!!document.querySelector('.made')");
    let key = browser.text(".made");
    assert_eq!(status(&gateway, &key), 200, "{key}");
    browser.press("Escape", 27);
    browser.wait("!document.querySelector('dialog')");
    assert_eq!(browser.evaluate("document.documentElement.outerHTML").as_str().unwrap().find(&key), None);
    browser.click("[aria-label='Disable alice']");
    browser.wait("!!document.querySelector(\"[aria-label='Enable alice']\")");
    assert_eq!(status(&gateway, &key), 401);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn traffic_is_drawn_and_a_peer_is_drained() {
    let gateway = Gateway::start(&administered("strict", &Origin::start()));
    let mut browser = logged_in(&gateway);
    assert_eq!(browser.text("#lan-hint"), "proxy.listen names the addresses, so this switch has no effect.");
    assert_eq!(browser.evaluate("document.querySelector('#lan').disabled"), true);
    go_to(&mut browser, "traffic");
    browser.wait_for_text("healthy");
    assert_eq!((status(&gateway, "wrong"), status(&gateway, KEY)), (401, 200));
    for drawn in ["credential_invalid", "origin median"] {
        browser.wait(&format!(
            "[...document.querySelectorAll('svg')].some((one) => one.ariaLabel.includes('{drawn}') \
             && one.querySelector('path[d^=M]'))"
        ));
    }
    browser.click("tbody button");
    browser.wait_for_text("drained");
    browser.wait_for_text("Use again");
    assert!(std::fs::read_to_string(gateway.file()).unwrap().contains("drain: true"));
    browser.click("tbody button");
    browser.wait_for_text("healthy");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_config_that_cannot_be_used_and_a_gateway_that_is_gone_are_shown() {
    let origin = Origin::start();
    let mut gateway = Gateway::start(&administered("strict", &origin));
    let mut browser = logged_in(&gateway);
    gateway.replace_config(
        &administered("strict", &origin).replace("    upstream: origin", "    upstream: '<img src=x>'"),
    );
    browser.wait("document.querySelector(\"nav a[href='#config']\").textContent === 'Config (1)'");
    go_to(&mut browser, "config");
    browser.wait_for_text("keygate.yaml:10:15");
    browser.wait_for_text("no upstream named <img src=x>");
    assert_eq!(browser.evaluate("document.querySelectorAll('main img').length"), 0, "text stays text");
    browser.wait_for_text("Generation 1 stays in force");
    // The same port, so that the page finds it again.
    let admin = format!("listen: '{}'", gateway.admin());
    std::fs::write(gateway.file(), administered("strict", &origin).replace("listen: '127.0.0.1:0'", &admin))
        .unwrap();
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    browser.wait_for_text("Gateway lost");
    let _gateway = gateway.start_again();
    browser.wait_for_text("The gateway is back.");
    browser.wait_for_text("Generation 1, as read at the start");
}

#[test]
fn every_view_fits_a_phone_and_can_be_read_in_both_themes() {
    let gateway = Gateway::start(&administered("strict", &Origin::start()));
    let mut browser = logged_in(&gateway);
    status(&gateway, "wrong");
    for view in VIEWS {
        go_to(&mut browser, view);
        let texts = browser.evaluate("document.querySelector('main').innerText.length");
        assert!(texts.as_u64().unwrap() > 50, "{view} is not empty");
        for (width, dark) in [(1280, false), (1280, true), (390, false), (390, true)] {
            browser.look(width, dark);
            let widest = browser.evaluate("document.documentElement.scrollWidth");
            assert_eq!(widest, width, "{view} is wider than the window");
            let faint = browser.evaluate(FAINT_TEXT);
            assert_eq!(faint, json!([]), "{view}, {width} px, dark: {dark}");
        }
        assert_eq!(browser.evaluate(UNNAMED_CONTROLS), json!([]), "{view}");
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Texts with a contrast below 4.5 (WCAG 2.2, 1.4.3), those of disabled controls left out, as there.
const FAINT_TEXT: &str = r"(() => {
  const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const all = [...document.querySelectorAll('body *')].filter((one) => one.checkVisibility() && !one.closest(':disabled')
    && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  if (all.length < 10) throw new Error('a sweep must sweep something');
  return all.map((one) => {
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
    return [one.textContent, (a + 0.05) / (b + 0.05)];
  }).filter(([, contrast]) => contrast < 4.5);
})()";

/// Controls that a screen reader has no name for.
const UNNAMED_CONTROLS: &str = "[...document.querySelectorAll('button, input, select, textarea, [role=switch]')] \
     .filter((one) => !(one.labels?.length || one.ariaLabel || one.getAttribute('aria-labelledby') \
                        || one.textContent.trim())).map((one) => one.outerHTML)";

#[test]
fn a_page_of_another_origin_gets_nothing() {
    let gateway = Gateway::start(&administered("strict", &Origin::start()));
    let admin = gateway.admin();
    let evil = Origin::answering(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nevil")
    });
    let mut browser = Browser::start_with(&["--host-resolver-rules=MAP rebound.example 127.0.0.1"]);
    browser.open(&format!("http://{}/", evil.address));
    for (path, options) in [
        ("/api/status", format!("{{headers: {{Authorization: 'Bearer {TOKEN}'}}}}")),
        ("/api/status", "{}".to_owned()),
        ("/metrics", "{}".to_owned()),
        ("/page/app.js", "{}".to_owned()),
    ] {
        let got = browser.evaluate(&format!(
            "fetch('http://{admin}{path}', {options}).then((got) => got.text(), (error) => error.name)"
        ));
        assert_eq!(got, "TypeError", "{path} {options}");
    }
    let module = browser.evaluate(&format!(
        "import('http://{admin}/page/api.js').then(() => 'loaded', (error) => error.name)"
    ));
    assert_eq!(module, "TypeError");
    let posted = browser.evaluate(&format!(
        "fetch('http://{admin}/api/reload', {{method: 'POST', mode: 'no-cors'}}).then((got) => got.type + got.status)"
    ));
    assert_eq!(posted, "opaque0");
    assert_eq!(browser.evaluate(&format!("(async () => {{ const frame = document.createElement('iframe'); frame.src = 'http://{admin}/'; document.body.append(frame); await new Promise((done) => frame.onload = done); return frame.contentDocument === null; }})()")), true);
    // The name leads here, but it is not ours.
    browser.open(&format!("http://rebound.example:{}/", admin.port()));
    browser.wait_for_text("foreign_host");
    assert_eq!(browser.evaluate("!!document.querySelector('#token')"), false);
    let status = crate::admin::ask(admin, "GET /api/status").json();
    assert_eq!(status["generation"], 1, "nothing was reloaded");
}
