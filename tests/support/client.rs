//! A raw TCP client: literal bytes out, a parsed response in.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use super::PATIENCE;

/// One connection, with TLS or without.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    /// The socket under it.
    socket: TcpStream,
    unread: Vec<u8>,
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// One response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The status line and the field lines as they came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = Self::socket(address);
        Self { stream: Box::new(socket.try_clone().unwrap()), socket, unread: Vec::new() }
    }

    /// Connects with TLS and finishes the handshake.
    ///
    /// # Errors
    /// The other side, or this one, refuses it.
    pub(crate) fn connect_tls(
        address: SocketAddr,
        name: &str,
        config: &Arc<rustls::ClientConfig>,
    ) -> std::io::Result<Self> {
        Self::connect_tls_after(b"", address, name, config)
    }

    /// The same, once these bytes were sent.
    pub(crate) fn connect_tls_after(
        first: &[u8],
        address: SocketAddr,
        name: &str,
        config: &Arc<rustls::ClientConfig>,
    ) -> std::io::Result<Self> {
        let mut socket = Self::socket(address);
        socket.write_all(first)?;
        let name = name.to_owned().try_into().unwrap();
        let mut connection = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let stream = rustls::StreamOwned::new(connection, socket.try_clone()?);
        Ok(Self { stream: Box::new(stream), socket, unread: Vec::new() })
    }

    fn socket(address: SocketAddr) -> TcpStream {
        let socket = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes, unless the other side has closed.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a whole request and reads its response.
    pub(crate) fn exchange(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(&request);
        let head_only = request.as_ref().starts_with(b"HEAD ");
        self.read_response(head_only)
    }

    /// The same, or nothing where the other side breaks off.
    pub(crate) fn try_exchange(&mut self, request: impl AsRef<[u8]>) -> Option<Response> {
        self.stream.write_all(request.as_ref()).ok()?;
        let mut first = [0];
        self.unread.extend(self.stream.read(&mut first).ok().filter(|&read| read > 0).map(|_| first[0]));
        if self.unread.is_empty() { None } else { Some(self.response()) }
    }

    pub(crate) fn response(&mut self) -> Response {
        self.read_response(false)
    }

    fn read_response(&mut self, head_only: bool) -> Response {
        let head = self.read_head();
        let mut response = Response { status: status_of(&head), head, body: Vec::new() };
        let bodiless = head_only || matches!(response.status, 100..=199 | 204 | 304);
        if bodiless {
            return response;
        }
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.read_chunk() {
                response.body.extend(chunk);
            }
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().unwrap();
            response.body = self.read_exactly(length);
        } else {
            response.body = self.read_to_end();
        }
        response
    }

    /// The status line and the field lines, without the empty line.
    pub(crate) fn read_head(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let head = self.take(end + 4);
                return String::from_utf8(head[..end + 2].to_vec()).unwrap();
            }
            assert!(
                self.read_more(),
                "closed within a header section: {:?}",
                self.unread.escape_ascii().to_string()
            );
        }
    }

    /// Whether anything has come that was not read yet, or the other side has closed.
    pub(crate) fn has_answer(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let came = self.socket.peek(&mut [0]).is_ok();
        self.socket.set_nonblocking(false).unwrap();
        came
    }

    /// One chunk of a chunked body; `None` at its end.
    pub(crate) fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let line_end = loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                break end;
            }
            assert!(self.read_more(), "closed within a chunked body");
        };
        let line = self.take(line_end + 2);
        let size = usize::from_str_radix(std::str::from_utf8(&line[..line_end]).unwrap(), 16).unwrap();
        let mut chunk = self.read_exactly(size + 2);
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    pub(crate) fn read_exactly(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(self.read_more(), "closed {} bytes too early", length - self.unread.len());
        }
        self.take(length)
    }

    /// Everything until the other side closes.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        while self.read_more() {}
        std::mem::take(&mut self.unread)
    }

    /// Waits until the other side has closed, which must happen without another byte.
    pub(crate) fn expect_close(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "unexpected: {}", rest.escape_ascii());
    }

    /// Waits until the other side has closed the socket, whatever it sends before.
    pub(crate) fn wait_for_close(&mut self) {
        loop {
            match self.socket.read(&mut [0; 1024]) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
                Err(error) => panic!("not closed: {error}"),
            }
        }
    }

    /// Breaks the connection off.
    pub(crate) fn abort(self) {
        socket2::SockRef::from(&self.socket).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        self.unread.drain(..length).collect()
    }

    /// `false` once the other side has closed.
    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(read) => {
                self.unread.extend(&buffer[..read]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no answer: {error}; so far {}", self.unread.escape_ascii()),
        }
    }
}

impl Response {
    /// The value of a field that stands at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().skip(1).filter_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        });
        let value = values.next();
        assert!(values.next().is_none(), "`{name}` stands twice:\n{}", self.head);
        value
    }

    /// Why the gateway refused; `None` if the response is not the gateway's own error.
    pub(crate) fn error_code(&self) -> Option<&str> {
        self.header("x-keygate-error")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.body.escape_ascii()))
    }
}

fn status_of(head: &str) -> u16 {
    head.strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no status line: {head}"))
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
