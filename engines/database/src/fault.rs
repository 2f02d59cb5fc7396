//! The places where a crash matters, by name, so that a test can crash at each of them.
//!
//! Built with the feature `fault-points`, the process aborts at the point that the environment variable
//! `STRONGROOM_FAULT` names. Without the feature nothing of this is compiled.

use engine::Error;

/// Every step of create, renew, revoke and rotate, in order.
pub const FAULT_POINTS: &[&str] = &[
    "create.before-intent",
    "create.after-intent",
    "create.after-user",
    "renew.before-change",
    "renew.after-change",
    "revoke.before-drop",
    "revoke.after-drop",
    "root.before-pending",
    "root.after-pending",
    "root.after-change",
    "root.after-login",
    "static.before-pending",
    "static.after-pending",
    "static.after-change",
    "static.after-login",
];

/// Passes by, unless a test wants it otherwise.
#[cfg(not(feature = "fault-points"))]
pub(crate) fn reach(point: &'static str) -> Result<(), Error> {
    debug_assert!(FAULT_POINTS.contains(&point));
    Ok(())
}

/// Crashes if this is the point that a test chose.
#[cfg(feature = "fault-points")]
pub(crate) fn reach(point: &'static str) -> Result<(), Error> {
    debug_assert!(FAULT_POINTS.contains(&point));
    if std::env::var("STRONGROOM_FAULT").is_ok_and(|chosen| chosen == point) {
        std::process::abort();
    }
    Ok(())
}
