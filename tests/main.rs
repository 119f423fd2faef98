//! The tests that go in by the front door: the real binary, on ports that the kernel gives, over raw TCP.
//!
//! One crate, so that it is linked once; one module a capability.

// A panic is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

/// The access log: fields, files, full disks, keys.
mod access_log;
/// The admin API: who may, what it tells, what it does.
mod admin;
/// The page for people in a real browser.
mod admin_browser;
/// Changes through the admin API.
mod admin_changes;
/// `keygate admin`: a gateway that runs, asked and changed from a terminal.
mod admin_command;
/// What the admin API tells of keys.
mod admin_keys;
/// The admin API as things happen: events, and requests that are pasted.
mod admin_live;
/// The description of the admin API: every route, every answer, every refusal.
mod admin_openapi;
/// The page for people, as files: what is served, with which rules for the browser.
mod admin_page;
/// The admin API over TLS, where other machines reach it.
mod admin_tls;
/// What the path of a request allocates: nothing, as far as it decides.
mod allocations;
/// What web pages may do.
mod browsers;
/// Who the client is, behind proxies.
mod client_address;
/// `keygate check`, `init`, `keygen`, `schema`, and the files of `conf/`.
mod commands;
/// How many connections there may be, and how long each may take.
mod connection_limits;
/// What the gateway tells an upstream: its own credential, and who the caller is.
mod credentials;
/// The decision: every row of every table of the contract, with its negative.
mod decision;
/// Refused requests in great numbers: the log, and what is remembered.
mod denial_flood;
/// What a refused caller gets to see, and what becomes of the connection.
mod denials;
/// The manifests of `deploy/` fit together, and with the program.
mod deploy;
/// Every cause of a 401, and who names it.
mod diagnosis;
/// `keygate doctor` where no gateway answers, and what it keeps to itself.
mod doctor;
mod doctor_verdicts;
/// `keygate run` without a config, and the origin beside it.
mod embedded;
/// `keygate explain`: the decision, asked of a config.
mod explain;
/// What reaches the upstream and what comes back, byte for byte.
mod forwarding;
/// gRPC from end to end.
mod grpc;
/// Hostile and odd requests, byte for byte.
mod hostile;
/// HTTP/2 toward the clients.
mod http2;
/// What a key may do and how much: 403 and 429.
mod key_rules;
/// Many keys: their form, what each may do, how they are changed while requests flow.
mod keys;
/// Load while a peer is killed and started again.
mod killed_peers;
/// No small write waits for an acknowledgement.
mod latency;
/// Metrics: what is counted, where; dashboard and alerts.
mod metrics;
/// Which peer is chosen, who is left out, what is sent again, what takes too long.
mod peers;
/// Requests that are sent before the answer to the one before.
mod pipelining;
/// The PROXY protocol of load balancers.
mod proxy_protocol;
/// What the README and the pages tell people to type.
mod readme;
/// Reload: by file, by rename, by link, by signal; under load; and what must not change.
mod reload;
/// The id of a request: whose it is, and where it is told.
mod request_ids;
/// How large a request may be, and how slow.
mod request_limits;
/// Names of peers, when the resolver fails and when it answers something else.
mod resolver;
/// Revocation: at once, everywhere, and of nothing else.
mod revocation;
/// Routes by host suffix, method and header; what they change; paths that can be read in two ways.
mod route_rules;
/// Which peer a request goes to, and what the caller gets when none works.
mod routing;
/// The official SDKs against the gateway.
mod sdk;
/// Keys are never logged.
mod secrecy;
/// curl, h2load and openssl against the gateway.
mod standard_clients;
/// Start and stop: ports that are taken, drain, grace.
mod stop;
/// How streams end, and what they cost meanwhile.
mod stream_ends;
/// Streams pass event by event.
mod streaming;
mod support;
/// The house rules: who may import whom, and what only one place may do.
mod tidy;
/// TLS toward the clients: certificates by name, their change, clients with certificates of their own.
mod tls;
/// A new process takes over the listening sockets.
mod upgrade;
/// Connections toward the peers that are used again, or closed.
mod upstream_pool;
/// TLS and HTTP/2 toward the peers.
mod upstream_protocols;
/// Sessions of TLS toward the peers.
mod upstream_sessions;
/// WebSockets, and no other upgrade.
mod websocket;
