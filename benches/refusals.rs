//! All that the gateway itself does for a request whose header section has been read, until the answer is written: a
//! refusal in each dialect; beside it, until a request is admitted and has its route. Nothing here is a socket. And the
//! note that is taken of each refusal, alone.

use std::io::Cursor;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use criterion::{BatchSize, BenchmarkId, Criterion};
use keygate::auth::{CredentialHeader, decide};
use keygate::clock;
use keygate::limit::Ledger;
use keygate::policy::PolicyHandle;
use keygate::proxy::{Ctx, Gateway, Live};
use keygate::telemetry::denial_log::Denials;
use keygate::telemetry::denial_records::Refused;
use keygate::telemetry::in_flight::InFlight;
use keygate::telemetry::metrics::Metrics;
use keygate::upstream::Fleet;
use pingora_proxy::{ProxyHttp, Session};
use tokio::runtime::Runtime;

use crate::decide::NOW;
use crate::policies::{PATH, WRONG_KEY, facts, key, presenting, with_keys};

/// Requests that are prepared before the clock starts.
const BATCH: BatchSize = BatchSize::NumIterations(64);

/// More than a request and its answer have together.
const CONNECTION_BYTES: usize = 4096;

pub(crate) fn time(criterion: &mut Criterion) {
    let front = Front::new();
    let _entered = front.runtime.enter();
    let mut group = criterion.benchmark_group("refusals");
    let no_key = request(PATH, "accept: */*");
    let wrong = |path| request(path, &format!("authorization: Bearer {WRONG_KEY}"));
    let right = request(PATH, &format!("authorization: Bearer {}", key(0)));
    for (what, request, outcome) in [
        (BenchmarkId::new("no key", "OpenAI"), no_key, Outcome::Answered),
        (BenchmarkId::new("wrong key", "OpenAI"), wrong(PATH), Outcome::Answered),
        (BenchmarkId::new("wrong key", "Anthropic"), wrong("/v1/messages"), Outcome::Answered),
        (
            BenchmarkId::new("wrong key", "Gemini"),
            wrong("/v1beta/models/x:generateContent"),
            Outcome::Answered,
        ),
        (BenchmarkId::new("beside them", "admitted"), right, Outcome::Admitted),
    ] {
        group.bench_function(what, |bencher| {
            bencher.iter_batched(|| front.arrival(&request), |arrival| front.admit(arrival, outcome), BATCH);
        });
    }
    group.finish();
    note(criterion);
}

/// Beyond the lines that a second has room for in the log.
fn note(criterion: &mut Criterion) {
    let (policy, denials) = (with_keys("strict", 1), Denials::default());
    let headers = presenting(CredentialHeader::Authorization, WRONG_KEY);
    let facts = facts(&headers);
    let deny = decide(&policy, &facts, NOW).unwrap_err();
    let refused = Refused {
        deny,
        at: NOW,
        request_id: "0123456789abcdef0123456789abcdef",
        client: Some([127, 0, 0, 1].into()),
        facts,
        host: Some(b"api.example"),
        misplaced: None,
        generation: 1,
    };
    criterion.bench_function("refusals/note", |bencher| bencher.iter(|| denials.record(&refused)));
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The gateway answers it.
    Answered,
    /// It goes on.
    Admitted,
}

/// A `POST` with a short body.
pub(crate) fn request(path: &str, line: &str) -> Vec<u8> {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"Say hi."}]}"#;
    let head = "host: api.example\r\ncontent-type: application/json\r\nuser-agent: OpenAI/Python 2.8.0";
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\n{head}\r\n{line}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

/// The gateway, without listeners.
pub(crate) struct Front {
    gateway: Gateway,
    /// For the limit on how long a body may take. Nothing waits for it.
    pub(crate) runtime: Runtime,
}

impl Front {
    pub(crate) fn new() -> Self {
        let policy = with_keys("strict", 1);
        let fleet = Fleet::new(&policy, None);
        let meters = Metrics::leak().meters(&policy);
        let limits = Ledger::new(&policy, None, clock::ticks());
        let live = Arc::new(PolicyHandle::new(Arc::new(Live { policy, fleet, limits, meters })));
        let gateway = Gateway::new(live, InFlight::leak(), Denials::leak());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { gateway, runtime }
    }

    /// A request whose header section has been read.
    pub(crate) fn arrival(&self, request: &[u8]) -> (Session, Ctx) {
        let mut connection = Vec::with_capacity(CONNECTION_BYTES);
        connection.extend_from_slice(request);
        let mut session = Session::new_h1(Box::new(Cursor::new(connection)));
        assert!(at_once(session.as_downstream_mut().read_request()).unwrap());
        (session, self.gateway.new_ctx())
    }

    /// Decides, and answers what is refused. Returns what is left, for the caller to drop.
    pub(crate) fn admit(&self, (mut session, mut ctx): (Session, Ctx), expected: Outcome) -> (Session, Ctx) {
        let answered = at_once(self.gateway.request_filter(&mut session, &mut ctx)).unwrap();
        assert_eq!(answered, expected == Outcome::Answered);
        (session, ctx)
    }
}

/// What a future that has nothing to wait for comes to.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("memory is always ready"),
    }
}
