//! Passwords, hashed without holding up anything else: on threads that may block, few at a time.
//!
//! Half of the processors hash, the others answer everything else. Who comes when too many wait is asked to come again,
//! so that a flood of logins costs neither memory nor the time of those who are no part of it.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use crypto::password::{self, Hash};
use engine::Error;
use secret::SecretString;
use tokio::sync::Semaphore;

/// Hashes a password for storage.
pub async fn hash(password: SecretString) -> Result<SecretString, Error> {
    // EXPOSE: what is stored is the hash.
    HASHING.run(move || password::hash(password.expose().as_bytes())).await
}

/// Whether `password` fits `hash`. Takes as long if it does not, and if there is no hash; see
/// [`crypto::password::verify`] for `bcrypt`.
pub async fn verify(hash: Option<Hash>, password: &SecretString, bcrypt: Option<u32>) -> Result<bool, Error> {
    // EXPOSE: it is compared on another thread, which may outlive the request.
    let password = SecretString::new(password.expose().clone());
    // EXPOSE: compared by its hash.
    HASHING.run(move || password::verify(hash.as_ref(), password.expose().as_bytes(), bcrypt)).await
}

static HASHING: LazyLock<Hashing> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Hashing::new((processors / 2).max(1), WAITING)
});

/// How many may wait: at twenty milliseconds each, the last waits for some seconds.
const WAITING: usize = 200;

/// Work that takes processors, a few pieces at a time.
struct Hashing {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

impl Hashing {
    fn new(at_once: usize, most_waiting: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(at_once)), waiting: AtomicUsize::new(0), most_waiting }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let slot = {
            let _waiter = Waiter::enter(self)?;
            Arc::clone(&self.slots).acquire_owned().await.map_err(|_| Error::internal("the hashing has ended"))?
        };
        let done = tokio::task::spawn_blocking(move || {
            // Held until the work ends, also if nobody waits for it any more.
            let _slot = slot;
            work()
        });
        done.await.map_err(|_| Error::internal("a hash could not be made"))
    }
}

/// One that waits; leaves when dropped, so also when the request is given up.
struct Waiter<'h>(&'h AtomicUsize);

impl<'h> Waiter<'h> {
    fn enter(hashing: &'h Hashing) -> Result<Self, Error> {
        let waiter = Self(&hashing.waiting);
        if hashing.waiting.fetch_add(1, Ordering::SeqCst) < hashing.most_waiting {
            return Ok(waiter);
        }
        Err(Error::Unavailable("too many passwords are being checked; try again".to_owned()))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn no_more_work_than_allowed_runs_and_waits() {
        let hashing = Arc::new(Hashing::new(1, 2));
        let (started, starts) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let wait = Arc::new(parking_lot::Mutex::new(wait));
        let work = |name: &'static str| {
            let (hashing, started, wait) = (Arc::clone(&hashing), started.clone(), Arc::clone(&wait));
            tokio::spawn(async move {
                let work = move || {
                    started.send(name).unwrap();
                    wait.lock().recv().unwrap();
                    name
                };
                hashing.run(work).await
            })
        };
        let first = work("first");
        tokio::task::yield_now().await;
        let second = work("second");
        tokio::task::yield_now().await;
        let given_up = work("given up");
        tokio::task::yield_now().await;
        assert_eq!(hashing.waiting.load(Ordering::SeqCst), 2);
        assert!(matches!(work("too many").await.unwrap(), Err(Error::Unavailable(_))));
        given_up.abort();
        assert!(given_up.await.unwrap_err().is_cancelled());
        assert_eq!(hashing.waiting.load(Ordering::SeqCst), 1);
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap().unwrap(), "first");
        go.send(()).unwrap();
        assert_eq!(second.await.unwrap().unwrap(), "second");
        assert_eq!(starts.try_iter().collect::<Vec<_>>(), ["first", "second"]);
    }
}
