//! Address ranges: `10.0.0.0/8`, `2001:db8::/32`, or a single address.

use std::net::IpAddr;

use engine::Error;
use ipnet::IpNet;

/// Checks the ranges of a field and gives each its one spelling, with the length of its prefix; repetitions are
/// dropped. The error names the field.
pub fn checked(field: &str, ranges: &[String]) -> Result<Vec<String>, Error> {
    let mut out = Vec::new();
    for range in ranges {
        let range = parse(range).map(|range| range.to_string());
        let wrong =
            || Error::invalid(format!("error parsing {field}: use addresses or CIDR ranges, such as 10.0.0.0/8"));
        let range = range.ok_or_else(wrong)?;
        if !out.contains(&range) {
            out.push(range);
        }
    }
    Ok(out)
}

/// Ranges as replies show them: a single address without a prefix length.
pub fn shown(ranges: &[String]) -> Vec<String> {
    let single = |range: &String| match parse(range) {
        Some(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
        _ => range.clone(),
    };
    ranges.iter().map(single).collect()
}

/// Whether an address lies in one of the ranges. No ranges allow every address, an unknown address included; ranges
/// that cannot be read allow none.
pub fn allows(ranges: &[String], remote: Option<IpAddr>) -> bool {
    if ranges.is_empty() {
        return true;
    }
    // An IPv4 peer of a dual-stack listener shows up as ::ffff:a.b.c.d.
    let Some(remote) = remote.map(|address| address.to_canonical()) else {
        return false;
    };
    ranges.iter().filter_map(|range| parse(range)).any(|range| range.contains(&remote))
}

/// Whether each of `inner` lies in one of `outer`; everything lies in no ranges at all.
pub fn within(inner: &[String], outer: &[String]) -> bool {
    let outer: Vec<Option<IpNet>> = outer.iter().map(|range| parse(range)).collect();
    let covered = |range: &String| {
        let range = parse(range);
        outer.iter().any(|outer| matches!((outer, range), (Some(outer), Some(range)) if outer.contains(&range)))
    };
    outer.is_empty() || inner.iter().all(covered)
}

fn parse(range: &str) -> Option<IpNet> {
    let range = range.trim();
    range.parse::<IpNet>().ok().or_else(|| range.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ranges: &[&str]) -> Vec<String> {
        ranges.iter().map(|range| (*range).to_owned()).collect()
    }

    #[test]
    fn ranges_are_checked_and_spelled_alike() {
        let checked_list = checked("cidr_list", &list(&["10.0.0.1", "10.0.0.1/32", "10.1.0.0/16", "::1"])).unwrap();
        assert_eq!(checked_list, list(&["10.0.0.1/32", "10.1.0.0/16", "::1/128"]));
        assert_eq!(shown(&checked_list), list(&["10.0.0.1", "10.1.0.0/16", "::1"]));
        for bad in ["", "10.0.0.0/33", "host.example.com", "10.0.0", "10.0.0.0/8,"] {
            let error = checked("cidr_list", &list(&[bad])).unwrap_err().to_string();
            assert!(error.contains("cidr_list"), "{error}");
        }
    }

    #[test]
    fn addresses_are_held_against_ranges() {
        let ranges = list(&["10.0.0.0/8", "2001:db8::/32"]);
        let cases =
            [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("11.0.0.1", false), ("2001:db8::1", true), ("::1", false)];
        for (address, allowed) in cases {
            assert_eq!(allows(&ranges, Some(address.parse().unwrap())), allowed, "{address}");
        }
        assert!(!allows(&ranges, None));
        assert!(allows(&[], None));
        assert!(!allows(&list(&["nonsense"]), Some("10.1.2.3".parse().unwrap())));
    }

    #[test]
    fn ranges_are_held_against_ranges() {
        let outer = list(&["10.0.0.0/8", "192.168.1.0/24"]);
        assert!(within(&list(&["10.1.0.0/16", "192.168.1.7/32"]), &outer));
        assert!(!within(&list(&["10.1.0.0/16", "192.168.0.0/16"]), &outer));
        assert!(!within(&list(&["0.0.0.0/0"]), &outer));
        assert!(!within(&list(&["::/0"]), &outer));
        assert!(within(&[], &outer));
        assert!(within(&list(&["0.0.0.0/0"]), &[]));
    }
}
