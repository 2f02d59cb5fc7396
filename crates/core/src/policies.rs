//! The ACL policies: stored text, and what is compiled from it.
//!
//! A compiled ACL is reused as long as every policy it was made of still has the revision it was made from. So an edit
//! binds at the next request, and a request costs one look-up per policy of its token, whatever the number of policies.

use std::sync::Arc;

use gate::{Caller, Error};
use identity::{Identities, Standing};
use policy::{Acl, DEFAULT, DEFAULT_NAME, Policy, PolicyName, RESPONSE_WRAPPING, RESPONSE_WRAPPING_NAME, ROOT_NAME};
use quick_cache::sync::Cache;
use storage::{Key, Store, Tx};

/// The policies of the server.
pub(crate) struct Policies {
    store: Arc<dyn Store>,
    identities: Arc<Identities>,
    parsed: Cache<String, (Option<u64>, Option<Arc<Policy>>)>,
    compiled: Cache<String, Arc<Compiled>>,
}

/// Policies that were merged.
struct Compiled {
    /// What was read for it, and the revisions it had.
    seen: Vec<(Key, Option<u64>)>,
    acl: Arc<Acl>,
}

/// What stands in no name, so that what is compiled for some policies and entities is never taken for others.
const BETWEEN_NAMES: &str = ",";
const BEFORE_ENTITY: &str = "\"";
/// How many policies and combinations of policies are kept compiled.
const CACHED: usize = 4096;

/// Where the texts lie.
pub(crate) const PREFIX: &str = "sys/policy/acl/";

impl Policies {
    /// The policies in `store`; writes the `default` one at the first start.
    pub(crate) async fn open(store: Arc<dyn Store>, identities: Arc<Identities>) -> Result<Self, Error> {
        let tx = Tx::new(Arc::clone(&store));
        if tx.get(&key(DEFAULT_NAME)).await?.is_none() {
            tx.put(key(DEFAULT_NAME), DEFAULT.into());
            match tx.commit().await.map_err(Error::from) {
                // Another node was quicker.
                Ok(_) | Err(Error::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { store, identities, parsed: Cache::new(CACHED), compiled: Cache::new(CACHED) })
    }

    /// What a caller's policies say together.
    pub(crate) async fn acl(&self, caller: &Caller) -> Result<Arc<Acl>, Error> {
        self.of(caller.policies(), &caller.entity_id).await
    }

    /// What a token that is looked at, not used, would be allowed now.
    pub(crate) async fn of_token(&self, record: &tokens::Record) -> Result<Arc<Acl>, Error> {
        let (names, entity_id) = self.in_force(record).await?;
        self.of(&names, &entity_id).await
    }

    /// The policies that count for a token now, and its entity. For one of a disabled entity none does.
    pub(crate) async fn in_force(&self, record: &tokens::Record) -> Result<(Vec<String>, String), Error> {
        let mut names = record.policies.to_vec();
        if record.entity_id.is_empty() {
            return Ok((names, String::new()));
        }
        match self.identities.standing(&record.entity_id).await {
            Ok(standing) => {
                names.extend(standing.policies.iter().filter(|policy| !record.policies.contains(policy)).cloned());
                Ok((names, standing.id.to_string()))
            }
            Err(Error::Denied(_)) => Ok((Vec::new(), record.entity_id.to_string())),
            Err(error) => Err(error),
        }
    }

    /// What these policies say together, to an entity.
    pub(crate) async fn of(&self, names: &[String], entity_id: &str) -> Result<Arc<Acl>, Error> {
        let plain = names.join(BETWEEN_NAMES);
        if let Some(acl) = self.known(&plain).await? {
            return Ok(acl);
        }
        let own = format!("{plain}{BEFORE_ENTITY}{entity_id}");
        match self.known(&own).await? {
            Some(acl) => Ok(acl),
            None => Box::pin(self.compile(names, entity_id, plain, own)).await,
        }
    }

    /// What is compiled of these policies, if they are still what it was made of.
    async fn known(&self, id: &str) -> Result<Option<Arc<Acl>>, Error> {
        let Some(compiled) = self.compiled.get(id) else { return Ok(None) };
        for (key, revision) in &compiled.seen {
            if self.store.get(key).await?.map(|entry| entry.revision) != *revision {
                return Ok(None);
            }
        }
        Ok(Some(Arc::clone(&compiled.acl)))
    }

    async fn compile(&self, names: &[String], entity_id: &str, plain: String, own: String) -> Result<Arc<Acl>, Error> {
        let mut policies = Vec::with_capacity(names.len());
        let mut seen = Vec::with_capacity(names.len() + 1);
        for name in names {
            let (revision, policy) = self.parsed(name).await?;
            if !is_built_in(name) {
                seen.push((key(name), revision));
            }
            policies.extend(policy);
        }
        let templated = policies.iter().any(|policy| policy.is_templated());
        let standing = if templated { self.subject(entity_id).await? } else { None };
        seen.extend(standing.iter().flat_map(|standing| standing.seen()));
        let acl = Arc::new(Acl::compile(&policies, standing.as_ref().map(|standing| &standing.subject)));
        let compiled = Arc::new(Compiled { seen, acl: Arc::clone(&acl) });
        self.compiled.insert(if templated { own } else { plain }, compiled);
        Ok(acl)
    }

    async fn parsed(&self, name: &str) -> Result<(Option<u64>, Option<Arc<Policy>>), Error> {
        match name {
            ROOT_NAME => return Ok((None, Some(Arc::new(Policy::root())))),
            RESPONSE_WRAPPING_NAME => return Ok((None, Policy::parse(name, RESPONSE_WRAPPING).ok().map(Arc::new))),
            _ => {}
        }
        let entry = self.store.get(&key(name)).await?;
        let revision = entry.as_ref().map(|entry| entry.revision);
        if let Some((known, policy)) = self.parsed.get(name)
            && known == revision
        {
            return Ok((revision, policy));
        }
        let text = entry.as_ref().and_then(|entry| std::str::from_utf8(&entry.value).ok());
        let policy = match text.map(|text| Policy::parse(name, text)) {
            Some(Ok(policy)) => Some(Arc::new(policy)),
            Some(Err(error)) => {
                // Written only after it was parsed; a text that no longer parses grants nothing.
                tracing::error!(policy = name, %error, "a stored policy cannot be read; it grants nothing");
                None
            }
            None => None,
        };
        self.parsed.insert(name.to_owned(), (revision, policy.clone()));
        Ok((revision, policy))
    }

    async fn subject(&self, entity_id: &str) -> Result<Option<Arc<Standing>>, Error> {
        if entity_id.is_empty() { Ok(None) } else { self.identities.look_up(entity_id).await }
    }

    /// The text of a policy.
    pub(crate) async fn text(&self, tx: &Tx, name: &PolicyName) -> Result<Option<String>, Error> {
        match name.as_str() {
            ROOT_NAME => return Ok(Some(String::new())),
            RESPONSE_WRAPPING_NAME => return Ok(Some(RESPONSE_WRAPPING.to_owned())),
            _ => {}
        }
        let value = tx.get(&key(name.as_str())).await?;
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    /// Writes a policy, after it was parsed.
    pub(crate) fn put(&self, tx: &Tx, policy: &Policy, text: &str) -> Result<(), Error> {
        let name = policy.name().as_str();
        if name == ROOT_NAME || name == RESPONSE_WRAPPING_NAME {
            return Err(Error::invalid(format!("cannot update \"{name}\" policy")));
        }
        tx.put(key(name), text.to_owned().into());
        Ok(())
    }

    /// Removes a policy.
    pub(crate) fn delete(&self, tx: &Tx, name: &PolicyName) -> Result<(), Error> {
        if matches!(name.as_str(), ROOT_NAME | DEFAULT_NAME | RESPONSE_WRAPPING_NAME) {
            let quoted =
                if name.as_str() == DEFAULT_NAME { "default".to_owned() } else { format!("\"{}\"", name.as_str()) };
            return Err(Error::invalid(format!("cannot delete {quoted} policy")));
        }
        tx.delete(key(name.as_str()));
        Ok(())
    }
}

fn key(name: &str) -> Key {
    Key::join([PREFIX, name])
}

/// Whether the text of a policy is not stored.
fn is_built_in(name: &str) -> bool {
    name == ROOT_NAME || name == RESPONSE_WRAPPING_NAME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parts_the_names_of_a_combination_stands_in_no_name() {
        for apart in [BETWEEN_NAMES, BEFORE_ENTITY] {
            assert!(PolicyName::new(&format!("a{apart}b")).is_err(), "{apart}");
        }
    }
}
