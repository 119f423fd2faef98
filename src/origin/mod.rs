//! A mock AI upstream.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

/// The mock upstream.
#[derive(Debug, Default)]
pub struct Origin;

impl Origin {
    /// A mock upstream.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl HttpServerApp for Origin {
    async fn process_new_http(
        self: &Arc<Self>,
        _: ServerSession,
        _: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        None
    }
}
