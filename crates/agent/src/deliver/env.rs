//! The program's environment.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    sync::Arc,
};

use secret::{SecretBytes, Zeroizing};

use super::Error;

/// Variables that carry the supervisor's own credentials. They are not for the program.
const DENIED: &[&str] = &[
    "BAO_TOKEN",
    "SECRET_ID",
    "SECRET_ID_FILE",
    "VAULT_ROLE_ID",
    "VAULT_SECRET_ID",
    "VAULT_SECRET_ID_FILE",
    "VAULT_TOKEN",
    "VAULT_TOKEN_FILE",
];
/// Nothing of ours either.
const DENIED_PREFIX: &str = "STRONGROOM_";

/// Which of the supervisor's variables the program gets.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// None but those in `keep`.
    pub clean: bool,
    /// What a clean environment keeps.
    pub keep: Vec<String>,
    /// Withheld besides the built-in list: `VAULT_TOKEN`, `STRONGROOM_*`, secret ids and their files.
    pub deny: Vec<String>,
}

impl Policy {
    /// Whether `name` is withheld in any case.
    pub fn denies(&self, name: &OsStr) -> bool {
        let is = |listed: &str| name == OsStr::new(listed);
        DENIED.iter().any(|listed| is(listed))
            || name.as_bytes().starts_with(DENIED_PREFIX.as_bytes())
            || self.deny.iter().any(|listed| is(listed))
    }

    fn admits(&self, name: &OsStr) -> bool {
        !self.denies(name) && (!self.clean || self.keep.iter().any(|listed| name == OsStr::new(listed)))
    }
}

/// Names and values, one value per name.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<OsString, Value>);

#[derive(Clone, Debug)]
enum Value {
    Plain(OsString),
    Secret(Arc<SecretBytes>),
}

impl Environment {
    /// What `policy` lets through of `vars`. Where a name comes twice, the first counts, as it does for getenv(3).
    pub fn inherit(vars: impl IntoIterator<Item = (OsString, OsString)>, policy: &Policy) -> Self {
        let mut values = BTreeMap::new();
        for (name, value) in vars {
            if policy.admits(&name) {
                values.entry(name).or_insert(Value::Plain(value));
            }
        }
        Self(values)
    }

    /// Sets a variable that is no secret. Refuses names and values that an environment cannot hold.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) -> Result<(), Error> {
        let value = value.into();
        check(name, value.as_bytes())?;
        self.0.insert(name.into(), Value::Plain(value));
        Ok(())
    }

    /// Sets a variable to a secret. Refuses names and values that an environment cannot hold.
    pub fn set_secret(&mut self, name: &str, value: Arc<SecretBytes>) -> Result<(), Error> {
        // EXPOSE: to see whether it has a NUL in it.
        check(name, value.expose())?;
        self.0.insert(name.into(), Value::Secret(value));
        Ok(())
    }

    /// Takes a variable out.
    pub fn remove(&mut self, name: &OsStr) {
        self.0.remove(name);
    }

    /// The variables that are no secrets.
    pub fn plain(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().filter_map(|(name, value)| match value {
            Value::Plain(value) => Some((name.as_os_str(), value.as_os_str())),
            Value::Secret(_) => None,
        })
    }

    pub(crate) fn secrets(&self) -> impl Iterator<Item = Arc<SecretBytes>> {
        self.0.values().filter_map(|value| match value {
            Value::Secret(secret) => Some(secret.clone()),
            Value::Plain(_) => None,
        })
    }

    /// Where programs are looked for.
    pub(crate) fn path(&self) -> Option<&OsStr> {
        match self.0.get(OsStr::new("PATH"))? {
            Value::Plain(path) => Some(path),
            Value::Secret(_) => None,
        }
    }

    /// The block that exec takes: `NAME=value` and a NUL each. Wiped when dropped.
    pub(crate) fn block(&self) -> Vec<Zeroizing<Vec<u8>>> {
        let entry = |(name, value): (&OsString, &Value)| {
            let value = match value {
                Value::Plain(value) => value.as_bytes(),
                // EXPOSE: this is the delivery; it goes to execve and is wiped.
                Value::Secret(value) => value.expose(),
            };
            // In one piece from the start: a buffer that grows leaves copies behind.
            let mut entry = Vec::with_capacity(name.len() + value.len() + 2);
            entry.extend_from_slice(name.as_bytes());
            entry.push(b'=');
            entry.extend_from_slice(value);
            entry.push(0);
            Zeroizing::new(entry)
        };
        self.0.iter().map(entry).collect()
    }
}

fn check(name: &str, value: &[u8]) -> Result<(), Error> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Error::VariableName(name.escape_default().to_string()));
    }
    if value.contains(&0) {
        return Err(Error::Value(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect()
    }

    fn block(env: &Environment) -> Vec<String> {
        env.block().iter().map(|e| String::from_utf8(e[..e.len() - 1].to_vec()).unwrap()).collect()
    }

    #[test]
    fn the_supervisors_own_credentials_are_withheld() {
        let given = vars(&[
            ("PATH", "/bin"),
            ("VAULT_TOKEN", "t"),
            ("STRONGROOM_TOKEN", "t"),
            ("STRONGROOM_GUARDIAN_LINK", "3"),
            ("VAULT_SECRET_ID_FILE", "f"),
            ("VAULT_ADDR", "a"),
            ("MINE", "x"),
        ]);
        let env = Environment::inherit(given.clone(), &Policy { deny: vec!["MINE".into()], ..Policy::default() });
        assert_eq!(block(&env), ["PATH=/bin", "VAULT_ADDR=a"]);
        let clean = Policy { clean: true, keep: vec!["PATH".into(), "VAULT_TOKEN".into()], deny: vec![] };
        assert_eq!(block(&Environment::inherit(given, &clean)), ["PATH=/bin"]);
    }

    #[test]
    fn one_value_per_name() {
        let mut env = Environment::inherit(vars(&[("A", "1"), ("A", "2"), ("B", "3")]), &Policy::default());
        env.set_secret("B", Arc::new(SecretBytes::new(b"s".to_vec()))).unwrap();
        assert_eq!(block(&env), ["A=1", "B=s"]);
        assert_eq!(env.secrets().count(), 1);
    }

    #[test]
    fn what_an_environment_cannot_hold_is_refused() {
        let mut env = Environment::default();
        for name in ["", "A=B", "A\0"] {
            assert!(matches!(env.set(name, "x"), Err(Error::VariableName(_))), "{name:?}");
        }
        assert!(matches!(env.set("A", "x\0y"), Err(Error::Value(_))));
        let secret = Arc::new(SecretBytes::new(b"hunter2\0".to_vec()));
        let error = env.set_secret("A", secret).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
