//! Replies as OpenID Connect has them: bare JSON, with an error code of the protocol if it is one.

use engine::{Answer, Body};
use serde_json::{Value, json};

/// A refusal in the protocol's terms.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The protocol's error code.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) why: &'static str,
}

pub(crate) fn fault(code: &'static str, why: &'static str) -> Fault {
    Fault { code, why }
}

pub(crate) fn bare(body: &Value) -> Answer {
    Answer { body: Body::Bare(body.to_string().into()), ..Answer::default() }
}

impl Fault {
    /// With status 400; `state` is what the client sent along.
    pub(crate) fn answer(&self, state: Option<&str>) -> Answer {
        let mut body = json!({ "error": self.code, "error_description": self.why });
        if let (Some(object), Some(state)) = (body.as_object_mut(), state.filter(|state| !state.is_empty())) {
            object.insert("state".to_owned(), json!(state));
        }
        Answer { status: Some(400), ..bare(&body) }
    }

    /// With status 401, which names the scheme to come back with.
    pub(crate) fn unauthorized(&self, scheme: &str) -> Answer {
        let headers = vec![("www-authenticate", scheme.to_owned())];
        Answer { status: Some(401), headers, ..self.answer(None) }
    }
}
