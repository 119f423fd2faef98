//! A real browser: Chromium, driven over its DevTools protocol through a pipe (`--remote-debugging-pipe`: JSON, each
//! message ended by a zero byte). Needs neither a driver of its own nor a port.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PATIENCE, wait_for};

/// What it is called where.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Chromium speaks on the descriptors 3 and 4; the shell puts its pipes there.
const ON_PIPES: &str = "exec 3<&0 4>&1 </dev/null >/dev/null 2>&1; exec \"$0\" \"$@\"";

/// One of its tabs.
#[derive(Clone)]
pub(crate) struct Tab {
    target: Value,
    session: String,
}

/// One window.
pub(crate) struct Browser {
    process: Child,
    orders: ChildStdin,
    messages: Receiver<Value>,
    last_order: u64,
    /// The tab that is in front.
    tab: Option<Tab>,
    /// What went wrong in the page: exceptions, and what its policy forbade.
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let profile = TempDir::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", ON_PIPES]).arg(chromium());
        command.args([
            "--headless=new",
            "--no-sandbox",
            "--hide-scrollbars",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]);
        command.args(["--no-first-run", "--lang=en", "--remote-debugging-pipe"]).args(arguments);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = process.stdin.take().unwrap();
        let messages = read(process.stdout.take().unwrap());
        let mut browser = Self {
            process,
            orders,
            messages,
            last_order: 0,
            tab: None,
            complaints: Vec::new(),
            _profile: profile,
        };
        browser.open_tab();
        browser
    }

    /// Opens a tab, which hides the one that was in front.
    pub(crate) fn open_tab(&mut self) -> Tab {
        self.tab = None;
        let target = self.order("Target.createTarget", &json!({"url": "about:blank"}))["targetId"].take();
        let session = self.order("Target.attachToTarget", &json!({"targetId": target, "flatten": true}));
        let tab = Tab { target, session: session["sessionId"].as_str().unwrap().to_owned() };
        self.tab = Some(tab.clone());
        for domain in ["Page", "Runtime", "Log"] {
            self.order(&format!("{domain}.enable"), &json!({}));
        }
        tab
    }

    /// The tab that is in front.
    pub(crate) fn tab(&self) -> Tab {
        self.tab.clone().unwrap()
    }

    /// Brings a tab to the front, which hides the one that was there.
    pub(crate) fn turn_to(&mut self, tab: &Tab) {
        self.tab = None;
        self.order("Target.activateTarget", &json!({"targetId": tab.target}));
        self.tab = Some(tab.clone());
        self.wait("document.visibilityState === 'visible'");
    }

    /// Writes a picture of the whole page as PNG, in a window that is as high as the page, so that what covers a window
    /// covers the picture.
    pub(crate) fn photograph(&mut self, file: &Path) {
        const MOST_HIGH: u64 = 8000;
        let size = self.evaluate("[innerWidth, innerHeight, document.documentElement.scrollHeight]");
        let [width, low, high] = [0, 1, 2].map(|at| size[at].as_u64().unwrap());
        self.resize(width, high.min(MOST_HIGH));
        self.evaluate("scrollTo(0, 0)");
        self.evaluate(
            "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))",
        );
        let picture = self.order("Page.captureScreenshot", &json!({}));
        self.resize(width, low);
        let bytes = base64::prelude::BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    fn resize(&mut self, width: u64, height: u64) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.order("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Gives an order and waits for its answer.
    pub(crate) fn order(&mut self, method: &str, parameters: &Value) -> Value {
        self.try_order(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_order(&mut self, method: &str, parameters: &Value) -> Result<Value, Value> {
        self.last_order += 1;
        let mut order = json!({"id": self.last_order, "method": method, "params": parameters});
        if let Some(tab) = &self.tab {
            order["sessionId"] = json!(tab.session);
        }
        self.orders.write_all(format!("{order}\0").as_bytes()).unwrap();
        loop {
            let mut message = self.messages.recv_timeout(PATIENCE).expect("an answer of the browser");
            if message["id"] == self.last_order {
                return match message.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(message["result"].take()),
                };
            }
            self.listen(&message);
        }
    }

    fn listen(&mut self, message: &Value) {
        let entry = &message["params"]["entry"];
        let failed_request = entry["source"] == "network";
        if message["method"] == "Runtime.exceptionThrown" || (entry["level"] == "error" && !failed_request) {
            self.complaints.push(message["params"].to_string());
        }
    }

    /// Exceptions, and what the policy of the page forbade, so far.
    pub(crate) fn complaints(&mut self) -> &[String] {
        // What was said before this answer has been heard.
        self.order("Runtime.evaluate", &json!({"expression": "0"}));
        &self.complaints
    }

    /// Goes to an address and waits until the page is there.
    pub(crate) fn open(&mut self, url: &str) {
        self.order("Page.navigate", &json!({"url": url}));
        let there = format!("document.readyState === 'complete' && location.href.startsWith({})", json!(url));
        self.wait(&there);
    }

    /// What an expression is in the page; a promise is waited for.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        self.try_evaluate(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_evaluate(&mut self, expression: &str) -> Result<Value, Value> {
        let parameters = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true
        });
        let mut answer = self.try_order("Runtime.evaluate", &parameters)?;
        match answer.get("exceptionDetails") {
            Some(exception) => Err(exception.clone()),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Waits until an expression is true in the page, which may be another one by then.
    pub(crate) fn wait(&mut self, expression: &str) {
        wait_for(expression, || (self.try_evaluate(expression).ok()? == true).then_some(()));
    }

    /// Waits until the text of the page, as a reader sees it, has this.
    pub(crate) fn wait_for_text(&mut self, text: &str) {
        self.wait(&format!("document.body.innerText.includes({})", json!(text)));
    }

    /// The text of the first element that this selects.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let text = self.evaluate(&format!("document.querySelector({}).innerText", json!(selector)));
        text.as_str().unwrap().to_owned()
    }

    /// Clicks in the middle of an element, once it is there and nothing lies over it.
    pub(crate) fn click(&mut self, selector: &str) {
        let find = format!(
            "(() => {{ const one = document.querySelector({}); if (!one || one.disabled) return null; \
             one.scrollIntoView({{block: 'center'}}); const box = one.getBoundingClientRect(); \
             const point = [box.x + box.width / 2, box.y + box.height / 2]; \
             return one.contains(document.elementFromPoint(...point)) ? point : null; }})()",
            json!(selector)
        );
        let point = wait_for(&format!("{selector} to click on"), || {
            self.try_evaluate(&find).ok().filter(|point| !point.is_null())
        });
        for kind in ["mousePressed", "mouseReleased"] {
            let click =
                json!({"type": kind, "x": point[0], "y": point[1], "button": "left", "clickCount": 1});
            self.order("Input.dispatchMouseEvent", &click);
        }
    }

    /// Clicks into a field and types.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.click(selector);
        self.order("Input.insertText", &json!({"text": text}));
    }

    /// Presses a key that has this name and code.
    pub(crate) fn press(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let text = if key == "Enter" && kind == "keyDown" { "\r" } else { "" };
            let press =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.order("Input.dispatchKeyEvent", &press);
        }
    }

    /// How large the window is, and whether it prefers dark colours.
    pub(crate) fn look(&mut self, width: u32, dark: bool) {
        self.resize(width.into(), 800);
        let scheme = json!({"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }});
        self.order("Emulation.setEmulatedMedia", &json!({"features": [scheme]}));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its own processes end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn chromium() -> PathBuf {
    if let Some(named) = std::env::var_os("KEYGATE_CHROMIUM") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::split_paths(&path).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    candidates.into_iter().find(|file| file.is_file()).expect("Chromium is not installed: run `make browser`")
}

/// Reads on a thread of its own, so that waiting for a message can have a limit.
fn read(pipe: ChildStdout) -> Receiver<Value> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for message in BufReader::new(pipe).split(0) {
            let Ok(message) = message else { return };
            if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                return;
            }
        }
    });
    receiver
}
