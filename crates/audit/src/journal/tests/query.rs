use super::*;

const WHO: Auth<'static> = Auth { display_name: "jwt-app", accessor: "acc-1", entity_id: "entity-1", ..EMPTY };
const EMPTY: Auth<'static> = Auth {
    client_token: crate::Sensitive("hvs.T"),
    accessor: "",
    display_name: "",
    policies: crate::Texts::Borrowed(&[]),
    token_policies: crate::Texts::Borrowed(&[]),
    identity_policies: crate::Texts::Borrowed(&[]),
    no_default_policy: false,
    policy_results: None,
    metadata: crate::Pairs::Borrowed(&[]),
    num_uses: 0,
    remaining_uses: 0,
    entity_id: "",
    entity_created: false,
    token_type: "",
    token_ttl: 0,
    token_issue_time: None,
    kept: None,
};

fn at(text: &str) -> Timestamp {
    format!("2026-01-02T{text}Z").parse().unwrap()
}

async fn put(scene: &Scene, journal: &Journal, entry: Entry<'_>) {
    journal.write(&scene.format.line(&entry)).await.unwrap();
}

/// A read of `path` by [`WHO`] at `time`: both records.
async fn read(scene: &Scene, journal: &Journal, id: &str, path: &str, time: &str) {
    let request = Request { id, operation: "read", path, mount_point: "secret/", ..Request::default() };
    put(scene, journal, Entry::request(at(time), &request).auth(Some(&WHO))).await;
    put(scene, journal, Entry::response(at(time), &request, Some(&Response::default())).auth(Some(&WHO))).await;
}

/// The credentials `username` under `lease`, given at `time`.
async fn issue(scene: &Scene, journal: &Journal, id: &str, username: &str, lease: &str, time: &str) {
    let request = Request { id, operation: "read", path: "database/creds/app", ..Request::default() };
    let body = format!("{{\"username\":\"{username}\",\"password\":\"pw\"}}");
    let data = Data { body: Body::Json(body.as_bytes()), clear: &["username"], ..Data::default() };
    let response = Response { lease_id: lease, data, ..Response::default() };
    put(scene, journal, Entry::request(at(time), &request).auth(Some(&WHO))).await;
    put(scene, journal, Entry::response(at(time), &request, Some(&response)).auth(Some(&WHO))).await;
}

/// The end of a lease or of a password, by the server itself.
async fn end(scene: &Scene, journal: &Journal, operation: &str, username: &str, lease: &str, time: &str, error: &str) {
    let request = Request {
        id: "end",
        operation,
        actor: "system",
        path: "database/creds/app",
        lease_id: lease,
        username,
        ..Request::default()
    };
    put(scene, journal, Entry::response(at(time), &request, None).error(error)).await;
}

fn ids(found: &Found) -> Vec<String> {
    let id = |record: &Record| {
        let entry: serde_json::Value = serde_json::from_str(&record.entry).unwrap();
        entry.pointer("/request/id").unwrap().as_str().unwrap().to_owned()
    };
    found.records.iter().map(id).collect()
}

#[tokio::test]
async fn records_are_found_by_everything_they_speak_of() {
    let scene = Scene::new();
    let journal = scene.open().unwrap();
    read(&scene, &journal, "r-1", "secret/data/app/key", "10:00:00").await;
    read(&scene, &journal, "r-2", "secret/data/app/other", "11:00:00").await;
    read(&scene, &journal, "r-3", "secret/data/web/key", "12:00:00").await;
    issue(&scene, &journal, "r-4", "v-app-1", "database/creds/app/L1", "13:00:00").await;
    let refused = Request { id: "r-5", operation: "update", path: "secret/data/app/key", ..Request::default() };
    put(&scene, &journal, Entry::response(at("14:00:00"), &refused, None).error("permission denied")).await;
    let login = Request { id: "r-6", operation: "update", path: "auth/jwt/login", ..Request::default() };
    let new = Auth { accessor: "acc-2", display_name: "jwt-web", entity_id: "entity-2", ..EMPTY };
    let made = Response { auth: Some(&new), ..Response::default() };
    put(&scene, &journal, Entry::response(at("15:00:00"), &login, Some(&made))).await;

    let text = |text: &str| Some(text.to_owned());
    let base = || Filter { kind: Some(Kind::Response), order: Order::Oldest, ..Filter::default() };
    let rows: Vec<(Filter, &[&str])> = vec![
        (base(), &["r-1", "r-2", "r-3", "r-4", "r-5", "r-6"]),
        (Filter { order: Order::Newest, limit: Some(2), ..base() }, &["r-6", "r-5"]),
        (Filter { path: text("secret/data/app/key"), ..base() }, &["r-1", "r-5"]),
        (Filter { path: text("secret/data/app"), ..base() }, &[]),
        (Filter { path_prefix: text("secret/data/app/"), ..base() }, &["r-1", "r-2", "r-5"]),
        (Filter { path_prefix: text("secret/data/app/"), failed: Some(false), ..base() }, &["r-1", "r-2"]),
        (Filter { mount: text("secret/"), ..base() }, &["r-1", "r-2", "r-3"]),
        (Filter { entity: text("entity-1"), ..base() }, &["r-1", "r-2", "r-3", "r-4"]),
        (Filter { entity: text("entity-2"), ..base() }, &["r-6"]),
        (Filter { display_name: text("jwt-web"), ..base() }, &["r-6"]),
        (Filter { accessor: text("acc-1"), path: text("secret/data/app/key"), ..base() }, &["r-1"]),
        (Filter { accessor: Some(scene.format.hasher().hash(b"acc-2")), ..base() }, &["r-6"]),
        (Filter { lease_id: text("database/creds/app/L1"), ..base() }, &["r-4"]),
        (Filter { username: text("v-app-1"), ..base() }, &["r-4"]),
        (Filter { username: text("v-app-2"), ..base() }, &[]),
        (Filter { request_id: text("r-3"), ..base() }, &["r-3"]),
        (Filter { request_id: text("r-3"), kind: None, ..base() }, &["r-3", "r-3"]),
        (Filter { since: Some(at("11:00:00")), until: Some(at("13:00:00")), ..base() }, &["r-2", "r-3"]),
        (Filter { operation: text("update"), ..base() }, &["r-5", "r-6"]),
        (Filter { failed: Some(true), ..base() }, &["r-5"]),
        (Filter { entity: text("entity-1"), operation: text("update"), ..base() }, &[]),
    ];
    for (filter, want) in rows {
        let found = journal.reader().query(&filter).unwrap();
        assert_eq!(ids(&found), want, "{filter:?}");
    }
}

#[tokio::test]
async fn pages_follow_each_other() {
    let scene = Scene::new();
    let journal = scene.open().unwrap();
    scene.write(&journal, 0..25).await;
    for (order, path) in [(Order::Newest, None), (Order::Oldest, Some("secret/data/app".to_owned()))] {
        let mut filter = Filter { order, path, limit: Some(10), ..Filter::default() };
        let mut seen = Vec::new();
        loop {
            let found = journal.reader().query(&filter).unwrap();
            let Some(last) = found.records.last() else { break };
            filter.after = Some(last.seq);
            seen.extend(found.records.iter().map(|record| record.seq));
        }
        let want: Vec<u64> = if order == Order::Newest { (1..=25).rev().collect() } else { (1..=25).collect() };
        assert_eq!(seen, want);
    }
}

#[tokio::test]
async fn who_held_a_user_is_told_for_any_moment() {
    let scene = Scene::new();
    let journal = scene.open().unwrap();
    issue(&scene, &journal, "r-1", "v-app-1", "database/creds/app/L1", "10:00:00").await;
    issue(&scene, &journal, "r-2", "v-app-2", "database/creds/app/L2", "11:00:00").await;
    // The first try fails: the user is still there.
    end(&scene, &journal, "revoke", "v-app-1", "database/creds/app/L1", "11:30:00", "connection refused").await;
    end(&scene, &journal, "revoke", "", "database/creds/app/L1", "12:00:00", "").await;
    let reader = journal.reader();
    let holders = |username: &str, time: &str| -> Vec<(String, bool)> {
        let held = reader.held(username, Some(at(time))).unwrap();
        held.into_iter().map(|holding| (holding.lease_id.unwrap(), holding.ended.is_some())).collect()
    };
    let l1 = || vec![("database/creds/app/L1".to_owned(), true)];
    assert_eq!(holders("v-app-1", "09:59:59"), []);
    assert_eq!(holders("v-app-1", "10:00:00"), l1());
    assert_eq!(holders("v-app-1", "11:59:59"), l1());
    assert_eq!(holders("v-app-1", "12:00:00"), []);
    assert_eq!(holders("v-app-2", "23:00:00"), [("database/creds/app/L2".to_owned(), false)]);
    assert_eq!(holders("nobody", "11:00:00"), []);
    let held = reader.held("v-app-1", None).unwrap();
    assert_eq!(held.len(), 1);
    assert!(held[0].issued.entry.contains("jwt-app"));
    assert_eq!(held[0].ended.as_ref().unwrap().time, at("12:00:00"));
}

#[tokio::test]
async fn a_static_user_is_held_until_it_is_rotated() {
    let scene = Scene::new();
    let journal = scene.open().unwrap();
    issue(&scene, &journal, "r-1", "reporting", "", "10:00:00").await;
    issue(&scene, &journal, "r-2", "reporting", "", "10:30:00").await;
    end(&scene, &journal, "rotate", "reporting", "", "11:00:00", "").await;
    issue(&scene, &journal, "r-3", "reporting", "", "11:30:00").await;
    let count = |time: &str| journal.reader().held("reporting", Some(at(time))).unwrap().len();
    assert_eq!((count("10:15:00"), count("10:45:00"), count("11:15:00"), count("12:00:00")), (1, 2, 0, 1));
}

#[tokio::test]
async fn a_role_that_names_a_user_hands_none_out() {
    let scene = Scene::new();
    let journal = scene.open().unwrap();
    let request = Request { id: "r-1", operation: "read", path: "database/static-roles/r", ..Request::default() };
    let data = Data { body: Body::Json(b"{\"username\":\"reporting\"}"), clear: &["username"], ..Data::default() };
    let response = Response { data, ..Response::default() };
    put(&scene, &journal, Entry::response(at("10:00:00"), &request, Some(&response))).await;
    assert!(journal.reader().held("reporting", None).unwrap().is_empty());
    let filter = Filter { username: Some("reporting".to_owned()), ..Filter::default() };
    assert_eq!(journal.reader().query(&filter).unwrap().records.len(), 1);
}

#[tokio::test]
async fn a_closed_journal_can_be_asked_without_a_server() {
    let scene = Scene::new();
    let journal = scene.open().unwrap();
    issue(&scene, &journal, "r-1", "v-app-1", "database/creds/app/L1", "10:00:00").await;
    journal.close().await.unwrap();
    drop(journal);
    fs::remove_file(scene.directory().join("index.sqlite")).unwrap();
    let reader = Reader::open(scene.directory(), None).unwrap();
    assert_eq!(reader.held("v-app-1", None).unwrap().len(), 1);
    assert_eq!(reader.query(&Filter::default()).unwrap().indexed, 2);
}

#[tokio::test]
async fn a_record_changed_on_disk_is_not_shown_as_if_nothing_were() {
    let scene = Scene::new();
    let journal = scene.open().unwrap();
    scene.write(&journal, 0..2).await;
    journal.reader().query(&Filter::default()).unwrap();
    let text = fs::read_to_string(scene.segment()).unwrap();
    fs::write(scene.segment(), text.replace("r-1", "r-9")).unwrap();
    assert!(matches!(journal.reader().query(&Filter::default()), Err(Error::Journal { .. })));
}
