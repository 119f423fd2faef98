//! gRPC from end to end: a client and a server of grpcio, over TLS and without, on either side of the gateway.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Authority, Gateway, KEY, Python, keygate};

/// How two sides speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Tls,
    Cleartext,
}

const EVERY_WAY: [(Over, Over); 4] = [
    (Over::Cleartext, Over::Cleartext),
    (Over::Cleartext, Over::Tls),
    (Over::Tls, Over::Cleartext),
    (Over::Tls, Over::Tls),
];

/// A client that is connected to a gateway, whose peer is the server.
struct Grpc {
    python: Python,
    _gateway: Gateway,
}

impl Grpc {
    fn start(downstream: Over, upstream: Over) -> Self {
        let (authority, directory) = (Authority::new(), TempDir::new().unwrap());
        let file = |name: &str| directory.path().join(name).display().to_string();
        authority.write(directory.path(), "a", &["a.test"]);
        std::fs::write(file("ca.pem"), authority.pem()).unwrap();
        let mut python = Python::start("grpc_client.py");
        let certificate = match upstream {
            Over::Tls => [json!(file("a.pem")), json!(file("a.key"))],
            Over::Cleartext => [Value::Null, Value::Null],
        };
        let port = python.ask(&json!(["listen", certificate[0], certificate[1]]));
        let proxy = match downstream {
            Over::Tls => "tls: {certificates: [{cert: a.pem, key: a.key}]}",
            Over::Cleartext => "h2c: true",
        };
        let peer = match upstream {
            Over::Tls => ", tls: true, sni: a.test, tls_ca: ca.pem",
            Over::Cleartext => "",
        };
        let text = format!(
            "proxy: {{listen: ['127.0.0.1:0'], auth_mode: strict, api_key: {KEY}, {proxy}}}\n\
             upstreams: {{echo: {{peers: ['127.0.0.1:{port}'], protocol: http2{peer}}}}}\n\
             routes: [{{path_prefix: /, upstream: echo}}]\n"
        );
        std::fs::write(file("keygate.yaml"), text).unwrap();
        let ca = if downstream == Over::Tls { json!(file("ca.pem")) } else { Value::Null };
        let gateway = Gateway::run(keygate(["run", "-c", &file("keygate.yaml")]), directory);
        python.ask(&json!(["connect", gateway.address().to_string(), ca, "a.test"]));
        Self { python, _gateway: gateway }
    }
}

#[test]
fn unary_calls_and_streams_pass_with_their_trailers() {
    for (downstream, upstream) in EVERY_WAY {
        let mut grpc = Grpc::start(downstream, upstream);
        let mut ask = |command: Value| grpc.python.ask(&command);
        let way = format!("{downstream:?} to the gateway, {upstream:?} from there");
        assert_eq!(ask(json!(["unary", KEY, "hello"])), json!(["olleh", "OK", "5", "hello"]), "{way}");
        assert_eq!(ask(json!(["large", KEY, 3 << 20])), json!(true), "{way}");
        // Each message goes once the answer to the one before has come: nothing may wait for more.
        let streamed = json!([["ONE", "TWO", "THREE"], "OK", "5", "three"]);
        assert_eq!(ask(json!(["stream", KEY, ["one", "two", "three"]])), streamed, "{way}");
        assert_eq!(ask(json!(["stream", KEY, []])), json!([[], "OK", "0", ""]), "no message at all, {way}");
        let failed = json!(["no such thing", "NOT_FOUND", "10", "such thi"]);
        assert_eq!(ask(json!(["fail", KEY, "such thing"])), failed, "{way}");
    }
}

#[test]
fn a_call_that_is_given_up_ends_at_the_server() {
    for (downstream, upstream) in EVERY_WAY {
        let mut grpc = Grpc::start(downstream, upstream);
        assert_eq!(grpc.python.ask(&json!(["give up", KEY])), json!(["here", true]), "{downstream:?}");
        assert_eq!(grpc.python.ask(&json!(["unary", KEY, "on"]))[0], "no", "the connection goes on");
    }
}

/// What becomes of HTTP's 401 is gRPC's: `doc/http-grpc-status-mapping.md`.
#[test]
fn a_wrong_key_is_unauthenticated_and_reaches_no_server() {
    for downstream in [Over::Cleartext, Over::Tls] {
        let mut grpc = Grpc::start(downstream, Over::Cleartext);
        assert_eq!(grpc.python.ask(&json!(["refused", "sk-wrong"])), "UNAUTHENTICATED", "{downstream:?}");
        assert_eq!(grpc.python.ask(&json!(["unary", KEY, "hello"]))[1], "OK", "{downstream:?}");
        let seen = grpc.python.ask(&json!(["seen"]));
        assert_eq!(seen[0], 1, "{downstream:?}: {seen}");
        let fields = seen[1].as_array().unwrap();
        assert!(fields.contains(&json!("x-request-id")) && !fields.contains(&json!("x-api-key")), "{seen}");
    }
}
