//! Calls from browsers: which origins may, and what a browser is told when it asks first.

use http::{
    HeaderMap, HeaderValue, Method, Response,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};
use strongroom_core::Core;

/// What is to become of a request, as far as its origin goes.
pub(crate) enum Cross {
    /// It says no origin, or nobody wants to know.
    Own,
    /// It comes from an origin that may call.
    Allowed(HeaderValue),
    /// A browser asks whether the page of an origin that may call may send a request.
    Asks(HeaderMap),
    /// It comes from an origin that may not call.
    Refused,
    /// A browser asks for a method that there is not.
    NoMethod,
}

const METHODS: &str = "DELETE, GET, OPTIONS, POST, PUT, LIST, PATCH";

impl Cross {
    /// Looks at a request.
    pub(crate) fn judge(core: &Core, method: &Method, headers: &HeaderMap) -> Self {
        let Some(origin) = headers.get(ORIGIN) else { return Self::Own };
        let cors = core.cors();
        if !cors.enabled {
            return Self::Own;
        }
        if !origin.to_str().is_ok_and(|text| cors.allows(text)) {
            return Self::Refused;
        }
        if method != Method::OPTIONS {
            return Self::Allowed(origin.clone());
        }
        let wanted = headers.get(ACCESS_CONTROL_REQUEST_METHOD).and_then(|method| method.to_str().ok());
        if !wanted.is_some_and(|wanted| METHODS.split(", ").any(|method| method == wanted)) {
            return Self::NoMethod;
        }
        let mut told = HeaderMap::new();
        allow(&mut told, origin.clone());
        told.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        told.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("300"));
        if let Ok(allowed) = HeaderValue::from_str(&cors.allowed_headers.join(",")) {
            told.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        }
        Self::Asks(told)
    }

    /// Tells the browser that its page may read the reply.
    pub(crate) fn mark<T>(self, response: &mut Response<T>) {
        if let Self::Allowed(origin) = self {
            allow(response.headers_mut(), origin);
        }
    }
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(VARY, HeaderValue::from_static("Origin"));
}
