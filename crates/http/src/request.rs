//! From an HTTP request to a [`gate::Request`].

use std::{net::SocketAddr, sync::Arc, time::Duration};

use api::{ReqPath, Verb};
use bytes::Bytes;
use clock::Timestamp;
use gate::{Error, Inline, Namespace, Request, RequestId, Upload};
use http::{
    HeaderMap, HeaderName, Method,
    header::{self, AUTHORIZATION},
    request::Parts,
};
use secret::SecretString;
use strongroom_core::{Bare, Misread};

use crate::{
    ListenerConfig,
    config::OpenRoutes,
    form, forwarded, inline,
    json::{self, Shape},
    status::Fault,
};

/// What a request turned out to be.
pub(crate) enum Asked {
    /// A request for the pipeline.
    Api(Arc<Request>),
    /// A request for a route that answers outside the pipeline.
    Bare(Bare),
}

/// The head of a request, checked.
pub(crate) struct Head {
    verb: Verb,
    path: ReqPath,
    query: Vec<(String, String)>,
    help: bool,
    token: Option<Arc<SecretString>>,
    namespace: Namespace,
    wrap_ttl: Option<Duration>,
    remote: (std::net::IpAddr, u16),
    headers: Vec<(String, String)>,
    form: bool,
    open_routes: OpenRoutes,
    inline: Inline,
}

impl Head {
    /// Checks a head; `None` is the page at `/`.
    pub(crate) fn parse(parts: &Parts, peer: SocketAddr, config: &ListenerConfig) -> Result<Option<Self>, Fault> {
        let path = parts.uri.path();
        // The slash behind the prefix stays: one leading slash is dropped with the check, a second one is a fault.
        let Some(path) = path.strip_prefix("/v1").filter(|path| path.starts_with('/')) else {
            return match path {
                "/" if matches!(parts.method, Method::GET | Method::HEAD) => Ok(None),
                _ => Err(Error::NoRoute("there is nothing at this path; the API lies below /v1/".to_owned()).into()),
            };
        };
        if config.require_request_header && parts.headers.get(OWN_REQUEST).is_none_or(|value| value != "true") {
            return Err(Error::Precondition(
                "missing 'X-Vault-Request' header: send it with the value true".to_owned(),
            )
            .into());
        }
        let path = ReqPath::decode(path).map_err(|why| Error::invalid(why.to_string()))?;
        let query = match parts.uri.query() {
            None | Some("") => Vec::new(),
            Some(query) => form::pairs(query, config.json.object_entries)?,
        };
        let (verb, help) = verb(&parts.method, &query)?;
        let content_type = media_type(&parts.headers);
        if verb == Verb::Patch && !content_type.eq_ignore_ascii_case(MERGE_PATCH) {
            return Err(Error::MediaType(format!("PATCH needs the header Content-Type: {MERGE_PATCH}")).into());
        }
        let (token, bearer) = token(&parts.headers, config.max_token_size)?;
        let namespace = namespace(&parts.headers, config.namespace.as_deref())?;
        let wrap_ttl = wrap_ttl(&parts.headers)?;
        let remote = forwarded::source(peer, &parts.headers, config.forwarded_for.as_ref())?;
        let inline = inline::login(&parts.headers, &namespace, config)?.map_or(Inline::None, Inline::Brings);
        let headers = others(&parts.headers, bearer);
        let form = content_type.eq_ignore_ascii_case(FORM);
        let open_routes = config.open_routes;
        Ok(Some(Self {
            verb,
            path,
            query,
            help,
            token,
            namespace,
            wrap_ttl,
            remote,
            headers,
            form,
            open_routes,
            inline,
        }))
    }

    /// Whether the body is handed on unread.
    pub(crate) fn takes_pieces(&self) -> bool {
        self.verb == Verb::Write && !self.help && Upload::is_wanted_at(self.path.as_str())
    }

    /// Joins the head with its body.
    pub(crate) fn with(
        self,
        body: Bytes,
        upload: Upload,
        id: &RequestId,
        received: Timestamp,
        limits: &json::Limits,
    ) -> Result<Asked, Error> {
        let body = match self.verb {
            // What is asked for stands in the query; a body means nothing.
            Verb::List | Verb::Read | Verb::Scan => Bytes::new(),
            Verb::Delete | Verb::Patch | Verb::Write => checked(body, self.form, limits)?,
        };
        let id = Arc::clone(id);
        let path = self.path.as_str();
        if !self.help && Bare::owns(path) && !self.open_routes.closes(path) {
            if self.verb != Verb::Read && !self.namespace.is_root() {
                return Err(Error::invalid(format!("{path} is answered in the root namespace only")));
            }
            let (path, remote, redact) = (path.to_owned(), Some(self.remote), self.open_routes.redact);
            return Ok(Asked::Bare(Bare { id, verb: self.verb, path, query: self.query, body, remote, redact }));
        }
        Ok(Asked::Api(Arc::new(Request {
            id,
            verb: self.verb,
            namespace: self.namespace,
            path: self.path,
            query: self.query,
            body,
            upload,
            token: self.token,
            wrap_ttl: self.wrap_ttl,
            remote: Some(self.remote),
            headers: self.headers,
            help: self.help,
            received,
            inline: self.inline,
        })))
    }
}

/// What the audit log shall have of a request that cannot be read; `None` if it is none for the API.
pub(crate) fn misread(parts: &Parts, peer: SocketAddr, id: &RequestId) -> Option<Misread> {
    let path = parts.uri.path().strip_prefix("/v1/")?.to_owned();
    let token = token(&parts.headers, usize::MAX).ok().and_then(|(token, _)| token);
    let verb = verb(&parts.method, &[]).ok().map(|(verb, _)| verb);
    Some(Misread { id: Arc::clone(id), verb, path, token, remote: (peer.ip().to_canonical(), peer.port()) })
}

/// The body as an object, or empty.
fn checked(body: Bytes, form: bool, limits: &json::Limits) -> Result<Bytes, Error> {
    if body.is_empty() {
        return Ok(body);
    }
    let opens = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let body = match opens {
        Some(b'{' | b'[') => body,
        // What curl sends with -d has this type too, so a JSON body counts as one whatever its type.
        Some(_) if form => Bytes::from_owner(form::to_json(&body, limits.object_entries)?),
        _ => body,
    };
    match json::check(&body, limits) {
        Ok(Shape::Object) => Ok(body),
        // Clients written in Go send null where they have nothing to say.
        Ok(Shape::Empty | Shape::Null) => Ok(Bytes::new()),
        Ok(Shape::Other) => Err(Error::invalid("failed to parse JSON input: the body must be an object")),
        Err(fault) => Err(Error::invalid(format!("failed to parse JSON input: {fault}"))),
    }
}

/// What the method asks for, and whether it asks for help.
fn verb(method: &Method, query: &[(String, String)]) -> Result<(Verb, bool), Error> {
    let set = |name: &str| {
        let value = query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        matches!(value, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
    };
    let help = set("help");
    let verb = match *method {
        Method::GET | Method::HEAD if set("list") => Verb::List,
        Method::GET | Method::HEAD if set("scan") => Verb::Scan,
        Method::GET | Method::HEAD => Verb::Read,
        Method::POST | Method::PUT => Verb::Write,
        Method::DELETE => Verb::Delete,
        Method::PATCH => Verb::Patch,
        _ => match method.as_str() {
            "LIST" => Verb::List,
            "SCAN" => Verb::Scan,
            "HELP" => return Ok((Verb::Read, true)),
            _ => return Err(Error::Unsupported),
        },
    };
    Ok((verb, help))
}

/// The token, and whether it came as a bearer token.
fn token(headers: &HeaderMap, most: usize) -> Result<(Option<Arc<SecretString>>, bool), Fault> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
    });
    let own = headers.get(TOKEN).map(|value| value.as_bytes()).filter(|token| !token.is_empty());
    let Some(token) = own.or(bearer).filter(|token| !token.is_empty()) else { return Ok((None, bearer.is_some())) };
    if token.len() > most {
        return Err(Fault::LongToken(most));
    }
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err(Error::invalid("the token must be printable ASCII without spaces").into());
    }
    let text = std::str::from_utf8(token).map_err(|_| Error::invalid("the token must be ASCII"))?;
    Ok((Some(Arc::new(SecretString::new(text.to_owned()))), bearer.is_some()))
}

fn namespace(headers: &HeaderMap, confined: Option<&str>) -> Result<Namespace, Error> {
    let Some(value) = headers.get(NAMESPACE) else { return Ok(within(confined, Namespace::root())) };
    let text = value.to_str().map_err(|_| Error::invalid("X-Vault-Namespace must be ASCII"))?;
    let path = ReqPath::new(text.trim_matches('/'));
    let path = path.map_err(|why| Error::invalid(format!("X-Vault-Namespace: {why}")))?;
    Ok(within(confined, Namespace::asked(path.as_str())))
}

/// A namespace as the clients of a listener name it that is confined to another one.
pub(crate) fn within(confined: Option<&str>, asked: Namespace) -> Namespace {
    match confined {
        None => asked,
        Some(above) => Namespace::asked(&format!("{above}/{}", asked.path())),
    }
}

fn wrap_ttl(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    if headers.get(WRAP_FORMAT).is_some_and(|format| !format.is_empty() && format != "jwt") {
        // Silence would hand out a token in a form that was not asked for.
        return Err(Error::invalid("X-Vault-Wrap-Format: use jwt, or leave the header out for a plain token"));
    }
    let Some(value) = headers.get(WRAP_TTL) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Error::invalid("X-Vault-Wrap-TTL must be ASCII"))?;
    let ttl = api::parse_duration(text).map_err(|why| Error::invalid(format!("X-Vault-Wrap-TTL: {why}")))?;
    Ok(Some(ttl).filter(|ttl| !ttl.is_zero()))
}

/// The headers that the audit log and engines may ask for.
fn others(headers: &HeaderMap, bearer: bool) -> Vec<(String, String)> {
    let mut others = Vec::new();
    for (name, value) in headers {
        let own = OWN.contains(name) || OWN_NAMES.contains(&name.as_str()) || name.as_str().starts_with(inline::PREFIX);
        if own || bearer && name == AUTHORIZATION {
            continue;
        }
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        others.push((name.as_str().to_owned(), value));
    }
    others
}

/// The media type of the body without its parameters.
fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

const TOKEN: &str = "x-vault-token";
pub(crate) const NAMESPACE: &str = "x-vault-namespace";
const WRAP_TTL: &str = "x-vault-wrap-ttl";
const OWN_REQUEST: &str = "x-vault-request";
const WRAP_FORMAT: &str = "x-vault-wrap-format";
const MERGE_PATCH: &str = "application/merge-patch+json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Headers that say how to speak, not what is asked for.
static OWN: [HeaderName; 9] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRANSFER_ENCODING,
];

/// Headers that are read here.
const OWN_NAMES: [&str; 4] = [TOKEN, NAMESPACE, WRAP_TTL, OWN_REQUEST];

#[cfg(test)]
mod tests;
