use strongroom_http::{Address, TlsVersion};

use super::*;

fn read(text: &str) -> Result<(Config, Vec<String>), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.hcl");
    std::fs::write(&path, text).unwrap();
    Config::read(&[path])
}

/// The one listener of a configuration.
fn listener(body: &str) -> Result<(ListenerConfig, Vec<String>), String> {
    let text =
        format!("storage \"inmem\" {{}}\nlistener \"tcp\" {{\ntls_cert_file = \"c\"\ntls_key_file = \"k\"\n{body}\n}}");
    read(&text).map(|(mut config, warnings)| (config.listeners.remove(0), warnings))
}

const HCL: &str = r#"
    storage "embedded" { path = "/data" }
    listener "tcp" {
      address       = "127.0.0.1:8200"
      tls_cert_file = "c.pem"
      tls_key_file  = "k.pem"
    }
    listener "tcp" {
      address     = "127.0.0.1:8300"
      tls_disable = "true"
      frobnicate  = 1
    }
    max_lease_ttl = "72h"
    disable_mlock = true
    frobnicate    = 1
"#;

#[test]
fn hcl_and_json_say_the_same() {
    let (hcl, warnings) = read(HCL).unwrap();
    let json = r#"{"storage": {"raft": {"path": "/data", "node_id": "a"}},
        "listener": [{"tcp": {"address": "127.0.0.1:8200", "tls_cert_file": "c.pem", "tls_key_file": "k.pem"}},
                     {"tcp": {"address": "127.0.0.1:8300", "tls_disable": 1}}],
        "max_lease_ttl": 259200}"#;
    let (json, notices) = read(json).unwrap();
    assert!(hcl.storage.is_same(&json.storage));
    assert_eq!(hcl.listeners, json.listeners);
    assert_eq!(hcl.max_lease_ttl, json.max_lease_ttl);
    assert!(
        warnings[0].contains("config.hcl:11: unknown or unsupported field frobnicate of listener \"tcp\""),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("config.hcl:15: unknown or unsupported field frobnicate;"), "{warnings:?}");
    assert_eq!(warnings.len(), 2);
    assert!(notices[0].contains("storage \"raft\": opens the embedded store at /data"), "{notices:?}");
    assert!(notices[1].contains("node_id"), "{notices:?}");
}

#[test]
fn mistakes_name_the_file_the_line_the_field_and_the_remedy() {
    let tcp = "listener \"tcp\" { tls_disable = true }";
    for (text, words) in [
        ("listener \"tcp\" { tls_disable = true }".to_owned(), &["storage"][..]),
        ("storage \"inmem\" {}".to_owned(), &["listener"]),
        (format!("\nstorage \"consul\" {{}}\n{tcp}"), &["config.hcl:2:", "consul", "embedded"]),
        (format!("storage \"embedded\" {{}}\n{tcp}"), &["path"]),
        (format!("storage \"inmem\" {{}}\nstorage \"file\" {{ path = \"x\" }}\n{tcp}"), &["exactly one"]),
        ("storage \"inmem\" {}\nlistener \"tcp\" {}".to_owned(), &["config.hcl:2:", "tls_cert_file"]),
        ("storage \"inmem\" {}\nlistener \"udp\" {}".to_owned(), &["config.hcl:2:", "udp", "tcp and unix"]),
        ("storage \"inmem\" {}\nlistener \"unix\" {}".to_owned(), &["address is missing"]),
        ("storage \"inmem\" {}\nlistener = 3".to_owned(), &["config.hcl:2:", "listener: expected a block"]),
        ("storage \"inmem\" {}\nlistener \"tcp\" { tls_disable = true address = \"x\" }".to_owned(), &["HOST:PORT"]),
        (
            "storage \"inmem\" {}\nlistener \"tcp\" {\n tls_disable = \"maybe\" }".to_owned(),
            &["config.hcl:3:", "tls_disable"],
        ),
        (
            format!("storage \"inmem\" {{}}\n{tcp}\nseal \"cloud\" {{}}"),
            &["config.hcl:3:", "cloud", "awskms", "shamir"],
        ),
        (
            format!("storage \"inmem\" {{}}\n{tcp}\nseal \"static\" {{}}"),
            &["config.hcl:3:", "static", "current_key is missing", "STRONGROOM_STATIC_SEAL_CURRENT_KEY"],
        ),
        (
            format!("storage \"inmem\" {{}}\n{tcp}\nseal \"static\" {{ current_key = [\"x\"] }}"),
            &["config.hcl:3:", "current_key", "expected a text"],
        ),
        (format!("storage \"inmem\" {{}}\n{tcp}\nlog_level = \"loud\""), &["log_level", "debug"]),
        (format!("storage \"inmem\" {{}}\n{tcp}\nlog_format = \"xml\""), &["log_format", "json"]),
        (
            format!("storage \"inmem\" {{}}\n{tcp}\nmax_lease_ttl = \"soon\""),
            &["config.hcl:3:", "max_lease_ttl", "90s"],
        ),
        (
            format!("storage \"inmem\" {{}}\n{tcp}\ndefault_lease_ttl = \"48h\"\nmax_lease_ttl = \"24h\""),
            &["config.hcl:", "default_lease_ttl", "max_lease_ttl"],
        ),
        (format!("storage \"inmem\" {{}}\n{tcp}\ndefault_lease_ttl = \"1000h\""), &["default_lease_ttl", "768h"]),
        (
            format!("storage \"inmem\" {{}}\n{tcp}\ncompatibility_version = \"new\""),
            &["compatibility_version", "1.16.3"],
        ),
        (format!("storage \"inmem\" {{}}\n{tcp}\napi_addr = \"vault.example:8200\""), &["api_addr", "https://"]),
        (format!("storage \"inmem\" {{}}\n{tcp}\napi_addr = \"https://{{{{ GetPrivateIP }}}}:8200\""), &["api_addr"]),
        (format!("storage \"inmem\" {{}}\n{tcp}\npid_file = 1\n"), &["config.hcl:3:", "pid_file", "text"]),
        (format!("storage \"inmem\" {{}}\n{tcp}\ncache_bytes = 1\ncache_bytes = 2"), &["config.hcl:4:", "line 3"]),
        ("storage \"inmem\" {\n".to_owned(), &["config.hcl:"]),
    ] {
        let error = read(&text).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{text}: {error} lacks {word}");
        }
    }
}

#[test]
fn a_listener_has_all_its_limits() {
    let (config, warnings) = listener(
        r#"max_request_size = 1024
           max_request_duration = "5s"
           http_read_timeout = 7
           http_read_header_timeout = "8s"
           http_idle_timeout = "9s"
           http_write_timeout = 45
           require_request_header = true
           max_json_depth = 11
           max_json_string_value_length = 12
           max_json_object_entry_count = "13"
           max_json_array_element_count = 14
           cluster_address = "127.0.0.1:8201"
           telemetry { unauthenticated_metrics_access = true }"#,
    )
    .unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(config.max_request_size, 1024);
    assert_eq!(config.max_request_duration, Duration::from_secs(5));
    assert_eq!(config.read_timeout, Duration::from_secs(7));
    assert_eq!(config.header_read_timeout, Duration::from_secs(8));
    assert_eq!(config.idle_timeout, Duration::from_secs(9));
    assert_eq!((config.write_timeout, config.require_request_header), (Duration::from_secs(45), true));
    let json = config.json;
    assert_eq!((json.depth, json.string_length, json.object_entries, json.array_elements), (11, 12, 13, 14));

    let (unlimited, _) = listener("max_request_size = -1\nmax_json_depth = 0\nmax_request_duration = 0").unwrap();
    let usual = ListenerConfig::new(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    assert_eq!(unlimited.max_request_size, usize::MAX);
    assert_eq!(unlimited.json, usual.json);
    assert_eq!(unlimited.max_request_duration, usual.max_request_duration);
    let (confined, _) = listener("chroot_namespace = \"/team/web/\"").unwrap();
    assert_eq!((confined.namespace.as_deref(), usual.namespace), (Some("team/web"), None));
    for (body, word) in [
        ("max_json_depth = 513", "512"),
        ("max_json_depth = \"deep\"", "whole number"),
        ("http_idle_timeout = \"soon\"", "90s"),
        ("chroot_namespace = \"a//b\"", "no path of a namespace"),
        ("chroot_namespace = \"\"", "no path of a namespace"),
        ("chroot_namespace = \"../a\"", "no path of a namespace"),
    ] {
        let error = listener(body).unwrap_err();
        assert!(error.contains("config.hcl:") && error.contains(word), "{body}: {error}");
    }
}

#[test]
fn the_usual_duration_of_requests_is_said_once_for_all_listeners() {
    let text = "storage \"inmem\" {}\ndefault_max_request_duration = \"20s\"
        listener \"tcp\" { tls_disable = true }
        listener \"tcp\" { tls_disable = true, max_request_duration = \"5s\" }";
    let (config, _) = read(text).unwrap();
    let times: Vec<_> = config.listeners.iter().map(|listener| listener.max_request_duration.as_secs()).collect();
    assert_eq!(times, [20, 5]);
}

#[test]
fn tls_is_as_told() {
    let (config, warnings) = listener(
        r#"tls_client_ca_file = "ca.pem"
           tls_require_and_verify_client_cert = true
           tls_min_version = "tls11"
           tls_max_version = "tls12"
           tls_cipher_suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA""#,
    )
    .unwrap();
    let tls = config.tls.unwrap();
    assert!(tls.require_client_cert && tls.client_ca_file.is_some());
    assert_eq!((tls.min_version, tls.max_version), (TlsVersion::Tls12, TlsVersion::Tls12));
    assert_eq!(tls.cipher_suites.unwrap(), ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
    assert!(warnings[0].contains("TLS 1.2 is the oldest") && warnings[1].contains("CBC"), "{warnings:?}");

    let (config, _) = listener("tls_client_ca_file = \"ca.pem\"\ntls_disable_client_certs = true").unwrap();
    assert_eq!(config.tls.unwrap().client_ca_file, None);
    for (body, word) in [
        ("tls_require_and_verify_client_cert = true", "needs tls_client_ca_file"),
        ("tls_require_and_verify_client_cert = true\ntls_disable_client_certs = true", "exclude each other"),
        ("tls_require_and_verify_client_cert = true\ntls_disable = true", "needs TLS"),
        ("tls_min_version = \"tls13\"\ntls_max_version = \"tls12\"", "older than"),
        ("tls_min_version = \"ssl3\"", "tls12 or tls13"),
        ("tls_cipher_suites = [\"X\"]", "none of them"),
        ("tls_acme_domains = [\"x.example\"]", "tls_cert_file"),
    ] {
        let error = listener(body).unwrap_err();
        assert!(error.contains(word), "{body}: {error}");
    }
}

#[test]
fn proxies_are_believed_as_told() {
    let (config, _) = listener(
        "x_forwarded_for_authorized_addrs = \"10.0.0.0/8, 192.0.2.1\"\nx_forwarded_for_hop_skips = 1
         x_forwarded_for_reject_not_present = false\nx_forwarded_for_reject_not_authorized = false",
    )
    .unwrap();
    let believed = config.forwarded_for.unwrap();
    assert_eq!(believed.authorized.len(), 2);
    assert_eq!(believed.hop_skips, 1);
    assert!(!believed.reject_not_present && !believed.reject_not_authorized);
    assert!(listener("").unwrap().0.forwarded_for.is_none());
    let (config, _) =
        listener("proxy_protocol_behavior = \"deny_unauthorized\"\nproxy_protocol_authorized_addrs = [\"10.0.0.1\"]")
            .unwrap();
    let only = strongroom_http::networks(["10.0.0.1"]).unwrap();
    assert_eq!(config.proxy_protocol, Some(strongroom_http::ProxyProtocol::AuthorizedOnly(only)));
    for (body, word) in [
        ("proxy_protocol_behavior = \"allow_authorized\"", "whom to believe"),
        ("proxy_protocol_behavior = \"sometimes\"", "use_always"),
        ("proxy_protocol_authorized_addrs = [\"10.0.0.1\"]", "needs proxy_protocol_behavior"),
        ("x_forwarded_for_authorized_addrs = [\"10.0.0.0/8\", \"proxy\"]", "\"proxy\""),
        ("x_forwarded_for_hop_skips = 1", "whom to believe"),
    ] {
        let error = listener(body).unwrap_err();
        assert!(error.contains(word), "{body}: {error}");
    }
}

#[test]
fn what_needs_no_token_can_be_kept_back() {
    let (config, warnings) = listener("redact_version = true\ndisable_unauthed_rekey_endpoints = \"true\"").unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let open = config.open_routes;
    assert!(open.redact.version && open.no_rekey && !open.redact.cluster_name && !open.no_generate_root);
    assert!(listener("redact_version = \"maybe\"").unwrap_err().contains("redact_version"));
}

/// The form that Vault's own documentation shows, which is HCL 1 and no HCL 2.
#[test]
fn headers_of_replies_are_read() {
    let (config, warnings) = listener(
        r#"custom_response_headers {
             "default" = {
               "Content-Security-Policy" = ["default-src 'none'"],
               "X-Many" = ["a", "b"],
             },
             "4xx" = { "X-Many" = "c" },
           }"#,
    )
    .unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_ne!(config.response_headers, strongroom_http::ResponseHeaders::default());
    for (body, word) in [
        ("custom_response_headers { \"9xx\" = { \"X-A\" = [\"b\"] } }", "9xx"),
        ("custom_response_headers { \"200\" = { \"X-Vault-A\" = [\"b\"] } }", "X-Vault-A"),
        ("custom_response_headers { \"200\" = 3 }", "block of headers"),
    ] {
        let error = listener(body).unwrap_err();
        assert!(
            error.contains("config.hcl:5: listener \"tcp\": custom_response_headers") && error.contains(word),
            "{error}"
        );
    }
}

#[test]
fn a_socket_in_the_file_system_is_a_listener_too() {
    let text = "storage \"inmem\" {}\nlistener \"unix\" { address = \"/run/s.sock\" socket_mode = \"660\" socket_user = \"root\" socket_group = \"12\" }";
    let (config, _) = read(text).unwrap();
    let Address::Unix(socket) = &config.listeners[0].address else { panic!("{config:?}") };
    assert_eq!((socket.mode, socket.user, socket.group), (0o660, Some(0), Some(12)));
    assert!(config.listeners[0].tls.is_none());
    for (body, word) in [("socket_mode = \"999\"", "octal"), ("socket_user = \"nobody-of-that-name\"", "/etc/passwd")] {
        let error =
            read(&format!("storage \"inmem\" {{}}\nlistener \"unix\" {{ address = \"/s\" {body} }}")).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn later_files_win_and_listeners_add_up() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.hcl"), HCL).unwrap();
    let more = r#"{"listener": {"tcp": {"address": ":8400", "tls_disable": true}}, "max_lease_ttl": "1h",
        "storage": {"inmem": {}}, "log_level": "WARNING"}"#;
    std::fs::write(folder.path().join("b.json"), more).unwrap();
    std::fs::write(folder.path().join("c.txt"), "not read").unwrap();
    let (config, _) = Config::read(&[folder.path().to_owned()]).unwrap();
    assert_eq!(config.listeners.len(), 3);
    assert_eq!(config.listeners[2].address.to_string(), "[::]:8400");
    assert_eq!(config.max_lease_ttl, Some(Duration::from_secs(3600)));
    assert!(matches!(config.storage, Storage::Memory));
    assert_eq!(config.log_level, "warn");
    assert_eq!(Config::log_level(&[folder.path().to_owned()]).unwrap().as_deref(), Some("warn"));
    let empty = tempfile::tempdir().unwrap();
    assert!(Config::read(&[empty.path().to_owned()]).unwrap_err().contains("no *.hcl"));
}

#[test]
fn a_dev_server_takes_the_rest_of_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dev.hcl");
    std::fs::write(&path, "storage \"raft\" { path = \"/x\" }\nui = true\ndefault_lease_ttl = \"1m\"").unwrap();
    let (config, warnings) = Config::read_dev(&[path]).unwrap();
    assert!(matches!(config.storage, Storage::Memory));
    assert_eq!(config.default_lease_ttl, Some(Duration::from_secs(60)));
    assert!(config.listeners.is_empty() && warnings[0].contains("dev.hcl:1: storage"), "{warnings:?}");
}

#[test]
fn lockouts_are_read_by_kind() {
    let stanzas = "user_lockout \"all\" { lockout_duration = \"10m\" }
        user_lockout \"userpass\" {
          lockout_threshold = \"7\"
          disable_lockout   = \"true\"
          frobnicate        = 1
        }";
    let (config, warnings) = read(&format!("{HCL}\n{stanzas}")).unwrap();
    assert!(warnings.iter().any(|warning| warning.contains("frobnicate of user_lockout")), "{warnings:?}");
    let of = |kind: &str| config.lockout.by_kind.get(kind).copied().unwrap_or_default();
    assert_eq!((of("userpass").threshold, of("userpass").disabled), (Some(7), Some(true)));
    assert_eq!(of("all").duration, Some(Duration::from_secs(600)));
    for (stanza, word) in [
        ("user_lockout \"jwt\" {}", "jwt"),
        ("user_lockout \"all\" { lockout_threshold = -1 }", "lockout_threshold"),
        ("user_lockout \"all\" { lockout_duration = \"soon\" }", "lockout_duration"),
    ] {
        let error = read(&format!("{HCL}\n{stanza}")).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    assert!(["1", "true", "T"].into_iter().all(user_lockout::is_true));
    assert!(!["", "0", "false", "yes"].into_iter().any(user_lockout::is_true));
}

#[test]
fn first_requests_are_read_in_order_and_refer_to_their_secrets() {
    let file = std::env::temp_dir().join(format!("strongroom-first-{}", std::process::id()));
    std::fs::write(&file, "from-a-file\n").unwrap();
    let text = format!(
        r#"
        storage "inmem" {{}}
        listener "tcp" {{ tls_disable = true }}
        initialize "audit" {{
          request "log" {{
            operation = "update"
            path = "sys/audit/file"
            data = {{ type = "file" options = {{ file_path = "discard" }} count = 3 on = true }}
          }}
        }}
        initialize "people" {{
          request "admin" {{
            operation = "create"
            path = "auth/userpass/users/admin"
            allow_failure = true
            data = {{
              password = {{ eval_source = "file" eval_type = "string" path = "{}" }}
              absent = {{ eval_source = "env" env_var = "STRONGROOM_NO_SUCH_VARIABLE" require_present = false }}
              token_policies = ["a", "b"]
            }}
          }}
          request "look" {{ operation = "read" path = "sys/mounts" }}
        }}"#,
        file.display()
    );
    let (config, warnings) = read(&text).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let requests = &config.first_requests;
    let names: Vec<_> = requests.iter().map(|request| (request.name.as_str(), request.verb)).collect();
    assert_eq!(
        names,
        [("audit/log", api::Verb::Write), ("people/admin", api::Verb::Write), ("people/look", api::Verb::Read)]
    );
    assert!(requests[1].allow_failure && !requests[0].allow_failure);
    let body = |at: usize| serde_json::from_slice::<serde_json::Value>(&(requests[at].body)().unwrap()).unwrap();
    assert_eq!(
        body(0),
        serde_json::json!({ "type": "file", "options": { "file_path": "discard" }, "count": 3, "on": true })
    );
    assert_eq!(body(1), serde_json::json!({ "password": "from-a-file", "absent": null, "token_policies": ["a", "b"] }));
    assert_eq!(body(2), serde_json::json!({}));
    std::fs::remove_file(&file).unwrap();
    assert!((requests[1].body)().unwrap_err().contains("cannot read"));
}

#[test]
fn first_requests_that_cannot_be_made_are_told_with_their_place() {
    let good = r#"operation = "update" path = "a""#;
    for (block, text) in [
        (r#"initialize "a" {}"#.to_owned(), "no request block"),
        (
            r#"initialize "1a" { request "b" { operation = "read" path = "a" } }"#.to_owned(),
            "its name begins with a letter",
        ),
        (r#"initialize "a" { request "b" { path = "a" } }"#.to_owned(), "operation is missing"),
        (r#"initialize "a" { request "b" { operation = "read" } }"#.to_owned(), "path is missing"),
        (r#"initialize "a" { request "b" { operation = "renew" path = "a" } }"#.to_owned(), "operation: use"),
        (format!(r#"initialize "a" {{ request "b" {{ {good} }} request "b" {{ {good} }} }}"#), "another request a/b"),
        (
            r#"initialize "a" { request "b" { operation = "update" path = "/sys/seal" } }"#.to_owned(),
            "what key holders do",
        ),
        (format!(r#"initialize "a" {{ request "b" {{ {good} token = "x" }} }}"#), "a token of the server's own"),
        (
            format!(r#"initialize "a" {{ request "b" {{ {good} data = {{ password = "hidden" }} }} }}"#),
            "a secret does not stand here",
        ),
        (
            format!(r#"initialize "a" {{ request "b" {{ {good} data = {{ data = {{ token = "hidden" }} }} }} }}"#),
            "a secret does not stand here",
        ),
        (
            format!(r#"initialize "a" {{ request "b" {{ {good} data = {{ x = {{ eval_source = "response" }} }} }} }}"#),
            "use env or file",
        ),
        (
            format!(r#"initialize "a" {{ request "b" {{ {good} data = {{ x = {{ eval_source = "env" }} }} }} }}"#),
            "needs env_var",
        ),
        (
            format!(
                r#"initialize "a" {{ request "b" {{ {good} data = {{ x = {{ eval_source = "env" env_var = "A" eval_type = "date" }} }} }} }}"#
            ),
            "eval_type: use",
        ),
    ] {
        let config = format!("storage \"inmem\" {{}}\nlistener \"tcp\" {{ tls_disable = true }}\n{block}");
        let error = read(&config).unwrap_err();
        assert!(error.contains(text) && error.contains(":3") && !error.contains("hidden"), "{block}: {error}");
    }
}

fn postgresql(body: &str) -> Result<(Postgresql, Vec<String>), String> {
    let listener = "listener \"tcp\" { tls_disable = true }";
    let (config, warnings) = read(&format!("storage \"postgresql\" {{\n{body}\n}}\n{listener}"))?;
    match config.storage {
        Storage::Postgresql(found) => Ok((found, warnings)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_in_postgresql_is_told_in_the_names_of_vault() {
    let (found, warnings) = postgresql(
        r#"connection_url = "postgres://vault:hunter2@db/secrets"
           table = "vault.kv"
           max_parallel = "128"
           ha_enabled = "true"
           ha_table = "vault_ha_locks"
           max_idle_connections = 4
           max_staleness = "3s"
           node_id = "a""#,
    )
    .unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!((found.table.as_str(), found.max_parallel, found.node_id.as_deref()), ("vault.kv", 128, Some("a")));
    assert_eq!(found.max_staleness, Duration::from_secs(3));
    assert!(!format!("{found:?}").contains("hunter2"));
    let (found, _) = postgresql("").unwrap();
    assert_eq!((found.table.as_str(), found.max_parallel, found.max_staleness.as_secs()), ("strongroom", 8, 1));
    assert!(found.connection_url.is_none());
    let (_, warnings) = postgresql("ha_enabled = false\nfrobnicate = 1").unwrap();
    assert!(warnings.iter().any(|text| text.contains("ha_enabled")) && warnings.len() == 2, "{warnings:?}");
    for (body, word) in [
        ("max_parallel = 2", "3 to 1000"),
        ("max_parallel = \"many\"", "whole number"),
        ("max_staleness = 0", "1 to 60 seconds"),
        ("max_staleness = \"2h\"", "1 to 60 seconds"),
        ("node_id = \"a/b\"", "node_id"),
        ("connection_url = 5", "text in quotes"),
    ] {
        let error = postgresql(body).unwrap_err();
        assert!(error.contains("config.hcl:") && error.contains(word), "{body}: {error}");
    }
}
