//! `user_lockout "userpass" { … }`, or `"all"`: when failed logins lock a user out.

use std::time::Duration;

use lockout::{KINDS, Settings, Stanzas};

use super::section::Section;

/// What the file says; nobody is locked at all if the environment says so.
pub(super) fn user_lockout(top: &mut Section, warnings: &mut Vec<String>) -> Result<Stanzas, String> {
    let off = std::env::var("VAULT_DISABLE_USER_LOCKOUT").is_ok_and(|off| is_true(&off));
    let mut stanzas = Stanzas { off, ..Stanzas::default() };
    for mut body in top.blocks("user_lockout")? {
        if body.label != "all" && !KINDS.contains(&body.label.as_str()) {
            return Err(body.says(&format!("use all or one of {}", KINDS.join(", "))));
        }
        // As in Vault, zero leaves it to the default.
        let set = |time: Option<Duration>| time.filter(|time| !time.is_zero());
        let settings = Settings {
            threshold: body.number("lockout_threshold")?.filter(|threshold| *threshold > 0),
            duration: set(body.duration("lockout_duration")?),
            counter_reset: set(body.duration("lockout_counter_reset")?),
            disabled: body.flag("disable_lockout")?,
        };
        stanzas.by_kind.insert(body.label.clone(), settings);
        warnings.extend(body.unknown());
    }
    Ok(stanzas)
}

/// The spellings of truth in Vault's environment.
pub(super) fn is_true(text: &str) -> bool {
    matches!(text.trim(), "1" | "t" | "T" | "true" | "TRUE" | "True")
}
