//! Requests at a given rate, however long the answers take: what a proxy adds to each, while it is not at its limit.
//!
//! Each connection is a caller of its own, that asks at random moments (a Poisson process), one request after another. The time of
//! an answer counts from the moment it was wanted, also where the answer before it was late: a slow one does not thin the load out
//! ("coordinated omission"). The moments are the same at every run, and kept to some microseconds; the clocks of `h2load` and
//! `wrk` have steps of a millisecond, in which all that is due is asked in one burst.
//!
//! `steady_load ADDRESS PATH KEY CONNECTIONS RATE SECONDS` prints how many answers came, and percentiles in microseconds: of all, and
//! `calm`, the median of those of each tenth of a second. A machine that takes a core away for some milliseconds now and then
//! spoils the 99th percentile of all, whatever runs there, and no other than the tenths that it hits.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program for developers"
)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

/// What has percentiles of its own.
const SLICE: Duration = Duration::from_millis(100);

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, key, connections, rate, seconds] = arguments.as_slice() else {
        panic!("steady_load ADDRESS PATH KEY CONNECTIONS RATE SECONDS")
    };
    let connections: u32 = connections.parse().unwrap();
    let gap = Duration::from_secs_f64(f64::from(connections) / rate.parse::<f64>().unwrap());
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\r\n");
    let streams: Vec<_> = (0..connections).map(|_| TcpStream::connect(address).unwrap()).collect();
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds.parse().unwrap());
    let callers = streams.into_iter().zip(0..).map(|(stream, seed)| Caller {
        stream,
        random: fastrand::Rng::with_seed(seed),
        gap,
        moment: begin,
        answer: Vec::new(),
    });
    let answers = ask(&mut callers.collect::<Vec<_>>(), request.as_bytes(), end);
    println!("answers {}", answers.len());
    let mut slices = BTreeMap::<_, Vec<_>>::new();
    for (moment, took) in &answers {
        let slice = (*moment - begin).as_nanos() / SLICE.as_nanos();
        slices.entry(slice).or_default().push(*took);
    }
    let all: Vec<_> = answers.into_iter().map(|(_, took)| took).collect();
    for percent in [50, 90, 99] {
        let calm = slices.values().map(|took| percentile(took.clone(), percent)).collect();
        let (all, calm) = (percentile(all.clone(), percent), percentile(calm, 50));
        println!(
            "p{percent} {:.1}\ncalm_p{percent} {:.1}",
            all.as_secs_f64() * 1e6,
            calm.as_secs_f64() * 1e6
        );
    }
}

fn percentile(mut sample: Vec<Duration>, percent: usize) -> Duration {
    sample.sort_unstable();
    sample[sample.len() * percent / 100]
}

/// Lets the callers ask until `end`; the moment of each request, and what the answer took from then on.
fn ask(callers: &mut [Caller], request: &[u8], end: Instant) -> Vec<(Instant, Duration)> {
    // The kernel may wake a thread up to 50 µs later than it asked for, unless told otherwise.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).unwrap();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    // Those that wait for their moment, by it.
    let mut due = BinaryHeap::new();
    for (caller, number) in callers.iter_mut().zip(0u64..) {
        epoll::add(&epoll, &caller.stream, epoll::EventData::new_u64(number), epoll::EventFlags::IN).unwrap();
        due.push(Reverse((caller.next_moment(), number)));
    }
    let (mut events, mut took, mut waiting) = (Vec::with_capacity(callers.len()), Vec::new(), 0);
    loop {
        while let Some(&Reverse((moment, number))) = due.peek()
            && moment <= Instant::now()
        {
            due.pop();
            if moment < end {
                callers[number as usize].stream.write_all(request).unwrap();
                waiting += 1;
            }
        }
        if due.is_empty() && waiting == 0 {
            return took;
        }
        let next = due.peek().map(|Reverse((moment, _))| moment.saturating_duration_since(Instant::now()));
        let limit = next.unwrap_or(PATIENCE).try_into().unwrap();
        events.clear();
        let ready = epoll::wait(&epoll, spare_capacity(&mut events), Some(&limit)).unwrap();
        assert!(ready > 0 || next.is_some(), "{waiting} requests have no answer after {PATIENCE:?}");
        for event in &events {
            let number = event.data.u64();
            let caller = &mut callers[number as usize];
            if caller.read_answer() {
                took.push((caller.moment, caller.moment.elapsed()));
                waiting -= 1;
                due.push(Reverse((caller.next_moment(), number)));
            }
        }
    }
}

/// One connection.
struct Caller {
    stream: TcpStream,
    random: fastrand::Rng,
    /// Mean time between its requests.
    gap: Duration,
    /// When it wants, or wanted, to ask.
    moment: Instant,
    /// What has come of the answer.
    answer: Vec<u8>,
}

impl Caller {
    fn next_moment(&mut self) -> Instant {
        self.moment += self.gap.mul_f64(-(1.0 - self.random.f64()).ln());
        self.moment
    }

    /// Reads what has come. Whether the answer is whole, which must be a good one of known length.
    fn read_answer(&mut self) -> bool {
        let mut piece = [0; 4096];
        let read = self.stream.read(&mut piece).unwrap();
        assert!(read > 0, "closed within an answer");
        self.answer.extend_from_slice(&piece[..read]);
        let text = str::from_utf8(&self.answer).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let is_whole = body.len() == content_length(head);
        if is_whole {
            self.answer.clear();
        }
        is_whole
    }
}

fn content_length(head: &str) -> usize {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length")).unwrap();
    value.trim().parse().unwrap()
}
