//! What handlers return.

use std::{collections::BTreeMap, time::Duration};

use gate::{Answer, Body, Error, LeaseGrant, Login};
use secret::SecretBytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Intent, cx::to_json};

/// What a handler returns, made into an [`Answer`].
pub trait IntoAnswer: Send {
    /// The answer.
    fn into_answer(self) -> Result<Answer, Error>;
}

impl IntoAnswer for Answer {
    fn into_answer(self) -> Result<Answer, Error> {
        Ok(self)
    }
}

/// Success with nothing to say: 204.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done;

impl IntoAnswer for Done {
    fn into_answer(self) -> Result<Answer, Error> {
        Ok(Answer::default())
    }
}

/// The `data` of the reply.
#[derive(Clone, Debug)]
pub struct Data<T>(pub T);

impl<T: Serialize + Send> IntoAnswer for Data<T> {
    fn into_answer(self) -> Result<Answer, Error> {
        Ok(Answer { body: Body::Json(to_json(&self.0)?), ..Answer::default() })
    }
}

/// `None` is "not found".
impl<T: IntoAnswer> IntoAnswer for Option<T> {
    fn into_answer(self) -> Result<Answer, Error> {
        self.ok_or(Error::NotFound)?.into_answer()
    }
}

/// A listing. Without keys it is "not found", as clients expect.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Keys {
    /// The names, ascending; a folder ends in `/`.
    pub keys: Vec<String>,
    /// What is known about some of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub key_info: BTreeMap<String, Box<RawValue>>,
}

impl From<Vec<String>> for Keys {
    fn from(keys: Vec<String>) -> Self {
        Self { keys, key_info: BTreeMap::new() }
    }
}

impl From<storage::Folder> for Keys {
    fn from(folder: storage::Folder) -> Self {
        folder.names.into()
    }
}

impl IntoAnswer for Keys {
    fn into_answer(self) -> Result<Answer, Error> {
        if self.keys.is_empty() { Err(Error::NotFound) } else { Data(self).into_answer() }
    }
}

/// Data with a lease.
#[derive(Debug)]
pub struct Leased<T> {
    /// The data.
    pub data: T,
    /// The intent that was made before the credential.
    pub intent: Intent,
    /// The wished life; zero takes the mount's default.
    pub ttl: Duration,
    /// The longest life; zero takes the mount's.
    pub max_ttl: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
}

impl<T: Serialize + Send> IntoAnswer for Leased<T> {
    fn into_answer(self) -> Result<Answer, Error> {
        let set = |life: Duration| (!life.is_zero()).then_some(life);
        let lease = LeaseGrant {
            intent: Some(self.intent.0),
            revocation: SecretBytes::new(Vec::new()),
            ttl: set(self.ttl),
            max_ttl: set(self.max_ttl),
            renewable: self.renewable,
        };
        Ok(Answer { lease: Some(lease), ..Data(self.data).into_answer()? })
    }
}

impl IntoAnswer for Login {
    fn into_answer(self) -> Result<Answer, Error> {
        Ok(Answer { login: Some(self), ..Answer::default() })
    }
}
