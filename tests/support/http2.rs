//! The same request over HTTP/2, without TLS.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Request};

use super::PATIENCE;

/// What came back.
#[derive(Debug)]
pub(crate) struct Http2Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Http2Response {
    pub(crate) fn error_code(&self) -> Option<&str> {
        self.headers.get("x-keygate-error").map(|code| code.to_str().unwrap())
    }
}

/// Sends a request, written as in HTTP/1.1, over a connection of its own. `None` for what HTTP/2 cannot say: a field
/// of the connection (RFC 9113 §8.2.2).
pub(crate) fn exchange_over_http2(address: SocketAddr, request: &[u8]) -> Option<Http2Response> {
    try_exchange_over_http2(address, request).map(Result::unwrap)
}

/// The same, where the other side may break the stream off.
pub(crate) fn try_exchange_over_http2(
    address: SocketAddr,
    request: &[u8],
) -> Option<Result<Http2Response, h2::Error>> {
    let (request, body) = translate(request)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let exchange = async {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let (response, mut stream) = sender.send_request(request, body.is_empty()).unwrap();
        if !body.is_empty() {
            stream.send_data(body.into(), true).unwrap();
        }
        let (head, mut stream) = response.await?.into_parts();
        let mut body = Vec::new();
        while let Some(part) = stream.data().await {
            body.extend(part?);
        }
        let trailers = stream.trailers().await?;
        Ok(Http2Response { status: head.status.as_u16(), headers: head.headers, body, trailers })
    };
    Some(runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange).await.unwrap() }))
}

fn translate(text: &[u8]) -> Option<(Request<()>, Vec<u8>)> {
    let end = text.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut lines = text[..end].split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
    let line = std::str::from_utf8(lines.next().unwrap()).unwrap();
    let [method, target, _] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let mut request = Request::new(());
    *request.method_mut() = method.parse().unwrap();
    let mut authority = String::new();
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':').unwrap();
        let name: HeaderName =
            std::str::from_utf8(&line[..colon]).unwrap().to_ascii_lowercase().parse().unwrap();
        let value = line[colon + 1..].trim_ascii();
        match name.as_str() {
            "connection" | "upgrade" | "transfer-encoding" | "keep-alive" => return None,
            "host" => authority = String::from_utf8(value.to_vec()).unwrap(),
            _ => drop(request.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap())),
        }
    }
    // An odd `Host` or target has no counterpart.
    *request.uri_mut() = format!("http://{authority}{target}").parse().ok()?;
    Some((request, text[end + 4..].to_vec()))
}
