//! What the admin API answers, as people read it in a terminal.

use std::fmt::Write as _;

use serde_json::Value;

/// What the smallest terminals show, a line for the prompt left out.
const SCREEN_LINES: usize = 23;
const SCREEN_COLUMNS: usize = 80;

/// Addresses that `status` names.
const MOST_LISTENERS: usize = 5;

/// A value as people read it.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Writing to a string cannot fail, here and below.
fn row(page: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(page, "{name:<16}{value}");
}

pub(super) fn status(answer: &Value) -> String {
    let at = |pointer: &str| text(answer.pointer(pointer).unwrap_or(&Value::Null));
    let mut page = String::new();
    row(
        &mut page,
        "keygate",
        format_args!("{} (pid {}), up {} s", at("/version"), at("/pid"), at("/uptime_seconds")),
    );
    row(&mut page, "config", at("/config_file"));
    row(&mut page, "generation", at("/generation"));
    let (configured, effective) = (at("/auth_mode/configured"), at("/auth_mode/effective"));
    row(&mut page, "mode", format_args!("{effective} (auth_mode: {configured})"));
    row(&mut page, "", at("/auth_mode/why"));
    let listeners = answer["listeners"].as_array().map(Vec::as_slice).unwrap_or_default();
    for listener in listeners.iter().take(MOST_LISTENERS) {
        row(&mut page, &text(&listener["serves"]), text(&listener["address"]));
    }
    if let Some(more) = listeners.len().checked_sub(MOST_LISTENERS).filter(|more| *more > 0) {
        row(&mut page, "", format_args!("and {more} more listeners"));
    }
    row(&mut page, "keys", at("/keys"));
    row(&mut page, "upstreams", at("/upstreams"));
    row(&mut page, "connections", at("/connections"));
    row(&mut page, "in flight", at("/requests_in_flight"));
    fitted(page + &outcome(&answer["last_reload"], |problem| problem.lines().next().unwrap_or_default()))
}

/// Cuts off what is more than one screen.
fn fitted(page: String) -> String {
    let on_screen = |line: &str| line.chars().count().div_ceil(SCREEN_COLUMNS).max(1);
    if page.lines().map(on_screen).sum::<usize>() <= SCREEN_LINES {
        return page;
    }
    let (mut cut, mut used, mut shown) = (String::new(), 1, 0);
    for line in page.lines() {
        used += on_screen(line);
        if used > SCREEN_LINES {
            break;
        }
        shown += 1;
        let _ = writeln!(cut, "{line}");
    }
    let more = page.lines().count() - shown;
    row(&mut cut, "", format_args!("and {more} more lines: `keygate check` prints what is wrong"));
    cut
}

pub(super) fn reload(last: &Value) -> String {
    outcome(last, |problem| problem)
}

/// What came of a reload, with so much of each problem.
fn outcome(last: &Value, part: fn(&str) -> &str) -> String {
    let mut page = String::new();
    let (outcome, at) = (text(&last["outcome"]), text(&last["at"]));
    row(&mut page, "last reload", format_args!("{outcome}, {at}, generation {}", text(&last["generation"])));
    for (name, field) in
        [("problem", "problems"), ("warning", "warnings"), ("needs restart", "restart_needed")]
    {
        for line in last[field].as_array().into_iter().flatten() {
            row(&mut page, name, part(&text(line)));
        }
    }
    page
}

pub(super) fn keys(answer: &Value) -> String {
    let mut page = String::new();
    let mut row = |name: &str, id: &str, state: &str, limit: &str, used: &str, end: &str| {
        let _ = writeln!(page, "{name:<20} {id:<8} {state:<8} {limit:<22} {used:<20} {end}");
    };
    row("NAME", "ID", "STATE", "LIMIT", "LAST USED", "EXPIRES");
    for key in answer["keys"].as_array().into_iter().flatten() {
        let column = |field: &str| text(&key[field]);
        let (used, end) = (column("last_used_at"), column("expires_at"));
        row(&column("name"), &column("public_id"), &column("state"), &limit(key), &used, &end);
    }
    let _ = writeln!(page, "{} keys", text(&answer["total"]));
    page
}

/// What a key may have: `60/minute (10), 4 at once`, where 10 is the burst.
fn limit(key: &Value) -> String {
    let rate = &key["rate"];
    let rate = rate
        .is_object()
        .then(|| format!("{}/{} ({})", text(&rate["requests"]), text(&rate["per"]), text(&rate["burst"])));
    let at_once = key["max_concurrent"].as_u64().map(|most| format!("{most} at once"));
    let parts: Vec<String> = rate.into_iter().chain(at_once).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

pub(super) fn upstreams(answer: &Value) -> String {
    let mut page = String::new();
    for upstream in answer["upstreams"].as_array().into_iter().flatten() {
        let _ = writeln!(page, "{}", text(&upstream["name"]));
        for peer in upstream["peers"].as_array().into_iter().flatten() {
            let addresses: Vec<String> =
                peer["addresses"].as_array().into_iter().flatten().map(address).collect();
            let addresses =
                if addresses.is_empty() { "no address yet".to_owned() } else { addresses.join(", ") };
            let drained = if peer["drain"] == true { " (no new requests)" } else { "" };
            let _ = writeln!(page, "  {}{drained} -> {addresses}", text(&peer["address"]));
        }
    }
    page
}

/// An address, and what is to be said of it.
fn address(of: &Value) -> String {
    let state = match (&of["down"], &of["ejected_seconds"]) {
        (Value::Bool(true), _) => " (down)".to_owned(),
        (_, Value::Number(seconds)) => format!(" (left out for {seconds} s)"),
        _ => String::new(),
    };
    format!("{}{state}", text(&of["address"]))
}

/// The last denials, the newest at the end, where the eye is.
pub(super) fn denials(answer: &Value) -> String {
    answer.as_array().into_iter().flatten().rev().map(denial).collect()
}

/// One denial: what was asked and refused, and below it why.
pub(super) fn denial(of: &Value) -> String {
    let at = |field: &str| text(of.get(field).unwrap_or(&Value::Null));
    let cause =
        of.pointer("/explanation/diagnosis/cause").or_else(|| of.get("cause")).unwrap_or(&Value::Null);
    format!(
        "{} {} {} {} {} {} id={}\n    {}\n",
        at("at"),
        at("status"),
        at("code"),
        at("client"),
        at("method"),
        at("path"),
        at("request_id"),
        text(cause)
    )
}

/// What a change came to.
pub(super) fn changed(answer: &Value) -> String {
    let mut page = String::new();
    row(&mut page, "generation", text(&answer["generation"]));
    for (name, field) in [("warning", "warnings"), ("needs restart", "restart_needed")] {
        for line in answer[field].as_array().into_iter().flatten() {
            row(&mut page, name, text(line));
        }
    }
    page
}
