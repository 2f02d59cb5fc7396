//! `strongroom namespace`, and the namespace as a setting of every command.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod kit;

use serde_json::{Value, json};
use testkit::server::Server;

use crate::kit::start;

#[test]
fn the_command_line_works_with_namespaces() {
    let (server, root) = start();
    let run = |arguments: &[&str]| {
        let done = server.cli(root.token(), arguments);
        let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        (done.status.code(), text)
    };
    let good = |arguments: &[&str]| {
        let (code, text) = run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        text
    };
    assert_eq!(run(&["namespace", "list"]).0, Some(2));
    assert!(good(&["namespace", "create", "-custom-metadata=owner=ops", "team"]).contains("team/"));
    good(&["namespace", "create", "-namespace=team", "web"]);
    assert!(good(&["namespace", "list"]).contains("team/"));
    assert!(good(&["namespace", "list", "-ns=team", "-detailed", "-format=json"]).contains("\"path\": \"team/web/\""));
    good(&["namespace", "patch", "-custom-metadata=a=b", "-remove-custom-metadata=owner", "team"]);
    let shown = good(&["namespace", "lookup", "-field=custom_metadata", "-format=json", "team"]);
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), json!({ "a": "b" }));
    assert_eq!(run(&["namespace", "lookup", "none"]).0, Some(2));
    assert_eq!(run(&["namespace", "patch", "team"]).0, Some(1));
    good(&["secrets", "enable", "-namespace=team/web", "-version=2", "-path=secret", "kv"]);
    good(&["kv", "put", "-namespace=team/web", "-mount=secret", "app", "a=1"]);
    assert_eq!(good(&["kv", "get", "-namespace=team/web", "-field=a", "secret/app"]), "1");
    assert_eq!(good(&["kv", "get", "-field=a", "team/web/secret/app"]), "1");
    let key = good(&["namespace", "lock", "-field=unlock_key", "team"]);
    assert!(run(&["kv", "get", "-namespace=team/web", "secret/app"]).1.contains("has been locked"));
    good(&["namespace", "unlock", &format!("-unlock-key={key}"), "team"]);
    good(&["namespace", "lock", "-namespace=team"]);
    assert!(good(&["namespace", "unlock", "team"]).contains("without its unlock key"));
    assert!(run(&["namespace", "delete", "team"]).1.contains("delete them first"));
    good(&["namespace", "delete", "-namespace=team", "web"]);
    Server::eventually("the inner one is gone", || {
        (run(&["namespace", "list", "-ns=team"]).0 == Some(2)).then_some(())
    });
    good(&["namespace", "delete", "-force", "team"]);
}
