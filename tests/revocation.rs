//! Revocation: a key that is disabled or removed is refused everywhere at once, and nobody else notices.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::admin::administered;
use crate::admin_changes::changed;
use crate::support::{Client, Gateway, KEY, Origin, config, wait_for};

const REVOCATIONS: u64 = 100;

fn entry(name: &str) -> String {
    let digest = keygate::policy::Digest::of(format!("sk-{name}").as_bytes());
    format!("{{name: {name}, digest: '{digest}'}}")
}

/// A config with these keys beside the primary one.
fn with_keys(origin: &Origin, names: &[&str], limits: &str) -> String {
    let keys: Vec<String> = names.iter().map(|name| entry(name)).collect();
    format!("{}keys: [{}]\nlimits: {{{limits}}}\n", config("strict", origin), keys.join(", "))
}

fn request(key: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\n\r\n")
}

fn get(client: &mut Client, key: &str) -> u16 {
    client.exchange(request(key)).status
}

/// Clients that never pause, with a key that stays.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr, clients: usize) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                while !stop.load(Ordering::SeqCst) {
                    // `exchange` fails the test if the connection breaks.
                    let answer = client.exchange(request(KEY));
                    assert_eq!(answer.status, 200, "no request of another key may fail");
                    answered.fetch_add(1, Ordering::SeqCst);
                    if answer.header("connection") == Some("close") {
                        // It has had all the requests that one may have.
                        client = Client::connect(address);
                    }
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { stop, answered, clients }
    }

    /// Ends it; how many requests were answered.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        self.answered.load(Ordering::SeqCst)
    }
}

/// `a` and `b` take turns: each reload revokes one of them.
#[test]
#[expect(clippy::print_stdout, reason = "the figures, for who runs it to see them")]
fn a_revoked_key_is_refused_on_every_connection_and_no_other_request_fails() {
    let origin = Origin::start();
    let gateway = Gateway::start(&with_keys(&origin, &["a"], ""));
    let load = Load::start(gateway.address(), 4);
    let begun = Instant::now();
    // Connections that are open already, on whatever threads they landed.
    let mut open: Vec<Client> = (0..4).map(|_| gateway.connect()).collect();
    let mut after_change = Duration::ZERO;
    for revocation in 0..REVOCATIONS {
        let (revoked, valid) = if revocation % 2 == 0 { ("a", "b") } else { ("b", "a") };
        assert!(open.iter_mut().all(|client| get(client, &format!("sk-{revoked}")) == 200));
        let changed = Instant::now();
        gateway.replace_config(&with_keys(&origin, &[valid], ""));
        while get(&mut open[0], &format!("sk-{revoked}")) == 200 {
            assert!(changed.elapsed() < crate::support::PATIENCE, "it is never refused");
        }
        after_change = after_change.max(changed.elapsed());
        gateway.wait_for_generation(revocation + 2);
        let mut fresh: Vec<Client> = (0..4).map(|_| gateway.connect()).collect();
        for client in open.iter_mut().chain(&mut fresh) {
            // The contract gives 100 ms from the change being accepted. It takes none.
            assert_eq!(get(client, &format!("sk-{revoked}")), 401, "revocation {revocation}");
            assert_eq!(get(client, &format!("sk-{valid}")), 200);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let answered = load.end();
    println!(
        "{REVOCATIONS} revocations: at most {after_change:?} after the file was changed; {answered} requests of another \
         key, {:.0} a second, none failed",
        answered as f64 / seconds
    );
    assert!(answered > 1000, "there was load: {answered}");
}

/// `a` is switched off and on again, a hundred times.
#[test]
fn a_key_that_the_admin_api_revoked_is_refused_on_every_connection_once_it_has_answered() {
    let origin = Origin::start();
    let gateway = Gateway::start(&format!("{}keys: [{}]\n", administered("strict", &origin), entry("a")));
    let load = Load::start(gateway.address(), 4);
    let mut open: Vec<Client> = (0..4).map(|_| gateway.connect()).collect();
    for revocation in 0..REVOCATIONS {
        assert!(open.iter_mut().all(|client| get(client, "sk-a") == 200));
        changed(gateway.admin(), "PATCH /api/keys/a", &json!({"enabled": false}));
        let mut fresh: Vec<Client> = (0..4).map(|_| gateway.connect()).collect();
        for client in open.iter_mut().chain(&mut fresh) {
            assert_eq!(get(client, "sk-a"), 401, "revocation {revocation}");
        }
        changed(gateway.admin(), "PATCH /api/keys/a", &json!({"enabled": true}));
    }
    assert!(load.end() > 1000, "there was load, and no other key failed");
}

/// An origin whose streams send an event each time the test says so.
fn streaming_origin() -> (Origin, mpsc::Sender<()>) {
    let (sender, events) = mpsc::channel::<()>();
    let events = Mutex::new(events);
    let origin = Origin::answering(move |request, stream| {
        if !request.head.starts_with("GET /stream ") {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        for () in events.lock().unwrap().iter() {
            stream.write_all(b"4\r\nnext\r\n")?;
        }
        stream.write_all(b"0\r\n\r\n")
    });
    (origin, sender)
}

fn open_stream(gateway: &Gateway, key: &str) -> Client {
    let mut client = gateway.connect();
    client.send(format!("GET /stream HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\n\r\n"));
    client.read_head();
    assert_eq!(client.read_chunk().unwrap(), b"first");
    client
}

#[test]
fn a_running_stream_of_a_revoked_key_is_cut_where_that_is_wanted() {
    let (origin, events) = streaming_origin();
    let gateway = Gateway::start(&with_keys(&origin, &["a", "b"], "revoked_streams: cut"));
    let mut stream = open_stream(&gateway, "sk-a");
    gateway.replace_config(&with_keys(&origin, &["a", "c"], "revoked_streams: cut"));
    gateway.wait_for_generation(2);
    events.send(()).unwrap();
    assert_eq!(
        stream.read_chunk().unwrap(),
        b"next",
        "the revocation of another key is none of its business"
    );
    gateway.replace_config(&with_keys(&origin, &["c"], "revoked_streams: cut"));
    gateway.wait_for_generation(3);
    let _ = events.send(());
    // Broken off: without the last chunk, so that nobody takes it for the whole.
    stream.expect_close();
}

const HANDSHAKE: &str = "GET /socket HTTP/1.1\r\nHost: localhost\r\nx-api-key: sk-a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// An origin that takes WebSockets and sends back what comes.
fn echoing_origin() -> Origin {
    Origin::answering(|request, stream| {
        if !request.head.starts_with("GET /socket ") {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )?;
        std::io::copy(&mut stream.try_clone()?, stream).map(drop)
    })
}

#[test]
fn what_a_revoked_key_goes_on_sending_is_cut_off_where_that_is_wanted() {
    for (revoked_streams, cut) in [("cut", true), ("finish", false)] {
        let origin = echoing_origin();
        let limits = format!("revoked_streams: {revoked_streams}");
        let gateway = Gateway::start(&with_keys(&origin, &["a", "b"], &limits));
        let mut upload = gateway.connect();
        upload
            .send("POST / HTTP/1.1\r\nHost: localhost\r\nx-api-key: sk-a\r\nContent-Length: 10\r\n\r\n12345");
        let mut socket = gateway.connect();
        socket.send(HANDSHAKE);
        assert!(socket.read_head().starts_with("HTTP/1.1 101 "));
        wait_for("both at the origin", || (origin.connections() == 2).then_some(()));
        gateway.replace_config(&with_keys(&origin, &["b"], &limits));
        gateway.wait_for_generation(2);
        upload.send("67890");
        let answer = upload.response();
        socket.send("a frame");
        if cut {
            assert_eq!((answer.status, answer.error_code()), (401, Some("credential_invalid")));
            upload.expect_close();
            socket.expect_close();
        } else {
            assert_eq!(answer.status, 200);
            assert_eq!(socket.read_exactly(7), b"a frame");
        }
        let whole = origin.received().iter().filter(|it| it.body == b"1234567890").count();
        assert_eq!(whole, usize::from(!cut), "what was left of it did not go upstream");
    }
}

#[test]
fn a_running_stream_of_a_revoked_key_goes_on_by_default() {
    let (origin, events) = streaming_origin();
    let gateway = Gateway::start(&with_keys(&origin, &["a"], ""));
    let mut stream = open_stream(&gateway, "sk-a");
    gateway.replace_config(&with_keys(&origin, &["b"], ""));
    gateway.wait_for_generation(2);
    wait_for("the revocation", || (get(&mut gateway.connect(), "sk-a") == 401).then_some(()));
    events.send(()).unwrap();
    assert_eq!(stream.read_chunk().unwrap(), b"next");
    drop(events);
    assert_eq!(stream.read_chunk(), None, "to its end");
}
