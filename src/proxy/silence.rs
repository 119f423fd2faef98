//! A limit on how long a client may be silent in its body over HTTP/2.
//!
//! Over HTTP/1 Pingora has a time-out for each read of a body; over HTTP/2 it has none, and a client that announces content
//! and never sends it held a request, and the peer's connection, for as long as it liked. Each request is a task of its own
//! there, so what runs it does so [`within`] this limit, which begins with the body and ends with it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::timer::Timer;

tokio::task_local! {
    static SILENCE: Silence;
}

/// What is known of the body of this task's request.
#[derive(Debug, Default)]
struct Silence {
    /// How long it may be silent; none while that is not limited.
    limit: Cell<Option<Duration>>,
    /// When it last was not.
    since: Cell<Option<Instant>>,
}

impl Silence {
    fn deadline(&self) -> Option<Instant> {
        self.limit.get().zip(self.since.get()).map(|(limit, since)| since + limit)
    }
}

/// Runs `exchange`; `None` if its body is silent for too long. What has begun by then is dropped, and with it the stream.
pub async fn within<F: Future>(exchange: F) -> Option<F::Output> {
    SILENCE
        .scope(Silence::default(), async {
            let mut timer = Timer::default();
            tokio::select! {
                // In this order: what the exchange notes counts at once, without waking anyone.
                biased;
                ended = exchange => Some(ended),
                () = poll_fn(|context| poll_passed(&mut timer, context)) => None,
            }
        })
        .await
}

/// Ready where the deadline is over. It is moved with each part of the body, the timer is not.
fn poll_passed(timer: &mut Timer, context: &mut Context<'_>) -> Poll<()> {
    SILENCE.with(Silence::deadline).map_or(Poll::Pending, |deadline| timer.poll_passed(deadline, context))
}

/// From now on the body of this task's request may be silent for so long. Elsewhere it does nothing, as the others here.
pub(super) fn limit(limit: Duration) {
    let _ = SILENCE.try_with(|silence| {
        silence.limit.set(Some(limit));
        silence.since.set(Some(Instant::now()));
    });
}

/// A part of it came.
pub(super) fn broken() {
    let _ = SILENCE.try_with(|silence| silence.since.set(Some(Instant::now())));
}

/// It is over, and there is nothing to wait for.
pub(super) fn over() {
    let _ = SILENCE.try_with(|silence| silence.limit.set(None));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn run<F: Future>(exchange: F) -> Option<F::Output> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(within(exchange))
    }

    async fn pass(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[test]
    fn only_a_body_that_is_silent_for_too_long_ends_it() {
        assert_eq!(run(async { pass(3600).await }), Some(()), "no body, no limit");
        let silent = run(async {
            limit(LIMIT);
            pass(31).await;
        });
        assert_eq!(silent, None);
        let slow = run(async {
            limit(LIMIT);
            for _ in 0..10 {
                pass(29).await;
                broken();
            }
            over();
            pass(3600).await;
        });
        assert_eq!(slow, Some(()));
        let silent_later = run(async {
            limit(LIMIT);
            pass(29).await;
            broken();
            pass(31).await;
        });
        assert_eq!(silent_later, None);
    }
}
