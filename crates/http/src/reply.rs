//! From a reply of the core, or a fault, to an HTTP response.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::StreamExt;
use gate::RequestId;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
};
use hyper::body::{Body, Frame, SizeHint};
use secret::WipedBytes;
use serde::Serialize;
use strongroom_core::{Content, Success};

use crate::{connection::Busy, status::Fault};

/// The body of a response. While it is there, its connection counts as busy.
pub(crate) struct ReplyBody {
    rest: Rest,
    busy: Option<Busy>,
}

enum Rest {
    Whole(Bytes),
    Frames(gate::Frames),
}

impl ReplyBody {
    /// Keeps the connection busy until the body was sent.
    pub(crate) fn hold(&mut self, busy: Busy) {
        self.busy = Some(busy);
    }

    /// Ends an endless body as soon as what `end` makes is ready.
    pub(crate) fn end_with<F: Future<Output = ()> + Send + 'static>(&mut self, end: impl FnOnce() -> F) {
        if let Rest::Frames(frames) = &mut self.rest {
            let all = std::mem::replace(frames, Box::pin(futures::stream::empty()));
            *frames = Box::pin(all.take_until(Box::pin(end())));
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.get_mut().rest {
            Rest::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Rest::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Rest::Frames(frames) => frames.as_mut().poll_next(cx).map(|next| next.map(|next| Ok(Frame::data(next)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.rest, Rest::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            Rest::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Rest::Frames(_) => SizeHint::default(),
        }
    }
}

/// The response to a request that was answered.
pub(crate) fn success(id: &RequestId, mut success: Success) -> Response<ReplyBody> {
    let content = std::mem::take(&mut success.content);
    let headers = std::mem::take(&mut success.headers);
    let (usual, media_type, rest) = match content {
        Content::Bare(json) => (200, JSON, Rest::Whole(with_newline(&json))),
        Content::Raw(media_type, bytes) => (200, HeaderValue::from_static(media_type), Rest::Whole(bytes)),
        Content::Stream(frames) => {
            let frames = frames.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            (200, LINES, Rest::Frames(frames))
        }
        Content::Empty if says_nothing(&success) => match success.status {
            None | Some(204 | 304) => (204, JSON, Rest::Whole(Bytes::new())),
            Some(400..) => (200, JSON, Rest::Whole(Bytes::from_static(NO_ERRORS))),
            Some(_) => (200, JSON, Rest::Whole(envelope(id, &success, None))),
        },
        Content::Empty => (200, JSON, Rest::Whole(envelope(id, &success, None))),
        Content::Data(data) => (200, JSON, Rest::Whole(envelope(id, &success, Some(&data)))),
    };
    let mut response = respond(id, success.status.unwrap_or(usual), rest);
    let typed = headers.iter().any(|(name, _)| *name == "content-type");
    if !typed && !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        response.headers_mut().insert(CONTENT_TYPE, media_type);
    }
    add(&mut response, headers);
    response
}

/// Gives a response further headers.
pub(crate) fn add<N: AsRef<str>>(response: &mut Response<ReplyBody>, headers: Vec<(N, String)>) {
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_ref().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            response.headers_mut().append(name, value);
        }
    }
}

/// The response to a browser that asks before it sends.
pub(crate) fn told(id: &RequestId, headers: &HeaderMap) -> Response<ReplyBody> {
    let mut response = respond(id, 204, Rest::Whole(Bytes::new()));
    response.headers_mut().extend(headers.clone());
    response
}

/// The response to a request that was not.
pub(crate) fn fault(id: &RequestId, fault: &Fault) -> Response<ReplyBody> {
    let body = match fault.text(id) {
        None => Bytes::from_static(NO_ERRORS),
        Some(text) => {
            let mut body = Vec::with_capacity(text.len() + 32);
            body.extend_from_slice(b"{\"errors\":[");
            json(&mut body, text.as_str());
            body.extend_from_slice(b"]}\n");
            body.into()
        }
    };
    let mut response = respond(id, fault.row().status, Rest::Whole(body));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    if let Some(seconds) = fault.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The page at `/`.
pub(crate) fn root(id: &RequestId, headers: Vec<(String, String)>) -> Response<ReplyBody> {
    let mut response = respond(id, 200, Rest::Whole(Bytes::from_static(b"Strongroom: the API lies below /v1/\n")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    add(&mut response, headers);
    response
}

/// Drops the body, for HEAD, but says how long it would have been.
pub(crate) fn without_body(response: &mut Response<ReplyBody>) {
    let length = response.body().size_hint().exact();
    response.body_mut().rest = Rest::Whole(Bytes::new());
    if let Some(length) = length.filter(|length| *length > 0) {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
}

fn respond(id: &RequestId, status: u16, rest: Rest) -> Response<ReplyBody> {
    let rest = if matches!(status, 204 | 304) { Rest::Whole(Bytes::new()) } else { rest };
    let mut response = Response::new(ReplyBody { rest, busy: None });
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    *response.headers_mut() = headers;
    response
}

fn says_nothing(success: &Success) -> bool {
    success.auth.is_none() && success.wrap_info.is_none() && success.warnings.is_empty() && success.lease_id.is_empty()
}

/// The envelope around `data`, which is not parsed again. The bytes wipe themselves.
fn envelope(id: &RequestId, success: &Success, data: Option<&Bytes>) -> Bytes {
    let data = data.map(|data| data.trim_ascii()).unwrap_or(b"null");
    let copies = if success.flat { 2 } else { 1 };
    let others = if success.auth.is_some() || success.wrap_info.is_some() { 4096 } else { 0 };
    let warnings: usize = success.warnings.iter().map(|warning| warning.len() * 2 + 8).sum();
    // Room for all of it, so that the buffer never moves and leaves a copy behind.
    let mut to = WipedBytes::with_capacity(data.len() * copies + others + warnings + success.lease_id.len() + 320);
    to.extend_from_slice(b"{\"request_id\":\"");
    // A wrapped reply is not to be found in the audit log by who holds the wrapping token. A UUID needs no escapes.
    to.extend_from_slice(if success.wrap_info.is_some() { b"" } else { id.as_bytes() });
    to.extend_from_slice(b"\",\"lease_id\":");
    json(&mut to, success.lease_id.as_str());
    to.extend_from_slice(if success.renewable { b",\"renewable\":true" } else { b",\"renewable\":false" });
    to.extend_from_slice(b",\"lease_duration\":");
    json(&mut to, &success.lease_duration);
    to.extend_from_slice(b",\"data\":");
    to.extend_from_slice(data);
    to.extend_from_slice(b",\"wrap_info\":");
    json(&mut to, &success.wrap_info);
    to.extend_from_slice(b",\"warnings\":");
    match success.warnings.as_slice() {
        [] => to.extend_from_slice(b"null"),
        warnings => json(&mut to, warnings),
    }
    to.extend_from_slice(b",\"auth\":");
    json(&mut to, &success.auth);
    to.extend_from_slice(b",\"mount_type\":");
    json(&mut to, success.mount_type);
    if success.flat
        && let Some(inner) = data.strip_prefix(b"{").and_then(|data| data.strip_suffix(b"}"))
        && !inner.trim_ascii().is_empty()
    {
        to.push(b',');
        to.extend_from_slice(inner);
    }
    to.extend_from_slice(b"}\n");
    Bytes::from_owner(to)
}

fn with_newline(json: &Bytes) -> Bytes {
    let mut to = WipedBytes::with_capacity(json.len() + 1);
    to.extend_from_slice(json.trim_ascii_end());
    to.push(b'\n');
    Bytes::from_owner(to)
}

fn json<T: Serialize + ?Sized>(to: &mut Vec<u8>, value: &T) {
    // Our own wire types can always be written to memory.
    let _ = serde_json::to_writer(to, value);
}

/// Exactly this, because clients compare the value as it is.
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-strongroom-request-id");
const NO_ERRORS: &[u8] = b"{\"errors\":[]}\n";

#[cfg(test)]
mod tests;
