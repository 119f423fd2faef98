//! Proxies that are believed.

use super::key_rules::parse_range;
use crate::config;
use crate::policy::AddressRange;
use crate::problem::{FieldPath, Problem};

/// Entries of the list; each request by a proxy compares addresses with all of them.
const MOST_ENTRIES: usize = 100;

pub(super) fn compile(proxy: &config::Proxy, problems: &mut Vec<Problem>) -> Vec<AddressRange> {
    let (section, texts) = (FieldPath::root().field("proxy"), &proxy.trusted_proxies);
    if proxy.proxy_protocol && texts.is_empty() {
        problems.push(
            Problem::error(section.field("proxy_protocol"), "nobody is trusted to say who the client is")
                .with_help("list the load balancer in `trusted_proxies`")
                .relative(),
        );
    }
    let path = section.field("trusted_proxies");
    if texts.len() > MOST_ENTRIES {
        let message = format!("`trusted_proxies` has {} entries; {MOST_ENTRIES} can be used", texts.len());
        problems.push(Problem::error(path.clone(), message).with_help("write ranges: `10.0.0.0/8`"));
    }
    let mut ranges = Vec::with_capacity(texts.len().min(MOST_ENTRIES));
    for (at, text) in texts.iter().take(MOST_ENTRIES).enumerate() {
        match parse_range(text) {
            Ok(range) => ranges.push(range),
            Err((message, help)) => {
                problems.push(Problem::error(path.index(at), message).with_help(help));
            }
        }
    }
    ranges
}
