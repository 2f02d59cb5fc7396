use std::net::{Ipv4Addr, Ipv6Addr};

use clock::Simulated;

use super::*;

fn limit(path: &str, mount: &str, role: &str, rate: f64) -> RateLimit {
    RateLimit {
        path: path.to_owned(),
        mount_length: mount.len(),
        role: role.to_owned(),
        rate,
        interval: Duration::from_secs(1),
        block_interval: Duration::ZERO,
        inheritable: path.is_empty(),
    }
}

fn table(limits: &[(&str, RateLimit)], before: &Table) -> Table {
    Table::new(limits.iter().map(|(name, limit)| ((*name).to_owned(), limit.clone())).collect(), before)
}

fn time() -> Simulated {
    Simulated::new("2026-01-01T00:00:00Z".parse().unwrap())
}

fn client(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

#[test]
fn the_limit_that_names_most_counts() {
    let table = table(
        &[
            ("all", limit("", "", "", 1.0)),
            ("mount", limit("kv/", "kv/", "", 2.0)),
            ("exact", limit("kv/data/a", "kv/", "", 3.0)),
            ("below", limit("kv/data/*", "kv/", "", 4.0)),
            ("longer", limit("kv/data/team/*", "kv/", "", 5.0)),
            ("role", limit("auth/jwt/", "auth/jwt/", "ci", 6.0)),
            ("login", limit("auth/jwt/login", "auth/jwt/", "", 7.0)),
        ],
        &Table::default(),
    );
    let rate = |mount, path, role| table.find("", mount, path, role).map(|quota| quota.limit.rate);
    assert_eq!(rate("other/", "other/x", ""), Some(1.0));
    assert_eq!(rate("kv/", "kv/metadata/a", ""), Some(2.0));
    assert_eq!(rate("kv/", "kv/data/a", ""), Some(3.0));
    assert_eq!(rate("kv/", "kv/data/b", ""), Some(4.0));
    assert_eq!(rate("kv/", "kv/data/a/b", ""), Some(4.0));
    assert_eq!(rate("kv/", "kv/data/team/x", ""), Some(5.0));
    assert_eq!(rate("auth/jwt/", "auth/jwt/login", "ci"), Some(6.0));
    assert_eq!(rate("auth/jwt/", "auth/jwt/login", "web"), Some(7.0));
    assert!(table.knows_roles("auth/jwt/") && !table.knows_roles("kv/"));
    assert!(Table::default().find("", "kv/", "kv/a", "").is_none());
}

#[test]
fn a_namespace_is_limited_by_itself_or_by_what_is_inherited() {
    let own = |path: &str, rate, inheritable| RateLimit { inheritable, ..limit(path, path, "", rate) };
    let table = table(
        &[
            ("all", own("", 1.0, true)),
            ("a", own("a/", 2.0, false)),
            ("b", own("b/", 3.0, true)),
            ("mount", limit("a/kv/", "a/kv/", "", 4.0)),
        ],
        &Table::default(),
    );
    let rate = |namespace: &str, mount: &str| {
        let (mount, path) = (format!("{namespace}{mount}"), format!("{namespace}{mount}x"));
        table.find(namespace, &mount, &path, "").map(|quota| quota.limit.rate)
    };
    for (namespace, mount, expected) in [
        ("", "kv/", 1.0),
        ("a/", "kv/", 4.0),
        ("a/", "other/", 2.0),
        ("a/inner/", "kv/", 1.0),
        ("b/", "kv/", 3.0),
        ("b/inner/", "kv/", 3.0),
        ("b/inner/er/", "kv/", 3.0),
        ("c/", "kv/", 1.0),
    ] {
        assert_eq!(rate(namespace, mount), Some(expected), "{namespace}{mount}");
    }
    let alone = Table::new([("all".to_owned(), own("", 1.0, false))].into(), &Table::default());
    assert!(alone.find("a/", "a/kv/", "a/kv/x", "").is_none());
    assert!(alone.find("", "kv/", "kv/x", "").is_some());
}

#[test]
fn each_client_has_its_own_count_and_a_new_one_in_each_interval() {
    let time = time();
    let now = || time.clock().now();
    let table = table(&[("all", limit("", "", "", 2.0))], &Table::default());
    let quota = table.find("", "kv/", "kv/a", "").unwrap();
    let allowance = quota.take(client(1), now());
    assert_eq!((allowance.allowed, allowance.limit, allowance.remaining), (true, 2, 1));
    assert_eq!(allowance.reset, Duration::from_secs(1));
    assert_eq!(quota.take(client(1), now()).remaining, 0);
    assert!(!quota.take(client(1), now()).allowed);
    assert!(quota.take(client(2), now()).allowed);
    time.advance(Duration::from_millis(400));
    let refused = quota.take(client(1), now());
    assert_eq!((refused.allowed, refused.reset), (false, Duration::from_millis(600)));
    time.advance(Duration::from_millis(600));
    assert!(quota.take(client(1), now()).allowed);
}

#[test]
fn a_client_that_asks_too_often_can_be_shut_out_for_longer() {
    let time = time();
    let now = || time.clock().now();
    let blocking = RateLimit { block_interval: Duration::from_secs(10), ..limit("", "", "", 1.0) };
    let table = table(&[("all", blocking)], &Table::default());
    let quota = table.find("", "kv/", "kv/a", "").unwrap();
    assert!(quota.take(client(1), now()).allowed);
    let refused = quota.take(client(1), now());
    assert_eq!((refused.allowed, refused.reset), (false, Duration::from_secs(10)));
    time.advance(Duration::from_secs(9));
    // Asking does not make it longer.
    assert_eq!(quota.take(client(1), now()).reset, Duration::from_secs(1));
    time.advance(Duration::from_secs(1));
    assert!(quota.take(client(1), now()).allowed);
}

#[test]
fn a_limit_that_stays_goes_on_counting() {
    let time = time();
    let now = time.clock().now();
    let before = table(&[("one", limit("", "", "", 1.0)), ("two", limit("kv/", "kv/", "", 1.0))], &Table::default());
    assert!(before.find("", "x/", "x/a", "").unwrap().take(client(1), now).allowed);
    assert!(before.find("", "kv/", "kv/a", "").unwrap().take(client(1), now).allowed);
    let after = table(&[("one", limit("", "", "", 1.0)), ("two", limit("kv/", "kv/", "", 5.0))], &before);
    assert!(!after.find("", "x/", "x/a", "").unwrap().take(client(1), now).allowed);
    assert!(after.find("", "kv/", "kv/a", "").unwrap().take(client(1), now).allowed);
}

#[test]
fn a_flood_of_addresses_is_held_back_within_bounded_memory() {
    let time = time();
    let now = time.clock().now();
    let buckets = Buckets::new(1, Duration::from_secs(1), Duration::ZERO);
    let address = |n: u128| IpAddr::from(Ipv6Addr::from(n));
    let room = 16 * 4096;
    let allowed = (0..room * 2).filter(|n| buckets.take(address(*n), now).allowed).count();
    assert!(allowed <= usize::try_from(room).unwrap() + 16, "{allowed}");
    // Those who were counted before are counted still.
    assert!(!buckets.take(address(0), now).allowed);
    // And once the interval is over, there is room again.
    time.advance(Duration::from_secs(2));
    assert!(buckets.take(address(room * 3), time.clock().now()).allowed);
}

#[test]
fn sets_of_paths_take_beginnings() {
    let set: Paths = ["sys/health".to_owned(), "/kv/public/*".to_owned()].iter().collect();
    for (path, is_in) in [("sys/health", true), ("sys/healthy", false), ("kv/public/a/b", true), ("kv/private", false)]
    {
        assert_eq!(set.contains(path), is_in, "{path}");
    }
}
