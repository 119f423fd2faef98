//! Hostile and odd requests, byte for byte: `tests/hostile/cases.yaml` has each with the outcomes that it may have and
//! what must never reach an upstream. Every one of them is sent.

/// The cases of the admin listener.
mod admin;
/// The attacks over HTTP/2.
mod attacks;
/// The cases, and their placeholders.
mod case;
/// HTTP/1.1, byte for byte.
mod exchange;
/// HTTP/2, frame by frame.
mod http2;
/// What must be, and is not.
mod judge;
/// The upstream.
mod recorder;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use case::{ADMIN_TOKEN, Attack, Case, Http2, KEY, Outcome};
use exchange::Seen;
use recorder::{Record, Recorder};

use crate::support::Gateway;

/// Cases whose expectation is not met by choice, with what becomes of them instead, and why.
const EXCUSED: &[(&str, Outcome, &str)] = &[
    (
        "AD-009",
        Outcome::Status(200),
        "No browser sends this: in this mode none lets a page set `Authorization` (Fetch §2.2.2), and each says \
         `Sec-Fetch-Site` as well (Fetch Metadata §2.3), by which other sites are refused.",
    ),
    (
        "AD-015",
        Outcome::Status(200),
        "RFC 9110 §7.8: a server may ignore `Upgrade`. The events come over HTTP/1.1 to who has the token, never a 101.",
    ),
];

/// So many gateways at once take the cases of one place.
const LANES: usize = 4;

/// What a gateway may grow by under an attack, in KiB: a third of the answers that one asks for and does not take.
const MOST_GROWTH_KIB: u64 = 128 * 1024;

/// Requests of ten thousand that may have reached the upstream before their client gave them up.
const MOST_FORWARDED: usize = 1_000;

/// A place for each case, and a test for each place.
macro_rules! places {
    ($($(#[$about:meta])* $place:ident $test:ident $number:literal)*) => {
        #[derive(Clone, Copy, Debug, PartialEq)]
        enum Place { $($(#[$about])* $place),* }

        /// How many cases there are in each.
        const PLACES: &[(Place, usize)] = &[$((Place::$place, $number)),*];

        $(#[test] fn $test() { run(Place::$place); })*
    };
}

places! {
    Strict hostile_requests_in_strict 165
    AllExceptHealth hostile_requests_in_all_except_health 30
    Off hostile_requests_in_off 2
    /// `auto` on loopback asks for no key, and keeps web pages out by the names that they call it.
    Local hostile_requests_to_a_local_gateway 3
    /// Who takes so long that the gateway must end it.
    Slow hostile_clients_that_are_slow 8
    Http2 hostile_requests_over_http2 32
    Admin hostile_requests_to_the_admin_listener 20
}

fn place_of(case: &Case) -> Place {
    match case.mode.as_str() {
        _ if case.target.as_deref() == Some("admin") => Place::Admin,
        _ if case.expect.within_ms.is_some() => Place::Slow,
        _ if case.h2.is_some() => Place::Http2,
        "strict" => Place::Strict,
        "all_except_health" => Place::AllExceptHealth,
        "off" => Place::Off,
        "auto-local" => Place::Local,
        other => panic!("{} is for the mode {other}", case.id),
    }
}

#[test]
fn no_case_is_left_out() {
    let cases = case::all();
    let ids: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!((cases.len(), ids.len()), (260, 260));
    for &(place, number) in PLACES {
        assert_eq!(cases.iter().filter(|case| place_of(case) == place).count(), number, "{place:?}");
    }
    assert_eq!(PLACES.iter().map(|(_, number)| number).sum::<usize>(), cases.len());
    for (id, _, reason) in EXCUSED {
        assert!(ids.contains(id) && !reason.is_empty(), "{id}");
    }
}

/// The slow ones are sent to a gateway with shorter limits; the usual ones are within what each allows too.
#[test]
fn a_slow_client_is_ended_in_time_by_default() {
    let header_timeout = keygate::config::ConnectionLimits::default().header_timeout.0;
    for case in case::all() {
        if let Some(within_ms) = case.expect.within_ms {
            assert!(header_timeout <= Duration::from_millis(within_ms), "{}", case.id);
        }
    }
}

/// Sends the cases of a place, each to a gateway with the config that it needs.
fn run(place: Place) {
    // An attack has a gateway for itself.
    let apart = |case: &Case| case.h2.as_ref().and_then(|http2| http2.attack).map(|_| case.id.clone());
    let mut by_config = BTreeMap::<_, Vec<Case>>::new();
    for case in case::all().into_iter().filter(|case| place_of(case) == place) {
        by_config.entry((config(place, &case), apart(&case))).or_default().push(case);
    }
    let failed = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for ((config, _), cases) in &by_config {
            // One after the other in a lane; the slow ones all at once.
            let lanes = if place == Place::Slow { cases.len() } else { LANES };
            for lane in cases.chunks(cases.len().div_ceil(lanes)) {
                let failed = &failed;
                scope.spawn(move || {
                    let lane = run_lane(config, lane);
                    failed.lock().unwrap().extend(lane);
                });
            }
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} cases: {failed:#?}", failed.len());
}

/// The faults of each case that has any.
fn run_lane(config: &str, cases: &[Case]) -> Vec<(String, Vec<String>)> {
    let recorder = Recorder::start();
    let gateway = Gateway::start(&config.replace("RECORDER", &recorder.address.to_string()));
    let faults = |case: &Case| {
        let before = peak_kib(&gateway);
        let (seen, mut faults) = send(case, &gateway);
        let others = exchange::ask_as_another(gateway.address());
        if others != case.config.answer_to_others() {
            faults.push(format!("afterwards the answer to another client is {others:?}"));
        }
        // Whatever the case had sent on was there before that.
        let records = recorder.take();
        faults.extend(judge::faults(&excused(case), &seen, &records, &gateway.address().to_string()));
        if let Some(http2) = &case.h2 {
            faults.extend(judge_attack(http2, &records, peak_kib(&gateway).saturating_sub(before)));
        }
        let name = format!("{} {} {} ({})", case.id, case.level, case.title, case.group);
        (!faults.is_empty()).then_some((name, faults))
    };
    cases.iter().filter_map(faults).collect()
}

/// What an attack has cost the gateway, or the upstream, beyond measure.
fn judge_attack(http2: &Http2, records: &[Record], growth_kib: u64) -> Vec<String> {
    let mut faults = Vec::new();
    if growth_kib > MOST_GROWTH_KIB {
        faults.push(format!("the gateway grew by {growth_kib} KiB"));
    }
    if http2.attack == Some(Attack::RapidReset) && records.len() > MOST_FORWARDED {
        faults.push(format!("{} requests that were reset reached the upstream", records.len()));
    }
    faults
}

/// The case with what becomes of it by choice.
fn excused(case: &Case) -> Case {
    let mut case = case.clone();
    if let Some((id, outcome, _)) = EXCUSED.iter().find(|(id, ..)| *id == case.id) {
        assert!(!case.expect.allow.contains(outcome), "{id} needs no excuse");
        case.expect.allow = vec![*outcome];
    }
    case
}

/// What the client sees, and the faults that no field of the case speaks of.
fn send(case: &Case, gateway: &Gateway) -> (Seen, Vec<String>) {
    let address = gateway.address();
    if place_of(case) == Place::Admin {
        return admin::run(case, gateway);
    }
    if !case.steps.is_empty() {
        return (exchange::send_steps(case, address), Vec::new());
    }
    match &case.h2 {
        None => (exchange::send(case, address, &case.request(&address.to_string())), Vec::new()),
        Some(http2) => {
            let outcomes = match http2.attack {
                None => http2::send_requests(&http2.requests, address),
                Some(attack) => vec![attacks::run(attack, http2, address)],
            };
            (Seen { outcomes, ..Seen::default() }, Vec::new())
        }
    }
}

/// The most memory that the gateway has had so far.
fn peak_kib(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.program().id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A config for a case, whose upstream is at `RECORDER`.
fn config(place: Place, case: &Case) -> String {
    let mode = match place {
        Place::Admin => case.config.auth_mode.as_deref().unwrap_or("strict"),
        Place::Local => "auto",
        _ => &case.mode,
    };
    // So long that none of them can be taken for a decision.
    let limit = if place == Place::Slow { "1s" } else { "10min" };
    let key = case.config.api_key.as_deref().unwrap_or(KEY);
    let h2c = case.config.h2c || case.h2.is_some();
    let token = case.config.admin_key.as_deref().unwrap_or(ADMIN_TOKEN);
    let admin = match (place, token) {
        (Place::Admin, "") => "{listen: '127.0.0.1:0'}".to_owned(),
        (Place::Admin, token) => format!("{{listen: '127.0.0.1:0', token: '{token}'}}"),
        _ => "{enabled: false}".to_owned(),
    };
    let secret = judge::UPSTREAM_SECRET;
    format!(
        "proxy:\n  listen: ['127.0.0.1:0']\n  auth_mode: {mode}\n  api_key: '{key}'\n  h2c: {h2c}\n  \
         keepalive_timeout: {limit}\n  connection_limits: {{header_timeout: {limit}}}\n  \
         request_limits: {{body_timeout: {limit}}}\n\
         upstreams:\n  recorder:\n    peers: ['RECORDER']\n    \
         credential: {{header: authorization, value: {secret}}}\n\
         routes: [{{path_prefix: /, upstream: recorder}}]\n\
         admin: {admin}\n"
    )
}
