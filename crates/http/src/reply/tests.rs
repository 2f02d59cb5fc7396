use std::time::Duration;

use gate::Error;
use http_body_util::BodyExt;

use super::*;

fn id() -> RequestId {
    "8d8a1b04-0c1f-4f5f-9e3a-7d8a8f8e1f00".into()
}

async fn text(response: Response<ReplyBody>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn data(json: &'static str) -> Success {
    Success { content: Content::Data(Bytes::from_static(json.as_bytes())), ..Success::default() }
}

#[tokio::test]
async fn the_envelope_has_every_key() {
    let leased = Success {
        lease_id: "database/creds/app/a\"b".to_owned(),
        renewable: true,
        lease_duration: 3600,
        warnings: vec!["one".to_owned(), "two \"quoted\"\n".to_owned()],
        mount_type: "database",
        ..data(r#" {"a" : 1} "#)
    };
    let response = success(&id(), leased);
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["x-strongroom-request-id"], &*id());
    let expected = concat!(
        r#"{"request_id":"8d8a1b04-0c1f-4f5f-9e3a-7d8a8f8e1f00","lease_id":"database/creds/app/a\"b","renewable":true,"#,
        r#""lease_duration":3600,"data":{"a" : 1},"wrap_info":null,"warnings":["one","two \"quoted\"\n"],"auth":null,"#,
        r#""mount_type":"database"}"#,
        "\n"
    );
    assert_eq!(text(response).await, expected);
}

#[tokio::test]
async fn flat_replies_repeat_their_data() {
    for (json, tail) in [
        (r#"{"a":1,"b":{"c":2}}"#, r#""mount_type":"","a":1,"b":{"c":2}}"#),
        (r#"{}"#, r#""mount_type":""}"#),
        (r#"{ }"#, r#""mount_type":""}"#),
        (r#"[1]"#, r#""mount_type":""}"#),
    ] {
        let body = text(success(&id(), Success { flat: true, ..data(json) })).await;
        assert!(body.ends_with(&format!("{tail}\n")), "{body}");
        serde_json::from_str::<serde_json::Value>(&body).unwrap();
    }
}

#[tokio::test]
async fn logins_and_wrapped_replies_fill_their_part() {
    let auth = api::Auth { client_token: "hvs.x".to_owned(), lease_duration: 60, ..api::Auth::default() };
    let body = text(success(&id(), Success { auth: Some(Box::new(auth)), ..Success::default() })).await;
    let body: api::Envelope = serde_json::from_str(&body).unwrap();
    assert_eq!(body.auth.unwrap().client_token, "hvs.x");
    assert!(body.data.is_none());
    let info = api::WrapInfo {
        token: "hvs.w".to_owned(),
        accessor: "acc".to_owned(),
        ttl: 60,
        creation_time: "2026-01-01T00:00:00Z".to_owned(),
        creation_path: "a/b".to_owned(),
        wrapped_accessor: None,
    };
    let response = success(&id(), Success { wrap_info: Some(info), ..Success::default() });
    assert_eq!(response.status(), 200);
    let body: api::Envelope = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(body.request_id, "");
    assert_eq!(body.wrap_info.unwrap().token, "hvs.w");
}

#[tokio::test]
async fn nothing_to_say_is_204_unless_there_is_a_warning() {
    let response = success(&id(), Success::default());
    assert_eq!(response.status(), 204);
    assert!(response.headers().get("content-type").is_none());
    assert_eq!(text(response).await, "");
    let warned = Success { warnings: vec!["careful".to_owned()], ..Success::default() };
    let response = success(&id(), warned);
    assert_eq!(response.status(), 200);
    assert!(text(response).await.contains(r#""data":null,"wrap_info":null,"warnings":["careful"]"#));
    let accepted = success(&id(), Success { status: Some(202), ..Success::default() });
    assert_eq!(accepted.status(), 202);
    assert!(text(accepted).await.starts_with("{\"request_id\""));
    let gone = success(&id(), Success { status: Some(404), ..data(r#"{"data":null}"#) });
    assert_eq!(gone.status(), 404);
    assert!(text(gone).await.contains(r#""data":{"data":null}"#));
}

#[tokio::test]
async fn bare_raw_and_streamed_bodies_have_no_envelope() {
    let content = |content| success(&id(), Success { content, status: Some(503), ..Success::default() });
    let bare = content(Content::Bare(Bytes::from_static(b"{\"sealed\":true}")));
    assert_eq!(bare.status(), 503);
    assert_eq!(text(bare).await, "{\"sealed\":true}\n");
    let raw = content(Content::Raw("text/plain", Bytes::from_static(b"as is")));
    assert_eq!(raw.headers()["content-type"], "text/plain");
    assert_eq!(text(raw).await, "as is");
    let frames: gate::Frames =
        Box::pin(futures::stream::iter([Bytes::from_static(b"a\n"), Bytes::from_static(b"b\n")]));
    let mut stream = content(Content::Stream(frames.into()));
    stream.body_mut().end_with(std::future::pending);
    assert_eq!(text(stream).await, "a\nb\n");
    let endless: gate::Frames = Box::pin(futures::stream::repeat(Bytes::from_static(b"a\n")));
    let mut stream = content(Content::Stream(endless.into()));
    stream.body_mut().end_with(|| std::future::ready(()));
    assert_eq!(text(stream).await, "");
}

#[tokio::test]
async fn headers_of_the_answer_are_sent_if_they_are_headers() {
    let headers = vec![("Retry-After", "5".to_owned()), ("Bad Name", "x".to_owned()), ("x-a", "b\nc".to_owned())];
    let response = success(&id(), Success { headers, ..data("{}") });
    assert_eq!(response.headers()["retry-after"], "5");
    assert_eq!(response.headers().len(), 4);
}

#[tokio::test]
async fn faults_are_a_list_of_errors() {
    let response = fault(&id(), &Error::NotFound.into());
    assert_eq!(response.status(), 404);
    assert_eq!(text(response).await, "{\"errors\":[]}\n");
    let response = fault(&id(), &Error::Denied(gate::Refusal::Spent).into());
    assert_eq!(response.status(), 403);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(text(response).await, "{\"errors\":[\"1 error occurred:\\n\\t* permission denied\\n\\n\"]}\n");
    let quota = Error::Quota { text: "too \"many\"".to_owned(), retry_after: Duration::from_secs(7) };
    let response = fault(&id(), &quota.into());
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(text(response).await, "{\"errors\":[\"too \\\"many\\\"\"]}\n");
}

#[tokio::test]
async fn head_has_the_length_without_the_body() {
    let mut response = success(&id(), data("{}"));
    let length = response.body().size_hint().exact().unwrap();
    without_body(&mut response);
    assert_eq!(response.headers()["content-length"], length.to_string().as_str());
    assert_eq!(text(response).await, "");
}

#[test]
fn an_envelope_never_moves_in_memory() {
    let warnings = vec!["a \"long\" warning\n".repeat(100); 5];
    let long = Success { warnings, flat: true, lease_id: "l".repeat(300), ..data(r#"{"a":"b"}"#) };
    let Content::Data(json) = &long.content else { panic!() };
    // The room that was made at first is enough, so no copy of a secret stays behind in memory that was given back.
    let made = json.len() * 2 + long.warnings.iter().map(|text| text.len() * 2 + 8).sum::<usize>() + 300 + 320;
    assert!(envelope(&id(), &long, Some(json)).len() <= made);
}
