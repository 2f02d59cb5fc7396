use super::*;

fn fill(template: &str, purpose: Purpose, values: &Values<'_>) -> Result<String, Flaw> {
    let template = Template::parse(&Statements::from(&[template][..]), purpose)?;
    Ok(template.render(values)?.to_string())
}

fn create(template: &str, name: &str) -> Result<String, Flaw> {
    let values = Values { name, password: Some("p'w\\"), expiration: Some("2026-01-01 00:00:00+0000") };
    fill(template, Purpose::Create, &values)
}

#[test]
fn each_place_quotes_in_its_own_way() {
    let cases = [
        (r#"CREATE ROLE "{{name}}""#, "CREATE ROLE \"a\"\"b'c\";\n"),
        (r#"CREATE ROLE "{{username}}""#, "CREATE ROLE \"a\"\"b'c\";\n"),
        (r#"CREATE ROLE "{{ name }}""#, "CREATE ROLE \"a\"\"b'c\";\n"),
        ("CREATE ROLE {{name}} LOGIN", "CREATE ROLE \"a\"\"b'c\" LOGIN;\n"),
        (r#"CREATE ROLE "x_{{name}}_y""#, "CREATE ROLE \"x_a\"\"b'c_y\";\n"),
        ("SELECT f('{{name}}')", "SELECT f('a\"b''c');\n"),
        ("SELECT f(E'{{name}}', '{{password}}', E'{{password}}')", "SELECT f(E'a\"b''c', 'p''w\\', E'p''w\\\\');\n"),
        (
            "SELECT f('{{name}}') WHERE t < '{{expiration}}'",
            "SELECT f('a\"b''c') WHERE t < '2026-01-01 00:00:00+0000';\n",
        ),
        (r#"SELECT f('CREATE ROLE "{{name}}"')"#, "SELECT f('CREATE ROLE \"a\"\"b''c\"');\n"),
        ("SELECT f('x ''{{name}}'' y')", "SELECT f('x ''a\"b''''c'' y');\n"),
        (
            r#"DO $x$ BEGIN EXECUTE 'CREATE ROLE "{{name}}" PASSWORD ''{{password}}'''; END $x$"#,
            "DO $x$ BEGIN EXECUTE 'CREATE ROLE \"a\"\"b''c\" PASSWORD ''p''''w\\'''; END $x$;\n",
        ),
        ("DO $$ SELECT {{name}}; SELECT 2 $$", "DO $$ SELECT \"a\"\"b'c\"; SELECT 2 $$;\n"),
        ("SELECT $q${{name}}$q$", "SELECT $q$a\"b'c$q$;\n"),
    ];
    for (template, wanted) in cases {
        assert_eq!(create(template, "a\"b'c").as_deref(), Ok(wanted), "{template}");
    }
}

#[test]
fn statements_split_only_where_they_end() {
    let template = "CREATE ROLE \"{{name}}\" /* ; /* nested */ ' */; -- it's ; a comment\nSELECT ';', $$ ; $$, \";\" ;\n ; ;GRANT a TO \"{{name}}\"";
    let sql = create(template, "u").unwrap();
    assert_eq!(sql, "CREATE ROLE \"u\";\nSELECT ';', $$ ; $$, \";\";\nGRANT a TO \"u\";\n");
    assert_eq!(
        create("SELECT $1, a$b$c, '{{1,2},{3,4}}', \"{{name}}\"", "u").unwrap(),
        "SELECT $1, a$b$c, '{{1,2},{3,4}}', \"u\";\n"
    );
}

#[test]
fn a_value_never_leaves_its_place() {
    let hostile = [
        "\"; DROP TABLE x; --",
        "'; DROP TABLE x; --",
        "$$; DROP TABLE x; $$",
        "\\'; DROP TABLE x",
        "a\nb",
        "*/ x",
        "$x$",
    ];
    let templates = [
        r#"CREATE ROLE "{{name}}" PASSWORD '{{password}}'"#,
        "CREATE ROLE {{name}}",
        "SELECT f('{{name}}')",
        "SELECT f(E'{{name}}')",
        "SELECT f('user {{name}} here')",
        "SELECT f('it''s {{name}}')",
        r#"SELECT f('CREATE ROLE "{{name}}"')"#,
        "DO $$ SELECT '{{name}}' $$",
        "DO $x$ SELECT '{{name}}$' $x$",
        "DO $x$ -- {{name}}\n SELECT 1 $x$",
        "DO $x$ /* {{name}} */ SELECT '{{name}}' $x$",
        "SELECT $$ {{name}} $$",
    ];
    for template in templates {
        let shape = shape(&create(template, "plain").unwrap());
        for name in hostile {
            // Either it is refused, or the statement has the same shape as with a harmless name.
            if let Ok(sql) = create(template, name) {
                assert_eq!(self::shape(&sql), shape, "{template} with {name:?}: {sql}");
            }
        }
    }
}

/// The statements with everything in quotes taken out, recursively, by an independent and simple-minded reader.
fn shape(sql: &str) -> String {
    let (mut out, mut rest) = (String::new(), sql);
    while let Some(c) = rest.chars().next() {
        let escapes = out.ends_with('E');
        let end = match c {
            '"' | '\'' => {
                let mut at = 1;
                loop {
                    let tail = &rest[at..];
                    let next = tail.chars().next().unwrap();
                    at += next.len_utf8();
                    if escapes && next == '\\' {
                        at += tail[1..].chars().next().unwrap().len_utf8();
                    } else if next == c && tail[1..].starts_with(c) {
                        at += 1;
                    } else if next == c {
                        break at;
                    }
                }
            }
            '$' => {
                let tag = &rest[..rest[1..].find('$').unwrap() + 2];
                tag.len() * 2 + rest[tag.len()..].find(tag).unwrap()
            }
            c => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        out.push(if c == '$' { '$' } else { c });
        rest = &rest[end..];
    }
    out
}

#[test]
fn what_cannot_be_quoted_is_refused_when_it_is_written() {
    let cases = [
        ("CREATE ROLE \"{{name}}\" PASSWORD {{password}}", Flaw::Bare("{{password}}", "single")),
        ("CREATE ROLE \"{{name}}\" PASSWORD \"{{password}}\"", Flaw::Bare("{{password}}", "single")),
        ("CREATE ROLE \"{{name}}\" VALID UNTIL {{expiration}}", Flaw::Bare("{{expiration}}", "single")),
        ("DO $$ CREATE ROLE \"{{name}}\" PASSWORD {{password}} $$", Flaw::Bare("{{password}}", "single")),
        ("CREATE ROLE app_{{name}}", Flaw::Bare("{{name}}", "double")),
        ("CREATE ROLE {{name}}_app", Flaw::Bare("{{name}}", "double")),
        ("CREATE ROLE {{name}}{{name}}", Flaw::Bare("{{name}}", "double")),
        ("SELECT E'a\\n{{name}}'", Flaw::Escapes),
        ("SELECT U&'{{name}}'", Flaw::Escapes),
        ("CREATE ROLE U&\"{{name}}\"", Flaw::Escapes),
        ("CREATE ROLE \"{{name}}", Flaw::Unterminated("a name in double quotes")),
        ("CREATE ROLE '{{name}}", Flaw::Unterminated("a text in single quotes")),
        ("DO $a$ '{{name}}' $b$", Flaw::Unterminated("a text in dollar quotes")),
        ("SELECT '{{name}}' /* /* */", Flaw::Unterminated("a comment")),
        ("CREATE ROLE \"{{name}}\" PASSWORD '{{passwort}}'", Flaw::Unknown("passwort".to_owned())),
        ("BEGIN; CREATE ROLE \"{{name}}\"; COMMIT", Flaw::Forbidden("BEGIN".to_owned())),
        ("CREATE ROLE \"{{name}}\"; prepare transaction 'x'", Flaw::Forbidden("PREPARE TRANSACTION".to_owned())),
        ("CREATE ROLE x", Flaw::Missing("{{name}}")),
        (" ; -- nothing", Flaw::Missing("a statement that makes the user")),
    ];
    for (template, wanted) in cases {
        assert_eq!(create(template, "u"), Err(wanted), "{template}");
    }
    let values = Values { name: "u", password: None, expiration: None };
    assert_eq!(fill("DROP ROLE '{{password}}'", Purpose::Revoke, &values), Err(Flaw::NoValue("{{password}}")));
    assert_eq!(fill("ALTER ROLE \"{{name}}\"", Purpose::Rotate, &values), Err(Flaw::Missing("{{password}}")));
    assert_eq!(create("CREATE ROLE \"{{name}}\"", "a\0b"), Err(Flaw::Unsafe("{{name}}")));
}

#[test]
fn statements_on_shared_objects_are_told_from_others() {
    let cases = [
        ("CREATE ROLE \"{{name}}\" IN ROLE readers", false, false),
        ("CREATE USER \"{{name}}\"; GRANT readers TO \"{{name}}\"", false, false),
        ("CREATE ROLE \"{{name}}\"; ALTER ROLE \"{{name}}\" SET search_path = 'a'", false, false),
        ("CREATE ROLE \"{{name}}\"; grant select on all tables in schema public to \"{{name}}\"", true, true),
        ("CREATE ROLE \"{{name}}\"; GRANT \"on\" TO \"{{name}}\"", false, false),
        ("SELECT make_user('{{name}}')", true, false),
        ("CREATE ROLE \"{{name}}\"; CREATE SCHEMA AUTHORIZATION \"{{name}}\"", true, false),
    ];
    for (template, shared, grants) in cases {
        let parsed = Template::parse(&Statements::from(&[template][..]), Purpose::Create).unwrap();
        assert_eq!((parsed.touches_shared_objects(), parsed.grants_on_objects()), (shared, grants), "{template}");
    }
}

#[test]
fn statements_that_may_change_the_session_are_told_from_others() {
    let changes =
        |text: &str| Template::parse(&Statements::from(&[text][..]), Purpose::Create).unwrap().may_change_session();
    assert!(!changes("CREATE ROLE \"{{name}}\"; GRANT a TO \"{{name}}\"; ALTER ROLE \"{{name}}\" SET x = 1"));
    assert!(changes("SET ROLE owner; CREATE ROLE \"{{name}}\""));
    assert!(changes("SELECT make('{{name}}')"));
}

#[test]
fn no_text_upsets_the_reader() {
    let parts = [
        "'",
        "\"",
        "$$",
        "$a$",
        "{{",
        "}}",
        "{{name}}",
        "{{password}}",
        "--",
        "/*",
        "*/",
        "\n",
        "\\",
        "E",
        "U&",
        ";",
        "a",
        "é",
        " ",
    ];
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut text = String::from("CREATE ROLE \"{{name}}\";");
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(parts[(state >> 33) as usize % parts.len()]);
        }
        let _ = create(&text, "a'\"$$--\\b");
    }
}
