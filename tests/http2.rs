//! HTTP/2 toward the clients. (The tables of the decision run over it in `decision`.)

use std::future::Future;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;

use crate::support::{Client, Gateway, KEY, Origin, PATIENCE, config, exchange_over_http2, wait_for};

fn with_h2c(config: &str) -> String {
    config.replacen("proxy:\n", "proxy:\n  h2c: true\n", 1)
}

#[test]
fn without_tls_both_versions_share_a_port() {
    let origin = Origin::start();
    let gateway = Gateway::start(&with_h2c(&config("off", &origin)));
    let request = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let response = exchange_over_http2(gateway.address(), request.as_bytes()).unwrap();
    assert_eq!((response.status, response.body.as_slice()), (200, &b"ok"[..]));
    let mut client = gateway.connect();
    assert_eq!(client.exchange(request).status, 200);
    assert_eq!(client.exchange(request).status, 200);
    // Shorter than the preface of HTTP/2, which must not be waited for.
    assert_eq!(gateway.exchange("GET / HTTP/1.0\r\n\r\n").status, 200);
    assert_eq!(
        gateway.exchange("PRI / HTTP/1.1\r\nHost: localhost\r\n\r\n").status,
        200,
        "a method like any other"
    );
}

#[test]
fn a_connection_has_so_many_streams_at_once() {
    let origin = Origin::answering(|_, stream| {
        // Until the gateway closes: no stream ends.
        let _ = std::io::Read::read(stream, &mut [0]);
        Err(std::io::ErrorKind::ConnectionAborted.into())
    });
    let text = with_h2c(&config("off", &origin)).replacen(
        "proxy:\n",
        "proxy:\n  connection_limits: {http2_streams: 2}\n",
        1,
    );
    let gateway = Gateway::start(&text);
    let mut client = gateway.connect();
    // RFC 9113: the preface, an empty SETTINGS, and three times HEADERS with `GET http / localhost` in HPACK's static
    // and literal form (§6.2; RFC 7541 §6): streams 1, 3 and 5, each ended.
    let fields = b"\x82\x86\x84\x41\x09localhost";
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    for stream in [1, 3, 5] {
        client.send([&[0, 0, fields.len() as u8, 1, 5, 0, 0, 0, stream], &fields[..]].concat());
    }
    let mut settings = None;
    loop {
        let head = client.read_exactly(9);
        let payload = client.read_exactly(usize::from(head[1]) << 8 | usize::from(head[2]));
        match head[3] {
            4 if head[4] == 0 => settings = Some(payload),
            // RST_STREAM of the third with REFUSED_STREAM.
            3 => {
                assert_eq!((head[8], payload.as_slice()), (5, &[0, 0, 0, 7][..]));
                break;
            }
            _ => {}
        }
    }
    let announced: Vec<&[u8]> =
        settings.as_deref().unwrap().chunks(6).filter(|one| one[..2] == [0, 3]).collect();
    assert_eq!(announced, [[0, 3, 0, 0, 0, 2]], "SETTINGS_MAX_CONCURRENT_STREAMS");
}

#[test]
fn it_is_off_unless_switched_on() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("off", &origin));
    let mut client = Client::connect(gateway.address());
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let answer = client.read_to_end();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{}", answer.escape_ascii());
    assert!(origin.received().is_empty());
}

#[test]
fn the_authority_is_the_host() {
    let origin = Origin::start();
    let text = with_h2c(&config("strict", &origin))
        .replace("path_prefix: /\n", "path_prefix: /\n    host: a.test\n");
    let gateway = Gateway::start(&text);
    for (host, status) in [("a.test", 200), ("A.test:80", 200), ("b.test", 404)] {
        let request = format!("POST /v1 HTTP/1.1\r\nHost: {host}\r\nx-api-key: {KEY}\r\n\r\nhello");
        let response = exchange_over_http2(gateway.address(), request.as_bytes()).unwrap();
        assert_eq!(response.status, status, "{host}");
    }
    let received = origin.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].header("host"), Some("a.test"));
    assert_eq!(received[0].header("x-forwarded-host"), Some("a.test"));
    assert_eq!(received[0].header("x-api-key"), None);
}

#[test]
fn a_path_is_rewritten_beside_its_authority() {
    let origin = Origin::start();
    let peer = Gateway::start(&with_h2c(&config("off", &origin)));
    let gateway = Gateway::start(&format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: off, h2c: true}}\n\
         upstreams: {{peer: {{peers: ['{}'], protocol: http2}}}}\n\
         routes: [{{path_prefix: /models, strip_prefix: true, upstream: peer}}]\n",
        peer.address()
    ));
    let request = "GET /models/v1?a=b HTTP/1.1\r\nHost: localhost:81\r\n\r\n";
    let response = exchange_over_http2(gateway.address(), request.as_bytes()).unwrap();
    assert_eq!((response.status, response.error_code()), (200, None));
    assert_eq!(gateway.exchange(request).status, 200, "as over HTTP/1.1");
    for received in origin.received() {
        assert!(received.head.starts_with("GET /v1?a=b HTTP/1.1\r\n"), "{}", received.head);
        assert_eq!(received.header("host"), Some("localhost:81"));
    }
}

#[test]
fn cookies_that_came_one_by_one_go_on_as_one_field() {
    let origin = Origin::start();
    let gateway = Gateway::start(&with_h2c(&config("off", &origin)));
    for (sent, received) in [
        ("Cookie: a=1\r\nCookie: b=2\r\nAccept: */*\r\nCookie: c=3; d=4\r\n", Some("a=1; b=2; c=3; d=4")),
        ("Cookie: a=1\r\n", Some("a=1")),
        ("", None),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{sent}\r\n");
        assert_eq!(exchange_over_http2(gateway.address(), request.as_bytes()).unwrap().status, 200);
        let request = origin.received().pop().unwrap();
        assert_eq!(request.header("cookie"), received, "{sent}");
        assert_eq!(
            request.head.to_lowercase().matches("\r\ncookie:").count(),
            usize::from(received.is_some())
        );
    }
}

#[test]
fn a_refusal_leaves_the_connection_open_for_other_streams() {
    let origin = Origin::start();
    let gateway = Gateway::start(&with_h2c(&config("strict", &origin)));
    let request = "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\n\r\nhello";
    let response = exchange_over_http2(gateway.address(), request.as_bytes()).unwrap();
    assert_eq!((response.status, response.error_code()), (401, Some("credential_missing")));
    let json: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(json["error"]["type"], "authentication_error");
    assert!(response.trailers.is_none());
}

/// As gRPC streams send them: small messages in quick succession, each a frame of its own.
#[test]
fn many_small_frames_at_once_are_no_attack() {
    const FRAMES: usize = 5_000;
    let origin = Origin::start();
    let gateway = Gateway::start(&with_h2c(&config("off", &origin)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let request = Request::post(format!("http://{}/", gateway.address())).body(()).unwrap();
    let exchange = async {
        let socket = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let (sender, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let (response, mut body) = sender.ready().await.unwrap().send_request(request, false).unwrap();
        for _ in 0..FRAMES {
            body.send_data("small".into(), false).unwrap();
        }
        body.send_data("end".into(), true).unwrap();
        response.await.unwrap().status()
    };
    let status = runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange).await.unwrap() });
    assert_eq!(status, 200);
    let body = origin.only_request().body;
    let count = body.windows(5).filter(|window| window == b"small").count();
    assert!(body.ends_with(b"end\r\n0\r\n\r\n"), "{}", body.escape_ascii());
    assert_eq!(count, FRAMES);
}

/// Runs `exchange` with a client that is connected to the gateway.
fn with_client<F: Future>(gateway: &Gateway, exchange: impl FnOnce(SendRequest<Bytes>) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let whole = async {
        let socket = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let (sender, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        exchange(sender.ready().await.unwrap()).await
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, whole).await.unwrap() })
}

fn post(gateway: &Gateway, content_type: &str) -> Request<()> {
    let request = Request::post(format!("http://{}/", gateway.address()));
    request.header("content-type", content_type).body(()).unwrap()
}

/// A config in mode `off` with an access log.
fn logged(origin: &Origin) -> String {
    config("off", origin) + "access_log: {to: access.log}\n"
}

/// The line of the access log that has this in it.
fn wait_for_line(gateway: &Gateway, text: &str) -> String {
    let file = gateway.directory.path().join("access.log");
    wait_for("the line", || {
        let lines = std::fs::read_to_string(&file).ok()?;
        lines
            .split_inclusive('\n')
            .find(|line| line.contains(text) && line.ends_with('\n'))
            .map(str::to_owned)
    })
}

/// Short limits on silence.
fn impatient(config: &str) -> String {
    with_h2c(config).replacen("proxy:\n", "proxy:\n  request_limits: {body_timeout: 300ms}\n", 1).replacen(
        "    peers:",
        "    timeouts: {write: 300ms}\n    peers:",
        1,
    )
}

#[test]
fn a_connection_without_streams_is_closed_after_a_while() {
    let origin = Origin::start();
    let text = with_h2c(&config("off", &origin)).replacen("proxy:\n", "proxy:\n  keepalive_timeout: 1s\n", 1);
    let gateway = Gateway::start(&text);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let request = Request::get(format!("http://{}/", gateway.address())).body(()).unwrap();
    let whole = async {
        let socket = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let (sender, connection) = h2::client::handshake(socket).await.unwrap();
        let connection = tokio::spawn(connection);
        let (answer, _) = sender.ready().await.unwrap().send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
        // The client keeps it open, and the gateway ends it in order.
        connection.await.unwrap().unwrap();
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, whole).await.unwrap() });
}

#[test]
fn a_first_request_has_as_long_as_over_http1() {
    let origin = Origin::start();
    let text = with_h2c(&config("off", &origin)).replacen(
        "proxy:\n",
        "proxy:\n  connection_limits: {header_timeout: 300ms}\n",
        1,
    );
    let gateway = Gateway::start(&text);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // Nothing; a part of the preface; all of it. (A header section that does not end is among the hostile requests.)
    for start in [&b""[..], &preface[..3], &preface[..20], &preface[..]] {
        let mut slow = gateway.connect();
        slow.send(start);
        slow.wait_for_close();
    }
    // One that came in time has no more to do with it, nor has the connection.
    with_client(&gateway, async |mut sender| {
        for _ in 0..2 {
            let (answer, mut body) = sender.send_request(post(&gateway, "text/plain"), false).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(600)).await;
            body.send_data("late".into(), true).unwrap();
            assert_eq!(answer.await.unwrap().status(), 200);
        }
    });
}

#[test]
fn who_falls_silent_in_a_body_is_reset_but_a_grpc_stream_may_be_silent() {
    let origin = Origin::start();
    let gateway = Gateway::start(&impatient(&logged(&origin)));
    with_client(&gateway, async |mut sender| {
        let (conversation, mut talk) =
            sender.send_request(post(&gateway, "application/grpc"), false).unwrap();
        talk.send_data("first".into(), false).unwrap();
        let (answer, mut body) = sender.send_request(post(&gateway, "text/plain"), false).unwrap();
        body.send_data("half".into(), false).unwrap();
        let error = answer.await.unwrap_err();
        assert!(error.is_reset() && error.is_remote(), "{error:?}");
        assert!(origin.received().is_empty(), "neither is whole");
        // This one has been silent for longer.
        talk.send_data("last".into(), true).unwrap();
        assert_eq!(conversation.await.unwrap().status(), 200);
    });
    assert_eq!(origin.received().len(), 1);
    let line = wait_for_line(&gateway, "\"status\":null");
    assert!(line.contains("\"method\":\"POST\",\"path\":\"/\",\"route\":\"/\""), "{line}");
    assert!(line.contains("\"bytes_in\":4,\"bytes_out\":0,"), "{line}");
}

#[test]
fn a_body_that_nobody_wants_any_more_is_not_waited_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                let mut buffer = [0; 4096];
                let read = std::io::Read::read(&mut stream, &mut buffer).unwrap();
                head.extend(&buffer[..read]);
            }
            std::io::Write::write_all(&mut stream, b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
                .unwrap();
            // Until the gateway closes.
            let _ = std::io::Read::read_to_end(&mut stream, &mut head);
        }
    });
    let text = logged(&Origin::start());
    let (before, after) = text.split_once("peers: ['").unwrap();
    let (_, after) = after.split_once("']").unwrap();
    let gateway = Gateway::start(&impatient(&format!("{before}peers: ['{address}']{after}")));
    with_client(&gateway, async |mut sender| {
        let (answer, mut body) = sender.send_request(post(&gateway, "text/plain"), false).unwrap();
        body.send_data("half".into(), false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 413);
        let mut content = answer.into_body();
        assert_eq!(content.data().await.unwrap().unwrap(), "no");
        assert!(content.data().await.is_none(), "the answer is whole");
        let reason = std::future::poll_fn(|context| body.poll_reset(context)).await.unwrap();
        assert_eq!(reason, h2::Reason::NO_ERROR);
    });
    let line = wait_for_line(&gateway, "\"status\":413");
    assert!(line.contains("\"bytes_in\":4,\"bytes_out\":2,"), "{line}");
}

#[test]
fn who_takes_nothing_of_an_answer_is_cut_off() {
    let origin = Origin::answering(|_, stream| {
        let answer =
            [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".as_slice(), &[b'x'; 1_000_000]].concat();
        std::io::Write::write_all(stream, &answer)
    });
    let text = with_h2c(&config("off", &origin));
    let text = text.replacen("proxy:\n", "proxy:\n  request_limits: {send_timeout: 300ms}\n", 1);
    let gateway = Gateway::start(&text);
    with_client(&gateway, async |mut sender| {
        let get = Request::get(format!("http://{}/", gateway.address())).body(()).unwrap();
        let (answer, _) = sender.send_request(get, true).unwrap();
        let mut content = answer.await.unwrap().into_body();
        // Its window is used up, and it never gives more.
        let mut taken = 0;
        let end = loop {
            match content.data().await.unwrap() {
                Ok(part) => taken += part.len(),
                Err(error) => break error,
            }
        };
        assert!(end.is_reset() && end.is_remote(), "{end}");
        assert_eq!(taken, 65_535, "what the window allowed");
    });
}
