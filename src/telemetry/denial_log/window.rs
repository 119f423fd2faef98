//! How many lines of one kind a second has room for, and how many were left out.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::UnixSeconds;

/// Lines a second for each code.
pub(super) const LINES_PER_SECOND: u32 = 10;

/// One second's denials of one code: the second in the upper half, their number in the lower.
#[derive(Debug, Default)]
pub(super) struct Window(AtomicU64);

impl Window {
    /// Counts one. `Some(left out before)` if a line may be written about it.
    pub(super) fn admit(&self, now: UnixSeconds) -> Option<u32> {
        let second = now.0 as u32;
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
                let (window, denials) = split(state);
                Some(if window == second { join(second, denials.saturating_add(1)) } else { join(second, 1) })
            })
            .unwrap_or_default();
        let (window, denials) = split(before);
        match window == second {
            true => (denials < LINES_PER_SECOND).then_some(0),
            false => Some(left_out(denials)),
        }
    }

    /// Whether some were left out and nobody has said so.
    pub(super) fn is_untold(&self) -> bool {
        left_out(split(self.0.load(Ordering::Relaxed)).1) > 0
    }

    /// How many were left out, if their second is over and no other denial has said so. Asked again, it is none.
    pub(super) fn untold(&self, now: UnixSeconds) -> Option<u32> {
        let second = now.0 as u32;
        let told = |state| {
            let (window, denials) = split(state);
            (window != second && left_out(denials) > 0).then(|| join(window, LINES_PER_SECOND))
        };
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, told).ok()?;
        Some(left_out(split(before).1))
    }
}

fn left_out(denials: u32) -> u32 {
    denials.saturating_sub(LINES_PER_SECOND)
}

fn split(state: u64) -> (u32, u32) {
    ((state >> 32) as u32, state as u32)
}

fn join(second: u32, denials: u32) -> u64 {
    u64::from(second) << 32 | u64::from(denials)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood(window: &Window, second: i64) -> usize {
        (0..1000).filter(|_| window.admit(UnixSeconds(second)).is_some()).count()
    }

    #[test]
    fn a_flood_writes_ten_lines_a_second_and_the_next_one_counts_the_rest() {
        let window = Window::default();
        assert_eq!(flood(&window, 7), LINES_PER_SECOND as usize);
        assert_eq!(window.admit(UnixSeconds(8)), Some(990));
        assert_eq!(window.admit(UnixSeconds(9)), Some(0));
    }

    #[test]
    fn what_a_flood_left_out_at_its_end_is_told_once() {
        let window = Window::default();
        assert!(!window.is_untold());
        flood(&window, 7);
        assert!(window.is_untold());
        assert_eq!(window.untold(UnixSeconds(7)), None, "there may be more");
        assert_eq!(window.untold(UnixSeconds(8)), Some(990));
        assert!(!window.is_untold());
        assert_eq!(window.untold(UnixSeconds(9)), None);
        assert_eq!(window.admit(UnixSeconds(9)), Some(0));
    }
}
