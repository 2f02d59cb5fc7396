//! How many failures are too many: the server's defaults, the configuration file, the mount.

use std::{collections::BTreeMap, time::Duration};

/// The kinds of auth methods where somebody can be locked out, sorted.
pub const KINDS: &[&str] = &["approle", "ldap", "userpass"];

/// What holds on a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How many failures lock.
    pub threshold: u64,
    /// For how long.
    pub duration: Duration,
    /// After how long without a failure the count begins anew.
    pub counter_reset: Duration,
    /// Nobody is locked.
    pub disabled: bool,
}

impl Default for Rules {
    fn default() -> Self {
        let quarter = Duration::from_secs(15 * 60);
        Self { threshold: 5, duration: quarter, counter_reset: quarter, disabled: false }
    }
}

impl Rules {
    /// For kinds of auth methods without a lockout.
    pub fn none() -> Self {
        Self { disabled: true, ..Self::default() }
    }
}

/// Some of the rules; what is absent is as elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// See [`Rules::threshold`].
    pub threshold: Option<u64>,
    /// See [`Rules::duration`].
    pub duration: Option<Duration>,
    /// See [`Rules::counter_reset`].
    pub counter_reset: Option<Duration>,
    /// See [`Rules::disabled`].
    pub disabled: Option<bool>,
}

impl Settings {
    /// These settings, and where they say nothing, `base`.
    pub fn over(&self, base: Rules) -> Rules {
        Rules {
            threshold: self.threshold.unwrap_or(base.threshold),
            duration: self.duration.unwrap_or(base.duration),
            counter_reset: self.counter_reset.unwrap_or(base.counter_reset),
            disabled: self.disabled.unwrap_or(base.disabled),
        }
    }
}

/// The settings of the configuration file: by kind of auth method, and `all`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stanzas {
    /// By kind.
    pub by_kind: BTreeMap<String, Settings>,
    /// Nobody is locked, whatever a mount says.
    pub off: bool,
}

impl Stanzas {
    /// What holds on a mount of `kind` with these settings of its own.
    pub fn rules(&self, kind: &str, own: &Settings) -> Rules {
        if self.off || !KINDS.contains(&kind) {
            return Rules::none();
        }
        let of = |name| self.by_kind.get(name).copied().unwrap_or_default();
        own.over(of(kind).over(of("all").over(Rules::default())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_setting_wins() {
        let set = |threshold| Settings { threshold: Some(threshold), ..Settings::default() };
        let minute = Some(Duration::from_secs(60));
        let mut stanzas = Stanzas::default();
        assert_eq!(stanzas.rules("userpass", &Settings::default()), Rules::default());
        stanzas.by_kind.insert("all".into(), Settings { duration: minute, ..set(10) });
        stanzas.by_kind.insert("userpass".into(), set(20));
        let rules = |kind, own| {
            let rules = stanzas.rules(kind, &own);
            (rules.threshold, rules.duration.as_secs(), rules.disabled)
        };
        assert_eq!(rules("approle", Settings::default()), (10, 60, false));
        assert_eq!(rules("userpass", Settings::default()), (20, 60, false));
        assert_eq!(rules("userpass", set(3)), (3, 60, false));
        assert!(rules("jwt", set(3)).2, "there is nothing to guess at");
        let off = Stanzas { off: true, ..stanzas };
        assert!(off.rules("userpass", &set(3)).disabled);
    }
}
