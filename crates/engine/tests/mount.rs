//! A small engine in the mount that tests use: what the mount promises to the authors of engines.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{sync::Arc, time::Duration};

use api::{Count, Name, Operation, Verb};
use engine::{
    Answer, Cx, Data, Done, Due, Engine, Error, Kind, Lease, Leased, Opening, Plan, Routes, Scope,
    testing::{Mounted, conforms},
};
use futures::future::join_all;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

const KIND: Kind = Kind::secret::<Counter>("counter", "Counts.");

#[derive(Default)]
struct Counter {
    revoked: Mutex<Vec<(String, bool)>>,
}

#[derive(Deserialize)]
struct Step {
    by: Count,
}

impl Engine for Counter {
    fn open(_: Opening) -> Self {
        Self::default()
    }

    fn routes() -> Routes<Self> {
        Routes::default()
            .on(Verb::Read, "headers", "What headers say, and say some.", headers)
            .on(Verb::Read, "revoked", "What was revoked.", revoked)
            .on(Verb::Read, "seen/{name}", "Whether the caller may read the counter.", seen)
            .on(Verb::Read, "creds/{name}", "Lend a number.", lend)
            .on(Verb::Write, "plan/{name}", "Count on a schedule.", plan)
            .on(Verb::Read, "count/{name}", "Show a counter.", read)
            .only_reads()
            .on(Verb::Write, "count/{name}", "Move a counter.", step)
    }

    async fn revoke(cx: Scope<Self>, lease: Lease) -> Result<(), Error> {
        cx.engine().revoked.lock().push((lease.data()?, lease.pending));
        Ok(())
    }

    async fn rotate(cx: Scope<Self>, due: Due) -> Result<(), Error> {
        if due.id == "broken" {
            return Err(Error::Target("it does not turn".to_owned()));
        }
        let count: u64 = cx.view().get_json(&due.id).await?.unwrap_or_default();
        cx.view().put_json(&due.id, &(count + 1))?;
        Ok(())
    }
}

async fn headers(cx: Cx<Counter>, (): ()) -> Result<Answer, Error> {
    let seen = ["x-team", "x-other", "if-none-match"].map(|name| cx.header(name).map(str::to_owned));
    let set = ["x-reply", "x-secret", "etag"].map(|name| (name, "v".to_owned()));
    Ok(Answer { headers: set.into(), ..engine::IntoAnswer::into_answer(Data(json!({ "seen": seen })))? })
}

async fn revoked(cx: Cx<Counter>, (): ()) -> Result<Data<Value>, Error> {
    Ok(Data(json!({ "revoked": *cx.engine().revoked.lock() })))
}

async fn seen(cx: Cx<Counter>, name: Name) -> Result<Data<Value>, Error> {
    Ok(Data(json!({ "seen": cx.allows(&format!("count/{name}"), Operation::Read) })))
}

async fn lend(cx: Cx<Counter>, name: Name) -> Result<Leased<Value>, Error> {
    let intent = cx.intent(name.as_str(), &name.as_str()).await?;
    if name.as_str() == "broken" {
        return Err(Error::Target("it cannot be lent".to_owned()));
    }
    Ok(Leased { data: json!({}), intent, ttl: Duration::from_secs(60), max_ttl: Duration::ZERO, renewable: true })
}

async fn plan(cx: Cx<Counter>, name: Name) -> Result<Done, Error> {
    let plan = Plan { period: Some(Duration::from_secs(60)), schedule: None, window: None, first_now: false };
    cx.plan(name.as_str(), Some(plan)).await?;
    Ok(Done)
}

async fn read(cx: Cx<Counter>, name: Name) -> Result<Option<Data<Value>>, Error> {
    Ok(cx.view().get_json::<u64>(name.as_str()).await?.map(|count| Data(json!({ "count": count }))))
}

/// Says of its routes that they only read.
struct Liar;

impl Engine for Liar {
    fn open(_: Opening) -> Self {
        Self
    }

    fn routes() -> Routes<Self> {
        Routes::default()
            .on(Verb::Read, "late/{name}", "Write, and leave the commit to the request.", late)
            .only_reads()
            .on(Verb::Read, "early/{name}", "Write, and commit at once.", early)
            .only_reads()
            .on(Verb::Read, "shown/{name}", "What was written.", shown)
            .only_reads()
    }
}

async fn late(cx: Cx<Liar>, name: Name) -> Result<Done, Error> {
    cx.view().put_json(name.as_str(), &1)?;
    Ok(Done)
}

async fn early(cx: Cx<Liar>, name: Name) -> Result<Done, Error> {
    cx.view().put_json(name.as_str(), &1)?;
    cx.checkpoint().await?;
    Ok(Done)
}

async fn shown(cx: Cx<Liar>, name: Name) -> Result<Option<Data<u64>>, Error> {
    Ok(cx.view().get_json(name.as_str()).await?.map(Data))
}

async fn step(cx: Cx<Counter>, name: Name, step: Step) -> Result<Done, Error> {
    let count: u64 = cx.view().get_json(name.as_str()).await?.unwrap_or_default();
    let count = count.checked_add(step.by.0).ok_or_else(|| Error::invalid("by: the counter is full"))?;
    cx.view().put_json(name.as_str(), &count)?;
    Ok(Done)
}

#[tokio::test]
async fn a_small_engine_conforms() {
    conforms(KIND).await;
}

#[tokio::test]
async fn joined_requests_conflict_and_none_is_lost() {
    let mount = Mounted::new(KIND);
    let steps = (0..20).map(|_| mount.write("count/a", json!({ "by": 1 })));
    for outcome in join_all(steps).await {
        assert_eq!(outcome.unwrap().status, 204);
    }
    assert!(mount.conflicts() > 0);
    assert_eq!(mount.reopened().read("count/a").await.unwrap().data["count"], 20);
    assert!(matches!(mount.read("count/b").await, Err(Error::NotFound)));
}

/// Such a route is called before its audit entry is written for good.
#[tokio::test]
async fn a_route_that_says_it_only_reads_cannot_write() {
    let mount = Mounted::new(Kind::secret::<Liar>("liar", "Lies."));
    for path in ["late/a", "early/a"] {
        assert!(matches!(mount.read(path).await, Err(Error::Internal(_))), "{path}");
        assert!(matches!(mount.read("shown/a").await, Err(Error::NotFound)), "{path}");
    }
}

#[tokio::test]
async fn an_intent_of_a_failed_request_is_revoked_as_pending() {
    let mount = Mounted::new(KIND);
    let lease = mount.read("creds/app").await.unwrap().lease.unwrap();
    assert_eq!((lease.ttl, lease.max_ttl, lease.renewable), (Some(Duration::from_secs(60)), None, true));
    mount.read("creds/broken").await.unwrap_err();
    assert_eq!(mount.leases().len(), 1);
    mount.revoke(&lease.id).await.unwrap();
    assert!(mount.leases().is_empty());
    let revoked = mount.read("revoked").await.unwrap().data;
    assert_eq!(revoked["revoked"], json!([["broken", true], ["app", false]]));
}

#[tokio::test]
async fn callers_may_do_what_their_rules_say() {
    let mount = Mounted::new(KIND);
    let caller =
        mount.caller("app", &[("counter/seen/*", &[Operation::Read]), ("counter/count/a", &[Operation::Read])]);
    let seen = async |path| mount.send_as(Some(&caller), Verb::Read, path, Value::Null).await;
    assert_eq!(seen("seen/a").await.unwrap().data["seen"], true);
    assert_eq!(seen("seen/b").await.unwrap().data["seen"], false);
    assert!(matches!(seen("count/b").await, Err(Error::Denied(_))));
    let write = mount.send_as(Some(&caller), Verb::Write, "count/a", json!({ "by": 1 })).await;
    assert!(matches!(write, Err(Error::Denied(_))));
}

#[tokio::test]
async fn planned_rotations_run_when_they_are_due() {
    let mount = Arc::new(Mounted::new(KIND));
    for name in ["a", "broken"] {
        mount.write(&format!("plan/{name}"), json!({})).await.unwrap();
    }
    assert!(mount.run_due().await.is_empty());
    mount.time().advance(Duration::from_secs(60));
    assert_eq!(mount.run_due().await.len(), 2);
    assert_eq!(mount.read("count/a").await.unwrap().data["count"], 1);
    let (_, broken) = mount.rotations().await.into_iter().find(|(id, _)| id == "broken").unwrap();
    assert_eq!((broken.status.failures, broken.status.last_error.as_deref()), (1, Some("it does not turn")));
    mount.time().advance(Duration::from_secs(5));
    assert_eq!(mount.run_due().await.len(), 1, "what failed comes back soon");
}

/// An engine sees what its operator lets in, and says what its operator lets out; what a client holds already is a part of
/// the protocol.
#[tokio::test]
async fn headers_pass_in_and_out_as_the_mount_is_tuned() {
    let sent = [("x-team", "a"), ("x-other", "b"), ("if-none-match", "c")];
    let mounted = Mounted::new(KIND).tuned(&sent, |_| {});
    let outcome = mounted.read("headers").await.unwrap();
    assert_eq!(outcome.data["seen"], json!([null, null, "c"]));
    assert_eq!(outcome.headers, [("etag", "v".to_owned())]);
    let mounted = mounted.tuned(&sent, |info| {
        info.passed_headers = ["x-team".to_owned()].into();
        info.reply_headers = ["x-reply".to_owned()].into();
    });
    let outcome = mounted.read("headers").await.unwrap();
    assert_eq!(outcome.data["seen"], json!(["a", null, "c"]));
    assert_eq!(outcome.headers, [("x-reply", "v".to_owned()), ("etag", "v".to_owned())]);
}
