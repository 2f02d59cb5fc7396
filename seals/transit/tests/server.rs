//! The seal against a server that answers as a transit engine does.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use data_encoding::BASE64;
use seal::{Keeper, KeeperError, Options};
use secret::{SecretBytes, SecretString};
use serde_json::{Value, json};

/// What was asked: method, path, token.
type Asked = Arc<Mutex<Vec<(String, String, String)>>>;

/// A server that takes the token `right` alone, and hides a text by turning it round.
fn serve() -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &seen);
        }
    });
    (address, asked)
}

fn answer(stream: TcpStream, seen: &Asked) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let (mut token, mut length) = (String::new(), 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "x-vault-token" => value.clone_into(&mut token),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    seen.lock().unwrap().push((method, path.clone(), token.clone()));
    let (status, reply) = match path.as_str() {
        _ if token != "right" => (403, json!({ "errors": ["permission denied"] })),
        "/v1/keys/encrypt/unseal" => {
            let turned: String = body["plaintext"].as_str().unwrap().chars().rev().collect();
            (200, json!({ "request_id": "r", "data": { "ciphertext": format!("vault:v1:{turned}") } }))
        }
        "/v1/keys/decrypt/unseal" => {
            let text = body["ciphertext"].as_str().unwrap().trim_start_matches("vault:v1:").chars().rev();
            (200, json!({ "request_id": "r", "data": { "plaintext": text.collect::<String>() } }))
        }
        "/v1/auth/token/renew-self" => (200, json!({ "request_id": "r", "auth": null })),
        _ => (503, json!({ "errors": ["Vault is sealed"] })),
    };
    let reply = reply.to_string();
    let head = format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n");
    let mut stream = reader.into_inner();
    write!(stream, "{head}content-length: {}\r\n\r\n{reply}", reply.len()).unwrap();
}

fn keeper(address: &str, token: &str, key: &str) -> Result<Arc<dyn Keeper>, String> {
    let pairs = [("address", address), ("token", token), ("mount_path", "/keys/"), ("key_name", key)];
    let given = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    let values: BTreeMap<_, _> =
        given.map(|(name, value)| (name.to_owned(), SecretString::new(value.to_owned()))).collect();
    (seal_transit::KIND.make)(Options::new("transit", values))
}

#[tokio::test]
async fn a_key_comes_back_and_a_refusal_is_told_from_an_outage() {
    let (address, asked) = serve();
    let right = keeper(&address, "right", "unseal").unwrap();
    let wrapped = right.wrap(&SecretBytes::new(vec![7; 32])).await.unwrap();
    assert_eq!(wrapped.key_id, "keys/unseal");
    assert!(wrapped.text.starts_with("vault:v1:") && !wrapped.text.contains(&BASE64.encode(&[7; 32])));
    assert!(right.unwrap(&wrapped).await.unwrap().matches([7; 32]));
    right.tend().await.unwrap();
    assert_eq!(asked.lock().unwrap().last().unwrap().1, "/v1/auth/token/renew-self");

    let wrong = keeper(&address, "wrong", "unseal").unwrap();
    assert!(matches!(wrong.unwrap(&wrapped).await, Err(KeeperError::Refused(_))));
    assert!(matches!(wrong.tend().await, Err(KeeperError::Refused(_))));
    let sealed = keeper(&address, "right", "of-a-sealed-server").unwrap();
    assert!(matches!(sealed.unwrap(&wrapped).await, Err(KeeperError::Unavailable(_))));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = keeper(&format!("http://{nobody}"), "right", "unseal").unwrap();
    assert!(matches!(nobody.unwrap(&wrapped).await, Err(KeeperError::Unavailable(_))));
}

#[test]
fn what_is_missing_is_named() {
    let error = keeper("", "right", "unseal").err().unwrap();
    assert!(error.contains("address is missing") && error.contains("STRONGROOM_TRANSIT_SEAL_ADDRESS"), "{error}");
    assert!(keeper("http://x", "", "unseal").err().unwrap().contains("token is missing"));
    assert!(keeper("not a url", "right", "unseal").err().unwrap().contains("address"));
}
