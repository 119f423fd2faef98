//! A key check on Pingora, written the obvious way: what keygate is measured against.
//!
//! One key, three headers, `respond_error`, Pingora's default options; nothing is logged, counted or reloaded.
//! `bare_pingora LISTEN UPSTREAM KEY`.

#![allow(clippy::unwrap_used, reason = "a program for developers")]

use async_trait::async_trait;
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Bare {
    upstream: String,
    key: String,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> Result<bool> {
        if self.presented(session.req_header()) == Some(self.key.as_str()) {
            return Ok(false);
        }
        session.respond_error(401).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream.as_str(), false, String::new())))
    }
}

impl Bare {
    /// The first header that is there decides.
    fn presented<'a>(&self, request: &'a RequestHeader) -> Option<&'a str> {
        let text = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        text("authorization")
            .map(|value| value.strip_prefix("Bearer ").unwrap_or(value))
            .or_else(|| text("x-api-key"))
            .or_else(|| text("x-goog-api-key"))
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().unwrap();
    let (listen, upstream, key) = (argument(), argument(), argument());
    let mut server = Server::new_with_opt_and_conf(None, ServerConf::default());
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare { upstream, key });
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
