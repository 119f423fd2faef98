//! Observer of the decision: the steps that were gone through, for `keygate explain`.
//!
//! The same decision runs with [`Steps`] and with `()`; with `()`, as on the request path, nothing of this is left in
//! the program.

use serde::Serialize;

/// A step of the decision, by its number in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// 1. Is it a preflight?
    Preflight = 1,
    /// 2. Is the effective mode `off`?
    ModeOff = 2,
    /// 3. Is it a health check that needs no key?
    Health = 3,
    /// 4. Take the credential from the first header present.
    Credential = 4,
    /// 5. Is any key configured?
    KeyConfigured = 5,
    /// 6. Is the credential a configured key that may be used?
    KeyMatches = 6,
}

impl Step {
    /// Its number in the contract.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The request passes; no further step is asked.
    Allows,
    /// The request is refused; no further step is asked.
    Denies,
    /// The next step is asked.
    GoesOn,
}

/// Is told of every step as it is decided.
pub trait Observer {
    /// `step` came to `outcome`.
    fn step(&mut self, step: Step, outcome: Outcome);
}

/// Nobody listens.
impl Observer for () {
    #[inline(always)]
    fn step(&mut self, _: Step, _: Outcome) {}
}

/// Remembers the steps. There are six, so this needs no heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    outcomes: [Option<Outcome>; 6],
}

impl Steps {
    /// Those that were asked, in order; the last one decided.
    pub fn iter(&self) -> impl Iterator<Item = (Step, Outcome)> {
        ALL.into_iter().zip(self.outcomes).filter_map(|(step, outcome)| Some((step, outcome?)))
    }

    /// The one that decided.
    pub fn deciding(&self) -> Option<Step> {
        self.iter().last().map(|(step, _)| step)
    }
}

/// Every step, in order.
pub const ALL: [Step; 6] =
    [Step::Preflight, Step::ModeOff, Step::Health, Step::Credential, Step::KeyConfigured, Step::KeyMatches];

impl Observer for Steps {
    fn step(&mut self, step: Step, outcome: Outcome) {
        if let Some(slot) = self.outcomes.get_mut(usize::from(step.number()) - 1) {
            *slot = Some(outcome);
        }
    }
}
