//! THE PHASES: the only `ProxyHttp` implementation, one short body a phase.
//!
//! | phase | does | in |
//! |---|---|---|
//! | `new_ctx` | takes the policy in force, once | here |
//! | `request_filter` | client → guard → facts → decide → permit, or a reply; routes | `client`, `admit` |
//! | `upstream_peer` | a peer for the permit | `forward` |
//! | `connected_to_upstream` | watches the time, where there is a limit | `watch` |
//! | `fail_to_connect` | the next peer, or the end | `forward` |
//! | `request_body_filter` | breaks off what was revoked, if that is wanted, or is too much or too slow | `forward`, `body` |
//! | `upstream_request_filter` | strips credentials, adds ours | `headers` |
//! | `upstream_response_filter` | nothing too large, no switch unasked; another peer after a 503, or strips what only we may say | `response`, `websocket`, `repeat`, `headers` |
//! | `error_while_proxy` | once more, or the end | `repeat` |
//! | `response_body_filter` | breaks off what was revoked, if that is wanted | `forward`, `body` |
//! | `fail_to_proxy` | fault → reply | `forward`, `admit`, `reply` |
//! | `logging` | counts what came of it, and logs it | `notes` |
//!
//! It never sees a config type, and no request comes past `admit`.

mod admit;
pub mod arrival;
mod body;
mod browsers;
mod client;
mod ctx;
mod dialect;
mod fault;
mod forward;
mod guard;
mod headers;
mod introduce;
mod limits;
mod notes;
mod refusals;
mod repeat;
mod reply;
mod request_id;
mod response;
mod rewrite;
pub mod silence;
mod unreadable;
mod watch;
mod websocket;

pub use ctx::Ctx;
pub use fault::MalformedChunks;
pub use guard::is_token_byte;
pub use reply::unreadable as answer_to_unreadable;
pub use unreadable::{is_hopeless, make_readable};

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use self::watch::Watch;
use crate::limit::Ledger;
use crate::policy::{PolicyHandle, Snapshot};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::denial_log::Denials;
use crate::telemetry::in_flight::InFlight;
use crate::telemetry::metrics::Meters;
use crate::upstream::Fleet;

/// What is in force: a policy and the peers that belong to it, replaced together.
#[derive(Debug)]
pub struct Live {
    /// Who may pass, and where it leads.
    pub policy: Snapshot,
    /// The peers of that policy.
    pub fleet: Fleet,
    /// What its keys have used.
    pub limits: Ledger,
    /// Where its requests are counted.
    pub meters: Meters,
}

/// The gateway. Clones of it are one: they share what they follow and count.
#[derive(Clone, Debug)]
pub struct Gateway {
    live: Arc<PolicyHandle<Live>>,
    requests: &'static InFlight,
    denials: &'static Denials,
    access_log: Option<AccessLog>,
}

impl Gateway {
    /// A gateway that follows `live` and counts its requests in `requests`.
    pub fn new(
        live: Arc<PolicyHandle<Live>>,
        requests: &'static InFlight,
        denials: &'static Denials,
    ) -> Self {
        Self { live, requests, denials, access_log: None }
    }

    /// With a line in `access_log` for each request.
    #[must_use]
    pub fn with_access_log(self, access_log: Option<AccessLog>) -> Self {
        Self { access_log, ..self }
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        arrival::note_header_section();
        Ctx::new(self.live.load(), self.requests.begin())
    }

    /// None: Pingora's default would install a compression module that is then never used.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        admit::request_filter(self, session, ctx).await
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        notes::peer_wanted(ctx);
        let peer = forward::choose_peer(session, ctx)?;
        notes::peer_chosen(&peer, ctx);
        body::allow_for_the_peer(session, ctx);
        Ok(peer)
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _reused: bool,
        _: &HttpPeer,
        socket: RawFd,
        digest: Option<&Digest>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.fault = None;
        ctx.connected_at = digest.and_then(repeat::connected_at);
        ctx.watch = Watch::over(socket, digest, ctx);
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        peer: &HttpPeer,
        ctx: &mut Ctx,
        error: Box<Error>,
    ) -> Box<Error> {
        forward::fail_to_connect(peer, ctx, error)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Ctx,
        reused: bool,
    ) -> Box<Error> {
        repeat::error_while_proxy(peer, session, ctx, error, reused)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        part: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        forward::check_still_allowed(&self.live, ctx)?;
        body::count(session, part.as_ref(), ctx)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        headers::prepare_request(session, request, ctx)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        response::check_size(response, ctx)?;
        websocket::check_switch(session, response, ctx)?;
        repeat::check_status(session, response, ctx)?;
        forward::check_credential_taken(response, ctx)?;
        notes::response_arrived(response, ctx);
        if let Some(watch) = &ctx.watch
            && !response.status.is_informational()
        {
            watch.byte_arrived();
        }
        headers::prepare_response(session, response, ctx)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            arrival::note_switch();
        } else if self.requests.is_draining() {
            // The stop came while the request was under way, and the client has to know that it is the last one here.
            session.set_keepalive(None);
        }
        // Pingora would close for any response that overtakes the body, and `100 Continue` always does.
        let is_interim =
            response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS;
        session.set_close_on_response_before_downstream_finish(!is_interim);
        headers::suit_http10(session, response);
        notes::answered(response, ctx);
        Ok(())
    }

    fn upstream_response_trailer_filter(
        &self,
        session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Ctx,
    ) -> Result<()> {
        // Nothing comes after these.
        ctx.watch = None;
        headers::prepare_trailers(trailers);
        body::response_ended(session, ctx);
        Ok(())
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        part: &mut Option<Bytes>,
        ended: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        notes::sent(part.as_ref().map_or(0, Bytes::len), ctx);
        if ended {
            body::response_ended(session, ctx);
        }
        forward::check_still_allowed(&self.live, ctx)?;
        if ended {
            // The connection to the peer is about to be another request's.
            ctx.watch = None;
        } else if let Some(watch) = &ctx.watch {
            watch.byte_arrived();
        }
        Ok(None)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        match ctx.revoked {
            Some(cause) if session.response_written().is_none() => {
                admit::refuse_midway(self, session, ctx, cause).await
            }
            _ => forward::fail_to_proxy(session, error, ctx).await,
        }
    }

    fn suppress_error_log(&self, session: &Session, ctx: &Ctx, error: &Error) -> bool {
        // Whoever cancels a request leaves like this: nothing that an operator could mend.
        let has_left = ctx.fault.is_none() && fault::Fault::of(error).is_none();
        if has_left {
            log::debug!("the client has left: {error}, {}", self.request_summary(session, ctx));
        }
        has_left || forward::is_told(ctx)
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, ctx: &mut Ctx) {
        ctx.watch = None;
        notes::finish(self, session, ctx);
        ctx.notes.finished = true;
    }

    /// Without the query, where Gemini's clients may put a key.
    fn request_summary(&self, session: &Session, ctx: &Ctx) -> String {
        let request = session.req_header();
        format!(
            "{} {} id={}",
            request.method,
            request.uri.path().escape_debug(),
            ctx.request_id.to_str().unwrap_or("-")
        )
    }
}
