//! Health checks, beside the requests: every address of an upstream that wants it is asked at intervals.
//!
//! What a check needs (address, TLS, protocol) is what a request to that address would use. The outcome stays with the
//! address and outlives a reload.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::HeaderValue;
use pingora::Result;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::prelude::{Error, ErrorType};
use pingora::protocols::http::client::HttpSession;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Fleet;
use super::connect::Http1Connector;
use super::peer::Address;
use crate::clock;
use crate::policy::{CheckRule, HttpCheck};

/// How often is looked for addresses that are due.
const ROUND: Duration = Duration::from_millis(50);

/// How often is looked whether any upstream wants checks now.
const NONE_WANTED: Duration = Duration::from_secs(1);

/// Checks under way at once; those that are due beyond it wait for the next round.
const MOST_AT_ONCE: usize = 256;

/// Connects as requests do.
type PeerConnector = Connector<Http1Connector>;

fn new_connector() -> Arc<PeerConnector> {
    Arc::new(Connector::new_custom(None, Http1Connector::new(None)))
}

/// Checks what is due, again and again.
#[derive(Default)]
pub struct Checker {
    under_way: JoinSet<()>,
    connector: Option<Arc<PeerConnector>>,
}

impl Checker {
    /// Starts a check of every address of `fleet` that is due. When to look again.
    pub fn round(&mut self, fleet: &Fleet) -> Duration {
        while self.under_way.try_join_next().is_some() {}
        let mut again = NONE_WANTED;
        for upstream in fleet.upstreams() {
            let Some(rule) = upstream.check() else { continue };
            again = ROUND;
            for address in upstream.peers.iter().flat_map(|peer| peer.all().to_vec()) {
                if self.under_way.len() >= MOST_AT_ONCE {
                    return again;
                }
                let now = clock::ticks().0;
                if address.health.next_check.load(Relaxed) > now {
                    continue;
                }
                address.health.next_check.store(now.saturating_add(with_jitter(rule.interval)), Relaxed);
                let connector = self.connector.get_or_insert_with(new_connector);
                let (name, rule) = (Arc::clone(&upstream.name), Arc::clone(rule));
                self.under_way.spawn(check(name, address, rule, Arc::clone(connector)));
            }
        }
        again
    }
}

/// Up to a tenth more or less, in ticks.
fn with_jitter(interval: Duration) -> u64 {
    let ticks = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX / 2);
    let tenth = (ticks / 10).max(1);
    ticks - tenth + super::choose::random() as u64 % (2 * tenth)
}

async fn check(name: Arc<str>, address: Arc<Address>, rule: Arc<CheckRule>, connector: Arc<PeerConnector>) {
    let outcome = match tokio::time::timeout(rule.timeout, ask(&address, &rule, &connector)).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {:?}", rule.timeout)),
    };
    let health = &address.health;
    let was_down = health.down.load(Relaxed);
    if outcome.is_ok() != was_down {
        health.contrary_checks.store(0, Relaxed);
        return;
    }
    let contrary = health.contrary_checks.fetch_add(1, Relaxed) + 1;
    if contrary < if was_down { rule.healthy_after } else { rule.unhealthy_after } {
        return;
    }
    health.contrary_checks.store(0, Relaxed);
    health.down.store(!was_down, Relaxed);
    let at = address.at().map(|at| at.to_string()).unwrap_or_default();
    match outcome {
        Ok(()) => log::info!("upstream `{name}`: {at} passes its health check again"),
        Err(what) => log::warn!("upstream `{name}`: {at} fails its health check: {what}"),
    }
}

async fn ask(address: &Address, rule: &CheckRule, connector: &PeerConnector) -> Result<()> {
    let Some(http) = &rule.http else {
        let at = address.at().ok_or_else(|| Error::new(ErrorType::ConnectNoRoute))?;
        let connected = TcpStream::connect(at).await;
        return connected
            .map(drop)
            .map_err(|error| Error::because(ErrorType::ConnectError, "health check", error));
    };
    let (mut session, _) = connector.get_http_session(&address.http).await?;
    let outcome = exchange(&mut session, address, http).await;
    session.shutdown().await;
    outcome
}

async fn exchange(session: &mut HttpSession, address: &Address, check: &HttpCheck) -> Result<()> {
    let mut request = RequestHeader::build("GET", check.path.as_bytes(), None)?;
    let host = check.host.clone().or_else(|| HeaderValue::from_str(&address.at()?.to_string()).ok());
    if let Some(host) = host {
        request.insert_header(http::header::HOST, host)?;
    }
    request.insert_header(http::header::USER_AGENT, "keygate health check")?;
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let status = session.response_header().map_or(0, |response| response.status.as_u16());
    if check.statuses.contains(&status) {
        return Ok(());
    }
    Error::e_explain(ErrorType::HTTPStatus(status), "health check")
}
