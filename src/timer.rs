//! A timer for one deadline after another, most of which are never reached.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer. It is set when first polled.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready once `deadline` has passed. A timer that is set for an earlier one stays so, and looks again then: that costs less
    /// than to set it anew for each.
    pub(crate) fn poll_passed(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() == deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_ready_at_the_deadline_that_it_was_asked_for_last() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut timer = Timer::default();
            let begun = Instant::now();
            let after = |seconds| begun + Duration::from_secs(seconds);
            for (asked, then) in [(20, 10), (30, 40)] {
                let asked = poll_fn(|context| Poll::Ready(timer.poll_passed(after(asked), context))).await;
                assert!(asked.is_pending());
                poll_fn(|context| timer.poll_passed(after(then), context)).await;
                assert_eq!(Instant::now(), after(then));
            }
        });
    }
}
