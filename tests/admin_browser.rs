//! The page for people in a real browser: what an operator does, and what another site's page cannot.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::admin::{TOKEN, administered};
use crate::support::{
    Browser, Client, Gateway, KEY, Origin, RunningOrigin, run_to_end, sdk_python, wait_for,
};

const VIEWS: [&str; 5] = ["proxy", "why", "traffic", "keys", "config"];

/// A browser that has logged in, as a person does.
fn logged_in(gateway: &Gateway) -> Browser {
    let mut browser = Browser::start();
    log_in(&mut browser, gateway);
    browser
}

fn log_in(browser: &mut Browser, gateway: &Gateway) {
    browser.open(&format!("http://{}/", gateway.admin()));
    browser.fill("#token", TOKEN);
    browser.press("Enter", 13);
    browser.wait(LIVE);
}

/// The page has had an event.
const LIVE: &str = "document.querySelector('#state')?.textContent === 'Live'";

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
    browser.evaluate("window.isOld = true");
    browser.order("Page.reload", &json!({}));
    browser.wait("!window.isOld && document.querySelector('#state')?.textContent === 'Live'");
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

/// Each of them, with a key in which a shell and Python would find something of theirs.
#[test]
fn what_is_copied_calls_the_gateway() {
    const ODD_KEY: &str = "sk-'a\"b$(c)`d`\\e0123456789";
    let origin = RunningOrigin::start();
    let gateway = Gateway::start(&format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: strict, api_key: {}}}\n\
         upstreams: {{origin: {{peers: ['{}']}}}}\nroutes: [{{path_prefix: /, upstream: origin}}]\n\
         admin: {{listen: '127.0.0.1:0', token: {TOKEN}}}\n",
        json!(ODD_KEY),
        origin.address
    ));
    let mut browser = logged_in(&gateway);
    browser.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }");
    for (number, (program, models)) in
        [("sh", "gpt-mock"), ("python", "gpt-mock"), ("python", "claude-mock"), ("python", "gemini-mock")]
            .into_iter()
            .enumerate()
    {
        browser.click(&format!(".segments button:nth-child({})", number + 1));
        assert!(!browser.text(".segments ~ pre").contains(ODD_KEY), "what is seen is masked");
        browser.evaluate("window.copied = ''");
        browser.click(".segments ~ .actions button");
        browser.wait("copied !== ''");
        let copied = browser.evaluate("copied").as_str().unwrap().to_owned();
        let mut command = Command::new(if program == "sh" { "sh".into() } else { sdk_python() });
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .args(["-c", &copied])
            .stdin(Stdio::null());
        let output = run_to_end(command);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success() && said.contains(models), "{copied}\n{said}");
    }
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

/// With a keyboard one goes past a mode to the next, faster than the gateway answers.
#[test]
fn two_changes_at_once_are_made_one_after_the_other() {
    let gateway = Gateway::start(&administered("off", &Origin::start()));
    let mut browser = logged_in(&gateway);
    browser.evaluate(
        "for (const mode of ['strict', 'all_except_health', 'strict']) { const one = document.querySelector('#mode'); \
         one.value = mode; one.dispatchEvent(new Event('change')); }",
    );
    browser.wait_for_text("Generation 4 is in force");
    browser.wait_for_text("In effect: strict");
    assert!(!browser.text("#notices").contains("changed in the meantime"), "{}", browser.text("#notices"));
    assert_eq!(status(&gateway, "wrong"), 401);
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
    browser.click("[aria-label='Enable alice']");
    browser.wait("!!document.querySelector(\"[aria-label='Disable alice']\")");
    browser.click("[aria-label='Expiry alice']");
    choose(&mut browser, "#end", "2020-01-31T12:00");
    browser.click("dialog [type=submit]");
    browser.wait_for_text("expired");
    assert_eq!(status(&gateway, &key), 401);
    browser.click("[aria-label='Expiry alice']");
    browser.wait("document.querySelector('#end').value === '2020-01-31T12:00'");
    browser.click("dialog .clear");
    browser.click("dialog [type=submit]");
    browser.wait("!document.body.innerText.includes('expired')");
    assert_eq!(status(&gateway, &key), 200);
    // When a key was last used is seen as it is used, and that it has ended, as it ends.
    let bob = crate::admin_changes::changed(gateway.admin(), "POST /api/keys", &json!({"name": "bob"}));
    let cell = |name: &str, column: &str| {
        format!(
            "[...document.querySelectorAll('tbody tr')].find((row) => row.innerText.includes('{name}'))\
             ?.querySelector('[data-label=\"{column}\"]').innerText"
        )
    };
    browser.wait(&format!("{} === 'not yet'", cell("bob", "Last used")));
    assert_eq!(status(&gateway, bob["key"].as_str().unwrap()), 200);
    browser.wait(&format!("{}.includes('20')", cell("bob", "Last used")));
    let soon = (chrono::Utc::now() + chrono::TimeDelta::seconds(3)).to_rfc3339();
    crate::admin_changes::changed(gateway.admin(), "PATCH /api/keys/bob", &json!({"expires_at": soon}));
    browser.wait(&format!("{} === 'expired'", cell("bob", "State")));
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
    browser.look(390, false);
    let header = "document.querySelector('header').offsetHeight";
    let high = browser.evaluate(header);
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    browser.wait_for_text("Gateway lost");
    assert_eq!(browser.evaluate(header), high, "nothing moves for that");
    // It is seen from the end of the page too, and what cannot be done is said once.
    go_to(&mut browser, "keys");
    for _ in 0..2 {
        browser.click("main .primary");
        browser.fill("#name", "alice");
        browser.press("Enter", 13);
        browser.wait_for_text("The gateway cannot be reached.");
        browser.press("Escape", 27);
        browser.wait("!document.querySelector('dialog')");
    }
    browser.evaluate("scrollTo(0, document.documentElement.scrollHeight)");
    let seen = "(() => { const {left, right, top, bottom} = document.querySelector('#state').getBoundingClientRect(); \
        return scrollY > 0 && document.elementFromPoint((left + right) / 2, (top + bottom) / 2)?.id === 'state'; })()";
    browser.wait(seen);
    browser.wait("document.querySelectorAll('.notice.bad').length === 1");
    let _gateway = gateway.start_again();
    browser.wait_for_text("The gateway is back.");
    go_to(&mut browser, "config");
    browser.wait_for_text("Generation 1, as read at the start");
}

/// Clients that take so many of the streams of events.
fn streams(gateway: &Gateway, count: usize) -> Vec<Client> {
    let open = || {
        let mut client = Client::connect(gateway.admin());
        client.send(format!(
            "GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        ));
        client.read_head().starts_with("HTTP/1.1 200").then_some(client)
    };
    (0..count).map(|_| wait_for("a stream", open)).collect()
}

#[test]
fn a_page_for_which_there_is_no_stream_says_so_and_comes_to_life_when_there_is() {
    let gateway = Gateway::start(&administered("strict", &Origin::start()));
    let taken = streams(&gateway, 16);
    let mut browser = Browser::start();
    browser.open(&format!("http://{}/", gateway.admin()));
    browser.fill("#token", TOKEN);
    browser.press("Enter", 13);
    browser.wait("document.querySelector('#state')?.textContent === 'Too many pages, retrying'");
    choose(&mut browser, "#mode", "off");
    browser.wait_for_text("In effect: off");
    assert_eq!(status(&gateway, "wrong"), 200, "all but the live values works");
    drop(taken);
    browser.wait(LIVE);
}

/// A browser has six connections for one host (HTTP/1.1), and each page in front has a stream of events.
#[test]
fn more_tabs_than_a_browser_has_connections_are_all_served() {
    let gateway = Gateway::start(&administered("strict", &Origin::start()));
    let mut browser = logged_in(&gateway);
    let first = browser.tab();
    for _ in 0..8 {
        browser.open_tab();
        log_in(&mut browser, &gateway);
    }
    status(&gateway, "wrong");
    browser.turn_to(&first);
    go_to(&mut browser, "why");
    browser.wait_for_text("credential_invalid");
    let notices = browser.text("#notices");
    assert_eq!(notices, "", "nothing was lost: nobody looked");
    // Of the nine, the one in front has a stream at the gateway, which has sixteen.
    assert_eq!(streams(&gateway, 15).len(), 15);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn lan_access_is_switched_and_says_what_waits_for_a_restart() {
    // The switch is for the default listener, which cannot be asked for port 0: a port that is free a moment before.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = administered("strict", &Origin::start());
    let gateway = Gateway::start(&config.replace("listen: ['127.0.0.1:0']\n", &format!("port: {free}\n")));
    let mut browser = logged_in(&gateway);
    let switched = |browser: &mut Browser, to: bool, hint: &str| {
        browser.click("#lan");
        browser.wait(&format!("document.querySelector('#lan').ariaChecked === '{to}'"));
        browser.wait_for_text(hint);
        assert!(
            std::fs::read_to_string(gateway.file()).unwrap().contains(&format!("allow_lan_access: {to}"))
        );
    };
    let waits = "Waits for a restart: listeners (port, allow_lan_access, listen)";
    switched(&mut browser, true, "Other machines can connect once the gateway is started again");
    go_to(&mut browser, "config");
    browser.wait_for_text(waits);
    go_to(&mut browser, "proxy");
    switched(&mut browser, false, "Only this machine can connect.");
    go_to(&mut browser, "config");
    browser.wait(&format!("!document.body.innerText.includes('{waits}')"));
    assert_eq!(browser.complaints(), [""; 0]);
}

/// How far things moved that nobody had asked to (Layout Instability API), all of it from the beginning of the page; and how
/// much of the stream of events has come.
const SHIFTS: &str = "window.shifts = []; window.parts = 0; \
     new PerformanceObserver((list) => list.getEntries().forEach((one) => \
       shifts.push([one.value, ...one.sources.map(({node}) => node?.outerHTML?.slice(0, 80))]))) \
     .observe({type: 'layout-shift', buffered: true}); \
     const {read} = ReadableStreamDefaultReader.prototype; \
     ReadableStreamDefaultReader.prototype.read = async function () { \
       const part = await read.call(this); parts += 1; return part; };";

/// How many keys of the table were used.
const USED_KEYS: &str = "document.querySelectorAll('[data-label=\"Last used\"] time').length";

/// Until it is drawn.
const DRAWN: &str =
    "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))";

#[test]
fn nothing_moves_while_a_view_is_loaded_and_the_first_events_come() {
    let origin = RunningOrigin::start();
    let gateway = Gateway::start(&pictured(&origin));
    let mut browser = logged_in(&gateway);
    browser.order("Page.addScriptToEvaluateOnNewDocument", &json!({"source": SHIFTS}));
    for (width, key) in [(1280, KEY), (390, "sk-alice")] {
        browser.look(width, false);
        for view in VIEWS {
            status(&gateway, "wrong");
            browser.evaluate(&format!("location.hash = '{view}'; window.isOld = true"));
            browser.order("Page.reload", &json!({}));
            browser.wait("!window.isOld && window.parts >= 1 && document.readyState === 'complete'");
            status(&gateway, "wrong");
            if view == "keys" {
                // For the first time, while it is looked at.
                let used = browser.evaluate(USED_KEYS);
                assert_eq!(status(&gateway, key), 200);
                browser.wait(&format!("{USED_KEYS} > {used}"));
            }
            browser.wait("parts >= 3");
            browser.wait(DRAWN);
            let texts = browser.evaluate("document.querySelector('main').innerText.length");
            assert!(texts.as_u64().unwrap() > 50, "{view} is not empty");
            let shifts = browser.evaluate("shifts");
            let sum: f64 = shifts.as_array().unwrap().iter().map(|one| one[0].as_f64().unwrap()).sum();
            assert!(sum < 0.1, "{view}, {width} px: {sum} {shifts:#}");
        }
    }
    // The measure measures.
    browser.evaluate("document.querySelector('header').style.marginTop = '300px'");
    browser.wait("shifts.some(([value]) => value > 0.1)");
}

#[test]
fn every_view_fits_a_phone_and_can_be_read_in_both_themes() {
    let gateway = Gateway::start(&pictured(&RunningOrigin::start()));
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
            assert_eq!(browser.evaluate(JUTTING_OUT), json!([]), "{view}, {width} px");
            assert_eq!(browser.evaluate(OVERLAPPING_TEXTS), json!([]), "{view}, {width} px");
            let faint = browser.evaluate(FAINT_TEXT);
            assert_eq!(faint, json!([]), "{view}, {width} px, dark: {dark}");
        }
        assert_eq!(browser.evaluate(UNNAMED_CONTROLS), json!([]), "{view}");
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn with_the_keyboard_every_control_is_reached_and_seen_in_both_directions() {
    let origin = RunningOrigin::start();
    let gateway = Gateway::start(&pictured(&origin));
    let mut browser = logged_in(&gateway);
    status(&gateway, "wrong");
    browser.look(390, false);
    for view in VIEWS {
        go_to(&mut browser, view);
        if view == "why" {
            browser.wait("!!document.querySelector('.denial')");
        }
        if view == "keys" || view == "traffic" {
            browser.wait("!!document.querySelector('tbody button')");
        }
        let controls = browser.evaluate(&format!("{CONTROLS}.length")).as_u64().unwrap();
        assert!(controls > 6, "a sweep must sweep something: {view} {controls}");
        for modifiers in [0, 8] {
            browser.evaluate("document.activeElement.blur(); window.getSelection().removeAllRanges(); window.reached = new Set()");
            for _ in 0..=controls {
                for kind in ["keyDown", "keyUp"] {
                    let press = json!({"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9, "modifiers": modifiers});
                    browser.order("Input.dispatchKeyEvent", &press);
                }
                let unseen = browser.evaluate(UNSEEN_FOCUS);
                assert_eq!(unseen, json!(null), "{view}, modifiers {modifiers}");
            }
            let missed = format!("{CONTROLS}.filter((one) => !reached.has(one)).map((one) => one.outerHTML)");
            assert_eq!(browser.evaluate(&missed), json!([]), "{view}, modifiers {modifiers}");
        }
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

/// What a keyboard can be on.
const CONTROLS: &str = "[...document.querySelectorAll('a[href], button, input, select, textarea, [tabindex=\"0\"]')] \
     .filter((one) => one.checkVisibility({visibilityProperty: true}) && !one.disabled)";

/// What has focus, if that cannot be seen: it has no outline, or lies under something or outside of the window.
const UNSEEN_FOCUS: &str = r"(() => {
  const one = document.activeElement;
  if (one === document.body) return null;
  reached.add(one);
  const { left, right, top, bottom, height } = one.getBoundingClientRect();
  const seen = height > 400 ? top < innerHeight && bottom > 80
    : one.contains(document.elementFromPoint((left + right) / 2, (top + bottom) / 2));
  return seen && getComputedStyle(one).outlineStyle !== 'none' ? null : [one.outerHTML.slice(0, 200), top, bottom, scrollY];
})()";

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

/// What is wider than the card that it stands in.
const JUTTING_OUT: &str = r"(() => {
  const cards = [...document.querySelectorAll('.card')].filter((card) => card.checkVisibility());
  if (cards.length < 1) throw new Error('a sweep must sweep something');
  return cards.flatMap((card) => [...card.querySelectorAll('*')]
    .filter((one) => !one.closest('pre, thead') && one.getBoundingClientRect().right > card.getBoundingClientRect().right + 1)
    .map((one) => one.outerHTML.slice(0, 200)));
})()";

/// Texts that stand on each other, as far as they can be seen.
const OVERLAPPING_TEXTS: &str = r"(() => {
  const walker = document.createTreeWalker(document.querySelector('#app'), NodeFilter.SHOW_TEXT);
  const seen = [];
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.data.trim() || !node.parentElement.checkVisibility() || node.parentElement.closest('pre, thead, select, .hidden, .skip')) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const clip = node.parentElement.closest('.request')?.getBoundingClientRect().right ?? Infinity;
    for (const { left, right, top, bottom } of range.getClientRects()) seen.push([node.data, left, Math.min(right, clip), top, bottom]);
  }
  if (seen.length < 10) throw new Error('a sweep must sweep something');
  return seen.flatMap(([one, left, right, top, bottom], at) => seen.slice(at + 1)
    .filter(([, l, r, t, b]) => Math.min(right, r) - Math.max(left, l) > 1 && Math.min(bottom, b) - Math.max(top, t) > 6)
    .map(([other]) => [one, other]));
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
    let mut browser = Browser::start_with(&["--host-resolver-rules=MAP *.example 127.0.0.1"]);
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
    // A link from there may be followed, as from a dashboard; it opens the page, which has no frame around it.
    browser.open(&format!("http://elsewhere.example:{}/", evil.address.port()));
    browser.evaluate(&format!("{{ const link = document.createElement('a'); link.href = 'http://{admin}/'; link.textContent = 'admin'; document.body.append(link); }}"));
    browser.click("a");
    browser.wait("!!document.querySelector('#token')");
    assert_eq!(browser.evaluate("window.opener === null && window.top === window"), true);
    browser.open(&format!("http://elsewhere.example:{}/", evil.address.port()));
    browser.evaluate(&format!("location.href = 'http://{admin}/api/status'"));
    browser.wait_for_text("cross_site");
    // The name leads here, but it is not ours.
    browser.open(&format!("http://rebound.example:{}/", admin.port()));
    browser.wait_for_text("foreign_host");
    assert_eq!(browser.evaluate("!!document.querySelector('#token')"), false);
    let status = crate::admin::ask(admin, "GET /api/status").json();
    assert_eq!(status["generation"], 1, "nothing was reloaded");
}

/// What a view looks like, for people: both themes, wide and narrow, with as much in it as there may be.
#[test]
#[ignore = "writes pictures into target/pictures, to be looked at"]
fn pictures_are_taken() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pictures");
    std::fs::create_dir_all(&folder).unwrap();
    let origin = RunningOrigin::start();
    // The LAN switch is for the default listener, which cannot be asked for port 0.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = pictured(&origin).replace("listen: ['127.0.0.1:0']\n", &format!("port: {free}\n"));
    let mut gateway = Gateway::start(&text);
    let mut browser = logged_in(&gateway);
    let take = |browser: &mut Browser, name: &str| {
        for (width, dark) in [(1280, false), (1280, true), (390, false), (390, true)] {
            browser.look(width, dark);
            browser.wait(DRAWN);
            let theme = if dark { "dark" } else { "light" };
            browser.photograph(&folder.join(format!("{name}-{width}-{theme}.png")));
        }
    };
    go_to(&mut browser, "why");
    take(&mut browser, "why-empty");
    some_traffic(&gateway, &mut browser);
    for view in VIEWS {
        go_to(&mut browser, view);
        if view == "why" {
            browser.fill(
                "#pasted",
                &format!("curl http://127.0.0.1:8045/v1/models -H 'Authorization: Bearer{KEY}'"),
            );
            browser.click("form button");
            browser.wait_for_text("What to do");
            browser.click(".denial");
        }
        take(&mut browser, view);
    }
    gateway.replace_config(
        &text.replace("upstream: local}", "upstream: lcal}").replace("addresses", "adresses"),
    );
    browser.wait("!!document.querySelector(\"nav a[href='#config'].flagged\")");
    take(&mut browser, "problems");
    gateway.replace_config(&text.replace("# threads: 2", "threads: 2"));
    browser.wait("!document.querySelector(\"nav a[href='#config'].flagged\")");
    take(&mut browser, "restart");
    go_to(&mut browser, "proxy");
    browser.click("[aria-controls=api-key]");
    browser.wait_for_text(KEY);
    browser.click("#lan");
    browser.wait_for_text("Saved.");
    take(&mut browser, "saved");
    browser.click(".keyline button:nth-child(3)");
    take(&mut browser, "dialog");
    browser.press("Escape", 27);
    go_to(&mut browser, "keys");
    browser.click("main .primary");
    browser.fill("#name", "erin");
    take(&mut browser, "create");
    browser.press("Enter", 13);
    browser.wait("!!document.querySelector('.made')");
    take(&mut browser, "made");
    browser.press("Escape", 27);
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    browser.wait_for_text("Gateway lost");
    browser.click("[aria-label='Disable alice']");
    browser.wait_for_text("The gateway cannot be reached.");
    take(&mut browser, "lost");
    browser.click("header button");
    browser.wait("document.activeElement?.id === 'token'");
    take(&mut browser, "login");
}

/// Requests of all kinds for twenty seconds.
fn some_traffic(gateway: &Gateway, browser: &mut Browser) {
    for (number, second) in (0..20).enumerate() {
        for call in 0..(3 + number * 7 % 11) {
            let key = ["sk-alice", "sk-alice", KEY, "sk-wrong"][(call + second) % 4];
            status(gateway, key);
            for fields in [
                format!("Authorization: Bearer {KEY}\r\n"),
                format!("Authorization: bearer {KEY}\r\n"),
                String::new(),
            ]
            .iter()
            .take(1 + call % 5)
            {
                gateway.exchange(format!("GET /v1/models HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
            }
        }
        browser.evaluate("new Promise((done) => setTimeout(done, 1000))");
    }
}

/// A config with something of everything.
fn pictured(origin: &RunningOrigin) -> String {
    let digest = |key: &str| keygate::policy::Digest::of(key.as_bytes()).to_string();
    let port = origin.address.port();
    format!(
        "proxy:\n  listen: ['127.0.0.1:0']\n  # threads: 2\n  auth_mode: all_except_health\n  api_key: {KEY}\n\
         upstreams:\n  openai:\n    peers: ['127.0.0.1:{port}', {{address: '127.0.0.1:9', weight: 2}}]\n\
         \x20 local: {{peers: ['127.0.0.1:{port}']}}\nroutes:\n  - {{path_prefix: /, upstream: local}}\n  \
         - {{path_prefix: /v1, upstream: openai}}\n\
         keys:\n  - {{name: alice, id: 0a1b2c3d, digest: '{}', rate: {{requests: 600, per: minute, burst: 60}}, max_concurrent: 4}}\n  \
         - {{name: build-server, digest: '{}', expires_at: '2020-01-31T00:00:00Z', addresses: [127.0.0.0/8]}}\n  \
         - {{name: carol, digest: '{}', not_before: '2030-01-31T00:00:00Z', expires_at: '2031-01-31T00:00:00Z'}}\n  \
         - {{name: dora, digest: '{}', expires_at: '2031-01-31T00:00:00Z', previous: {{digest: '{}', until: '2031-01-01T00:00:00Z'}}}}\n\
         admin: {{listen: '127.0.0.1:0', token: {TOKEN}}}\n",
        digest("sk-alice"),
        digest("sk-build"),
        digest("sk-carol"),
        digest("sk-dora"),
        digest("sk-older-dora"),
    )
}
