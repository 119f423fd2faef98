//! When each key was last used: four bytes a digest, which a request writes at most once a second.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::clock::UnixSeconds;
use crate::policy::{KeyId, Snapshot};

/// When the digests of one generation were last used, since the process began. A request that still has the generation
/// before, in the moment in which this one takes over, is missing here; the next one of its key is not.
#[derive(Debug, Default)]
pub struct LastUsed {
    /// Seconds since 1970 by [`KeyId::position`], until 2106; 0 for never.
    times: Box<[AtomicU32]>,
}

impl LastUsed {
    /// For `policy`, with what is known from `before`.
    pub fn new(policy: &Snapshot, before: Option<(&Snapshot, &Self)>) -> Self {
        let this = Self { times: (0..policy.keys.positions()).map(|_| AtomicU32::new(0)).collect() };
        if let Some((before, known)) = before {
            this.take_over(policy, before, known);
        }
        this
    }

    /// A name takes its time with it when it gets another digest, and a digest when it gets another name or becomes the
    /// previous one. Only keys that were used cost anything.
    fn take_over(&self, policy: &Snapshot, before: &Snapshot, known: &Self) {
        let own = before.keys.iter().map(|(id, _)| (id, id));
        for (id, owner) in own.chain(before.keys.previous()) {
            let Some(used) = known.of(id) else { continue };
            let same_name = before.keys.record(owner).and_then(|key| policy.keys.by_name(key.name()));
            let digest = before.keys.digest(id);
            let same_digest = digest.and_then(|digest| policy.keys.find_digest(&digest)).map(|(id, _)| id);
            for heir in [same_name, same_digest].into_iter().flatten() {
                if self.of(heir) < Some(used) {
                    self.note(heir, used);
                }
            }
        }
    }

    /// A request with this digest was admitted. Nothing is written where that is known already, so that threads which
    /// serve one key do not take its cache line from each other.
    pub fn note(&self, key: KeyId, now: UnixSeconds) {
        let Some(place) = self.times.get(key.position()) else { return };
        let now = u32::try_from(now.0).unwrap_or(u32::MAX);
        // Nothing else hangs on this value, so no order with other memory is needed.
        if place.load(Ordering::Relaxed) != now {
            place.store(now, Ordering::Relaxed);
        }
    }

    /// When this digest was last used.
    pub fn of(&self, key: KeyId) -> Option<UnixSeconds> {
        match self.times.get(key.position())?.load(Ordering::Relaxed) {
            0 => None,
            seconds => Some(UnixSeconds(seconds.into())),
        }
    }
}
