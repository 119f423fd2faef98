//! The last denials, for `keygate explain --id` and the admin API.
//!
//! The request path writes what it knows into the next slot of a ring; the only lock that it takes is that slot's, which
//! nobody else wants. A thread of its own analyses them later, a bounded number a second, and forgets the credentials
//! with that: what is kept is the explanation.

mod raw;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

pub(super) use self::raw::{Pieces, Raw};
use crate::auth::diagnosis::Circumstances;
use crate::auth::explain::Explanation;
use crate::auth::misplaced::Misplaced;
use crate::auth::{Deny, Facts};
use crate::clock::UnixSeconds;
use crate::policy::Snapshot;

/// Denials that are kept.
const KEPT: usize = 1000;

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
    /// Where a key stands that is not read, if there is no other.
    pub misplaced: Option<Misplaced>,
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
    pieces: Pieces,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Empty,
    /// The rest of it is in the slot's pieces.
    Raw(Raw),
    Explained(Box<Denial>),
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
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(mut slot) = self.slot(number)
            && slot.number < number
        {
            slot.number = number;
            slot.state = State::Raw(Raw::note(refused, &mut slot.pieces));
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
            if slot.request_id() != Some(request_id.as_bytes()) {
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
    fn request_id(&self) -> Option<&[u8]> {
        match &self.state {
            State::Empty => None,
            State::Raw(_) => Some(self.pieces.request_id()),
            State::Explained(denial) => Some(denial.request_id.as_bytes()),
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
            self.state = State::Explained(Box::new(raw.explain(&self.pieces, policy, around)));
            self.pieces.forget();
        }
    }
}
