//! `Ledger`: what each key of one generation has used, and what it has under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Allowance, Exceeded, Failures, LastUsed, Spent};
use crate::clock::Ticks;
use crate::policy::{KeyId, KeyRules, Rate, Snapshot};

/// What the keys of one generation have used.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By [`KeyId::position`]; empty if no key has a limit, and `None` for those that have none.
    keys: Vec<Option<Arc<KeyState>>>,
    /// Wrong keys by client address.
    pub failures: Arc<Failures>,
    /// When each key was last used.
    pub last_used: LastUsed,
}

/// What one key has used. Generations share it, so that a request that ends is taken off whatever was reloaded
/// meanwhile.
#[derive(Debug, Default)]
struct KeyState {
    allowance: Allowance,
    running: AtomicU32,
}

/// A request of a key that counts as under way until this is dropped.
#[derive(Debug)]
pub struct Running(Arc<KeyState>);

/// A request that was counted as one of its key's.
#[derive(Debug, Default)]
pub struct Counted {
    /// Where the key may have so many at once.
    pub running: Option<Running>,
    /// Where the key has a rate: that, and what this request leaves of it.
    pub spent: Option<(Rate, Spent)>,
}

impl Ledger {
    /// The ledger for `policy`, with what was counted `before` for keys of the same names.
    pub fn new(policy: &Snapshot, before: Option<(&Snapshot, &Self)>, now: Ticks) -> Self {
        let failures = before.map(|(_, ledger)| Arc::clone(&ledger.failures)).unwrap_or_default();
        let last_used = LastUsed::new(policy, before.map(|(before, ledger)| (before, &ledger.last_used)));
        let limited = |rules: &KeyRules| rules.rate.is_some() || rules.max_concurrent.is_some();
        if !policy.keys.iter().any(|(_, key)| limited(key.rules)) {
            return Self { keys: Vec::new(), failures, last_used };
        }
        let mut keys: Vec<Option<Arc<KeyState>>> = vec![None; policy.keys.positions()];
        for (id, key) in policy.keys.iter().filter(|(_, key)| limited(key.rules)) {
            let state =
                before.and_then(|(before, ledger)| ledger.taken_over(before, key.name(), key.rules, now));
            if let Some(place) = keys.get_mut(id.position()) {
                *place = Some(state.unwrap_or_default());
            }
        }
        // The digest that a key had before counts as the key itself.
        for (id, owner) in policy.keys.previous() {
            let state = keys.get(owner.position()).cloned().flatten();
            if let Some(place) = keys.get_mut(id.position()) {
                *place = state;
            }
        }
        Self { keys, failures, last_used }
    }

    /// What this ledger has for the key of this name.
    fn taken_over(
        &self,
        policy: &Snapshot,
        name: &str,
        rules: &KeyRules,
        now: Ticks,
    ) -> Option<Arc<KeyState>> {
        let id = policy.keys.by_name(name)?;
        let state = self.keys.get(id.position())?.as_ref()?;
        if let (Some(before), Some(rate)) = (policy.keys.record(id)?.rules.rate, rules.rate) {
            state.allowance.convert(&before, &rate, now);
        }
        Some(Arc::clone(state))
    }

    /// Counts a request of the key. `now` is asked only where there is a rate.
    ///
    /// # Errors
    /// What is too much; the request then counts for nothing.
    pub fn begin(
        &self,
        policy: &Snapshot,
        key: KeyId,
        now: impl FnOnce() -> Ticks,
    ) -> Result<Counted, Exceeded> {
        let Some(Some(state)) = self.keys.get(key.position()) else {
            return Ok(Counted::default());
        };
        let Some(record) = policy.keys.record(key) else { return Ok(Counted::default()) };
        let running = match record.rules.max_concurrent {
            Some(max) => state.start(max).map_err(|()| Exceeded::Concurrency { max })?,
            None => None,
        };
        let spent = match record.rules.rate {
            Some(rate) => match state.allowance.take(&rate, now()) {
                Ok(spent) => Some((rate, spent)),
                Err(retry_after) => return Err(Exceeded::Rate { rate, retry_after }),
            },
            None => None,
        };
        Ok(Counted { running, spent })
    }
}

impl KeyState {
    fn start(self: &Arc<Self>, max: u32) -> Result<Option<Running>, ()> {
        self.running
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |running| {
                (running < max).then_some(running + 1)
            })
            .map(|_| Some(Running(Arc::clone(self))))
            .map_err(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
