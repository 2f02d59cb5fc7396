//! Tokens of other namespaces than the root one: where they lie, and how they end.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod kit;

use gate::{Error, Namespace, TokenKind};
use kit::{World, mount, seconds};
use secret::SecretString;
use tokens::New;

fn team() -> Namespace {
    Namespace::known("aB3dE6", "team/")
}

#[tokio::test(start_paused = true)]
async fn what_a_token_has_lies_in_the_part_of_its_namespace_and_ends_with_its_parent() {
    let world = World::new().await;
    let parent = world.plain(600).await;
    let new = New { namespace: team(), ttl: seconds(600), parent: Some(parent.id.clone()), ..New::default() };
    let child = world.issue(new).await;
    // EXPOSE: looked at by the test.
    let text = child.token.expose().clone();
    assert!(text.ends_with(".aB3dE6") && child.record.accessor.ends_with(".aB3dE6"), "{text}");
    assert_eq!(child.id.namespace(), "aB3dE6");
    assert_eq!(world.keys("ns/").await.len(), 3);
    assert_eq!(world.tokens.holder(&child.token, None).await.unwrap().namespace, team());
    assert_eq!(world.tokens.by_accessor(&child.record.accessor).await.unwrap(), Some(child.id.clone()));
    // Each namespace lists its own.
    let accessors = async |namespace: &str| world.tokens.accessors(namespace, None, 10).await.unwrap().0;
    assert_eq!(accessors("").await, std::slice::from_ref(&parent.record.accessor));
    assert_eq!(accessors("aB3dE6").await, std::slice::from_ref(&child.record.accessor));
    assert_eq!(world.tokens.by_path("", "auth/token").await.unwrap(), std::slice::from_ref(&parent.id));
    assert_eq!(world.tokens.by_path("aB3dE6", "auth/token").await.unwrap(), std::slice::from_ref(&child.id));
    // No other spelling is the same token.
    for other in [text.replace(".aB3dE6", ""), text.replace("aB3dE6", "aB3dE7"), format!("{text}.aB3dE6")] {
        assert!(world.tokens.holder(&SecretString::new(other), None).await.is_err());
    }
    world.tokens.revoke_now(&parent.id).await.unwrap();
    world.settle().await;
    assert!(!world.alive(&child).await);
    assert_eq!(world.keys("ns/").await, Vec::<String>::new());
    world.nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn namespaces_have_batch_tokens_and_logins_and_no_root_tokens() {
    let world = World::new().await;
    let batch = New { namespace: team(), ttl: seconds(60), kind: TokenKind::Batch, ..New::default() };
    let batch = world.issue(batch).await;
    assert_eq!(world.tokens.holder(&batch.token, None).await.unwrap().namespace, team());
    let info = gate::MountInfo { namespace: team(), ..mount("auth/jwt/", 600) };
    let login = gate::Login::default();
    let (new, _) = world.tokens.for_login(&info, "auth/jwt/login", login).unwrap();
    assert_eq!(new.namespace, team());
    let root = New { namespace: team(), policies: vec!["root".to_owned()], ..New::default() };
    let refused = world.tokens.issue(&world.tx(), root).await;
    assert!(matches!(refused, Err(Error::Invalid(text)) if text.contains("non-root namespace")));
    let chosen =
        New { namespace: team(), ttl: seconds(60), id: Some(SecretString::new("mine".to_owned())), ..New::default() };
    let chosen = world.issue(chosen).await;
    assert!(chosen.token.matches("mine.aB3dE6"));
    assert!(world.alive(&chosen).await);
}
