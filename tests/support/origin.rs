//! A recording origin: keeps every byte that it received, and answers what the test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::PATIENCE;
use super::client::find;

/// An HTTP/1.1 server on a free port of loopback; it lives as long as the test's process.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<ReceivedRequest>>>,
    connections: Arc<AtomicUsize>,
}

/// A request, byte for byte.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedRequest {
    /// The request line and the field lines, with the empty line.
    pub(crate) head: String,
    /// The body as it stood on the wire, chunk sizes included.
    pub(crate) body: Vec<u8>,
}

impl ReceivedRequest {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Origin {
    /// Answers everything with `200` and `ok`.
    pub(crate) fn start() -> Self {
        Self::answering(|_, stream| stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    }

    /// Answers by `answer`, which writes to the connection; it is closed when that fails.
    pub(crate) fn answering<A>(answer: A) -> Self
    where
        A: Fn(&ReceivedRequest, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    {
        Self::answering_at("127.0.0.1:0".parse().unwrap(), answer)
    }

    /// The same, on this address.
    pub(crate) fn answering_at<A>(address: SocketAddr, answer: A) -> Self
    where
        A: Fn(&ReceivedRequest, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (received, connections) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicUsize>::default());
        let origin = Self { address, received: Arc::clone(&received), connections: Arc::clone(&connections) };
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (received, answer) = (Arc::clone(&received), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &received, &*answer));
            }
        });
        origin
    }

    /// Every request so far.
    pub(crate) fn received(&self) -> Vec<ReceivedRequest> {
        self.received.lock().unwrap().clone()
    }

    /// The only request so far.
    pub(crate) fn only_request(&self) -> ReceivedRequest {
        let received = self.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received[0].clone()
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve<A>(mut stream: TcpStream, received: &Mutex<Vec<ReceivedRequest>>, answer: &A)
where
    A: Fn(&ReceivedRequest, &mut TcpStream) -> std::io::Result<()>,
{
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut unread = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut unread) {
        received.lock().unwrap().push(request.clone());
        if answer(&request, &mut stream).is_err() {
            return;
        }
    }
}

/// `None` once the connection is over.
fn read_request(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<ReceivedRequest> {
    let end = loop {
        if let Some(end) = find(unread, b"\r\n\r\n") {
            break end + 4;
        }
        read_more(stream, unread)?;
    };
    let head: Vec<u8> = unread.drain(..end).collect();
    let mut request = ReceivedRequest { head: String::from_utf8_lossy(&head).into_owned(), body: Vec::new() };
    let length: usize = if request.header("transfer-encoding").is_some() {
        loop {
            if let Some(end) = find(unread, b"0\r\n\r\n") {
                break end + 5;
            }
            read_more(stream, unread)?;
        }
    } else {
        request.header("content-length").map_or(0, |length| length.parse().unwrap())
    };
    while unread.len() < length {
        read_more(stream, unread)?;
    }
    request.body = unread.drain(..length).collect();
    Some(request)
}

fn read_more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer) {
        Ok(read) if read > 0 => {
            unread.extend(&buffer[..read]);
            Some(())
        }
        _ => None,
    }
}
