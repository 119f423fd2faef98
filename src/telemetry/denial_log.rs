//! Denials, for the operator: one log line for each, and no more than a few a second for each cause; the last ones in
//! memory.
//!
//! A flood of bad keys must not fill the disk, nor cost more than the refusals themselves. What is left out of the log
//! is counted, and the next line says how many, or one of its own when the flood is over. The request path only notes what
//! happened; a thread of its own finds out why, and writes the line.

mod window;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use self::window::Window;
use super::denial_records::{Denial, DenialRecords, Pieces, Raw, Refused};
use crate::auth::diagnosis::Circumstances;
use crate::auth::{Cause, Malformed};
use crate::clock::UnixSeconds;
use crate::policy::Snapshot;

/// Lines that wait to be written: what is admitted in a second, and some.
const MOST_PENDING: usize = 256;

/// The message that the contract gives for a gateway without any key.
const NO_KEY_CONFIGURED: &str = "Proxy auth is enabled but api_key is empty; denying request";

/// Denials that are explained in one round of work.
const ROUND: usize = 8;

/// How long the end of the process waits for the last lines.
const FLUSH: Duration = Duration::from_millis(200);

/// After this long without a denial, the lines that were left out are told of.
const QUIET: Duration = Duration::from_secs(1);

/// Takes note of denials; one for the process.
#[derive(Debug, Default)]
pub struct Denials {
    windows: [Window; Cause::ALL.len()],
    /// Locked only for denials that get a line, which are few.
    pending: Mutex<Queue>,
    /// Told when every line is written.
    written: Condvar,
    records: DenialRecords,
    worker: OnceLock<Thread>,
    worker_sleeps: AtomicBool,
}

/// Lines to be written.
#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Pending>,
    /// The worker has one that was in here.
    writing: bool,
}

/// A line to be written.
#[derive(Debug)]
struct Pending {
    raw: Raw,
    pieces: Pieces,
    left_out: u32,
}

impl Denials {
    /// For as long as the process runs.
    pub fn leak() -> &'static Self {
        Box::leak(Box::default())
    }

    /// Takes note of one.
    pub fn record(&self, refused: &Refused<'_>) {
        let window = self.windows.get(kind(refused.deny.cause));
        if let Some(left_out) = window.and_then(|window| window.admit(refused.at)) {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            if pending.lines.len() < MOST_PENDING {
                let mut pieces = Pieces::default();
                pending.lines.push_back(Pending { raw: Raw::note(refused, &mut pieces), pieces, left_out });
            }
        }
        self.records.record(refused);
        // In a flood the worker is awake, and this is a load.
        if self.worker_sleeps.load(Ordering::SeqCst)
            && self.worker_sleeps.swap(false, Ordering::SeqCst)
            && let Some(worker) = self.worker.get()
        {
            worker.unpark();
        }
    }

    /// The last ones.
    pub fn records(&self) -> &DenialRecords {
        &self.records
    }

    /// Waits, on the worker's thread, until there is work.
    pub fn wait(&self) {
        self.worker.get_or_init(thread::current);
        loop {
            self.worker_sleeps.store(true, Ordering::SeqCst);
            if self.has_work() {
                self.worker_sleeps.store(false, Ordering::SeqCst);
                return;
            }
            if self.windows.iter().any(Window::is_untold) {
                thread::park_timeout(QUIET);
                return;
            }
            thread::park();
        }
    }

    /// Writes the lines that wait, and explains some of the records.
    pub fn work(&self, policy: &Snapshot, around: &Circumstances, now: UnixSeconds) {
        while let Some(Pending { raw, pieces, left_out }) = self.next_pending() {
            write_line(&raw.explain(&pieces, policy, around), left_out);
        }
        for (window, cause) in self.windows.iter().zip(Cause::ALL) {
            if let Some(left_out) = window.untold(now) {
                log::log!(
                    level(cause.code()),
                    "{}: code={} suppressed={left_out}",
                    message(cause.code()),
                    cause.code()
                );
            }
        }
        self.records.analyse(policy, around, ROUND);
    }

    /// Waits a moment for the worker to write what there is, at the end of the process.
    pub fn flush(&self) {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let is_left = |pending: &mut Queue| pending.writing || !pending.lines.is_empty();
        // In time or not, this is the end.
        let _ = self.written.wait_timeout_while(pending, FLUSH, is_left);
    }

    fn next_pending(&self) -> Option<Pending> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let next = pending.lines.pop_front();
        pending.writing = next.is_some();
        if next.is_none() {
            self.written.notify_all();
        }
        next
    }

    fn has_work(&self) -> bool {
        self.records.has_work()
            || !self.pending.lock().unwrap_or_else(PoisonError::into_inner).lines.is_empty()
    }
}

/// Whose window counts a cause: that of the first with the same code.
fn kind(cause: Cause) -> usize {
    match cause {
        Cause::CredentialMalformed(_) => Cause::CredentialMalformed(Malformed::Empty),
        other => other,
    }
    .index()
}

fn write_line(denial: &Denial, left_out: u32) {
    log::log!(level(denial.code), "{}{}", message(denial.code), Line { denial, left_out });
}

fn message(code: &str) -> &'static str {
    if code == Cause::NoKeyConfigured.code() { NO_KEY_CONFIGURED } else { "denied" }
}

fn level(code: &str) -> log::Level {
    if code == Cause::NoKeyConfigured.code() { log::Level::Error } else { log::Level::Info }
}

/// The part of the line behind its message, as `name=value` pairs.
struct Line<'a> {
    denial: &'a Denial,
    left_out: u32,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Denial { code, status, request_id, client, header, ignored, .. } = self.denial;
        write!(f, ": code={code} status={status} id={request_id}")?;
        if let Some(client) = client {
            write!(f, " client={client}")?;
        }
        write!(f, " header={}", header.unwrap_or("none"))?;
        if !ignored.is_empty() {
            write!(f, " ignored={}", ignored.join(","))?;
        }
        if let Some(credential) = &self.denial.credential {
            write!(f, " credential={credential}")?;
        }
        write!(f, " generation={}", self.denial.generation)?;
        if self.left_out > 0 {
            write!(f, " suppressed={}", self.left_out)?;
        }
        if let Some(diagnosis) = &self.denial.explanation.diagnosis {
            write!(f, " reason={} cause={:?}", diagnosis.reason.name(), diagnosis.cause)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;
    use crate::auth::{Content, Deny, Facts, HeaderSet};
    use crate::config::Config;
    use crate::policy::{ProtocolKeys, compile};

    fn policy() -> Snapshot {
        let config: Config = serde_yaml::from_str(
            "proxy: {auth_mode: strict}\nkeys: [{name: a, digest: 'sha256:00'}]"
                .replace("00", &"0".repeat(64))
                .as_str(),
        )
        .unwrap();
        compile(&config, 3, None).unwrap().snapshot
    }

    fn with_refusal<T>(then: impl FnOnce(&Refused<'_>) -> T) -> T {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer sk-secret-secret".parse().unwrap());
        headers.insert("x-goog-api-key", "other".parse().unwrap());
        let facts = Facts { method: &Method::GET, path: b"/v1", headers: &headers, content: Content::None };
        then(&Refused {
            deny: Deny {
                cause: Cause::CredentialInvalid,
                present: HeaderSet::of(&headers, ProtocolKeys::Ignored),
            },
            request_id: "abc",
            client: Some([127, 0, 0, 1].into()),
            facts,
            host: None,
            misplaced: None,
            generation: 3,
            at: UnixSeconds(7),
        })
    }

    #[test]
    fn a_line_shows_next_to_nothing_of_a_credential() {
        let mut pieces = Pieces::default();
        let raw = with_refusal(|refused| Raw::note(refused, &mut pieces));
        let denial = raw.explain(&pieces, &policy(), &Circumstances::default());
        assert_eq!(
            Line { denial: &denial, left_out: 2 }.to_string(),
            ": code=credential_invalid status=401 id=abc client=127.0.0.1 header=Authorization ignored=x-goog-api-key \
             credential=\"sk-…\"(16 bytes) generation=3 suppressed=2 reason=unknown_key \
             cause=\"the value of the `Authorization` header matches no key, and resembles none\""
        );
    }

    #[test]
    fn the_last_thousand_are_kept_and_explained_when_somebody_works() {
        let (denials, policy, around) = (Denials::default(), policy(), Circumstances::default());
        with_refusal(|refused| {
            for number in 0..1500 {
                denials.record(&Refused { request_id: &number.to_string(), ..*refused });
            }
        });
        assert!(denials.has_work());
        let find = |id: &str| denials.records().find(&policy, &around, id).map(|denial| denial.request_id);
        assert_eq!(find("499"), None, "too long ago");
        assert_eq!((find("500"), find("1499")), (Some("500".into()), Some("1499".into())));
        while denials.has_work() {
            denials.work(&policy, &around, UnixSeconds(7));
        }
        let latest = denials.records().latest(usize::MAX);
        assert_eq!((latest.len(), latest[0].request_id.as_str()), (1000, "1499"));
    }

    #[test]
    fn nothing_is_allocated_for_a_denial_without_a_line() {
        let denials = Denials::default();
        with_refusal(|refused| {
            // Each place of the ring is used once, and the second has had its lines.
            (0..1100).for_each(|_| denials.record(refused));
            let allocations = allocation_counter::measure(|| (0..1000).for_each(|_| denials.record(refused)));
            assert_eq!(allocations.count_total, 0);
        });
    }
}
