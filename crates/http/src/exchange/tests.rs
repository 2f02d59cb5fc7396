use tokio::sync::{mpsc, oneshot};

use super::*;

fn carried<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> (Carried<T>, mpsc::Receiver<std::convert::Infallible>) {
    let (alive, ended) = mpsc::channel(1);
    (Carried::new("id".into(), Arc::new(alive), Duration::from_secs(60), work), ended)
}

#[tokio::test]
async fn a_request_gives_its_reply() {
    let (work, _ended) = carried(async { 7 });
    assert_eq!(work.await.unwrap(), 7);
}

#[tokio::test]
async fn a_panic_becomes_an_internal_error() {
    let (work, _ended) = carried(async {
        tokio::task::yield_now().await;
        assert!(std::hint::black_box(false), "on purpose");
    });
    let fault = work.await.unwrap_err();
    assert_eq!(fault.row().status, 500);
    assert!(matches!(fault, Fault::Room(Error::Internal(_))));
}

/// A client that hangs up between the making of a database user and the commit of its lease must not leave the user
/// behind.
#[tokio::test]
async fn a_request_goes_on_when_its_client_hangs_up() {
    let (resume, resumed) = oneshot::channel::<()>();
    let (done, finished) = oneshot::channel();
    let (mut work, mut ended) = carried(async move {
        resumed.await.unwrap();
        done.send("finished").unwrap();
    });
    assert!(futures::poll!(&mut work).is_pending());
    drop(work);
    assert!(futures::poll!(Box::pin(ended.recv())).is_pending(), "a stop waits for it");
    resume.send(()).unwrap();
    assert_eq!(finished.await.unwrap(), "finished");
    assert!(ended.recv().await.is_none());
}

#[tokio::test]
async fn a_request_that_panics_alone_harms_nobody() {
    let (resume, resumed) = oneshot::channel::<()>();
    let (mut work, mut ended) = carried(async move {
        resumed.await.unwrap();
        assert!(std::hint::black_box(false), "on purpose");
    });
    assert!(futures::poll!(&mut work).is_pending());
    drop(work);
    resume.send(()).unwrap();
    assert!(ended.recv().await.is_none());
}

#[tokio::test]
async fn a_request_without_a_client_does_not_go_on_for_ever() {
    let (mut work, mut ended) = carried(std::future::pending::<()>());
    work.most = Duration::from_millis(20);
    assert!(futures::poll!(&mut work).is_pending());
    drop(work);
    assert!(ended.recv().await.is_none());
}
