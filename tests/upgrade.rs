//! A new process takes over while requests flow; listeners change the same way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::support::{Gateway, KEY, Origin, PATIENCE, config};

/// Upgrades in a row under load.
const UPGRADES: usize = 10;

/// The process that serves in the end, which is no child of ours.
struct Successor(u32);

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", &self.0.to_string()]).status();
    }
}

/// Sends SIGUSR2 to process `old` and waits until another has taken over.
fn upgrade(gateway: &Gateway, old: u32) -> Successor {
    let sent = Command::new("kill").args(["-USR2", &old.to_string()]).status().unwrap();
    assert!(sent.success());
    let text = format!(" took over from process {old}");
    let line = gateway.program().wait_for_log("the successor", |line| line.contains(&text));
    let (_, pid) = line.split_once("] process ").unwrap();
    Successor(pid.split(' ').next().unwrap().parse().unwrap())
}

/// Clients that ask without a pause until told to stop: half of them over a connection for each request, half over one for as
/// many as it takes.
struct Load {
    /// Where they go, as far as they know.
    address: Arc<Mutex<SocketAddr>>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let address = Arc::new(Mutex::new(address));
        let clients = (0..4)
            .map(|number| {
                let keeps = number % 2 == 1;
                let (stop, answered, address) =
                    (Arc::clone(&stop), Arc::clone(&answered), Arc::clone(&address));
                std::thread::spawn(move || {
                    let mut failures = Vec::new();
                    let mut kept = None;
                    while !stop.load(Ordering::SeqCst) {
                        let address = *address.lock().unwrap();
                        let answer = if keeps { ask_again(&mut kept, address) } else { request(address) };
                        match answer {
                            Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => {}
                            Ok(answer) => failures.push(answer),
                            Err(error) => failures.push(error.to_string()),
                        }
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                    failures
                })
            })
            .collect();
        Self { address, stop, answered, clients }
    }

    /// Sends its clients elsewhere.
    fn move_to(&self, address: SocketAddr) {
        *self.address.lock().unwrap() = address;
    }

    /// Waits for so many more requests.
    fn wait_for(&self, requests: usize) {
        let begun = self.answered.load(Ordering::SeqCst);
        crate::support::wait_for("requests", || {
            (self.answered.load(Ordering::SeqCst) >= begun + requests).then_some(())
        });
    }

    /// How many requests were made, and what went wrong.
    fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        let failures = self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (self.answered.load(Ordering::SeqCst), failures)
    }
}

fn request(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request =
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nx-api-key: {KEY}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Asks over the connection that is there, if it goes to this address, and keeps it for as long as the gateway does.
fn ask_again(kept: &mut Option<TcpStream>, address: SocketAddr) -> std::io::Result<String> {
    let mut stream = match kept.take().filter(|stream| stream.peer_addr().is_ok_and(|peer| peer == address)) {
        Some(stream) => stream,
        None => TcpStream::connect_timeout(&address, PATIENCE)?,
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n\r\n").as_bytes())?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(b"\r\n\r\nok") {
        match stream.read(&mut part)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => answer.extend(&part[..read]),
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if !answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n") {
        *kept = Some(stream);
    }
    Ok(answer)
}

#[test]
fn no_request_is_lost_and_a_stream_goes_on_across_upgrades() {
    let (sender, events) = std::sync::mpsc::channel::<&str>();
    let events = Mutex::new(events);
    let origin = Origin::answering(move |request, stream| {
        if !request.head.starts_with("GET /stream ") {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for event in events.lock().unwrap().iter() {
            write!(stream, "{:x}\r\n{event}\r\n", event.len())?;
        }
        stream.write_all(b"0\r\n\r\n")
    });
    let mut gateway = Gateway::start(&config("strict", &origin));
    let mut stream = gateway.connect();
    stream.send(format!("GET /stream HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n\r\n"));
    stream.read_head();
    sender.send("before").unwrap();
    assert_eq!(stream.read_chunk().unwrap(), b"before");

    let load = Load::start(gateway.address());
    load.wait_for(200);
    let mut serving = Successor(gateway.program().id());
    for _ in 0..UPGRADES {
        let next = upgrade(&gateway, serving.0);
        load.wait_for(200);
        // The one before has drained by itself, or is about to: it is no longer ours to end.
        std::mem::forget(std::mem::replace(&mut serving, next));
    }
    let (requests, failures) = load.end();
    assert!(failures.is_empty(), "{} of {requests} failed: {failures:?}", failures.len());
    assert!(requests > 200 * UPGRADES, "{requests}");

    sender.send("after").unwrap();
    assert_eq!(stream.read_chunk().unwrap(), b"after", "the stream outlives the upgrades");
    drop(sender);
    assert_eq!(stream.read_chunk(), None);
    assert!(gateway.wait().success(), "the first process ends with its last stream");
}

/// A port that is free on every address at the moment.
fn free_port() -> u16 {
    std::net::TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn lan_access_and_port_are_changed_without_losing_a_request() {
    let origin = Origin::start();
    let (port, next_port) = (free_port(), free_port());
    let with = |port: u16, lan: bool| {
        let listen = format!("port: {port}\n  allow_lan_access: {lan}");
        config("strict", &origin).replace("listen: ['127.0.0.1:0']", &listen)
    };
    let at = |last: u8, port: u16| SocketAddr::from(([127, 0, 0, last], port));
    let mut gateway = Gateway::start(&with(port, false));
    assert_eq!(gateway.address(), at(1, port));
    assert!(request(at(2, port)).is_err(), "another address than the one that is listened on");
    let load = Load::start(gateway.address());
    load.wait_for(100);
    let mut serving = Successor(gateway.program().id());
    // LAN access on, the port, LAN access off again, and both at once, either way.
    for (number, (new_port, lan)) in
        [(port, true), (next_port, true), (next_port, false), (port, true), (next_port, false)]
            .into_iter()
            .enumerate()
    {
        gateway.replace_config(&with(new_port, lan));
        let hints = move |log: &[String]| {
            let hints = log.iter().filter(|line| line.contains("takes effect with a restart")).count();
            (hints > number).then_some(())
        };
        gateway.program().wait_for("the hint", hints);
        let next = upgrade(&gateway, serving.0);
        // The one before has drained by itself, or is about to: it is no longer ours to end.
        std::mem::forget(std::mem::replace(&mut serving, next));
        // Some requests still go to the old port.
        load.wait_for(100);
        load.move_to(at(1, new_port));
        load.wait_for(100);
        assert_eq!(request(at(2, new_port)).is_ok(), lan, "change {number}");
        assert!(lan || request(at(2, port)).is_err(), "what was open to others is closed to them at once");
    }
    let old_port = || request(at(1, port)).is_err().then_some(());
    crate::support::wait_for("the old port to close", old_port);
    let (requests, failures) = load.end();
    assert!(failures.is_empty(), "{} of {requests} failed: {failures:?}", failures.len());
    assert!(gateway.wait().success());
}

/// As a service manager does that stops a service soon after its upgrade.
#[test]
fn a_stop_of_both_leaves_the_streams_of_the_one_before_their_time() {
    let (sender, events) = std::sync::mpsc::channel::<()>();
    let events = Mutex::new(events);
    let origin = Origin::answering(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for () in events.lock().unwrap().iter() {
            stream.write_all(b"5\r\nevent\r\n")?;
        }
        stream.write_all(b"0\r\n\r\n")
    });
    let mut gateway = Gateway::start(&config("off", &origin));
    let mut stream = gateway.connect();
    stream.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.read_head();
    let _successor = upgrade(&gateway, gateway.program().id());
    gateway.program().wait_for_log("the drain", |line| line.contains("stopping: 1 requests in flight"));
    gateway.signal("TERM");
    gateway.program().wait_for_log("the stop", |line| line.contains("this process drains already"));
    sender.send(()).unwrap();
    assert_eq!(stream.read_chunk().unwrap(), b"event");
    gateway.signal("TERM");
    assert!(gateway.wait().success(), "a second one ends it");
}

#[test]
fn the_successor_is_what_the_link_leads_to_now() {
    let origin = Origin::start();
    let directory = tempfile::TempDir::new().unwrap();
    let (link, file) = (directory.path().join("keygate"), directory.path().join("keygate.yaml"));
    symlink(env!("CARGO_BIN_EXE_keygate"), &link).unwrap();
    std::fs::write(&file, config("off", &origin)).unwrap();
    let mut command = Command::new(&link);
    command.args(["run".as_ref(), "-c".as_ref(), file.as_os_str()]);
    let gateway = Gateway::run(command, directory);
    std::fs::remove_file(&link).unwrap();
    symlink("/bin/false", &link).unwrap();
    gateway.signal("USR2");
    gateway.program().wait_for_log("its end", |line| {
        line.contains("not upgraded: the new process ended (exit status: 1)")
    });
}

/// A container ends with its first process.
#[test]
fn the_first_process_of_a_container_stays() {
    let origin = Origin::start();
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("keygate.yaml");
    std::fs::write(&file, config("strict", &origin)).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--pid", "--fork", "--kill-child", env!("CARGO_BIN_EXE_keygate")]);
    command.args(["run".as_ref(), "-c".as_ref(), file.as_os_str()]);
    let gateway = Gateway::run(command, directory);
    let children = format!("/proc/{0}/task/{0}/children", gateway.program().id());
    let first = std::fs::read_to_string(children).unwrap();
    assert!(Command::new("kill").args(["-USR2", first.trim()]).status().unwrap().success());
    gateway.program().wait_for_log("the refusal", |line| {
        line.contains("not upgraded: this is the first process of its container")
    });
    assert!(request(gateway.address()).unwrap().starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_successor_that_cannot_start_changes_nothing() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    gateway.replace_config("proxy: {auth_mode: sometimes}\n");
    gateway.program().wait_for_log("the reload", |line| line.contains("not reloaded"));
    gateway.signal("USR2");
    gateway.program().wait_for_log("its end", |line| {
        line.contains("not upgraded: the new process ended (exit status: 2)")
    });
    assert!(request(gateway.address()).unwrap().starts_with("HTTP/1.1 200 "));
    gateway.replace_config(&config("strict", &origin));
    let _successor = upgrade(&gateway, gateway.program().id());
    assert!(request(gateway.address()).unwrap().starts_with("HTTP/1.1 200 "), "and the next try works");
}
