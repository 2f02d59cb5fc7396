use super::*;

const TOKEN: &str = "hvs.abcdefghijklmnopqrstuvwx";

fn granted(generate: &mut GenerateRoot, issue: &Issue) -> Grant {
    let nonce = generate.status(&issue.stored).nonce;
    let more = generate.submit(&issue.stored, &nonce, &base64(issue, 0)).unwrap();
    assert!(matches!(more, RootStep::More(RootStatus { progress: 1, complete: false, .. })));
    match generate.submit(&issue.stored, &nonce, &base64(issue, 1)).unwrap() {
        RootStep::Granted(grant) => grant,
        more => panic!("{more:?}"),
    }
}

#[test]
fn a_made_password_hides_the_token() {
    let issue = init(&shares(3, 2), now()).unwrap();
    let mut generate = GenerateRoot::default();
    let (status, otp) = generate.start(&issue.stored, RootRequest::default(), now()).unwrap();
    assert_eq!((status.started, status.required, status.otp_length), (true, 2, 28));
    let otp = otp.unwrap();
    let again = generate.start(&issue.stored, RootRequest::default(), now());
    assert_eq!(again.unwrap_err(), Error::RootGenerationStarted);
    let grant = granted(&mut generate, &issue);
    assert_eq!((grant.status.progress, grant.status.complete), (2, true));
    let encoded = grant.encode(&text(TOKEN)).unwrap();
    assert!(!encoded.text.contains("hvs") && encoded.pgp_fingerprint.is_empty());
    assert_eq!(decode_token(&encoded.text, &otp).unwrap().expose(), TOKEN);
    assert_eq!(grant.encode(&text("short")).unwrap_err(), Error::TokenLength);
    assert!(!generate.status(&issue.stored).started);
}

#[test]
fn a_given_password_hides_the_token_by_the_published_rule() {
    let issue = init(&shares(3, 2), now()).unwrap();
    let mut generate = GenerateRoot::default();
    let given = "0123456789012345678901234567";
    let request = RootRequest { otp: Some(text(given)), pgp_key: None };
    let (_, made) = generate.start(&issue.stored, request, now()).unwrap();
    assert!(made.is_none());
    let encoded = granted(&mut generate, &issue).encode(&text(TOKEN)).unwrap().text;
    let hidden = data_encoding::BASE64_NOPAD.decode(encoded.as_bytes()).unwrap();
    let token: Vec<u8> = hidden.iter().zip(given.bytes()).map(|(a, b)| a ^ b).collect();
    assert_eq!(token, TOKEN.as_bytes());
    assert_eq!(decode_token(&encoded, &text("too short")).unwrap_err(), Error::EncodedToken);
    assert_eq!(decode_token("not base64!", &text(given)).unwrap_err(), Error::EncodedToken);
}

#[test]
fn a_generation_is_bound_to_its_nonce_and_to_the_right_shares() {
    let (issue, strange) = (init(&shares(3, 2), now()).unwrap(), init(&shares(3, 2), now()).unwrap());
    let mut generate = GenerateRoot::default();
    assert_eq!(generate.submit(&issue.stored, "", &base64(&issue, 0)).unwrap_err(), Error::NoRootGeneration);
    assert_eq!(generate.cancel("").unwrap_err(), Error::NoRootGeneration);
    let request = RootRequest { otp: Some(text("short")), pgp_key: None };
    assert_eq!(generate.start(&issue.stored, request, now()).unwrap_err(), Error::OtpLength { got: 5, expected: 28 });
    let request = RootRequest { otp: Some(text("")), pgp_key: Some("key".to_owned()) };
    assert_eq!(generate.start(&issue.stored, request, now()).unwrap_err(), Error::OtpAndPgp);
    let nonce = generate.start(&issue.stored, RootRequest::default(), now()).unwrap().0.nonce;
    let wrong = Error::Nonce { operation: "root generation", expected: nonce.clone() };
    assert_eq!(generate.submit(&issue.stored, "other", &base64(&issue, 0)).unwrap_err(), wrong);
    assert_eq!(generate.cancel("other").unwrap_err(), wrong);

    generate.submit(&issue.stored, &nonce, &base64(&issue, 0)).unwrap();
    assert_eq!(generate.submit(&issue.stored, &nonce, &base64(&issue, 0)).unwrap_err(), Error::ShareRepeated);
    assert_eq!(generate.submit(&issue.stored, &nonce, &base64(&strange, 0)).unwrap_err(), Error::SharesMixed);
    let status = generate.status(&issue.stored);
    assert_eq!((status.started, status.progress, status.nonce.clone()), (true, 0, nonce.clone()));
    generate.cancel(&nonce).unwrap();
    assert!(!generate.status(&issue.stored).started);
}
