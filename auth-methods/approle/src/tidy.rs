//! `tidy/secret-id`: removes what expired secret ids left behind. Each issue removes a few along the way too, so this is
//! for mounts that have become quiet.

use clock::Clock;
use engine::{Answer, Cx, Error};
use parking_lot::Mutex;
use storage::{Tx, View};
use tokio::task::JoinHandle;

use crate::{AppRole, stored::Stored};

/// The tidying of a mount, at most one at a time.
#[derive(Default)]
pub(crate) struct Tidying(Mutex<Option<JoinHandle<()>>>);

impl Tidying {
    /// Ends it; what is removed by then stays removed.
    pub(crate) fn stop(&self) {
        if let Some(work) = self.0.lock().take() {
            work.abort();
        }
    }
}

pub(crate) async fn start(cx: Cx<AppRole>, (): ()) -> Result<Answer, Error> {
    let mut running = cx.engine().tidying.0.lock();
    let warning = match &*running {
        Some(work) if !work.is_finished() => "Tidy operation already in progress.",
        _ => {
            let (store, prefix) = (cx.services().store(), cx.view().key("").as_str().to_owned());
            let (clock, mount) = (cx.clock().clone(), cx.mount().path.clone());
            *running = Some(tokio::spawn(async move {
                match tidy(&Tx::new(store).view(prefix), &clock).await {
                    Ok(removed) => tracing::info!(removed, %mount, "expired secret ids were removed"),
                    Err(error) => tracing::warn!(%error, %mount, "expired secret ids could not all be removed"),
                }
            }));
            "Tidy operation successfully started. Any information from the operation will be printed to the server's logs."
        }
    };
    Ok(Answer { status: Some(202), warnings: vec![warning.to_owned()], ..Answer::default() })
}

/// Removes all that has expired, in commits of a bounded size; gives how many.
pub(crate) async fn tidy(view: &View, clock: &Clock) -> Result<usize, Error> {
    let mut total = 0;
    let mut conflicts = 0;
    loop {
        let removed = Stored::open(view).await?.sweep(clock.now(), PAGE).await?;
        match view.tx().commit().await.map_err(Error::from) {
            Ok(_) => total += removed,
            // A login touched one of them at the same moment.
            Err(Error::Conflict) if conflicts < MAX_CONFLICTS => {
                conflicts += 1;
                view.tx().clear();
                continue;
            }
            Err(error) => return Err(error),
        }
        if removed < PAGE {
            return Ok(total);
        }
    }
}

const PAGE: usize = 500;
const MAX_CONFLICTS: usize = 100;
