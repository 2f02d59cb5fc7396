//! Every form in which the text of a policy may be written, and every way in which it may not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at the first surprise")]

use policy::{MAX_TEXT, ParseError, Policy, decode_text};

/// The rules of a text in short: `line path capability,capability`.
fn read(text: &str) -> Result<Vec<String>, String> {
    let policy = Policy::parse("test", text).map_err(|error| error.to_string())?;
    let rule = |rule: &std::sync::Arc<policy::Rule>| {
        format!("{} {} {}", rule.line, rule.path, rule.capabilities.names().join(","))
    };
    Ok(policy.rules().iter().map(rule).collect())
}

#[test]
fn every_way_to_write_the_same_rule_reads_the_same() {
    let forms = [
        r#"path "a/b*" { capabilities = ["read", "list"] }"#,
        r#"path "a/b*" { capabilities = ["read", "list",] }"#,
        r#"path "a/b*" { capabilities = ["list" , "read" , ] , }"#,
        r#"path "/a/b*" { capabilities = ["read", "list"] }"#,
        r#""path" "a/b*" { "capabilities" = ["read", "list"] }"#,
        r#"path = { "a/b*" = { capabilities = ["read", "list"] } }"#,
        r#"path = { "a/b*" { capabilities = ["read", "list"] } }"#,
        r#"path { "a/b*" { capabilities = ["read", "list"] } }"#,
        r#"path = [{ "a/b*" = { capabilities = ["read", "list"] } }]"#,
        r#"path "a/b*" { policy = "read" }"#,
        r#"path "a/b*" { capabilities = ["read"] policy = "read" }"#,
        r#"path "a/b*" { capabilities = ["read", "list"] comment = "both" }"#,
        r#"path "a/b*" { comment = <<END capabilities = ["read", "list"] }"#,
        r#"name = "other" path "a/b*" { capabilities = ["read", "list"] }"#,
        r#"path "a\u002Fb*" { capabilities = ["re\u0061d", "l\U00000069st"] }"#,
        r#"path "a/b*" { capabilities /* here */ = [ /* and here */ "read", "list" ] } # end"#,
        r#"{"path": {"a/b*": {"capabilities": ["read", "list"]}}}"#,
        r#"{"path": [{"a/b*": {"capabilities": ["read", "list"]}}]}"#,
        r#"{"path": {"a/b*": [{"capabilities": ["read", "list"]}]}}"#,
        r#"{"name": "x", "path": {"\/a\/b*": {"policy": "read"}}}"#,
        "\u{feff}path \"a/b*\" { policy = \"read\" }",
        "  {\"path\": {\"a/b*\": {\"policy\": \"read\"}}}\r\n",
    ];
    for form in forms {
        let form = form.replace("<<END", "<<END\nfree\nEND\n");
        assert_eq!(read(&form).as_deref(), Ok(&["1 a/b* list,read".to_owned()][..]), "{form}");
    }
}

#[test]
fn texts_with_many_blocks_keep_their_lines() {
    let text = r#"# a comment
// another

/* over
   lines */
path "one" {
  capabilities = [
    "create", # why
    "read",   // why
    /* "update", */
  ]
}
path "two" { policy = "write" } path "three" { policy = "sudo" }
path "four" {
  policy = "deny"
}

path three { capabilities = ["patch", "scan"] }
path "" { capabilities = [] }
path "six" { capabilities = ["read", "deny", "list"] }
path "seven" {}"#;
    let expected = [
        "6 one create,read",
        "13 two create,delete,list,read,update",
        "13 three create,delete,list,read,sudo,update",
        "14 four deny",
        "18 three patch,scan",
        "19  ",
        "20 six deny",
        "21 seven ",
    ];
    assert_eq!(read(text).unwrap(), expected);
}

#[test]
fn json_keeps_lines_and_repeated_paths() {
    let text = "{\n \"path\": {\n  \"a\": {\"policy\": \"read\"},\n  \"a\": {\"capabilities\": [\"deny\"]}\n },\n \"path\": {\"b\":\n{\"policy\":\"read\"}}}";
    assert_eq!(read(text).unwrap(), ["3 a list,read", "4 a deny", "6 b list,read"]);
}

#[test]
fn empty_texts_are_policies_that_grant_nothing() {
    for text in
        ["", " \n\t", "# only a comment", "/**/", "{}", " { } ", "\u{feff}", "name = \"x\"", "path = {}", "path = []"]
    {
        assert_eq!(read(text), Ok(Vec::new()), "{text:?}");
    }
}

#[test]
fn strings_are_taken_literally() {
    let table = [
        (r#""a/${b}/c""#, "a/${b}/c"),
        (r#""a/$b/%{c}""#, "a/$b/%{c}"),
        (r#""a/$${b}""#, "a/$${b}"),
        (r#""a/${b{c}\n}""#, r"a/${b{c}\n}"),
        (r#""a\"b\\c\td""#, "a\"b\\c\td"),
        (r#""grüße/日本/\u00e9\U0001F600""#, "grüße/日本/é😀"),
        ("<<EOF\na/b\nEOF\n", "a/b\n"),
        ("<<EOF\r\na/b\r\n  EOF\r\n", "a/b\r\n"),
        ("<<-EOF\n    a\n      b\n    EOF\n", "a\n  b\n"),
        ("<<-EOF\n  a\n      b\n    EOF\n", "  a\n      b\n"),
        ("<<EOF\n  \"${x}\nEOF not yet\nEOF\n", "  \"${x}\nEOF not yet\n"),
    ];
    for (written, path) in table {
        let policy = Policy::parse("test", &format!("path {written} {{ policy = \"read\" }}")).unwrap();
        assert_eq!(policy.rules()[0].path, path, "{written}");
    }
    let json = r#"{"path": {"a\ud83d\ude00\/${b}": {"policy": "read"}}}"#;
    assert_eq!(Policy::parse("test", json).unwrap().rules()[0].path, "a😀/${b}");
}

#[test]
fn what_is_no_policy_is_refused_with_its_place() {
    let table = [
        // Syntax.
        ("path", "line 1: expected '=' or '{', found the end of the text"),
        ("path \"a\"", "line 1: expected '=' or '{', found the end of the text"),
        ("path \"a\" {", "line 1: expected a key, found the end of the text"),
        ("path \"a\" { policy = }", "line 1: expected a value, found '}'"),
        ("path \"a\" { policy = read }", "line 1: expected a value in quotes, found \"read\""),
        ("path \"a\" { policy = null }", "line 1: expected a value in quotes, found \"null\""),
        ("path \"a\" {}\n}", "line 2: expected a key, found '}'"),
        ("path \"a\" = {}", "line 1: expected '{' after several keys, found '='"),
        ("\n\n= 1", "line 3: expected a key, found '='"),
        ("path \"a\n\" {}", "line 1: string is not closed with '\"' on its line"),
        ("path \"a", "line 1: string is not closed with '\"' on its line"),
        ("path \"a\\", "line 1: string ends in '\\'"),
        ("path \"a\\q\" {}", "line 1: unknown escape '\\q' in a string"),
        ("path \"a\\u12\" {}", "line 1: a '\\u' escape needs 4 hexadecimal digits"),
        ("path \"a\\ud800\" {}", "line 1: a '\\u' escape names no character"),
        ("path \"${a\" {}", "line 1: '${' in a string is not closed with '}'"),
        ("path \"${a\"b\"}\" {}", "line 1: '${' in a string is not closed with '}'"),
        ("path \"a\u{7}\" {}", "line 1: string holds the control character '\\u{7}'"),
        ("/* \n\n", "line 1: comment is not closed with '*/'"),
        ("/ path", "line 1: unexpected '/': a comment begins with '#', '//' or '/*'"),
        ("path <<EOF\na\n", "line 1: no line \"EOF\" closes the heredoc"),
        ("path << EOF\na\nEOF\n", "line 1: a heredoc begins with '<<' and a word, alone on the line"),
        ("path \"a\" { policy = 1.2.3 }", "line 1: invalid number \"1.2.3\": write it in quotes"),
        ("path \"a\" { policy ; }", "line 1: unexpected character ';'"),
        ("path \"a\" { capabilities = [\"a\" \"b\"] }", "line 1: expected ',' or ']', found the string \"b\""),
        ("path \"a\" { capabilities = [,] }", "line 1: expected a value, found ','"),
        ("path \"a\", \"b\" {}", "line 1: expected '=' or '{', found ','"),
        ("{\"path\": {}", "line 1: expected ',' or '}', found the end of the text"),
        ("{\"path\": {},}", "line 1: expected a key in quotes, found '}'"),
        ("{\"path\": {\"a\": {\"capabilities\": [\"read\",]}}}", "line 1: expected a value, found ']'"),
        ("{\"path\" = {}}", "line 1: unexpected character '='"),
        ("{path: {}}", "line 1: expected a key in quotes, found \"path\""),
        ("{\"path\": {}} {}", "line 1: expected the end of the text, found '{'"),
        ("{} # no comments in JSON", "line 1: unexpected character '#'"),
        ("[]", "line 1: expected a key, found '['"),
        ("\"text\"", "line 1: expected '=' or '{', found the end of the text"),
        // Layout.
        ("pth \"a\" {}", "line 1: invalid key \"pth\": a policy consists of 'path' blocks"),
        ("Path \"a\" {}", "line 1: invalid key \"Path\": a policy consists of 'path' blocks"),
        ("name = [\"a\"]", "line 1: 'name' must be one string"),
        ("name \"a\" {}", "line 1: 'name' must be one string"),
        ("path \"a\" \"b\" {}", "line 1: 'path' takes one path in quotes, then a block"),
        ("path = \"a\"", "line 1: 'path' must be followed by a path in quotes and a block"),
        ("path = [1]", "line 1: a list of paths must hold objects"),
        ("path = { \"a\" \"b\" {} }", "line 1: each path must be one string, followed by a block"),
        (
            "path { capabilities = [\"read\"] }",
            "path \"capabilities\" on line 1: a path must be followed by a block in braces",
        ),
        // Keys of a block.
        ("\npath \"a\" {\n capability = [\"read\"]\n}", "path \"a\": invalid key \"capability\" on line 3"),
        ("path \"a\" { Capabilities = [\"read\"] }", "path \"a\": invalid key \"Capabilities\" on line 1"),
        ("path \"a\" { policy = \"read\"\npolicy = \"deny\" }", "path \"a\" on line 2: key \"policy\" is given twice"),
        ("path \"a\" { policy \"x\" {} }", "path \"a\" on line 1: key \"policy\" takes no label"),
        ("path \"a\" { mfa_methods = [\"m\"] }", "path \"a\" on line 1: \"mfa_methods\" is not supported; remove it"),
        (
            "path \"a\" { control_group { ttl = 1 } }",
            "path \"a\" on line 1: \"control_group\" is not supported; remove it",
        ),
        (
            "path \"a\" { pagination_limit = 5 }",
            "path \"a\" on line 1: \"pagination_limit\" is not supported; remove it",
        ),
        ("path \"a\" {\n\n expiration = \"x\" }", "path \"a\" on line 3: \"expiration\" is not supported; remove it"),
        (
            "path \"a\" { capabilities = [\"subscribe\"] }",
            "path \"a\" on line 1: \"subscribe\" is not supported; remove it",
        ),
        // Values.
        (
            "path \"a\" { capabilities = [\"Read\"] }",
            "path \"a\" on line 1: invalid capability \"Read\": use create, delete, deny, list, patch, read, scan, sudo, update",
        ),
        (
            "path \"a\" { capabilities = \"read\" }",
            "path \"a\" on line 1: 'capabilities' must be a list of strings, such as [\"a\", \"b\"]",
        ),
        (
            "path \"a\" { capabilities = [1] }",
            "path \"a\" on line 1: 'capabilities' must be a list of strings, such as [\"a\", \"b\"]",
        ),
        (
            "path \"a\" { policy = \"admin\" }",
            "path \"a\" on line 1: invalid policy \"admin\": use deny, read, write or sudo, or better 'capabilities'",
        ),
        ("path \"a\" { policy = [\"read\"] }", "path \"a\" on line 1: 'policy' must be a string in quotes"),
        ("path \"a\" { comment = 1 }", "path \"a\" on line 1: 'comment' must be a string in quotes"),
        (
            "path \"a\" { allowed_parameters = [\"x\"] }",
            "path \"a\" on line 1: 'allowed_parameters' must be an object of lists, such as { \"a\" = [\"b\"], \"c\" = [] }",
        ),
        (
            "path \"a\" { denied_parameters = { x = \"y\" } }",
            "path \"a\" on line 1: 'denied_parameters' must be an object of lists, such as { \"a\" = [\"b\"], \"c\" = [] }",
        ),
        (
            "path \"a\" { allowed_parameters = { x = [], X = [] } }",
            "path \"a\" on line 1: 'allowed_parameters' names the parameter \"X\" twice",
        ),
        (
            "path \"a\" { required_parameters = { x = [] } }",
            "path \"a\" on line 1: 'required_parameters' must be a list of strings, such as [\"a\", \"b\"]",
        ),
        (
            "path \"a\" { min_wrapping_ttl = \"soon\" }",
            "path \"a\" on line 1: 'min_wrapping_ttl': invalid duration: use seconds or units, such as 90, 90s, 1h30m or 2d",
        ),
        (
            "path \"a\" { max_wrapping_ttl = -5 }",
            "path \"a\" on line 1: 'max_wrapping_ttl': invalid duration: it must not be negative",
        ),
        (
            "path \"a\" { min_wrapping_ttl = [1] }",
            "path \"a\" on line 1: 'min_wrapping_ttl' must be a duration, such as 90 or \"1h\"",
        ),
        (
            "path \"a\" { min_wrapping_ttl = \"2m\" max_wrapping_ttl = 119 }",
            "path \"a\" on line 1: 'max_wrapping_ttl' must not be less than 'min_wrapping_ttl'",
        ),
        // Paths.
        (
            "path \"a/+*\" {}",
            "path \"a/+*\" on line 1: '+*' is no valid wildcard: write '+' for one segment, or '*' alone at the end",
        ),
        (
            "path \"a/{{identity.entity.id}\" {}",
            "path \"a/{{identity.entity.id}\" on line 1: a template must be opened with '{{' and closed with '}}'",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(read(text), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn limits_hold() {
    let text = |path: &str| format!("path \"{path}\" {{ policy = \"read\" }}");
    assert!(read(&text(&"a".repeat(4096))).is_ok());
    assert!(read(&text(&"a".repeat(4097))).unwrap_err().contains("longer than 4096 bytes"));
    assert!(read(&text(&"a/".repeat(255))).is_ok());
    assert!(read(&text(&"a/".repeat(256))).unwrap_err().contains("more than 256 segments"));
    let long = format!("#{}", "x".repeat(MAX_TEXT));
    assert_eq!(Policy::parse("test", &long).unwrap_err(), ParseError::TooLong(MAX_TEXT + 1));
    assert_eq!(read(&long[..MAX_TEXT]), Ok(Vec::new()));
    for (open, close) in [("[", "]"), ("{a=", "}"), ("{a ", "}")] {
        let nested = |depth| {
            let value = format!("{}{}", open.repeat(depth), close.repeat(depth));
            read(&format!("path \"p\" {{ allowed_parameters = {{ x = [{value}] }} }}")).unwrap_err()
        };
        assert!(nested(100_000).contains("nested more than 32 deep"));
    }
    let json = format!("{{\"a\":{}", "[".repeat(500_000));
    assert!(read(&json).unwrap_err().contains("nested more than 32 deep"));
}

#[test]
fn reserved_and_impossible_names_are_refused() {
    for name in ["root", " ROOT "] {
        assert_eq!(Policy::parse(name, "").unwrap_err(), ParseError::Root);
    }
    assert!(matches!(Policy::parse("a,b", "").unwrap_err(), ParseError::Name(_)));
    assert_eq!(Policy::parse(" Web-App ", "").unwrap().name().as_str(), "web-app");
}

#[test]
fn base64_is_decoded_and_nothing_else() {
    let plain = "path \"a\" { policy = \"read\" }\n";
    assert_eq!(decode_text("cGF0aCAiYSIgeyBwb2xpY3kgPSAicmVhZCIgfQo="), plain);
    assert_eq!(decode_text("cGF0aCAiYSIgeyBwb2xp\nY3kgPSAicmVhZCIgfQo=\r\n"), plain);
    assert_eq!(
        decode_text("eyJwYXRoIjogeyJhIjogeyJwb2xpY3kiOiAicmVhZCJ9fX0="),
        "{\"path\": {\"a\": {\"policy\": \"read\"}}}"
    );
    for text in [plain, "", "{}", "cGF0aCAiYSI", "/w==", "ab cd"] {
        assert_eq!(decode_text(text), text);
    }
}

/// The reader of another project, for the newer language, agrees on texts that mean the same in both.
#[test]
fn an_independent_reader_agrees() {
    let texts = [
        policy::DEFAULT.to_owned(),
        policy::RESPONSE_WRAPPING.to_owned(),
        "path \"a\" {\n  capabilities = [\"read\", \"list\"]\n}\n\n# c\npath \"b/*\" {\n  capabilities = [\n    \"deny\", // d\n  ]\n}\n"
            .to_owned(),
        "path \"a\\tb\\\"\\\\\\u00e9\" {\n  capabilities = [\"update\"]\n}\n".to_owned(),
    ];
    for text in texts {
        let body: hcl::Body = hcl::parse(&text).unwrap();
        let blocks = body.blocks().map(|block| {
            let label = block.labels[0].as_str().to_owned();
            let capabilities = match block.body.attributes().find(|a| a.key() == "capabilities").unwrap().expr() {
                hcl::Expression::Array(list) => {
                    let mut names: Vec<_> = list
                        .iter()
                        .map(|value| match value {
                            hcl::Expression::String(name) => name.clone(),
                            other => panic!("{other:?}"),
                        })
                        .collect();
                    names.sort();
                    names.join(",")
                }
                other => panic!("{other:?}"),
            };
            format!("{label} {capabilities}")
        });
        let ours = read(&text).unwrap().into_iter().map(|rule| rule.split_once(' ').unwrap().1.to_owned());
        assert_eq!(ours.collect::<Vec<_>>(), blocks.collect::<Vec<_>>());
    }
}
