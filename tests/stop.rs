//! Start and stop: errors before anything is served; a drain that loses nothing and does not wait for nothing.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, Origin, PATIENCE, config, keygate, run_to_end, wait_for};

/// An origin whose responses are streams, which the test finishes.
fn slow_origin() -> (Sender<()>, Origin) {
    let (finish, finished) = channel::<()>();
    let finished = Mutex::new(finished);
    let origin = Origin::answering(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")?;
        finished.lock().unwrap().recv().map_err(|_| std::io::ErrorKind::ConnectionAborted)?;
        stream.write_all(b"2\r\ncd\r\n0\r\n\r\n")
    });
    (finish, origin)
}

/// A config in mode `off` with these settings for the stop.
fn stopping(origin: &Origin, shutdown: &str) -> String {
    config("off", origin).replace("proxy:\n", &format!("proxy:\n  shutdown: {{{shutdown}}}\n"))
}

#[test]
fn a_taken_port_is_an_error_that_names_address_and_holder() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("keygate.yaml");
    std::fs::write(&file, format!("proxy: {{listen: ['127.0.0.1:0', '{address}'], auth_mode: off}}\n"))
        .unwrap();
    let output = run_to_end(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&format!("error: cannot listen on `{address}`")), "{error}");
    assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
    assert!(!error.contains("listening on") && !error.contains("panic"), "{error}");
}

#[test]
fn a_config_that_cannot_be_used_is_exit_2() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("keygate.yaml");
    std::fs::write(&file, "proxy:\n  prot: 1\n").unwrap();
    let output = run_to_end(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("keygate.yaml:2:3: error: unknown field `prot`\n  help: did you mean `port`?"),
        "{error}"
    );
}

#[test]
fn an_open_gateway_must_be_asked_for_by_name() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("keygate.yaml");
    std::fs::write(&file, "proxy: {listen: ['0.0.0.0:0']}\n").unwrap();
    let output = run_to_end(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]));
    assert_eq!(output.status.code(), Some(2));
    let gateway = Gateway::start("proxy: {listen: ['0.0.0.0:0'], auth_mode: off}\n");
    gateway.program().wait_for_log("a warning at every start", |line| {
        line.contains(" WARN ") && line.contains("other machines reach this gateway and no key is needed")
    });
}

#[test]
fn with_nothing_in_flight_it_does_not_wait_for_its_limits() {
    let origin = Origin::start();
    for signal in ["TERM", "INT"] {
        // The limits are far beyond what the test waits for: they must not be waited for.
        let mut gateway = Gateway::start(&stopping(&origin, "grace: 1h, delay: 1h"));
        let mut idle = gateway.connect();
        assert_eq!(
            idle.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").header("connection"),
            Some("keep-alive")
        );
        gateway.signal(signal);
        assert_eq!(gateway.wait().code(), Some(0), "{signal}");
        idle.expect_close();
    }
}

/// Its next request may be on its way when the gateway stops.
#[test]
fn a_connection_that_has_just_come_or_is_in_use_may_still_ask() {
    let origin = Origin::start();
    let mut gateway = Gateway::start(&stopping(&origin, "grace: 1h, delay: 0s"));
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (mut idle, mut busy, idle_from) = (gateway.connect(), gateway.connect(), Instant::now());
    wait_for("one to be idle for more than a second", || {
        assert_eq!(busy.exchange(request).header("connection"), Some("keep-alive"));
        (idle_from.elapsed() > Duration::from_millis(1100)).then_some(())
    });
    let mut fresh = gateway.connect();
    assert_eq!(busy.exchange(request).status, 200);
    gateway.signal("TERM");
    idle.expect_close();
    for client in [&mut busy, &mut fresh] {
        let response = client.exchange(request);
        assert_eq!((response.status, response.header("connection")), (200, Some("close")));
        client.expect_close();
    }
    assert!(gateway.wait().success());
}

#[test]
fn what_is_in_flight_is_finished_and_the_health_check_says_so() {
    let (finish, origin) = slow_origin();
    let mut gateway = Gateway::start(&stopping(&origin, "grace: 1h, delay: 1h"));
    let (mut busy, mut idle) = (gateway.connect(), gateway.connect());
    assert_eq!(idle.exchange("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    busy.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(busy.read_head().starts_with("HTTP/1.1 200 "));
    gateway.signal("TERM");
    gateway.program().wait_for_log("the drain", |line| line.contains("stopping: 1 requests in flight"));
    let health = idle.exchange("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((health.status, health.error_code()), (503, Some("draining")));
    assert_eq!(health.header("allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(health.header("connection"), Some("close"), "keep-alive ends");
    idle.expect_close();
    // New connections are still taken, so that a load balancer can ask.
    assert_eq!(gateway.exchange("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 503);
    finish.send(()).unwrap();
    assert_eq!(
        [busy.read_chunk(), busy.read_chunk(), busy.read_chunk()],
        [Some(b"ab".into()), Some(b"cd".into()), None]
    );
    busy.expect_close();
    assert_eq!(gateway.wait().code(), Some(0));
}

/// A client that believes its connection to stay open sends the next request into one that is closed.
#[test]
fn a_response_that_begins_after_the_signal_says_that_the_connection_ends() {
    let (finish, finished) = channel::<()>();
    let finished = Mutex::new(finished);
    let origin = Origin::answering(move |_, stream| {
        finished.lock().unwrap().recv().map_err(|_| std::io::ErrorKind::ConnectionAborted)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let mut gateway = Gateway::start(&stopping(&origin, "grace: 1h, delay: 1h"));
    let mut busy = gateway.connect();
    busy.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait_for("the request", || (origin.received().len() == 1).then_some(()));
    gateway.signal("TERM");
    gateway.program().wait_for_log("the drain", |line| line.contains("stopping: 1 requests in flight"));
    finish.send(()).unwrap();
    let response = busy.response();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    busy.expect_close();
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn after_the_delay_connections_are_refused_while_streams_go_on() {
    let (finish, origin) = slow_origin();
    let mut gateway = Gateway::start(&stopping(&origin, "grace: 1h, delay: 0s"));
    let mut busy = gateway.connect();
    busy.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(busy.read_head().lines().next(), Some("HTTP/1.1 200 OK"));
    gateway.signal("TERM");
    let address = gateway.address();
    wait_for("the listener to close", || TcpStream::connect(address).is_err().then_some(()));
    finish.send(()).unwrap();
    assert_eq!(
        [busy.read_chunk(), busy.read_chunk(), busy.read_chunk()],
        [Some(b"ab".into()), Some(b"cd".into()), None]
    );
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn the_grace_has_an_end() {
    let (_finish, origin) = slow_origin();
    let mut gateway = Gateway::start(&stopping(&origin, "grace: 100ms, delay: 0s"));
    let mut busy = gateway.connect();
    busy.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    busy.read_head();
    let begun = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_millis(100));
    gateway.program().wait_for_log("what was cut off", |line| line.contains("1 connections were cut off"));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (_finish, origin) = slow_origin();
    let mut gateway = Gateway::start(&stopping(&origin, "grace: 1h, delay: 1h"));
    let mut busy = gateway.connect();
    busy.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    busy.read_head();
    gateway.signal("TERM");
    gateway.program().wait_for_log("the drain", |line| line.contains("stopping: 1 requests"));
    gateway.signal("INT");
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn both_address_families_of_loopback_are_the_default() {
    let origin = Origin::start();
    // Port 0 gives each listener a port of its own; which one the default is stands in the reference.
    let text = config("off", &origin).replace("['127.0.0.1:0']", "['127.0.0.1:0', '[::1]:0']");
    let gateway = Gateway::start(&text);
    assert_eq!(gateway.addresses.len(), 2);
    for &address in &gateway.addresses {
        let response = Client::connect(address).exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(response.status, 200, "{address}");
    }
}

#[test]
fn there_is_a_worker_thread_for_each_core_unless_told_otherwise() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("off", &origin).replace("proxy:\n", "proxy:\n  threads: 3\n"));
    gateway.program().wait_for_log("its threads", |line| line.contains(" 3 threads"));
    let cores = std::thread::available_parallelism().unwrap();
    let gateway = Gateway::start(&config("off", &origin));
    gateway.program().wait_for_log("its threads", |line| line.contains(&format!(" {cores} threads")));
}

/// Clients that never pause. A stop may close a connection between two requests, never within a response.
#[test]
fn under_load_a_stop_cuts_no_response() {
    let origin = Origin::start();
    let mut gateway = Gateway::start(&stopping(&origin, "grace: 1h, delay: 1h"));
    let address = gateway.address();
    let answered = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let answered = Arc::clone(&answered);
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                while stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").is_ok() {
                    let Some(response) = response_or_nothing(&mut stream) else { return };
                    assert!(
                        response.starts_with("HTTP/1.1 200 ") && response.ends_with("\r\n\r\nok"),
                        "{response}"
                    );
                    answered.fetch_add(1, Ordering::SeqCst);
                    if response.contains("Connection: close") {
                        assert_eq!(response_or_nothing(&mut stream), None, "and then it is closed");
                        return;
                    }
                }
            })
        })
        .collect();
    wait_for("load", || (answered.load(Ordering::SeqCst) > 500).then_some(()));
    gateway.signal("TERM");
    for client in load {
        client.join().unwrap();
    }
    assert_eq!(gateway.wait().code(), Some(0));
}

/// One response with the body `ok`, whole or cut; `None` if the connection ends before its first byte.
fn response_or_nothing(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !bytes.ends_with(b"\r\n\r\nok") {
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => bytes.extend(&buffer[..read]),
            _ => break,
        }
    }
    (!bytes.is_empty()).then(|| String::from_utf8(bytes).unwrap())
}
