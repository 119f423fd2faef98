//! A case of `cases.yaml`, and its placeholders.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The key of the gateways that the cases are sent to.
pub(super) const KEY: &str = "sk-test-0123456789abcdef";

/// The token of their admin listeners.
pub(super) const ADMIN_TOKEN: &str = "admin-0123456789abcdef0123456789abcdef";

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

/// A field that nobody heeds is an error, so that no expectation is overlooked.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) id: String,
    pub(super) group: String,
    pub(super) title: String,
    pub(super) mode: String,
    pub(super) level: String,
    pub(super) target: Option<String>,
    #[serde(default)]
    pub(super) config: Config,
    /// The request up to its body.
    pub(super) raw: Option<String>,
    #[serde(default)]
    pub(super) body: String,
    #[serde(default)]
    pub(super) steps: Vec<Step>,
    pub(super) h2: Option<Http2>,
    pub(super) expect: Expect,
    pub(super) never_upstream: bool,
    pub(super) upstream_forbidden_request: Option<String>,
    #[serde(default)]
    pub(super) upstream_absent: Vec<String>,
    #[serde(default)]
    pub(super) upstream_present: Vec<String>,
    #[serde(default)]
    pub(super) upstream_single: Vec<String>,
    #[serde(default)]
    pub(super) note: String,
    #[serde(rename = "ref")]
    pub(super) _source: IgnoredAny,
    #[serde(rename = "why")]
    pub(super) _reason: IgnoredAny,
    #[serde(default, rename = "measured")]
    pub(super) _elsewhere: Option<IgnoredAny>,
}

/// How the gateway's config differs from that of the other cases.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) auth_mode: Option<String>,
    pub(super) api_key: Option<String>,
    pub(super) admin_key: Option<String>,
    #[serde(default)]
    pub(super) h2c: bool,
}

impl Config {
    /// What becomes of a request with the key.
    pub(super) fn answer_to_others(&self) -> Outcome {
        Outcome::Status(if self.api_key.as_deref() == Some("") { 401 } else { 200 })
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub(super) send: String,
    pub(super) wait_ms: u64,
    #[serde(default = "once")]
    pub(super) times: usize,
}

fn once() -> usize {
    1
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http2 {
    #[serde(default)]
    pub(super) requests: Vec<Http2Request>,
    pub(super) attack: Option<Attack>,
    #[serde(default)]
    pub(super) count: u32,
    #[serde(default)]
    pub(super) bytes: usize,
    /// How long the client would wait; here it waits until the gateway acts.
    #[serde(default, rename = "hold_ms")]
    _hold_ms: Option<IgnoredAny>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http2Request {
    pub(super) headers: Vec<(String, String)>,
    #[serde(default)]
    pub(super) data: Vec<String>,
    #[serde(default)]
    pub(super) trailers: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Attack {
    RapidReset,
    #[serde(rename = "made_you_reset_wu0")]
    MadeYouResetZero,
    MadeYouResetOverflow,
    ContinuationFlood,
    SettingsFlood,
    PingFlood,
    EmptyData,
    HpackBomb,
    ZeroWindow,
    TooManyStreams,
    EvenStreamId,
    OversizedFrame,
    HalfHeaders,
    MalformedStreams,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) allow: Vec<Outcome>,
    pub(super) second: Option<Vec<Outcome>>,
    #[serde(default)]
    pub(super) close: Close,
    pub(super) max_responses: Option<usize>,
    pub(super) within_ms: Option<u64>,
}

/// Whether the connection is closed afterwards.
#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Close {
    Must,
    #[default]
    May,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(untagged)]
pub(super) enum Outcome {
    Status(u16),
    Without(WithoutStatus),
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum WithoutStatus {
    /// Closed without a response.
    Close,
    /// Neither a response nor an end.
    Timeout,
    /// `RST_STREAM`.
    Rst,
    /// `GOAWAY`.
    Goaway,
}

pub(super) const CLOSE: Outcome = Outcome::Without(WithoutStatus::Close);
pub(super) const TIMEOUT: Outcome = Outcome::Without(WithoutStatus::Timeout);
pub(super) const RST: Outcome = Outcome::Without(WithoutStatus::Rst);
pub(super) const GOAWAY: Outcome = Outcome::Without(WithoutStatus::Goaway);

/// All of them, in the order of the file.
pub(super) fn all() -> Vec<Case> {
    serde_yaml::from_str::<Cases>(include_str!("cases.yaml")).unwrap().cases
}

impl Case {
    /// The one request, with its body.
    pub(super) fn request(&self, host: &str) -> Vec<u8> {
        let body = expand(&self.body, host, 0);
        let mut request = expand(self.raw.as_deref().unwrap(), host, body.len());
        request.extend(body);
        request
    }
}

/// Fills in the placeholders (the head of the file has them all). One character is one byte.
pub(super) fn expand(text: &str, host: &str, body_length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once("{{") {
        let (name, after) = from.split_once("}}").unwrap();
        out.extend(latin1(before));
        out.extend(placeholder(name, host, body_length));
        rest = after;
    }
    out.extend(latin1(rest));
    out
}

fn placeholder(name: &str, host: &str, body_length: usize) -> Vec<u8> {
    const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: {{HOST}}\r\nAuthorization: Bearer {{KEY}}\r\n\
                            X-Smuggled: 1\r\n\r\n";
    let (function, arguments) = name.split_once(':').unwrap_or((name, ""));
    let repeated = || {
        let (text, times) = arguments.rsplit_once(':').unwrap();
        (text, times.parse::<usize>().unwrap())
    };
    match (function, arguments) {
        ("HOST", "") => host.into(),
        ("PORT", "") => host.rsplit_once(':').unwrap().1.into(),
        ("KEY", "") => KEY.into(),
        ("KEY", "-1") => KEY[..KEY.len() - 1].into(),
        ("ADMIN_KEY", "") => ADMIN_TOKEN.into(),
        ("BODYLEN", "") => body_length.to_string().into(),
        ("HEXLEN", "SM") => format!("{:x}", expand(SMUGGLED, host, 0).len()).into(),
        ("LB", "") => "{".into(),
        ("RB", "") => "}".into(),
        ("repeat", _) => {
            let (text, times) = repeated();
            latin1(text).collect::<Vec<_>>().repeat(times)
        }
        ("seq", _) => {
            let (text, times) = repeated();
            (0..times).flat_map(|number| text.replace("%d", &number.to_string()).into_bytes()).collect()
        }
        _ => panic!("an unknown placeholder: {name}"),
    }
}

pub(super) fn latin1(text: &str) -> impl Iterator<Item = u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap())
}
