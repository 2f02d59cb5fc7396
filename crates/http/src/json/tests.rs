use proptest::prelude::*;

use super::*;

fn scan(text: &[u8]) -> Result<Shape, Fault> {
    check(text, &Limits::default())
}

#[test]
fn valid_texts_pass() {
    for (text, shape) in [
        ("", Shape::Empty),
        (" \r\n\t", Shape::Empty),
        ("{}", Shape::Object),
        (" { } ", Shape::Object),
        (r#"{"a":1,"b":[true,false,null,"x",-0.5e+10,0,{"c":[]}]}"#, Shape::Object),
        (r#"{"a\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t":"é😀"}"#, Shape::Object),
        ("null", Shape::Null),
        ("[]", Shape::Other),
        ("[[],[[]]]", Shape::Other),
        ("1e999", Shape::Other),
        ("\"\u{7f}\"", Shape::Other),
    ] {
        assert_eq!(scan(text.as_bytes()), Ok(shape), "{text}");
    }
}

#[test]
fn invalid_texts_are_refused_with_their_place() {
    for (text, fault) in [
        ("{", Fault::End),
        ("{\"a\"", Fault::End),
        ("{\"a\":", Fault::End),
        ("{\"a\":1", Fault::End),
        ("[1,", Fault::End),
        ("\"abc", Fault::End),
        ("\"\\", Fault::End),
        ("\"\\u12", Fault::End),
        ("-", Fault::End),
        ("1.", Fault::End),
        ("1e", Fault::End),
        ("tru", Fault::End),
        ("{a:1}", Fault::Unexpected(1)),
        ("{\"a\" 1}", Fault::Unexpected(5)),
        ("{\"a\":1,}", Fault::Unexpected(7)),
        ("{\"a\":1]", Fault::Unexpected(6)),
        ("{,}", Fault::Unexpected(1)),
        ("[1,]", Fault::Unexpected(3)),
        ("[,1]", Fault::Unexpected(1)),
        ("[1 2]", Fault::Unexpected(3)),
        ("[1}", Fault::Unexpected(2)),
        ("{} {}", Fault::Unexpected(3)),
        ("01", Fault::Unexpected(1)),
        ("+1", Fault::Unexpected(0)),
        (".5", Fault::Unexpected(0)),
        ("1.x", Fault::Unexpected(2)),
        ("nul1", Fault::Unexpected(3)),
        ("NaN", Fault::Unexpected(0)),
        ("'a'", Fault::Unexpected(0)),
        ("\"a\nb\"", Fault::Unexpected(2)),
        ("\"\0\"", Fault::Unexpected(1)),
        ("\u{feff}{}", Fault::Unexpected(0)),
        ("// c\n{}", Fault::Unexpected(0)),
        ("\"\\x\"", Fault::Escape(1)),
        ("\"\\u12g4\"", Fault::Escape(1)),
        ("\"\\ud800\"", Fault::End),
        ("\"\\ud800abc\"", Fault::Escape(1)),
        ("\"\\ud800\\u0041\"", Fault::Escape(1)),
        ("\"\\udc00\"", Fault::Escape(1)),
    ] {
        let found = scan(text.as_bytes());
        // Whether a half pair at the very end is an escape or an end matters to nobody.
        let same = found == Err(fault) || text == "\"\\ud800\"" && found.is_err();
        assert!(same, "{text}: {found:?} instead of {fault:?}");
        assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
    }
    assert_eq!(scan(b"{\"a\":\"\xff\"}"), Err(Fault::Utf8(6)));
}

#[test]
fn limits_hold_at_their_edge() {
    let limits = Limits { depth: 3, string_length: 4, object_entries: 2, array_elements: 2 };
    for (text, fault) in [
        ("[[[]]]", None),
        ("[[[[]]]]", Some(Fault::Depth(3))),
        (r#"{"a":{"b":{"c":{}}}}"#, Some(Fault::Depth(3))),
        (r#"[[[]],[[]]]"#, None),
        ("[1,2]", None),
        ("[1,2,3]", Some(Fault::Array(2))),
        (r#"{"a":1,"b":2}"#, None),
        (r#"{"a":1,"b":2,"c":3}"#, Some(Fault::Object(2))),
        (r#"{"a":[1,2],"b":[1,2]}"#, None),
        (r#""1234""#, None),
        (r#""12345""#, Some(Fault::String(4))),
        (r#"{"12345":1}"#, Some(Fault::String(4))),
        (r#""\n\n\n\n""#, None),
        (r#""\u0041\u0041\u0041\u0041""#, None),
        (r#""\ud83d\ude00""#, None),
        (r#""\ud83d\ude00a""#, Some(Fault::String(4))),
    ] {
        assert_eq!(check(text.as_bytes(), &limits).err(), fault, "{text}");
    }
}

#[test]
fn no_configuration_lifts_the_deepest() {
    let limits = Limits { depth: usize::MAX, ..Limits::default() };
    let text = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert_eq!(check(&text(Limits::DEEPEST), &limits), Ok(Shape::Other));
    assert_eq!(check(&text(Limits::DEEPEST + 1), &limits), Err(Fault::Depth(Limits::DEEPEST)));
    assert_eq!(check(&vec![b'['; 1_000_000], &limits), Err(Fault::Depth(Limits::DEEPEST)));
}

#[test]
fn faults_do_not_tell_the_content() {
    for text in [r#"{"password":"hunter2"#, r#"{"password":hunter2}"#, r#"{"hunter2"}"#] {
        let fault = scan(text.as_bytes()).unwrap_err().to_string();
        assert!(!fault.contains("hunter2") && !fault.contains("password"), "{fault}");
    }
}

/// Whether a text is valid as serde_json sees it; `None` where a number is too large for it, which the grammar allows.
fn valid(text: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<serde_json::Value>(text) {
        Ok(_) => Some(true),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(_) => Some(false),
    }
}

fn agrees(text: &[u8]) -> bool {
    match scan(text) {
        Ok(Shape::Empty) => text.trim_ascii().is_empty(),
        found => valid(text).is_none_or(|valid| valid == found.is_ok()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Soup of the pieces that JSON is made of.
    #[test]
    fn agrees_with_serde_json_on_soup(pieces in proptest::collection::vec(
        proptest::sample::select(vec![
            "{", "}", "[", "]", ":", ",", "\"", "\"a\"", "\\", "\\u", "d83d", "\\ude00", "0", "1", "-", ".", "e", "+",
            "true", "null", " ", "\n", "a", "é", "\u{1}", "\"k\":", "[1]", "{\"x\":1}",
        ]), 0..12))
    {
        let text = pieces.concat();
        prop_assert!(agrees(text.as_bytes()), "{text:?}");
    }

    #[test]
    fn agrees_with_serde_json_on_any_text(text in "\\PC{0,24}") {
        prop_assert!(agrees(text.as_bytes()), "{text:?}");
    }

    /// A valid text with one byte changed, removed or added.
    #[test]
    fn agrees_with_serde_json_on_damaged_texts(value in json(), at in any::<prop::sample::Index>(), byte: u8, how in 0..4) {
        let mut text = serde_json::to_vec(&value).unwrap();
        let at = at.index(text.len());
        match how {
            0 => {}
            1 => text[at] = byte,
            2 => { text.remove(at); }
            _ => text.insert(at, byte),
        }
        prop_assert!(agrees(&text), "{:?}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = scan(&bytes);
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e9..1e9).prop_map(|number: f64| number.into()),
        "\\PC{0,6}".prop_map(Into::into),
        "[\\x00-\\x7f]{0,6}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map("\\PC{0,4}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}
