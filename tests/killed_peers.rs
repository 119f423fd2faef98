//! Load while a peer is killed and started again and again: no idempotent request may fail, of others those on their way to
//! it alone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, Program, keygate, wait_for};

const SENDERS: usize = 16;

/// What is sent, and for how long: bounded here; the variables make it the full measurement.
fn asked_for(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// An origin as a process of its own, which can be killed like any other.
struct Peer {
    program: Program,
    address: std::net::SocketAddr,
}

impl Peer {
    fn start(listen: &str) -> Self {
        const SERVES: &str = "keygate origin serves http://";
        let program = Program::start(keygate(["origin", "--threads", "1", "--listen", listen]));
        let line = program.wait_for_stdout("its address", |line| line.contains(SERVES));
        Self { program, address: line.split_once(SERVES).unwrap().1.parse().unwrap() }
    }

    fn kill_and_start_again(self) -> Self {
        let address = self.address.to_string();
        self.program.signal("KILL");
        drop(self.program);
        Self::start(&address)
    }
}

/// What became of a load.
struct Outcome {
    sent: usize,
    failed: usize,
    kills: usize,
}

/// A load of these requests while one of three peers after the other is killed and started again.
#[expect(clippy::print_stdout, reason = "the figures, for whoever asks for a test's output")]
fn under_kills(method: &str) -> Outcome {
    let seconds = asked_for("KEYGATE_LOAD_SECONDS", 4);
    let rate = asked_for("KEYGATE_LOAD_RATE", 300);
    let every = Duration::from_millis(asked_for("KEYGATE_LOAD_KILL_MS", 1000));
    let mut peers: Vec<Peer> = (0..3).map(|_| Peer::start("127.0.0.1:0")).collect();
    let addresses: Vec<String> = peers.iter().map(|peer| format!("'{}'", peer.address)).collect();
    let gateway = Gateway::start(&format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: off}}\n\
         upstreams: {{o: {{peers: [{}], ejection: {{time: 500ms}}}}}}\nroutes: [{{path_prefix: /, upstream: o}}]\n",
        addresses.join(", ")
    ));
    let request = format!("{method} /ok HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    let (over, sent, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let kills = std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| send_at(&gateway, &request, rate / SENDERS as u64, &over, &sent, &failed));
        }
        let (begun, mut kills) = (Instant::now(), 0_u32);
        while begun.elapsed() < Duration::from_secs(seconds) {
            wait_for("the next kill", || (begun.elapsed() >= every * (kills + 1)).then_some(()));
            let peer = peers.pop().unwrap().kill_and_start_again();
            peers.insert(0, peer);
            kills += 1;
        }
        over.store(true, Ordering::SeqCst);
        kills as usize
    });
    let (sent, failed) = (sent.into_inner(), failed.into_inner());
    println!("{sent} {method} requests in {seconds} s, {kills} kills, {failed} failed");
    assert!(kills >= 2 && sent > 100, "{kills} kills, {sent} requests");
    Outcome { sent, failed, kills }
}

#[test]
fn a_peer_that_is_killed_again_and_again_fails_no_idempotent_request() {
    let outcome = under_kills("GET");
    assert_eq!(outcome.failed, 0, "of {}", outcome.sent);
}

#[test]
fn a_peer_that_is_killed_fails_no_more_of_others_than_were_on_their_way_to_it() {
    let outcome = under_kills("POST");
    // Each sender has one under way at a time.
    let most = outcome.kills * SENDERS;
    assert!(outcome.failed <= most, "{} of {} failed, {} kills", outcome.failed, outcome.sent, outcome.kills);
}

/// Sends at this rate over one kept connection; what is late is made up for.
fn send_at(
    gateway: &Gateway,
    request: &str,
    rate: u64,
    over: &AtomicBool,
    sent: &AtomicUsize,
    failed: &AtomicUsize,
) {
    let mut client = gateway.connect();
    let begun = Instant::now();
    for number in 0.. {
        let due = Duration::from_micros(1_000_000 * number / rate.max(1));
        if let Some(early) = due.checked_sub(begun.elapsed()) {
            // The pace of the load, not a wait for something.
            std::thread::park_timeout(early);
        }
        if over.load(Ordering::SeqCst) {
            return;
        }
        let response = client.try_exchange(request);
        sent.fetch_add(1, Ordering::SeqCst);
        if response.as_ref().is_none_or(|response| response.status != 200) {
            failed.fetch_add(1, Ordering::SeqCst);
            client = Client::connect(gateway.address());
        }
    }
}
