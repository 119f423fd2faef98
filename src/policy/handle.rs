//! `PolicyHandle`: the policy in force, replaced as a whole, read with one atomic load.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// The one mutable place of the data plane: a pointer to what is in force.
///
/// A request takes it once and keeps it to its end, so a reload never changes a decision half-way.
#[derive(Debug)]
pub struct PolicyHandle<T>(ArcSwap<T>);

impl<T> PolicyHandle<T> {
    /// A handle with its first policy.
    pub fn new(first: Arc<T>) -> Self {
        Self(ArcSwap::new(first))
    }

    /// The policy in force.
    pub fn load(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Whether `policy` is the one in force. Cheaper than [`PolicyHandle::load`]: nothing is counted.
    pub fn is_in_force(&self, policy: &Arc<T>) -> bool {
        Arc::ptr_eq(&self.0.load(), policy)
    }

    /// Puts `next` in force for every request that starts from now on, on every thread.
    pub fn replace(&self, next: Arc<T>) {
        self.0.store(next);
    }
}
