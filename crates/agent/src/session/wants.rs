//! From what a program wants to what it gets.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    sync::Arc,
};

use crate::{
    deliver::{Environment, File, Place, Policy},
    manifest::{Manifest, OnRotation},
    reference::{Data, Reference, Source},
    supervise::{Masking, Spec},
};

/// Fields that are masked even where the program asked for another field of the same secret: the connection URL
/// carries the password.
const TELLING: &[&str] = &["password", "private_key", "secret", "secret_id", "secret_key", "token"];

/// What every read gave.
pub(super) type Values = BTreeMap<Source, Arc<Data>>;

/// Everything that is wanted, checked.
pub(super) struct Wants {
    env: BTreeMap<String, Reference>,
    files: BTreeMap<String, Reference>,
    base: Environment,
}

impl Wants {
    /// Gathers the references of the environment and of the manifest; where both name a variable, the manifest wins.
    pub(super) fn gather(vars: Vec<(OsString, OsString)>, manifest: &Manifest) -> Result<Self, String> {
        let run = &manifest.run;
        let policy = Policy { clean: run.clean_env, keep: run.keep_env.clone(), deny: run.deny_env.clone() };
        let mut env = BTreeMap::new();
        for (name, value) in &vars {
            let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
            if Reference::is_meant(value) && !policy.denies(name.as_ref()) && !manifest.env.contains_key(name) {
                let reference = Reference::parse(value).map_err(|error| format!("the environment: {name}: {error}"))?;
                env.entry(name.to_owned()).or_insert(reference);
            }
        }
        let mut base = Environment::inherit(vars, &policy);
        for (name, value) in &manifest.env {
            if Reference::is_meant(value) {
                let reference = Reference::parse(value).map_err(|error| format!("env.{name}: {error}"))?;
                env.insert(name.clone(), reference);
            } else {
                base.set(name, value).map_err(|error| error.to_string())?;
            }
        }
        for name in env.keys() {
            base.remove(name.as_ref());
        }
        let file = |(name, entry): (&String, &crate::manifest::FileEntry)| {
            let reference = Reference::parse(&entry.reference).map_err(|error| format!("files.\"{name}\": {error}"))?;
            Ok((name.clone(), reference))
        };
        let files = manifest.files.iter().map(file).collect::<Result<_, String>>()?;
        Ok(Self { env, files, base })
    }

    /// What has to be read: each source once, however many references share it.
    pub(super) fn sources(&self) -> BTreeSet<Source> {
        self.env.values().chain(self.files.values()).map(|reference| reference.source.clone()).collect()
    }

    /// Whether a running program can be given a new value of `source`: everything it feeds is a file that can change.
    pub(super) fn is_live(&self, source: &Source, manifest: &Manifest) -> bool {
        let fixed = |name: &String| manifest.files.get(name).is_none_or(|entry| entry.place() == Place::Memfd);
        manifest.run.on_rotation != OnRotation::Ignore
            && !self.env.values().any(|reference| reference.source == *source)
            && !self.files.iter().any(|(name, reference)| reference.source == *source && fixed(name))
    }

    /// The program with all its values. The error names the variable or file, and never a value.
    pub(super) fn compose(&self, command: &[OsString], manifest: &Manifest, values: &Values) -> Result<Spec, String> {
        let (program, args) = command.split_first().ok_or("there is no command to run")?;
        let mut env = self.base.clone();
        for (name, reference) in &self.env {
            let value = select(reference, values).map_err(|why| format!("{name}: {why}"))?;
            env.set_secret(name, Arc::new(value)).map_err(|error| error.to_string())?;
        }
        let mut spec = Spec::new(program, args.to_vec(), env);
        spec.files = self.files(manifest, values)?;
        spec.area = manifest.run.files_area;
        spec.stop_signal = manifest.run.stop_signal;
        spec.stop_grace = manifest.run.stop_grace;
        spec.masking = match manifest.run.mask {
            Some(true) => Masking::everywhere(),
            Some(false) => Masking::default(),
            None => Masking::where_no_terminal(),
        };
        let telling = values.values().flat_map(|data| TELLING.iter().filter_map(|field| data.field(field)));
        spec.also_masked = telling.map(Arc::new).collect();
        Ok(spec)
    }

    fn files(&self, manifest: &Manifest, values: &Values) -> Result<Vec<File>, String> {
        let mut files = Vec::new();
        for (name, reference) in &self.files {
            let Some(entry) = manifest.files.get(name) else { continue };
            let content = select(reference, values).map_err(|why| format!("file `{name}`: {why}"))?;
            files.push(File {
                name: name.clone(),
                place: entry.place(),
                mode: entry.mode,
                variable: entry.env.clone(),
                content: Arc::new(content),
            });
        }
        Ok(files)
    }
}

fn select(reference: &Reference, values: &Values) -> Result<secret::SecretBytes, String> {
    let source = &reference.source;
    let data = values.get(source).ok_or_else(|| format!("{source} was not read"))?;
    reference.select(data).map_err(|missing| format!("{source}: {missing}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::value::RawValue;

    use super::*;

    fn manifest(text: &str) -> Manifest {
        Manifest::parse(Path::new("strongroom.toml"), text).unwrap()
    }

    fn vars(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect()
    }

    #[test]
    fn two_references_to_one_path_are_one_read() {
        let manifest = manifest(
            "[env]\nDB_PASSWORD = \"sr://database/creds/app#password\"\n[files.u]\nref = \"sr://database/creds/app#username\"",
        );
        let wants =
            Wants::gather(vars(&[("DB_USER", "sr://database/creds/app#username"), ("A", "b")]), &manifest).unwrap();
        assert_eq!(wants.sources().len(), 1);
        let json = RawValue::from_string(r#"{"username":"v-app","password":"pass-word"}"#.to_owned()).unwrap();
        let values = wants.sources().into_iter().map(|s| (s, Arc::new(Data::new(&json).unwrap()))).collect();
        let spec = wants.compose(&["env".into()], &manifest, &values).unwrap();
        let block: Vec<_> = spec.env.block().iter().map(|e| String::from_utf8_lossy(e).into_owned()).collect();
        assert_eq!(block, ["A=b\0", "DB_PASSWORD=pass-word\0", "DB_USER=v-app\0"]);
        assert_eq!(spec.files.len(), 1);
    }

    #[test]
    fn the_manifest_wins_and_withheld_names_stay_withheld() {
        let manifest = manifest("[env]\nA = \"sr://kv/b#x\"\n[run]\nclean_env = true\ndeny_env = [\"NO\"]");
        let given = vars(&[
            ("A", "sr://kv/a#x"),
            ("NO", "sr://kv/no#x"),
            ("VAULT_TOKEN", "sr://kv/t#x"),
            ("C", "sr://kv/c#x"),
            ("PLAIN", "1"),
        ]);
        let wants = Wants::gather(given, &manifest).unwrap();
        let paths: Vec<String> = wants.sources().into_iter().map(|source| source.path).collect();
        assert_eq!(paths, ["kv/b", "kv/c"]);
        assert!(wants.base.plain().next().is_none());
    }

    #[test]
    fn a_field_that_is_not_there_is_named_without_a_value() {
        let manifest = manifest("");
        let wants = Wants::gather(vars(&[("KEY", "sr://kv/a#key")]), &manifest).unwrap();
        let json = RawValue::from_string(r#"{"kee":"hunter22"}"#.to_owned()).unwrap();
        let values = wants.sources().into_iter().map(|s| (s, Arc::new(Data::new(&json).unwrap()))).collect();
        let error = wants.compose(&["env".into()], &manifest, &values).unwrap_err();
        assert!(
            error.contains("KEY") && error.contains("kv/a") && error.contains("kee") && !error.contains("hunter22"),
            "{error}"
        );
        assert!(Wants::gather(vars(&[("KEY", "sr://kv#key")]), &manifest).err().unwrap().contains("KEY"));
    }

    #[test]
    fn what_feeds_the_environment_cannot_change_while_the_program_runs() {
        let text = "[files.a]\nref = \"sr://kv/a\"\n[files.m]\nref = \"sr://kv/m\"\nmemfd = true\nenv = \"M\"\n[run]\non_rotation = \"signal\"";
        let manifest = manifest(text);
        let wants = Wants::gather(vars(&[("E", "sr://kv/e#x")]), &manifest).unwrap();
        let live = |path: &str| wants.is_live(&Source { path: path.into(), version: None }, &manifest);
        assert!(live("kv/a") && !live("kv/m") && !live("kv/e"));
    }
}
