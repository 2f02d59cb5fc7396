use super::*;

fn parse(request: http::request::Builder) -> Result<Option<Head>, Fault> {
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let peer = SocketAddr::from(([127, 0, 0, 1], 9));
    Head::parse(&parts, peer, &ListenerConfig::new(peer))
}

fn get(path: &str) -> http::request::Builder {
    http::Request::get(path)
}

fn head(request: http::request::Builder) -> Head {
    parse(request).unwrap().unwrap()
}

fn refused(request: http::request::Builder) -> (u16, String) {
    let Err(fault) = parse(request) else { panic!("taken") };
    (fault.row().status, fault.text(&"id".into()).unwrap_or_default())
}

fn body(method: &str, content_type: &str, body: &str) -> Result<String, String> {
    let head = head(http::Request::builder().method(method).uri("/v1/a").header("content-type", content_type));
    let limits = json::Limits { array_elements: 3, ..json::Limits::default() };
    let now = clock::Timestamp::UNIX_EPOCH;
    match head.with(Bytes::copy_from_slice(body.as_bytes()), gate::Upload::default(), &"id".into(), now, &limits) {
        Ok(Asked::Api(request)) => Ok(String::from_utf8(request.body.to_vec()).unwrap()),
        Ok(Asked::Bare(_)) => panic!("bare"),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn methods_become_verbs() {
    let verb = |method: &str, path: &str| {
        let request = http::Request::builder().method(method).uri(path);
        parse(request.header("content-type", "application/merge-patch+json; charset=utf-8"))
            .map(|head| head.map(|head| (head.verb, head.help)))
            .map_err(|fault| fault.row().status)
    };
    for (method, path, expected) in [
        ("GET", "/v1/a", (Verb::Read, false)),
        ("HEAD", "/v1/a", (Verb::Read, false)),
        ("GET", "/v1/a?list=true", (Verb::List, false)),
        ("GET", "/v1/a?list=1", (Verb::List, false)),
        ("GET", "/v1/a?list=false", (Verb::Read, false)),
        ("LIST", "/v1/a", (Verb::List, false)),
        ("GET", "/v1/a?scan=true", (Verb::Scan, false)),
        ("SCAN", "/v1/a", (Verb::Scan, false)),
        ("POST", "/v1/a?list=true", (Verb::Write, false)),
        ("PUT", "/v1/a", (Verb::Write, false)),
        ("DELETE", "/v1/a", (Verb::Delete, false)),
        ("PATCH", "/v1/a", (Verb::Patch, false)),
        ("GET", "/v1/a?help=1", (Verb::Read, true)),
        ("HELP", "/v1/a", (Verb::Read, true)),
    ] {
        assert_eq!(verb(method, path), Ok(Some(expected)), "{method} {path}");
    }
    for method in ["OPTIONS", "TRACE", "CONNECT", "get", "scan", "QUERY"] {
        assert_eq!(verb(method, "/v1/a"), Err(405), "{method}");
    }
    assert_eq!(verb("GET", "/"), Ok(None));
    for path in ["/v1", "/v2/a", "/ui/", "/v1x/a", "/V1/a"] {
        assert_eq!(verb("GET", path), Err(404), "{path}");
    }
}

#[test]
fn a_patch_needs_its_media_type() {
    for content_type in ["", "application/json", "application/merge-patch", "text/plain; application/merge-patch+json"]
    {
        let request = http::Request::patch("/v1/a").header("content-type", content_type);
        assert_eq!(refused(request).0, 415, "{content_type}");
    }
}

#[test]
fn the_token_is_found_and_goes_no_further() {
    let token = |head: &Head| head.token.as_ref().map(|token| token.expose().clone());
    let own = get("/v1/a").header("X-Vault-Token", "one").header("Authorization", "Bearer two");
    let found = head(own);
    assert_eq!(token(&found).as_deref(), Some("one"));
    assert!(found.headers.is_empty(), "{:?}", found.headers);
    let bearer = head(get("/v1/a").header("Authorization", "bearer  two "));
    assert_eq!(token(&bearer).as_deref(), Some("two"));
    assert!(bearer.headers.is_empty());
    let basic = head(get("/v1/a").header("Authorization", "Basic eDp5").header("X-Vault-Token", ""));
    assert_eq!(token(&basic), None);
    assert_eq!(basic.headers, [("authorization".to_owned(), "Basic eDp5".to_owned())]);
    assert_eq!(token(&head(get("/v1/a"))), None);
    assert_eq!(refused(get("/v1/a").header("X-Vault-Token", "a b")).0, 400);
    assert_eq!(refused(get("/v1/a").header("X-Vault-Token", &b"a\xffb"[..])).0, 400);
    let longest = "a".repeat(8 * 1024);
    assert!(parse(get("/v1/a").header("X-Vault-Token", &longest)).is_ok());
    assert_eq!(refused(get("/v1/a").header("X-Vault-Token", longest + "a")).0, 431);
}

#[test]
fn headers_are_handed_on_but_for_the_servers_own() {
    let request = get("/v1/a")
        .header("Host", "h")
        .header("Accept", "*/*")
        .header("X-Vault-Request", "true")
        .header("User-Agent", "curl")
        .header("X-App", "one")
        .header("X-App", "two");
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(head(request).headers, [text("user-agent", "curl"), text("x-app", "one"), text("x-app", "two")]);
}

#[test]
fn wrap_ttls_are_read_or_refused() {
    let ttl = |text: &str| parse(get("/v1/a").header("X-Vault-Wrap-TTL", text)).map(|head| head.unwrap().wrap_ttl);
    for (text, seconds) in [("60", Some(60)), ("5m", Some(300)), ("1h30m", Some(5400)), ("0", None), ("", None)] {
        assert_eq!(ttl(text).unwrap(), seconds.map(Duration::from_secs), "{text}");
    }
    for bad in ["-1", "-5m", "soon", "5 parsecs", "99999999999999999999"] {
        let (status, text) = refused(get("/v1/a").header("X-Vault-Wrap-TTL", bad));
        assert_eq!(status, 400, "{bad}");
        assert!(text.starts_with("X-Vault-Wrap-TTL: "), "{text}");
    }
    assert!(parse(get("/v1/a").header("X-Vault-Wrap-Format", "jwt")).is_ok());
    assert_eq!(refused(get("/v1/a").header("X-Vault-Wrap-Format", "uuid")).0, 400);
}

#[test]
fn namespaces_are_paths_too() {
    let namespace =
        |text: &str| parse(get("/v1/a").header("X-Vault-Namespace", text)).map(|head| head.unwrap().namespace);
    assert!(namespace("").unwrap().is_root());
    assert!(namespace("root").unwrap().is_root());
    assert!(namespace("/").unwrap().is_root());
    assert_eq!(namespace("/a/b/").unwrap().path(), "a/b/");
    for bad in ["..", "a/../b", "a//b", "./a"] {
        assert_eq!(refused(get("/v1/a").header("X-Vault-Namespace", bad)).0, 400, "{bad}");
    }
}

#[test]
fn bodies_are_objects_or_nothing() {
    let json = "application/json";
    assert_eq!(body("POST", json, "{\"a\":1}").unwrap(), "{\"a\":1}");
    assert_eq!(body("DELETE", json, "{\"a\":1}").unwrap(), "{\"a\":1}");
    assert_eq!(body("POST", "", " {\"a\":1} ").unwrap(), " {\"a\":1} ");
    for empty in ["", " \n", "null"] {
        assert_eq!(body("POST", json, empty).unwrap(), "", "{empty:?}");
    }
    // A body where none belongs is not even looked at.
    assert_eq!(body("GET", json, "hunter2").unwrap(), "");
    for bad in ["[1]", "\"hunter2\"", "1", "true", "{\"hunter2\"}", "{", "hunter2", "{\"a\":[1,2,3,4]}"] {
        let error = body("POST", json, bad).unwrap_err();
        assert!(error.starts_with("failed to parse JSON input: ") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn forms_become_objects_unless_they_are_json() {
    let form = "application/x-www-form-urlencoded";
    assert_eq!(body("POST", form, "a=1&b=x+y").unwrap(), r#"{"a":"1","b":"x y"}"#);
    assert_eq!(body("POST", form, "{\"a\":1}").unwrap(), "{\"a\":1}");
    assert!(body("POST", form, "[1]").is_err());
    assert!(body("POST", form, "a=1&a=2&a=3&a=4").unwrap_err().contains("array"));
    assert!(body("POST", form, "a=%").is_err());
    assert_eq!(body("POST", "application/x-www-form-urlencoded; charset=utf-8", "a=1").unwrap(), r#"{"a":"1"}"#);
}
