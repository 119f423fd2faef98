//! The access log: one JSON line for each request that is over, with fields that stay as they are (docs/access-log.md).
//!
//! A request never waits for it: the line goes into a bounded queue, without waking anybody, and a thread of its own
//! writes what has gathered. Where the queue is full, or the system does not take a line, the line is dropped and
//! counted. No field ever holds a key.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use serde::{Serialize, Serializer};

use super::metrics::{LineFate, Metrics};
use crate::clock::{self, UnixMillis};
use crate::policy::{AccessLogSpec, AccessLogTarget};

/// How long the writer rests when there is nothing to write. Nobody wakes it: that would cost each request a system call.
const REST: Duration = Duration::from_millis(20);

/// Lines are handed to the system together, up to about this many bytes.
const BATCH_BYTES: usize = 64 * 1024;

/// How often the process log says that lines are lost.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Longer paths are cut: a line is for reading, and the queue is bounded in lines.
const LONGEST_PATH: usize = 2048;

/// How keys begin that end in a path by mistake; what follows is left out.
const KEY_BEGINNINGS: [&str; 3] = ["sk-", "kg_", "AIza"];

/// What a line tells. `None` is written as `null`: every line has every field.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// When the request was over.
    pub time: Time,
    /// The value of `x-request-id`.
    pub id: &'a str,
    /// Who asked.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: &'a str,
    /// The path as it stood in the request, without the query.
    pub path: LoggedPath<'a>,
    /// The label of the route that was taken.
    pub route: Option<&'a str>,
    /// The upstream that it leads to.
    pub upstream: Option<&'a str>,
    /// The address that the request was last sent to.
    pub peer: Option<SocketAddr>,
    /// The status that the client was sent; `None` where no response was.
    pub status: Option<u16>,
    /// The `x-keygate-error` of an answer of the gateway's own.
    pub error: Option<&'a str>,
    /// The header that decided about a refused key.
    pub header: Option<&'a str>,
    /// The name of the key that was accepted.
    pub key: Option<&'a str>,
    /// Bytes of the request's body.
    pub bytes_in: usize,
    /// Bytes of the response's body.
    pub bytes_out: usize,
    /// From the request's header section to the upstream response's.
    pub first_byte_ms: Option<Millis>,
    /// From the request's header section to its end.
    pub duration_ms: Millis,
    /// The policy that decided.
    pub generation: u64,
}

/// A duration as milliseconds with three decimals.
#[derive(Clone, Copy, Debug)]
pub struct Millis(pub Duration);

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_micros() as f64 / 1000.0)
    }
}

/// A path as the log shows it: cut where it is long, and where a key seems to begin.
#[derive(Clone, Copy, Debug)]
pub struct LoggedPath<'a>(pub &'a [u8]);

impl Serialize for LoggedPath<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let path = self.0.get(..LONGEST_PATH).unwrap_or(self.0);
        let key = KEY_BEGINNINGS.iter().filter_map(|beginning| {
            let after_slash =
                |at: &usize| path.get(at.wrapping_sub(1)).is_none_or(|byte| !byte.is_ascii_alphanumeric());
            let mut places = path.windows(beginning.len()).enumerate();
            places.find_map(|(at, text)| {
                (text == beginning.as_bytes() && after_slash(&at)).then_some(at + text.len())
            })
        });
        let shown = path.get(..key.min().unwrap_or(path.len())).unwrap_or_default();
        let text = String::from_utf8_lossy(shown);
        if shown.len() < self.0.len() {
            serializer.collect_str(&format_args!("{text}…"))
        } else {
            serializer.serialize_str(&text)
        }
    }
}

/// `2027-01-31T00:00:00.000Z`.
#[derive(Clone, Copy, Debug)]
pub struct Time(pub UnixMillis);

/// Each thread formats the second once, not for each line of it.
impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        thread_local!(static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) });
        let UnixMillis(time) = self.0;
        let (seconds, millis) = (time.div_euclid(1000), time.rem_euclid(1000));
        SECOND.with_borrow_mut(|(second, text)| {
            if *second != seconds {
                let date = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
                text.clear();
                // Writing to a string cannot fail.
                let _ = write!(text, "{}", date.format("%Y-%m-%dT%H:%M:%S"));
                *second = seconds;
            }
            serializer.collect_str(&format_args!("{text}.{millis:03}Z"))
        })
    }
}

/// Takes lines; one for the process, its clones included.
#[derive(Clone, Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    metrics: &'static Metrics,
}

#[derive(Debug)]
struct Shared {
    queue: ArrayQueue<Vec<u8>>,
    reopen: AtomicBool,
    end: AtomicBool,
}

impl AccessLog {
    /// Queues a line.
    pub fn write(&self, line: &Line<'_>) {
        let mut text = Vec::with_capacity(512);
        // Text and numbers into memory: there is nothing in it that could fail.
        let written = serde_json::to_writer(&mut text, line);
        text.push(b'\n');
        if written.is_err() || self.shared.queue.push(text).is_err() {
            self.metrics.log_lines(LineFate::Dropped, 1);
        }
    }
}

/// What the owner of an access log can do with it.
#[derive(Debug)]
pub struct Control {
    shared: Arc<Shared>,
    writer: Thread,
    ended: Receiver<()>,
}

impl Control {
    /// Opens the file anew, after it was moved away.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.writer.unpark();
    }

    /// Writes what is queued, and returns when that is done or takes too long.
    pub fn finish(self) {
        self.shared.end.store(true, Ordering::Release);
        self.writer.unpark();
        if self.ended.recv_timeout(LAST_LINES) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            log::warn!("the last lines of the access log could not be written");
        }
    }
}

/// Opens the access log and starts its writer. A path is relative to `directory`.
///
/// # Errors
/// The file cannot be opened, or there is no thread to write it.
pub fn open(
    spec: &AccessLogSpec,
    directory: &Path,
    metrics: &'static Metrics,
) -> io::Result<(AccessLog, Control)> {
    let target = match &spec.target {
        AccessLogTarget::Stdout => Target::Stdout,
        AccessLogTarget::File(path) => {
            let path = directory.join(path);
            Target::File { file: append_to(&path)?, path }
        }
    };
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(spec.queue.max(1)),
        reopen: AtomicBool::new(false),
        end: AtomicBool::new(false),
    });
    let (end, ended) = channel();
    let mut writer = Writer { shared: Arc::clone(&shared), target, metrics, torn: false, complained: None };
    let thread = thread::Builder::new().name("access log".to_owned()).spawn(move || {
        writer.run();
        // Nobody may be waiting.
        let _ = end.send(());
    })?;
    let control = Control { shared: Arc::clone(&shared), writer: thread.thread().clone(), ended };
    Ok((AccessLog { shared, metrics }, control))
}

/// Only its owner and group may read who asked for what.
fn append_to(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
    opened.map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))
}

enum Target {
    Stdout,
    File { file: File, path: PathBuf },
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => io::stdout().lock().write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().flush(),
            Self::File { file, .. } => file.flush(),
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    target: Target,
    metrics: &'static Metrics,
    /// The last thing that was written is no whole line.
    torn: bool,
    complained: Option<Instant>,
}

impl Writer {
    fn run(&mut self) {
        let mut batch = Vec::with_capacity(BATCH_BYTES);
        loop {
            // Before the queue is looked at: what was queued before the end is written.
            let end = self.shared.end.load(Ordering::Acquire);
            if self.shared.reopen.swap(false, Ordering::AcqRel) {
                self.reopen();
            }
            let lines = self.gather(&mut batch);
            if lines > 0 {
                self.write(&batch, lines);
            } else if end {
                return;
            } else {
                thread::park_timeout(REST);
            }
        }
    }

    /// Fills `batch`; how many lines it holds.
    fn gather(&self, batch: &mut Vec<u8>) -> u64 {
        batch.clear();
        let mut lines = 0;
        while batch.len() < BATCH_BYTES
            && let Some(line) = self.shared.queue.pop()
        {
            batch.extend_from_slice(&line);
            lines += 1;
        }
        lines
    }

    fn write(&mut self, batch: &[u8], lines: u64) {
        let before = if self.torn { self.target.write_all(b"\n") } else { Ok(()) };
        let mut left = batch;
        let outcome = before.and_then(|()| {
            self.torn = false;
            while !left.is_empty() {
                match self.target.write(left) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => left = left.get(written..).unwrap_or_default(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.target.flush()
        });
        let lost = left.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.metrics.log_lines(LineFate::Written, lines.saturating_sub(lost));
        if let Err(error) = outcome {
            self.torn |= left.len() < batch.len() && batch.get(batch.len() - left.len() - 1) != Some(&b'\n');
            self.metrics.log_lines(LineFate::Dropped, lost);
            self.complain(&format_args!("{lost} lines are lost: {error}"));
        }
    }

    fn reopen(&mut self) {
        let Target::File { path, .. } = &self.target else { return };
        match append_to(path) {
            Ok(file) => {
                log::info!("access log `{}` opened anew", path.display());
                self.target = Target::File { file, path: path.clone() };
                self.torn = false;
            }
            Err(error) => log::error!("access log: not opened anew, the old file goes on: {error}"),
        }
    }

    fn complain(&mut self, what: &dyn fmt::Display) {
        let now = clock::instant();
        if self.complained.is_none_or(|before| now.duration_since(before) >= COMPLAIN_EVERY) {
            self.complained = Some(now);
            log::error!("access log: {what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_shows_no_key_and_is_not_long() {
        let shown =
            |path: &[u8]| serde_json::to_value(LoggedPath(path)).unwrap().as_str().unwrap().to_owned();
        assert_eq!(shown(b"/v1/models"), "/v1/models");
        assert_eq!(shown(b"/task-list/risk-x"), "/task-list/risk-x");
        assert_eq!(shown(b"/v1/sk-0123456789/x"), "/v1/sk-…");
        assert_eq!(shown(b"/key=AIzaSy0123456789"), "/key=AIza…");
        assert_eq!(shown(b"/\xff\"\n"), "/\u{fffd}\"\n");
        assert_eq!(shown(&[b'a'; 3000]).chars().count(), LONGEST_PATH + 1);
    }

    #[test]
    fn a_time_is_rfc_3339_with_milliseconds() {
        let shown = |millis| serde_json::to_value(Time(UnixMillis(millis))).unwrap();
        assert_eq!(shown(1_801_353_600_007), "2027-01-31T00:00:00.007Z");
        assert_eq!(shown(1_801_353_601_000), "2027-01-31T00:00:01.000Z");
    }
}
