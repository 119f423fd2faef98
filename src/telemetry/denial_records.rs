//! The last denials, for `keygate explain --id` and the admin API.
//!
//! The request path writes what it knows into the next slot of a ring; the only lock that it takes is that slot's, which
//! nobody else wants. A thread of its own analyses them later, a bounded number a second, and forgets the credentials
//! with that: what is kept is the explanation.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderValue, Method};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::auth::diagnosis::Circumstances;
use crate::auth::explain::{Explanation, Glimpse, Way, explain};
use crate::auth::{Content, CredentialHeader, Deny, Facts};
use crate::clock::UnixSeconds;
use crate::policy::Snapshot;

/// Denials that are kept.
const KEPT: usize = 1000;

/// Bytes of a path that are kept.
const LONGEST_PATH: usize = 256;

/// Bytes of a credential header that are kept until it is analysed; no key that is analysed is longer.
const LONGEST_VALUE: usize = 1024;

/// Lines of one header that are kept: one more than may be.
const MOST_LINES: usize = 2;

/// What is known of a refused request when it is refused.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The refusal.
    pub deny: Deny,
    /// When.
    pub at: UnixSeconds,
    /// The value of `x-request-id` that the caller was told.
    pub request_id: &'a str,
    /// Who asked.
    pub client: Option<IpAddr>,
    /// What the decision looked at.
    pub facts: Facts<'a>,
    /// The host that was asked.
    pub host: Option<&'a [u8]>,
    /// The policy that decided.
    pub generation: u64,
}

/// A refusal that was explained.
#[derive(Clone, Debug, Serialize)]
pub struct Denial {
    /// When.
    pub at: UnixSeconds,
    /// The value of `x-request-id` that the caller was told.
    pub request_id: String,
    /// Who asked.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: String,
    /// The path, not longer than 256 bytes.
    pub path: String,
    /// The policy that decided.
    pub generation: u64,
    /// The status that was answered.
    pub status: u16,
    /// The value of `x-keygate-error` that was answered.
    pub code: &'static str,
    /// The header that decided.
    pub header: Option<&'static str>,
    /// Those that were present and ignored.
    pub ignored: Vec<&'static str>,
    /// Next to nothing of the credential.
    pub credential: Option<String>,
    /// The decision. If its generation is another, a reload came between.
    pub explanation: Explanation,
}

/// The last denials.
#[derive(Debug)]
pub struct DenialRecords {
    slots: Box<[Mutex<Slot>]>,
    /// How many there have been.
    count: AtomicU64,
    /// How many of them the analysis has come past.
    analysed: AtomicU64,
}

/// One denial, and which one it is, counted from 1; 0 is none yet.
#[derive(Debug, Default)]
struct Slot {
    number: u64,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Empty,
    Raw(Box<Raw>),
    Explained(Box<Denial>),
}

/// A refusal before its analysis.
#[derive(Debug)]
pub(super) struct Raw {
    deny: Deny,
    at: UnixSeconds,
    request_id: Box<str>,
    client: Option<IpAddr>,
    method: Method,
    path: Box<[u8]>,
    host: Option<Box<[u8]>>,
    content: Content,
    lines: Vec<(CredentialHeader, Zeroizing<Vec<u8>>)>,
    generation: u64,
}

impl Default for DenialRecords {
    fn default() -> Self {
        let slots = (0..KEPT).map(|_| Mutex::default()).collect();
        Self { slots, count: AtomicU64::new(0), analysed: AtomicU64::new(0) }
    }
}

impl DenialRecords {
    /// Keeps a refusal, in place of the oldest.
    pub fn record(&self, refused: &Refused<'_>) {
        let state = State::Raw(Box::new(Raw::of(refused)));
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(mut slot) = self.slot(number)
            && slot.number < number
        {
            *slot = Slot { number, state };
        }
    }

    /// Whether there are any that are not explained.
    pub(super) fn has_work(&self) -> bool {
        self.analysed.load(Ordering::SeqCst) < self.count.load(Ordering::SeqCst)
    }

    /// Explains at most `most` of those that are not explained yet, the oldest first.
    pub(super) fn analyse(&self, policy: &Snapshot, around: &Circumstances, most: usize) {
        let count = self.count.load(Ordering::SeqCst);
        let first = self.analysed.load(Ordering::SeqCst).max(count.saturating_sub(KEPT as u64)) + 1;
        let mut done = first - 1;
        for number in (first..=count).take(most) {
            let Some(mut slot) = self.slot(number) else { break };
            if slot.number < number {
                // It is being written just now.
                break;
            }
            slot.explain(policy, around);
            done = number;
        }
        self.analysed.store(done, Ordering::SeqCst);
    }

    /// The denial of this request; the last one, if a client used an id twice.
    pub fn find(&self, policy: &Snapshot, around: &Circumstances, request_id: &str) -> Option<Denial> {
        self.newest_first().find_map(|mut slot| {
            if slot.request_id() != Some(request_id) {
                return None;
            }
            slot.explain(policy, around);
            slot.explained().cloned()
        })
    }

    /// The last denials that are explained, the newest first.
    pub fn latest(&self, most: usize) -> Vec<Denial> {
        self.newest_first().filter_map(|slot| slot.explained().cloned()).take(most).collect()
    }

    /// Those explained after number `seen`, each with its number: the last ones, not more than `most`, the oldest first.
    pub fn since(&self, seen: u64, most: usize) -> Vec<(u64, Denial)> {
        let last = self.analysed.load(Ordering::SeqCst);
        let first = seen.max(last.saturating_sub(most.min(KEPT) as u64)) + 1;
        let denial = |number| {
            let slot = self.slot(number).filter(|slot| slot.number == number)?;
            Some((number, slot.explained()?.clone()))
        };
        (first..=last).filter_map(denial).collect()
    }

    fn newest_first(&self) -> impl Iterator<Item = MutexGuard<'_, Slot>> {
        let count = self.count.load(Ordering::SeqCst);
        (count.saturating_sub(KEPT as u64) + 1..=count).rev().filter_map(|number| self.slot(number))
    }

    fn slot(&self, number: u64) -> Option<MutexGuard<'_, Slot>> {
        let slot = self.slots.get((number % KEPT as u64) as usize)?;
        Some(slot.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Slot {
    fn request_id(&self) -> Option<&str> {
        match &self.state {
            State::Empty => None,
            State::Raw(raw) => Some(&raw.request_id),
            State::Explained(denial) => Some(&denial.request_id),
        }
    }

    fn explained(&self) -> Option<&Denial> {
        match &self.state {
            State::Explained(denial) => Some(denial),
            State::Empty | State::Raw(_) => None,
        }
    }

    fn explain(&mut self, policy: &Snapshot, around: &Circumstances) {
        if let State::Raw(raw) = &self.state {
            self.state = State::Explained(Box::new(raw.explain(policy, around)));
        }
    }
}

impl Raw {
    pub(super) fn of(refused: &Refused<'_>) -> Self {
        let Refused { facts, .. } = refused;
        let mut lines = Vec::with_capacity(2);
        for header in refused.deny.present.iter() {
            for value in facts.headers.get_all(header.name()).iter().take(MOST_LINES) {
                lines.push((header, Zeroizing::new(start(value.as_bytes(), LONGEST_VALUE).to_vec())));
            }
        }
        Self {
            deny: refused.deny,
            at: refused.at,
            request_id: refused.request_id.into(),
            client: refused.client,
            method: facts.method.clone(),
            path: start(facts.path, LONGEST_PATH).into(),
            host: refused.host.map(|host| start(host, LONGEST_PATH).into()),
            content: facts.content,
            lines,
            generation: refused.generation,
        }
    }

    /// With the policy in force now, which is nearly always the one that decided.
    pub(super) fn explain(&self, policy: &Snapshot, around: &Circumstances) -> Denial {
        let mut headers = HeaderMap::with_capacity(self.lines.len());
        for (header, value) in &self.lines {
            if let Ok(mut value) = HeaderValue::from_bytes(value) {
                value.set_sensitive(true);
                headers.append(header.name(), value);
            }
        }
        let facts =
            Facts { method: &self.method, path: &self.path, headers: &headers, content: self.content };
        let way = Way { host: self.host.as_deref(), client: self.client };
        let mut explanation = explain(policy, &facts, way, self.at);
        explanation.consider(around);
        Denial {
            at: self.at,
            request_id: self.request_id.to_string(),
            client: self.client,
            method: self.method.to_string(),
            path: self.path.escape_ascii().to_string(),
            generation: self.generation,
            status: self.deny.cause.status(),
            code: self.deny.cause.code(),
            header: self.deny.present.deciding().map(CredentialHeader::label),
            ignored: self.deny.present.ignored().map(CredentialHeader::label).collect(),
            credential: self
                .lines
                .iter()
                .find_map(|(header, line)| header.values_of_line(line).next())
                .map(|value| Glimpse(value).to_string()),
            explanation,
        }
    }
}

fn start(bytes: &[u8], most: usize) -> &[u8] {
    bytes.get(..most).unwrap_or(bytes)
}
