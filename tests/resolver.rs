//! The names of peers, with a resolver that fails, recovers and changes its mind.
//!
//! The system's own resolver, in a mount namespace of the gateway's own: there `/etc/hosts` is a file of the test's, and
//! the name server is a port that nobody listens on.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{Gateway, Origin, wait_for};

/// Puts its two files over those of the system and becomes the gateway.
const OVER_THE_SYSTEM_S: &str =
    "mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"";

const UNSHARE: [&str; 3] = ["unshare", "--map-root-user", "--mount"];

/// Whether this kernel lets a process have mounts of its own; some containers do not.
fn namespaces() -> bool {
    let mut unshare = Command::new(UNSHARE[0]);
    unshare.args(&UNSHARE[1..]).args(["sh", "-c", "mount --bind /etc/hosts /etc/hosts"]);
    unshare.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// In place: a mount follows the file, not its name.
fn write_hosts(directory: &Path, text: &str) {
    std::fs::File::create(directory.join("hosts")).unwrap().write_all(text.as_bytes()).unwrap();
}

fn start(config: &str) -> Gateway {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("keygate.yaml"), config).unwrap();
    std::fs::write(
        directory.path().join("resolv.conf"),
        "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n",
    )
    .unwrap();
    write_hosts(directory.path(), "127.0.0.1 localhost\n");
    let mut command = Command::new(UNSHARE[0]);
    command.args(&UNSHARE[1..]).args(["sh", "-c", OVER_THE_SYSTEM_S, "sh"]);
    command.args([env!("CARGO_BIN_EXE_keygate"), "run", "-c", "keygate.yaml"]);
    command.env_remove("RUST_LOG").stdin(Stdio::null()).current_dir(directory.path());
    Gateway::run(command, directory)
}

fn named(name: &'static str, address: SocketAddr) -> Origin {
    Origin::answering_at(address, move |_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len())
    })
}

/// The status, and who answered.
fn ask(gateway: &Gateway) -> (u16, String) {
    let response = gateway.exchange("GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n");
    (response.status, String::from_utf8(response.body).unwrap())
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
fn a_resolver_may_fail_and_change_its_mind() {
    if !namespaces() {
        eprintln!("not run: no mount namespaces here (`{}` is refused)", UNSHARE.join(" "));
        return;
    }
    let here = named("here", "127.0.0.1:0".parse().unwrap());
    let port = here.address.port();
    let _there = named("there", SocketAddr::from(([127, 0, 0, 2], port)));
    let gateway = start(&format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: off, dns_refresh: 1s}}\n\
         upstreams: {{o: {{peers: ['model.test:{port}']}}}}\nroutes: [{{path_prefix: /, upstream: o}}]\n"
    ));
    let hosts = |text: &str| write_hosts(gateway.directory.path(), text);

    assert_eq!(ask(&gateway).0, 503, "nothing is known of the name yet");
    hosts("127.0.0.1 model.test\n");
    wait_for("the name to be known", || (ask(&gateway) == (200, "here".to_owned())).then_some(()));

    hosts("");
    gateway.program().wait_for_log("what becomes of the addresses", |line| {
        line.contains(&format!("`model.test:{port}` keeps its 1 addresses"))
    });
    assert_eq!(ask(&gateway), (200, "here".to_owned()), "the old address is kept");

    hosts("127.0.0.2 model.test\n");
    wait_for("the new address", || (ask(&gateway) == (200, "there".to_owned())).then_some(()));
    for _ in 0..20 {
        assert_eq!(ask(&gateway), (200, "there".to_owned()), "the old address is forgotten");
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
fn a_name_that_leads_to_the_admin_listener_leads_nowhere() {
    if !namespaces() {
        eprintln!("not run: no mount namespaces here (`{}` is refused)", UNSHARE.join(" "));
        return;
    }
    // A peer is named by its port: one that is free a moment before.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _there = named("there", SocketAddr::from(([127, 0, 0, 2], free.port())));
    let gateway = start(&format!(
        "proxy: {{listen: ['127.0.0.1:0'], auth_mode: off, dns_refresh: 1s}}\n\
         upstreams: {{o: {{peers: ['model.test:{}']}}}}\nroutes: [{{path_prefix: /, upstream: o}}]\n\
         admin: {{listen: '{free}'}}\n",
        free.port()
    ));
    assert_eq!(gateway.admin(), free);
    write_hosts(gateway.directory.path(), "127.0.0.1 model.test\n");
    gateway.program().wait_for_log("why it has none", |line| line.contains("it leads to the admin listener"));
    assert_eq!(ask(&gateway).0, 503);
    write_hosts(gateway.directory.path(), "127.0.0.1 model.test\n127.0.0.2 model.test\n");
    wait_for("the other address", || (ask(&gateway) == (200, "there".to_owned())).then_some(()));
    for _ in 0..20 {
        assert_eq!(ask(&gateway), (200, "there".to_owned()));
    }
}
