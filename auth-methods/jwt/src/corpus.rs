//! Hostile tokens: every trick known to have worked somewhere, made with real keys. None may be accepted, and each
//! must be refused for its own reason.

use clock::Timestamp;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::{
    claims::{Bounds, Holder},
    json,
    key::Key,
    refusal::Refusal,
    testing::{encode, jwks, signers},
    token::Unverified,
};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://issuer.test";
pub(crate) const AUDIENCE: &str = "https://strongroom.test";

/// The keys that are trusted, as their issuer publishes them. One is reserved for PS256 by its `alg`.
pub(crate) fn trusted_set() -> Value {
    let all = signers();
    let mut set = jwks(&[&all.rsa, &all.p256, &all.p384, &all.ed]);
    let mut pss = all.rsa.jwk.clone();
    pss["kid"] = "pss-only".into();
    pss["alg"] = "PS256".into();
    set["keys"].as_array_mut().unwrap().push(pss);
    set
}

pub(crate) fn bounds() -> Bounds {
    Bounds {
        audiences: vec![AUDIENCE.to_owned()],
        claims: [("environment".to_owned(), json!("production"))].into(),
        user_claim: "sub".to_owned(),
        ..Bounds::default()
    }
}

pub(crate) fn good() -> Value {
    json!({
        "iss": ISSUER, "sub": "app-1", "aud": AUDIENCE, "environment": "production",
        "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 300, "jti": "one",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn judge(token: &str, bounds: &Bounds) -> Result<Holder, Refusal> {
    let now = Timestamp::from_second(NOW).unwrap();
    let trusted = Key::from_jwks(trusted_set().to_string().as_bytes()).unwrap();
    Unverified::parse(token)?.verify(&trusted)?.claims().and_then(|claims| bounds.check(&claims, ISSUER, now))
}

/// Puts `text` in the place of the claims' closing brace: the text after the last member.
fn spliced(text: &str) -> String {
    format!("{},{text}}}", good().to_string().trim_end_matches('}'))
}

/// Name, token, expected reason.
pub(crate) fn hostile() -> Vec<(String, String, &'static str)> {
    let all = signers();
    let mut tokens = Vec::new();
    let mut add = |name: &str, token: String, reason: &'static str| tokens.push((name.to_owned(), token, reason));
    let text = good().to_string();
    let fine = all.p256.sign(&good());
    let parts: Vec<&str> = fine.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);

    // Algorithms.
    for alg in
        ["none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "ES256K", "ES512", "RSA1_5", "es256", "ES256 "]
    {
        let bare = format!("{}.{claims}.", encode(json!({ "alg": alg, "typ": "JWT" }).to_string()));
        add(&format!("alg {alg:?} without a signature"), bare.clone(), "algorithm-not-allowed");
        add(&format!("alg {alg:?} with a signature"), format!("{bare}{signature}"), "algorithm-not-allowed");
    }
    for (name, secret) in [
        ("the public PEM", all.rsa.public_pem.clone()),
        ("the public PEM without its last newline", all.rsa.public_pem.trim_end().to_owned()),
        ("the JWK", all.rsa.jwk.to_string()),
        ("the modulus", all.rsa.jwk["n"].as_str().unwrap().to_owned()),
        ("nothing", String::new()),
    ] {
        let message = format!("{}.{claims}", encode(json!({ "alg": "HS256", "kid": "rsa-1" }).to_string()));
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        let mac = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        add(&format!("HS256 with {name} as the secret"), format!("{message}.{mac}"), "algorithm-not-allowed");
    }
    add("alg missing", all.p256.sign_text(r#"{"kid":"ec-1"}"#, &text), "algorithm-not-allowed");
    add("alg a number", all.p256.sign_text(r#"{"alg":256,"kid":"ec-1"}"#, &text), "algorithm-not-allowed");
    add("alg a list", all.p256.sign_text(r#"{"alg":["ES256"],"kid":"ec-1"}"#, &text), "algorithm-not-allowed");
    add("alg null", all.p256.sign_text(r#"{"alg":null,"kid":"ec-1"}"#, &text), "algorithm-not-allowed");

    // Keys that do not fit what the header says.
    let said = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid }).to_string();
    add("ES256 said of an RSA key", all.p256.sign_text(&said("ES256", "rsa-1"), &text), "key-unknown");
    add("RS256 said of a P-256 key", all.rsa.sign_text(&said("RS256", "ec-1"), &text), "key-unknown");
    add("ES384 said of a P-256 key", all.p384.sign_text(&said("ES384", "ec-1"), &text), "key-unknown");
    add("ES256 said of a P-384 key", all.p256.sign_text(&said("ES256", "ec-2"), &text), "key-unknown");
    add("EdDSA said of a P-256 key", all.ed.sign_text(&said("EdDSA", "ec-1"), &text), "key-unknown");
    add("RS256 with a key reserved for PS256", all.rsa.sign_text(&said("RS256", "pss-only"), &text), "key-unknown");
    add("RS512 said of an RS256 signature", all.rsa.sign_text(&said("RS512", "rsa-1"), &text), "signature-invalid");
    add("PS256 said of an RS256 signature", all.rsa.sign_text(&said("PS256", "rsa-1"), &text), "signature-invalid");
    add("an unknown kid", all.p256.sign_text(&said("ES256", "ec-9"), &text), "key-unknown");
    add("a kid in other case", all.p256.sign_text(&said("ES256", "EC-1"), &text), "key-unknown");
    add("a kid that is a prefix", all.p256.sign_text(&said("ES256", "ec-"), &text), "key-unknown");
    add("a kid that is a path", all.p256.sign_text(&said("ES256", "../../dev/null"), &text), "key-unknown");
    add("a kid that is SQL", all.p256.sign_text(&said("ES256", "ec-1' OR '1'='1"), &text), "key-unknown");
    add("an empty kid", all.p256.sign_text(&said("ES256", ""), &text), "key-id-malformed");
    add("a kid with NUL", all.p256.sign_text(r#"{"alg":"ES256","kid":"ec-1\u0000"}"#, &text), "key-id-malformed");
    add("a kid that is a number", all.p256.sign_text(r#"{"alg":"ES256","kid":1}"#, &text), "key-id-malformed");
    add("a kid that is null", all.p256.sign_text(r#"{"alg":"ES256","kid":null}"#, &text), "key-id-malformed");
    add("a kid of 600 letters", all.p256.sign_text(&said("ES256", &"k".repeat(600)), &text), "key-id-malformed");

    // Signatures.
    add("a stranger's key under a known kid", all.stranger.sign(&good()), "signature-invalid");
    add("a stranger's RSA key under a known kid", all.strange_rsa.sign(&good()), "signature-invalid");
    let bare_header = r#"{"alg":"ES256"}"#;
    add("a stranger's key without a kid", all.stranger.sign_text(bare_header, &text), "signature-invalid");
    let other = all.p256.sign(&with("sub", json!("app-2")));
    let others = other.rsplit_once('.').unwrap().1;
    add("the signature of another token", format!("{header}.{claims}.{others}"), "signature-invalid");
    let changed = encode(with("sub", json!("root")).to_string());
    add("changed claims", format!("{header}.{changed}.{signature}"), "signature-invalid");
    let mut jumbled = all.p256.header();
    jumbled["x"] = 1.into();
    add("a changed header", format!("{}.{claims}.{signature}", encode(jumbled.to_string())), "signature-invalid");
    add("an empty signature", format!("{header}.{claims}."), "signature-missing");
    add("a signature of zeros", format!("{header}.{claims}.{}", encode([0; 64])), "signature-invalid");
    add(
        "a signature of r = 0, s = 1",
        format!("{header}.{claims}.{}", encode(one_behind_zeros(64))),
        "signature-invalid",
    );
    add("a signature cut short", format!("{header}.{claims}.{}", &signature[..40]), "signature-invalid");
    add("a signature of one byte", format!("{header}.{claims}.AA"), "signature-invalid");
    add(
        "a signature in DER",
        format!("{header}.{claims}.{}", encode([0x30, 6, 2, 1, 1, 2, 1, 1])),
        "signature-invalid",
    );
    let rsa = all.rsa.sign(&good());
    let unsigned = rsa.rsplit_once('.').unwrap().0;
    add("an RSA signature of zeros", format!("{unsigned}.{}", encode([0; 256])), "signature-invalid");
    add("an RSA signature of one", format!("{unsigned}.{}", encode(one_behind_zeros(256))), "signature-invalid");
    let ed = all.ed.sign(&good());
    let unsigned = ed.rsplit_once('.').unwrap().0;
    add("an Ed25519 signature of zeros", format!("{unsigned}.{}", encode([0; 64])), "signature-invalid");

    // Keys that the token brings along.
    let brought = |name: &str, value: Value| {
        let mut header = all.stranger.header();
        header[name] = value;
        all.stranger.sign_text(&header.to_string(), &text)
    };
    add("its own jwk", brought("jwk", all.stranger.jwk.clone()), "embedded-key");
    add("its own jku", brought("jku", json!("https://evil.test/jwks.json")), "signature-invalid");
    add("its own x5u", brought("x5u", json!("https://evil.test/cert.pem")), "signature-invalid");
    add("its own x5c", brought("x5c", json!([encode("certificate")])), "signature-invalid");

    // Extensions and other kinds of tokens.
    let headed = |name: &str, value: Value| {
        let mut header = all.p256.header();
        header[name] = value;
        all.p256.sign_text(&header.to_string(), &text)
    };
    add("an unknown critical extension", headed("crit", json!(["exp-must-die"])), "critical-header");
    add("an empty list of critical extensions", headed("crit", json!([])), "critical-header");
    add("a critical extension that is no list", headed("crit", json!("b64")), "critical-header");
    add("unencoded claims", headed("b64", json!(false)), "critical-header");
    add("compressed claims", headed("zip", json!("DEF")), "encrypted");
    add("an encryption algorithm", headed("enc", json!("A256GCM")), "encrypted");
    let jwe = format!("{}.a.b.c.d", encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#));
    add("a JWE", jwe, "not-three-parts");
    for kind in ["dpop+jwt", "logout+jwt", "secevent+jwt", "JWE", "JWS", ""] {
        add(&format!("typ {kind:?}"), headed("typ", json!(kind)), "wrong-type");
    }
    add("typ a number", headed("typ", json!(1)), "wrong-type");
    add("a nested token", headed("cty", json!("JWT")), "nested");
    let inner = all.p256.sign_text(&all.p256.header().to_string(), &json!(fine).to_string());
    add("a token as the claims", inner, "not-a-json-object");

    // Form.
    add("nothing", String::new(), "not-three-parts");
    add("two dots", "..".to_owned(), "not-a-json-object");
    add("one part", header.to_owned(), "not-three-parts");
    add("two parts", format!("{header}.{claims}"), "not-three-parts");
    add("four parts", format!("{fine}.{signature}"), "not-three-parts");
    add("a dot behind", format!("{fine}."), "not-three-parts");
    add("a newline behind", format!("{fine}\n"), "not-base64url");
    add("a space in front", format!(" {fine}"), "not-base64url");
    add("Bearer in front", format!("Bearer {fine}"), "not-base64url");
    add("NUL behind", format!("{fine}\0"), "not-base64url");
    add("padded signature", format!("{fine}=="), "not-base64url");
    add("padded header", format!("{header}=.{claims}.{signature}"), "not-base64url");
    add("the standard alphabet", format!("{header}.{claims}.+/{}", &signature[2..]), "not-base64url");
    add("a letter that is none", format!("{header}.{claims}.é{}", &signature[2..]), "not-base64url");
    add("bits behind the last byte", format!("{header}.{claims}.{}", stray_bits(signature)), "not-base64url");
    add("17 KiB", all.p256.sign(&with("filler", json!("x".repeat(17 * 1024)))), "too-long");
    add("a megabyte of dots", ".".repeat(1 << 20), "too-long");
    let token = |header: &[u8], claims: &[u8]| {
        let message = format!("{}.{}", encode(header), encode(claims));
        format!("{message}.{}", all.p256.signature(&message, Algorithm::ES256))
    };
    let head = all.p256.header().to_string();
    add("a header that is no JSON", token(b"alg=ES256", text.as_bytes()), "not-a-json-object");
    add("a header that is a list", token(b"[]", text.as_bytes()), "not-a-json-object");
    add("claims that are a list", token(head.as_bytes(), b"[]"), "not-a-json-object");
    add("claims that are no UTF-8", token(head.as_bytes(), b"{\"sub\":\"\xff\"}"), "not-a-json-object");
    add("a byte order mark", token(head.as_bytes(), format!("\u{feff}{text}").as_bytes()), "not-a-json-object");
    add("text behind the claims", token(head.as_bytes(), format!("{text}{{}}").as_bytes()), "not-a-json-object");
    add("a lone surrogate", token(head.as_bytes(), spliced(r#""x":"\ud800""#).as_bytes()), "not-a-json-object");
    let double = format!("{{\"alg\":\"none\",{}", head.trim_start_matches('{'));
    add("two algs", token(double.as_bytes(), text.as_bytes()), "duplicate-member");
    let deep = format!("\"x\":{}1{}", "[".repeat(40), "]".repeat(40));
    add("deep claims", all.p256.sign_text(&head, &spliced(&deep)), "too-deep");
    let very_deep = format!("\"x\":{}{}", "[".repeat(5000), "]".repeat(5000));
    add("very deep claims", all.p256.sign_text(&head, &spliced(&very_deep)), "too-deep");
    let deep_head = format!("{},\"x\":{}1{}}}", head.trim_end_matches('}'), "[".repeat(40), "]".repeat(40));
    add("a deep header", all.p256.sign_text(&deep_head, &text), "too-deep");

    // Claims said twice.
    let twice = |member: &str| all.p256.sign_text(&head, &spliced(member));
    add("aud twice", twice(&format!("\"aud\":\"{AUDIENCE}\"")), "duplicate-member");
    add("exp twice", twice(&format!("\"exp\":{}", NOW + 9000)), "duplicate-member");
    add("sub twice, once escaped", twice(r#""\u0073ub":"root""#), "duplicate-member");
    add("a member twice deep inside", twice(r#""x":{"y":[{"a":1,"a":2}]}"#), "duplicate-member");

    // Audiences.
    let signed = |claims: Value| all.p256.sign(&claims);
    add("no aud", signed(without("aud")), "audience-mismatch");
    add("an empty aud", signed(with("aud", json!(""))), "audience-mismatch");
    add("no aud in the list", signed(with("aud", json!([]))), "audience-mismatch");
    add("aud null", signed(with("aud", Value::Null)), "claim-malformed");
    add("aud an object", signed(with("aud", json!({ "0": AUDIENCE }))), "claim-malformed");
    add("aud a list with a number", signed(with("aud", json!([AUDIENCE, 1]))), "claim-malformed");
    for (name, audience) in [
        ("a suffix", "strongroom.test".to_owned()),
        ("a prefix", "https://strongroom".to_owned()),
        ("longer in front", format!("https://evil.test/{AUDIENCE}")),
        ("longer behind", format!("{AUDIENCE}.evil.test")),
        ("with a slash behind", format!("{AUDIENCE}/")),
        ("in other case", AUDIENCE.to_uppercase()),
        ("with a space", format!("{AUDIENCE} ")),
        ("with NUL", format!("{AUDIENCE}\0")),
        ("several in one text", format!("other,{AUDIENCE}")),
        ("a glob", "*".to_owned()),
        ("in look-alike letters", AUDIENCE.replace('o', "\u{43e}")),
        ("in wide letters", AUDIENCE.replace('s', "\u{ff53}")),
    ] {
        add(&format!("aud {name}"), signed(with("aud", json!(audience))), "audience-mismatch");
        add(&format!("aud {name}, in a list"), signed(with("aud", json!([audience, "x"]))), "audience-mismatch");
    }
    add("Aud for aud", signed(json!({ "iss": ISSUER, "Aud": AUDIENCE, "exp": NOW + 9 })), "audience-mismatch");

    // Times.
    add("expired", signed(with("exp", json!(NOW - 61))), "expired");
    add("expired at this very second", signed(with("exp", json!(NOW - 60))), "expired");
    add("expired long ago", signed(with("exp", json!(0))), "expired");
    add("no exp", signed(without("exp")), "expiry-missing");
    add(
        "EXP for exp",
        signed({
            let mut c = without("exp");
            c["EXP"] = json!(NOW + 9);
            c
        }),
        "expiry-missing",
    );
    add("exp null", signed(with("exp", Value::Null)), "claim-malformed");
    add("exp a text", signed(with("exp", json!((NOW + 300).to_string()))), "claim-malformed");
    add("exp true", signed(with("exp", json!(true))), "claim-malformed");
    add("exp a list", signed(with("exp", json!([NOW + 300]))), "claim-malformed");
    add("exp negative", signed(with("exp", json!(-1))), "claim-malformed");
    add("exp in milliseconds", signed(with("exp", json!((NOW + 300) * 1000))), "claim-malformed");
    add("exp at the end of u64", signed(with("exp", json!(u64::MAX))), "claim-malformed");
    let exp = |number: &str| {
        let claims = without("exp").to_string();
        all.p256.sign_text(&head, &format!("{},\"exp\":{number}}}", claims.trim_end_matches('}')))
    };
    add("exp beyond u64", exp("18446744073709551616"), "inexact-number");
    add("exp a great float", exp("1e300"), "inexact-number");
    add("exp beyond floats", exp("1e400"), "not-a-json-object");
    add("exp of a thousand digits", exp(&"9".repeat(1000)), "not-a-json-object");
    add("exp NaN", exp("NaN"), "not-a-json-object");
    add("exp in hexadecimal", exp("0x7fffffff"), "not-a-json-object");
    add("exp a float a little too early", exp("1799999940.0"), "expired");
    add("nbf in the future", signed(with("nbf", json!(NOW + 61))), "not-yet-valid");
    add("nbf a text", signed(with("nbf", json!("0"))), "claim-malformed");
    add("iat in the future", signed(with("iat", json!(NOW + 3600))), "issued-in-future");
    add("iat an object", signed(with("iat", json!({}))), "claim-malformed");

    // Other claims.
    add("no iss", signed(without("iss")), "issuer-mismatch");
    add("iss with a slash behind", signed(with("iss", json!(format!("{ISSUER}/")))), "issuer-mismatch");
    add("iss a list", signed(with("iss", json!([ISSUER]))), "claim-malformed");
    add("a bound claim missing", signed(without("environment")), "bound-claim-missing");
    add("a bound claim with another value", signed(with("environment", json!("staging"))), "bound-claim-mismatch");
    add("a bound claim with more text", signed(with("environment", json!("production2"))), "bound-claim-mismatch");
    add(
        "a bound claim that is an object",
        signed(with("environment", json!({ "production": 1 }))),
        "bound-claim-mismatch",
    );
    add("a bound claim that is null", signed(with("environment", Value::Null)), "bound-claim-mismatch");
    add("a bound claim deep in a list", signed(with("environment", json!([["production"]]))), "bound-claim-mismatch");
    add("no user claim", signed(without("sub")), "user-claim");
    add("an empty user claim", signed(with("sub", json!(""))), "user-claim");
    add("a user claim that is a number", signed(with("sub", json!(1))), "user-claim");
    add("a user claim with a newline", signed(with("sub", json!("app\nroot"))), "user-claim");
    add("a user claim with NUL", signed(with("sub", json!("app\0"))), "user-claim");
    tokens
}

fn one_behind_zeros(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    bytes[size - 1] = 1;
    bytes
}

/// The same bytes to a careless decoder: the bits of the last letter that no byte has a place for are set.
fn stray_bits(text: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = ALPHABET.find(text.chars().last().unwrap()).unwrap();
    format!("{}{}", &text[..text.len() - 1], ALPHABET.chars().nth(last ^ 1).unwrap())
}

#[test]
fn no_hostile_token_is_accepted_and_each_has_its_reason() {
    let tokens = hostile();
    assert!(tokens.len() >= 60, "{}", tokens.len());
    let mut wrong = Vec::new();
    for (name, token, reason) in &tokens {
        match judge(token, &bounds()) {
            Err(refusal) if refusal.code() == *reason => {
                let said = refusal.to_string();
                for part in token.split('.').filter(|part| part.len() > 8) {
                    assert!(!said.contains(part), "{name}: the token is quoted");
                }
            }
            Err(refusal) => wrong.push(format!("{name}: {} instead of {reason}", refusal.code())),
            Ok(_) => wrong.push(format!("{name}: ACCEPTED")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), tokens.len(), wrong.join("\n"));
    println!("{} hostile tokens refused", tokens.len());
}

#[test]
fn good_tokens_are_accepted() {
    let all = signers();
    let text = good().to_string();
    let said = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid }).to_string();
    let signed_as = |alg, name: &str, kid: &str| {
        let message = format!("{}.{}", encode(said(name, kid)), encode(&text));
        format!("{message}.{}", all.rsa.signature(&message, alg))
    };
    let headed = |header: Value| all.p256.sign_text(&header.to_string(), &text);
    let tokens = [
        all.rsa.sign(&good()),
        all.p256.sign(&good()),
        all.p384.sign(&good()),
        all.ed.sign(&good()),
        signed_as(Algorithm::RS384, "RS384", "rsa-1"),
        signed_as(Algorithm::RS512, "RS512", "rsa-1"),
        signed_as(Algorithm::PS256, "PS256", "rsa-1"),
        signed_as(Algorithm::PS384, "PS384", "rsa-1"),
        signed_as(Algorithm::PS512, "PS512", "rsa-1"),
        signed_as(Algorithm::PS256, "PS256", "pss-only"),
        headed(json!({ "alg": "ES256" })),
        headed(json!({ "alg": "ES256", "kid": "ec-1", "typ": "at+jwt" })),
        headed(json!({ "alg": "ES256", "kid": "ec-1", "typ": "application/at+JWT", "x5t": "abc" })),
        all.p256.sign(&with("aud", json!(["other", AUDIENCE]))),
        all.p256.sign(&with("environment", json!(["staging", "production"]))),
        all.p256.sign(&with("exp", json!(NOW - 59))),
        all.p256.sign(&with("exp", json!(NOW as f64 + 0.25))),
        all.p256.sign(&with("nbf", json!(NOW + 59))),
        all.p256.sign(&without("iat")),
        all.p256.sign(&without("nbf")),
    ];
    for (index, token) in tokens.iter().enumerate() {
        let holder = judge(token, &bounds()).unwrap_or_else(|refusal| panic!("{index}: {refusal}"));
        assert_eq!(holder.alias, "app-1");
    }
}

/// Whatever is changed, cut off or repeated: what comes out is no token.
#[test]
fn no_mutation_of_a_good_token_is_accepted() {
    let all = signers();
    let mut tried = 0;
    for signer in [&all.p256, &all.ed, &all.rsa] {
        let fine = signer.sign(&good());
        assert!(judge(&fine, &bounds()).is_ok());
        let mut refused = |token: String| {
            tried += 1;
            assert!(judge(&token, &bounds()).is_err(), "{token}");
        };
        for at in 0..fine.len() {
            let (before, behind) = fine.split_at(at);
            refused(before.to_owned());
            refused(format!("{before}{}", &behind[1..]));
            for put in ["A", "_", ".", "=", "\0", "\u{e9}"] {
                if !behind.starts_with(put) {
                    refused(format!("{before}{put}{}", &behind[1..]));
                }
                refused(format!("{before}{put}{behind}"));
            }
        }
        refused(format!("{fine}{fine}"));
    }
    println!("{tried} mutations refused");
}

proptest::proptest! {
    #[test]
    fn no_text_upsets_the_reader(token in "\\PC{0,200}(\\.\\PC{0,200}){0,4}", json in "[\\[\\]{}\":,a-z0-9.e\\\\-]{0,200}") {
        let _ = judge(&token, &bounds());
        let header = r#"{"alg":"ES256","kid":"ec-1"}"#;
        for (header, claims) in [(header, json.as_str()), (json.as_str(), "{}")] {
            if json::object(json.as_bytes()).is_err() {
                proptest::prop_assert!(judge(&signers().p256.sign_text(header, claims), &bounds()).is_err());
            }
        }
    }
}
