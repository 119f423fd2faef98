//! Reload: everything at once or nothing, however the file was changed, without a request lost.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, KEY, Origin, config, keygate};

const OTHER_KEY: &str = "sk-ffffffffffffffffffffffffffffffff";

fn get(client: &mut Client, key: &str) -> u16 {
    client.exchange(format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\n\r\n")).status
}

fn accepts(gateway: &Gateway, key: &str) -> bool {
    get(&mut gateway.connect(), key) == 200
}

#[test]
fn a_file_that_is_renamed_over_takes_effect() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    assert!(accepts(&gateway, KEY) && !accepts(&gateway, OTHER_KEY));
    for (generation, key, old) in [(2, OTHER_KEY, KEY), (3, KEY, OTHER_KEY)] {
        gateway.replace_config(&config("strict", &origin).replace(KEY, key));
        gateway.wait_for_generation(generation);
        assert!(accepts(&gateway, key) && !accepts(&gateway, old));
    }
}

#[test]
fn a_file_that_is_written_in_place_takes_effect() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    std::fs::write(gateway.file(), config("strict", &origin).replace(KEY, OTHER_KEY)).unwrap();
    gateway.wait_for_generation(2);
    assert!(accepts(&gateway, OTHER_KEY) && !accepts(&gateway, KEY));
}

#[test]
fn a_directory_that_is_replaced_takes_effect_and_is_followed_from_then_on() {
    let origin = Origin::start();
    let directory = tempfile::TempDir::new().unwrap();
    let with = |key: &str| config("strict", &origin).replace(KEY, key);
    let put = |name: &str, key: &str| {
        let place = directory.path().join(name);
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("keygate.yaml"), with(key)).unwrap();
        place
    };
    let (place, next) = (put("now", KEY), put("next", OTHER_KEY));
    let file = place.join("keygate.yaml");
    let elsewhere = tempfile::TempDir::new().unwrap();
    let gateway = Gateway::run(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]), elsewhere);
    assert!(accepts(&gateway, KEY));

    std::fs::rename(&place, directory.path().join("before")).unwrap();
    std::fs::rename(&next, &place).unwrap();
    gateway.wait_for_generation(2);
    assert!(accepts(&gateway, OTHER_KEY) && !accepts(&gateway, KEY));

    std::fs::write(&file, with(KEY)).unwrap();
    gateway.wait_for_generation(3);

    std::fs::remove_dir_all(&place).unwrap();
    put("now", OTHER_KEY);
    gateway.wait_for_generation(4);
    std::fs::write(&file, with(KEY)).unwrap();
    gateway.wait_for_generation(5);
    assert!(accepts(&gateway, KEY) && !accepts(&gateway, OTHER_KEY));
}

#[test]
fn a_config_map_takes_effect() {
    let origin = Origin::start();
    let directory = tempfile::TempDir::new().unwrap();
    let top = directory.path();
    for (version, key) in [("..1", KEY), ("..2", OTHER_KEY)] {
        std::fs::create_dir(top.join(version)).unwrap();
        let text = config("strict", &origin).replace(KEY, key);
        std::fs::write(top.join(version).join("keygate.yaml"), text).unwrap();
    }
    // As Kubernetes lays out the volume of a ConfigMap.
    symlink("..1", top.join("..data")).unwrap();
    symlink("..data/keygate.yaml", top.join("keygate.yaml")).unwrap();
    let file = top.join("keygate.yaml");
    let gateway = Gateway::run(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]), directory);
    assert!(accepts(&gateway, KEY));
    let top = gateway.directory.path();
    symlink("..2", top.join("..data_tmp")).unwrap();
    std::fs::rename(top.join("..data_tmp"), top.join("..data")).unwrap();
    gateway.wait_for_generation(2);
    assert!(accepts(&gateway, OTHER_KEY) && !accepts(&gateway, KEY));
}

#[test]
fn a_secret_in_a_file_of_its_own_is_followed() {
    let origin = Origin::start();
    let directory = tempfile::TempDir::new().unwrap();
    let (file, secret) = (directory.path().join("keygate.yaml"), directory.path().join("key"));
    std::fs::write(&secret, format!("{KEY}\n")).unwrap();
    std::fs::write(&file, config("strict", &origin).replace(KEY, "file:key")).unwrap();
    let gateway = Gateway::run(keygate(["run".as_ref(), "-c".as_ref(), file.as_os_str()]), directory);
    assert!(accepts(&gateway, KEY));
    crate::support::replace(&gateway.directory.path().join("key"), &format!("{OTHER_KEY}\n"));
    gateway.wait_for_generation(2);
    assert!(accepts(&gateway, OTHER_KEY) && !accepts(&gateway, KEY));
}

#[test]
fn sighup_reloads() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    gateway.signal("HUP");
    gateway.wait_for_generation(2);
    assert!(accepts(&gateway, KEY));
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let origin = Origin::start();
    let good = config("strict", &origin);
    let gateway = Gateway::start(&good);
    for (bad, place, message) in [
        (good.replace("strict", "stict"), "keygate.yaml:3:14: error: ", "did you mean `strict`?"),
        (
            good.replace("upstream: origin", "upstream: orign"),
            "keygate.yaml:10:15: error: ",
            "no upstream named `orign`",
        ),
        (good.replace("    peers: ['", "    peers: [["), "keygate.yaml:", "error: "),
    ] {
        gateway.replace_config(&bad.replace(KEY, OTHER_KEY));
        let text = gateway.program().wait_for("the reason", |log| {
            let text = log.join("\n");
            (text.contains(place) && text.contains(message)).then_some(text)
        });
        assert!(!text.contains("server::reload] reloaded"), "{text}");
        gateway
            .program()
            .wait_for_log("what is in force", |line| line.contains("generation 1 stays in force"));
        assert!(accepts(&gateway, KEY) && !accepts(&gateway, OTHER_KEY));
    }
    gateway.replace_config(&good.replace(KEY, OTHER_KEY));
    gateway.wait_for_generation(2);
    assert!(accepts(&gateway, OTHER_KEY), "and a good one is taken again");
}

#[test]
fn an_emptied_file_does_not_open_the_gateway() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    // The defaults, which an empty file would mean, ask nobody for a key.
    std::fs::write(gateway.file(), "").unwrap();
    gateway.program().wait_for_log("the reason", |line| line.contains("this file is empty"));
    assert!(accepts(&gateway, KEY) && !accepts(&gateway, OTHER_KEY));
    std::fs::remove_file(gateway.file()).unwrap();
    gateway.program().wait_for_log("the reason", |line| line.contains("cannot read this file"));
    assert!(accepts(&gateway, KEY) && !accepts(&gateway, OTHER_KEY));
}

#[test]
fn listeners_and_threads_need_a_restart_and_the_rest_takes_effect() {
    let origin = Origin::start();
    let good = config("auto", &origin).replace("proxy:\n", "proxy:\n  allow_lan_access: true\n");
    let gateway = Gateway::start(&good);
    let changed = good
        .replace("127.0.0.1:0", "127.0.0.1:1")
        .replace("allow_lan_access: true", "allow_lan_access: false\n  threads: 7")
        .replace(KEY, OTHER_KEY);
    gateway.replace_config(&changed);
    gateway.wait_for_generation(2);
    for name in ["listeners (`port`, `allow_lan_access`, `listen`)", "`threads`"] {
        gateway.program().wait_for_log("what needs a restart", |line| {
            line.contains(name) && line.contains("takes effect with a restart")
        });
    }
    assert!(accepts(&gateway, OTHER_KEY));
    // `auto` follows the listeners that run, whatever the file says now.
    assert!(!accepts(&gateway, KEY), "the gateway still asks for a key");
}

/// The listeners that run count, not those of the file.
#[test]
fn auto_stays_what_the_running_listeners_make_it() {
    let origin = Origin::start();
    let loopback = config("auto", &origin);
    let lan = loopback.replace("proxy:\n", "proxy:\n  allow_lan_access: true\n");
    for (started, then, asks) in [(&loopback, &lan, false), (&lan, &loopback, true)] {
        let gateway = Gateway::start(started);
        assert_eq!(!accepts(&gateway, "wrong"), asks);
        // Twice: the second reload is compared with what runs too, not with the first.
        for (generation, text) in [(2, then.clone()), (3, then.replace(KEY, OTHER_KEY))] {
            gateway.replace_config(&text);
            gateway.wait_for_generation(generation);
            assert_eq!(!accepts(&gateway, "wrong"), asks, "generation {generation} of\n{started}");
        }
        let said = gateway.program().log();
        let said = said.iter().filter(|line| line.contains("listeners (") && line.contains("with a restart"));
        assert_eq!(said.count(), 2, "each reload says that the listeners are others");
        // Modes that are written out do not follow the listeners.
        gateway.replace_config(&started.replace("auth_mode: auto", "auth_mode: strict"));
        gateway.wait_for_generation(4);
        assert!(!accepts(&gateway, "wrong") && accepts(&gateway, KEY));
        gateway.replace_config(&started.replace("auth_mode: auto", "auth_mode: off"));
        gateway.wait_for_generation(5);
        assert!(accepts(&gateway, "wrong"));
        let warned =
            gateway.program().log().iter().any(|line| line.contains("other machines reach this gateway"));
        assert_eq!(warned, asks, "an open gateway that others reach is warned about");
    }
}

#[test]
fn sighup_with_a_bad_file_says_why_each_time() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    gateway.replace_config(&config("stict", &origin).replace(KEY, OTHER_KEY));
    let said =
        |log: &[String]| log.iter().filter(|line| line.contains("generation 1 stays in force")).count();
    for times in 1..=3 {
        gateway.program().wait_for("the reason", |log| (said(log) >= times).then_some(()));
        assert!(accepts(&gateway, KEY) && !accepts(&gateway, OTHER_KEY));
        gateway.signal("HUP");
    }
}

#[test]
fn every_request_sees_one_generation_to_its_end() {
    let (begin, begun) = std::sync::mpsc::channel();
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let shared = std::sync::Mutex::new((begin, finished));
    let origin = Origin::answering(move |_, stream| {
        use std::io::Write;
        let guard = shared.lock().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")?;
        guard.0.send(()).unwrap();
        guard.1.recv().unwrap();
        stream.write_all(b"cd")
    });
    let gateway = Gateway::start(&config("strict", &origin));
    let mut client = gateway.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n\r\n"));
    begun.recv_timeout(crate::support::PATIENCE).unwrap();
    // While its response is under way the key is revoked and its upstream is gone.
    gateway.replace_config(
        "proxy: {listen: ['127.0.0.1:0'], auth_mode: strict, api_key: other}\nupstreams: {}\nroutes: []\n",
    );
    gateway.wait_for_generation(2);
    finish.send(()).unwrap();
    assert_eq!(client.response().body, b"abcd");
    assert_eq!(get(&mut client, KEY), 401, "the next one on the same connection sees the new policy");
}

/// Clients that never pause: with the old key, with the new one, and one that watches what becomes of which.
#[test]
fn a_new_key_counts_within_100_ms_under_load_and_no_request_is_lost() {
    let origin = Origin::start();
    let gateway = Gateway::start(&config("strict", &origin));
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..4)
        .map(|number| {
            let (stop, answered, address) = (Arc::clone(&stop), Arc::clone(&answered), gateway.address());
            let key = if number % 2 == 0 { KEY } else { OTHER_KEY };
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                while !stop.load(Ordering::SeqCst) {
                    // `exchange` fails the test if the connection breaks: none may be lost.
                    assert!(matches!(get(&mut client, key), 200 | 401));
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let mut generation = 1;
    for key in [OTHER_KEY, KEY, OTHER_KEY] {
        let old = if key == KEY { OTHER_KEY } else { KEY };
        let before = answered.load(Ordering::SeqCst);
        crate::support::wait_for("load", || (answered.load(Ordering::SeqCst) > before + 100).then_some(()));
        generation += 1;
        gateway.replace_config(&config("strict", &origin).replace(KEY, key));
        gateway.wait_for_generation(generation);
        let accepted = Instant::now();
        // From the moment the change was accepted, on fresh connections to whatever thread takes them.
        let mut worst = Duration::ZERO;
        for _ in 0..20 {
            let begun = accepted.elapsed();
            if !accepts(&gateway, key) || accepts(&gateway, old) {
                worst = begun;
            }
        }
        assert!(worst < Duration::from_millis(100), "the old policy was seen {worst:?} after the reload");
    }
    stop.store(true, Ordering::SeqCst);
    for client in load {
        client.join().unwrap();
    }
}
