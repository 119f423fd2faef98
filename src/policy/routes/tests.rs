//! Which route wins.

use super::*;

fn table(routes: &[(&str, RouteMatch)]) -> RouteTable {
    let mut table = RouteTable::default();
    for (number, (host, path)) in routes.iter().enumerate() {
        table.insert(host_match(host), path.clone(), to(number)).unwrap();
    }
    table
}

fn host_match(host: &str) -> HostMatch<'_> {
    match host.strip_prefix("*.") {
        Some(suffix) => HostMatch::Below(suffix),
        None if host.is_empty() => HostMatch::Any,
        None => HostMatch::Exact(host),
    }
}

fn to(number: usize) -> RouteSpec {
    RouteSpec::to(UpstreamId(number))
}

fn prefix(path: &str) -> RouteMatch {
    RouteMatch::Prefix(path.into())
}

fn exact(path: &str) -> RouteMatch {
    RouteMatch::Exact(path.into())
}

fn found(table: &RouteTable, host: Option<&str>, path: &str) -> Option<RouteId> {
    let headers = HeaderMap::new();
    let host = host.map(str::as_bytes);
    table.find(&Asked { host, path: path.as_bytes(), method: &Method::GET, headers: &headers })
}

#[track_caller]
fn leads(table: &RouteTable, host: &str, path: &str, to: Option<usize>) {
    assert_eq!(found(table, Some(host), path), to.map(RouteId), "{host}{path}");
}

#[test]
fn exact_beats_prefix_and_long_beats_short() {
    let table = table(&[
        ("", prefix("/")),
        ("", prefix("/v1")),
        ("", exact("/v1/models")),
        ("", prefix("/v1/models")),
    ]);
    leads(&table, "h", "/", Some(0));
    leads(&table, "h", "/other", Some(0));
    leads(&table, "h", "/v1", Some(1));
    leads(&table, "h", "/v1/", Some(1));
    leads(&table, "h", "/v1/chat/completions", Some(1));
    leads(&table, "h", "/v1/models", Some(2));
    leads(&table, "h", "/v1/models/x", Some(3));
}

#[test]
fn a_prefix_ends_at_a_slash() {
    let table = table(&[("", prefix("/v1")), ("", prefix("/v2/"))]);
    leads(&table, "h", "/v1beta/models", None);
    leads(&table, "h", "/v2", None);
    leads(&table, "h", "/v2/", Some(1));
    leads(&table, "h", "/v2/x", Some(1));
    leads(&table, "h", "/", None);
}

#[test]
fn a_route_with_the_host_comes_first_and_falls_back() {
    let table = table(&[("", prefix("/")), ("a.example", prefix("/v1")), ("[::1]", exact("/x"))]);
    leads(&table, "a.example", "/v1/x", Some(1));
    leads(&table, "A.Example:8045", "/v1/x", Some(1));
    leads(&table, "a.example", "/other", Some(0));
    leads(&table, "b.example", "/v1/x", Some(0));
    leads(&table, "[::1]:8045", "/x", Some(2));
    leads(&table, &"h".repeat(300), "/v1/x", Some(0));
    assert_eq!(found(&table, None, "/v1/x"), Some(RouteId(0)));
}

#[test]
fn a_suffix_takes_every_name_below_it_and_the_longest_wins() {
    let table = table(&[
        ("", prefix("/")),
        ("*.example", prefix("/")),
        ("*.b.example", prefix("/")),
        ("a.b.example", prefix("/")),
    ]);
    leads(&table, "example", "/", Some(0));
    leads(&table, "x.example", "/", Some(1));
    leads(&table, "b.example", "/", Some(1));
    leads(&table, "x.b.example", "/", Some(2));
    leads(&table, "y.x.B.example:1", "/", Some(2));
    leads(&table, "a.b.example", "/", Some(3));
    leads(&table, "xexample", "/", Some(0));
    leads(&table, &format!("{}example", "a.".repeat(100)), "/", Some(1));
}

#[test]
fn conditions_are_asked_the_most_specific_first() {
    let mut table = RouteTable::default();
    let header = |name: &'static str, value: Option<&'static str>| {
        (http::HeaderName::from_static(name), value.map(http::HeaderValue::from_static))
    };
    let conditions = [
        Conditions::default(),
        Conditions { methods: vec![Method::POST], headers: vec![] },
        Conditions { methods: vec![], headers: vec![header("x-tenant", Some("acme"))] },
        Conditions {
            methods: vec![],
            headers: vec![header("x-tenant", Some("acme")), header("x-beta", None)],
        },
    ];
    for (number, conditions) in conditions.into_iter().enumerate() {
        let spec = RouteSpec { conditions, ..to(number) };
        table.insert(HostMatch::Any, prefix("/"), spec).unwrap();
    }
    let find = |method: Method, fields: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        table.find(&Asked { host: None, path: b"/", method: &method, headers: &headers })
    };
    assert_eq!(find(Method::GET, &[]), Some(RouteId(0)));
    assert_eq!(find(Method::POST, &[]), Some(RouteId(1)));
    assert_eq!(find(Method::POST, &[("x-tenant", "acme")]), Some(RouteId(2)));
    assert_eq!(find(Method::GET, &[("x-tenant", "Acme")]), Some(RouteId(0)));
    assert_eq!(
        find(Method::GET, &[("x-tenant", "b"), ("x-tenant", "acme"), ("x-beta", "")]),
        Some(RouteId(3))
    );
}

#[test]
fn where_no_condition_holds_a_less_specific_path_is_asked() {
    let mut table = RouteTable::default();
    let post = Conditions { methods: vec![Method::POST], headers: vec![] };
    let spec = RouteSpec { conditions: post, ..to(0) };
    table.insert(HostMatch::Exact("h"), exact("/v1/x"), spec).unwrap();
    table.insert(HostMatch::Any, prefix("/v1"), to(1)).unwrap();
    leads(&table, "h", "/v1/x", Some(1));
}

#[test]
fn the_same_route_twice_is_refused_and_so_are_too_many() {
    let mut table = RouteTable::default();
    for path in [prefix("/v1"), prefix("/v1/"), exact("/v1"), prefix("/")] {
        assert_eq!(table.insert(HostMatch::Any, path.clone(), to(0)), Ok(()));
        assert_eq!(table.insert(HostMatch::Any, path, to(1)), Err(InsertError::Duplicate));
    }
    let with = |number: usize| {
        let value = http::HeaderValue::from(number);
        let headers = vec![(http::HeaderName::from_static("x-n"), Some(value))];
        RouteSpec { conditions: Conditions { methods: vec![], headers }, ..to(0) }
    };
    for number in 1..RouteTable::MOST_AT_ONE_PLACE {
        assert_eq!(table.insert(HostMatch::Any, prefix("/"), with(number)), Ok(()));
    }
    assert_eq!(table.insert(HostMatch::Any, prefix("/"), with(0)), Err(InsertError::TooMany));
}

#[test]
fn a_path_of_slashes_costs_no_more_than_the_longest_prefix() {
    let table = table(&[("", prefix("/a"))]);
    leads(&table, "h", &"/".repeat(60_000), None);
}

#[test]
fn one_route_among_ten_thousand_is_found() {
    let mut many = RouteTable::default();
    for number in 0..10_000 {
        many.insert(HostMatch::Any, prefix(&format!("/tenant-{number}/v1")), to(number)).unwrap();
    }
    leads(&many, "api.example", "/tenant-5000/v1/chat/completions", Some(5000));
    leads(&many, "api.example", "/tenant-10000/v1/chat/completions", None);
}
