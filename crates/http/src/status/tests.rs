use std::time::Duration;

use super::*;

fn id() -> RequestId {
    "8d8a1b04-0c1f-4f5f-9e3a-7d8a8f8e1f00".into()
}

/// The names of the variants of `gate::Error`, read from its source: the compiler does not tell a crate outside that a
/// variant was added.
fn variants() -> Vec<&'static str> {
    let source = include_str!("../../../gate/src/error.rs");
    let (_, body) = source.split_once("pub enum Error {\n").unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let lines = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    lines.map(|line| line.split(['(', '{', ',', ' ']).next().unwrap()).collect()
}

fn samples() -> Vec<(&'static str, Error)> {
    let text = || "some text".to_owned();
    vec![
        ("Invalid", Error::Invalid(text())),
        ("Denied", Error::Denied(Refusal::Policy(text()))),
        ("NotFound", Error::NotFound),
        ("NoRoute", Error::NoRoute(text())),
        ("Unsupported", Error::Unsupported),
        ("Precondition", Error::Precondition(text())),
        ("TooLarge", Error::TooLarge(5)),
        ("MediaType", Error::MediaType(text())),
        ("Quota", Error::Quota { text: text(), retry_after: Duration::from_millis(1500) }),
        ("RateLimit", Error::RateLimit { text: text(), retry_after: Duration::from_millis(1500) }),
        ("Target", Error::Target(text())),
        ("Sealed", Error::Sealed),
        ("Uninitialized", Error::Uninitialized),
        ("Unavailable", Error::Unavailable(text())),
        ("Conflict", Error::Conflict),
        ("Unaudited", Error::Unaudited),
        ("Internal", Error::Internal("secret reason".to_owned())),
    ]
}

#[test]
fn every_fault_of_the_rooms_has_a_row() {
    let samples = samples();
    let mut known: Vec<_> = samples.iter().map(|(name, _)| *name).collect();
    let mut all = variants();
    // It has the row of what it holds.
    all.retain(|name| *name != "Part");
    assert!(all.len() > 10, "{all:?}");
    known.sort_unstable();
    all.sort_unstable();
    assert_eq!(known, all);
    for (name, error) in samples {
        assert_eq!(row(&error).fault, name);
        assert!(TABLE.contains(&row(&error)), "{name}");
    }
}

#[test]
fn a_part_has_the_row_of_its_fault_and_names_itself() {
    for (name, error) in samples() {
        let part = Error::Part { place: "items[3]".to_owned(), error: Box::new(error) };
        assert_eq!(row(&part).fault, name);
        let said = text(&part, &id()).unwrap_or_default();
        assert!(
            !said.contains("secret reason") && !said.contains("some text") || !matches!(name, "Internal" | "Denied")
        );
        assert!(name == "NotFound" || said.starts_with("items[3]: "), "{said}");
    }
}

#[test]
fn the_table_is_in_order_and_says_something() {
    assert!(TABLE.is_sorted_by_key(|row| row.status));
    let names: std::collections::BTreeSet<_> = TABLE.iter().map(|row| row.fault).collect();
    assert_eq!(names.len(), TABLE.len());
    for row in TABLE {
        assert!((400..600).contains(&row.status));
        assert!(!row.when.is_empty() && !row.says.is_empty() && !row.remedy.is_empty(), "{}", row.fault);
    }
}

#[test]
fn texts_are_those_that_clients_know() {
    let text = |error| Fault::Room(error).text(&id());
    let denied = |refusal| text(Error::Denied(refusal)).unwrap();
    assert_eq!(text(Error::NotFound), None);
    assert_eq!(text(Error::Sealed).unwrap(), "Vault is sealed");
    assert_eq!(text(Error::Unsupported).unwrap(), "1 error occurred:\n\t* unsupported operation\n\n");
    assert_eq!(denied(Refusal::Policy("rule 7".to_owned())), "1 error occurred:\n\t* permission denied\n\n");
    assert_eq!(denied(Refusal::Entity), "1 error occurred:\n\t* permission denied\n\n");
    assert_eq!(denied(Refusal::InvalidToken), "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n");
    assert!(denied(Refusal::MissingToken).starts_with("2 errors occurred:\n\t* permission denied\n\t* missing client"));
    assert_eq!(denied(Refusal::Other("bad token".to_owned())), "bad token");
    assert_eq!(denied(Refusal::Other("preflight capability check: no".to_owned())), "preflight capability check: no");
    assert_eq!(denied(Refusal::Other("why".to_owned())), "1 error occurred:\n\t* permission denied\n\n");
    let internal = text(Error::internal("secret reason")).unwrap();
    assert!(internal.contains(&*id()) && !internal.contains("secret reason"), "{internal}");
}

#[test]
fn what_passes_says_when_to_try_again() {
    let quota = |retry_after| Fault::Room(Error::Quota { text: String::new(), retry_after }).retry_after();
    assert_eq!(quota(Duration::from_millis(1500)), Some(2));
    assert_eq!(quota(Duration::ZERO), Some(1));
    assert_eq!(Fault::Room(Error::Unavailable(String::new())).retry_after(), Some(1));
    assert_eq!(Fault::Room(Error::Sealed).retry_after(), None);
}

/// The page for readers is made from the table. `STRONGROOM_BLESS=1` writes it anew.
#[test]
fn the_page_shows_the_table() {
    let mut page = String::from(PAGE_HEAD);
    for row in TABLE {
        let line = format!("| {} | {} | {} | {} | {} |\n", row.status, row.fault, row.when, row.says, row.remedy);
        page.push_str(&line);
    }
    page.push_str(PAGE_END);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/status-codes.md");
    if std::env::var_os("STRONGROOM_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(written, page, "docs/src/status-codes.md differs from the table: run this test with STRONGROOM_BLESS=1");
}

const PAGE_HEAD: &str = r#"# Status codes

What the status of a reply means. The table of faults is made from the server's own (`crates/http/src/status.rs`), and a
test keeps the two alike.

A request that succeeds is answered with 200 and a JSON object, or with 204 and no body where there is nothing to say; a
few routes that go on in the background answer 202. Clients may take these alike.

A request that fails is answered with `{"errors":["…"]}`. Every reply, also of a failure, carries the id of the request in
the header `X-Strongroom-Request-Id`; the same id stands in the audit log and in the server's log.

| Status | Fault | When | `errors` says | What to do |
|---|---|---|---|---|
"#;

const PAGE_END: &str = r#"
Some routes have statuses of their own:

- `sys/health` answers 200 when the server is ready, 501 when it is not initialised and 503 when it is sealed. The
  parameters `activecode`, `uninitcode` and `sealedcode` choose others.
- A deleted version of a KV secret is answered with 404 and the usual envelope: its metadata is there, its data is not.

The server answers faults that come before a request can be read, such as a head that is no HTTP, with a bare 400, 414 or
431, and closes the connection.
"#;
