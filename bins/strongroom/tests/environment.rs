//! The variables that say where the server is and who asks: Vault's names, and our own, which go before them.
#![allow(missing_docs, clippy::unwrap_used)]

use std::process::{Command, Output};

const ADDRESS: (&str, &str) = ("ADDR", "http://server.example:8200/prefix");

/// Calls the program with these variables under `prefix`, and nothing else set.
fn call(prefix: &str, variables: &[(&str, &str)], line: &str) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
    command.args(line.split(' ')).env_clear().env("HOME", home.path());
    command.envs(variables.iter().map(|(name, value)| (format!("{prefix}{name}"), *value)));
    command.output().unwrap()
}

/// The request as a curl command.
fn request(prefix: &str, variables: &[(&str, &str)], flags: &str) -> String {
    let output = call(prefix, variables, &format!("read -output-curl-string{flags} secret/x"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn both_families_of_names_are_honoured() {
    for prefix in ["STRONGROOM_", "VAULT_"] {
        for (name, value, shown) in [
            ("NAMESPACE", "team", "-H 'X-Vault-Namespace: team'"),
            ("WRAP_TTL", "5m", "-H 'X-Vault-Wrap-Ttl: 5m'"),
            ("CACERT", "/ca.pem", "--cacert '/ca.pem'"),
            ("CAPATH", "/ca", "--capath '/ca'"),
            ("SKIP_VERIFY", "1", "--insecure"),
            ("AGENT_ADDR", "http://agent.example:8100", "http://agent.example:8100/v1/secret/x"),
        ] {
            let curl = request(prefix, &[ADDRESS, (name, value)], "");
            assert!(curl.contains(shown), "{prefix}{name}: {curl}");
            let without = request(prefix, &[ADDRESS], "");
            assert!(!without.contains(shown), "{prefix}{name}: {without}");
            assert!(without.contains("http://server.example:8200/prefix/v1/secret/x"), "{without}");
        }
        let token = call(prefix, &[("TOKEN", "hvs.x")], "print token");
        assert_eq!(String::from_utf8(token.stdout).unwrap(), "hvs.x\n");
    }
}

#[test]
fn flags_go_before_our_names_and_these_before_vaults() {
    let both = [("STRONGROOM_ADDR", "http://ours:1"), ("VAULT_ADDR", "http://vaults:1"), ("VAULT_NAMESPACE", "a")];
    let curl = request("", &both, "");
    assert!(curl.contains("http://ours:1/") && curl.contains("Namespace: a"), "{curl}");
    let curl = request("", &both, " -address=http://flag:1 -namespace=b -header=X-A=c");
    assert!(curl.contains("http://flag:1/") && curl.contains("Namespace: b") && curl.contains("X-A: c"), "{curl}");
}

#[test]
fn variables_that_make_no_sense_are_named() {
    for (name, value, word) in [
        ("ADDR", "nowhere", "https://"),
        ("FORMAT", "xml", "table, json"),
        ("SKIP_VERIFY", "maybe", "SKIP_VERIFY"),
        ("CLIENT_TIMEOUT", "soon", "CLIENT_TIMEOUT"),
        ("MAX_RETRIES", "-1", "MAX_RETRIES"),
        ("CLIENT_CERT", "/nowhere", "give both"),
        ("CLIENT_KEY", "/nowhere", "give both"),
        ("CACERT", "/nowhere/ca.pem", "/nowhere/ca.pem"),
        ("CAPATH", "/nowhere/ca", "/nowhere/ca"),
        ("TLS_SERVER_NAME", "1.2.3.4", "1.2.3.4"),
    ] {
        for prefix in ["STRONGROOM_", "VAULT_"] {
            let output = call(prefix, &[(name, value)], "read secret/x");
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{prefix}{name}: {error}");
            assert!(error.contains(word), "{prefix}{name}: {error}");
        }
    }
}
