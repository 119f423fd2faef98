//! A flood of refused requests: each is answered, the log stays readable, and nothing that was left out goes uncounted.

use crate::admin::{administered, ask};
use crate::support::{Client, Gateway, Origin, wait_for};

const CLIENTS: usize = 4;
const REQUESTS: usize = 100_000;

/// What the page on 401s promises.
const LINES_PER_SECOND: usize = 10;

const WRONG: &str =
    "GET /v1/models HTTP/1.1\r\nHost: t\r\nx-api-key: sk-ffffffffffffffffffffffffffffffff\r\n\r\n";
const MISSING: &str = "GET /v1/models HTTP/1.1\r\nHost: t\r\n\r\n";

/// `(second, denials that it stands for)` of each line about this code.
fn lines(log: &[String], code: &str) -> Vec<(String, usize)> {
    let about = format!(": code={code} ");
    log.iter()
        .filter(|line| line.contains(&about))
        .map(|line| {
            let second = line.split_whitespace().next().unwrap().to_owned();
            let suppressed = line
                .split(" suppressed=")
                .nth(1)
                .map_or(0, |rest| rest.split(' ').next().unwrap().parse().unwrap());
            // The last count stands on a line of its own.
            (second, suppressed + usize::from(line.contains(" id=")))
        })
        .collect()
}

fn refused(address: std::net::SocketAddr, request: &str, code: &str) -> usize {
    let mut client = Client::connect(address);
    (0..REQUESTS / CLIENTS)
        .filter(|_| {
            let response = client.exchange(request);
            response.status == 401 && response.error_code() == Some(code)
        })
        .count()
}

#[test]
fn a_hundred_thousand_refusals_write_ten_lines_a_second_and_count_the_rest() {
    let origin = Origin::start();
    let gateway = Gateway::start(&administered("strict", &origin));
    let kinds = [(WRONG, "credential_invalid"), (MISSING, "credential_missing")];
    let clients: Vec<_> = kinds
        .into_iter()
        .cycle()
        .take(CLIENTS)
        .map(|(request, code)| {
            let address = gateway.address();
            std::thread::spawn(move || refused(address, request, code))
        })
        .collect();
    let answered: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert_eq!(answered, REQUESTS, "each gets its 401");
    for (_, code) in kinds {
        let told = |log: &[String]| lines(log, code).iter().map(|(_, denials)| denials).sum::<usize>();
        gateway.program().wait_for(&format!("{code}: each is a line or counted"), |log| {
            (told(log) == REQUESTS / 2).then_some(())
        });
        let lines = lines(&gateway.program().log(), code);
        let first_and_last = [&lines[0].0, &lines[lines.len() - 1].0];
        let seconds = seconds_between(first_and_last) + 1;
        // In the last one also the line that counts.
        assert!(lines.len() <= LINES_PER_SECOND * (seconds + 1) + 1, "{} lines in {seconds} s", lines.len());
    }
    // The last ones are explained in the end.
    let listed = wait_for("the explanations", || {
        let listed = ask(gateway.admin(), "GET /api/denials").json();
        listed.as_array().filter(|denials| denials.len() == 100).cloned()
    });
    for denial in listed {
        let reason = &denial["explanation"]["diagnosis"]["reason"];
        let expected = if denial["code"] == "credential_missing" { "no_credential" } else { "unknown_key" };
        assert_eq!(reason, expected, "{denial}");
    }
}

/// Between two times as the log begins its lines with.
fn seconds_between(times: [&String; 2]) -> usize {
    let [first, last] = times.map(|time| {
        let time = time.trim_start_matches('[');
        chrono::DateTime::parse_from_rfc3339(time)
            .unwrap_or_else(|error| panic!("{time}: {error}"))
            .timestamp()
    });
    usize::try_from(last - first).unwrap()
}
