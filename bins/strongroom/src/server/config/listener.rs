//! `listener "tcp" { … }` and `listener "unix" { … }`.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

use hcl1::Value;
use strongroom_http::{Address, ForwardedFor, ListenerConfig, ProxyProtocol, Tls, TlsVersion, UnixSocket};

use super::section::{Section, as_text};

/// What other programs can be told and this one cannot, where passing it over would open a door that the operator
/// closed, or close one that must be open.
const REFUSED: &[(&str, &str)] = &[
    ("tls_acme_ca_directory", "certificates are not fetched; set tls_cert_file and tls_key_file"),
    ("tls_acme_domains", "certificates are not fetched; set tls_cert_file and tls_key_file"),
    ("x_forwarded_for_client_cert_header", "certificates of clients are taken from the handshake only"),
];

/// What other programs can be told and what means nothing here.
const IGNORED: &[&str] = &[
    "cluster_address",
    "disable_replication_status_endpoints",
    "inflight_requests_logging",
    "profiling",
    "role",
    "telemetry",
    "tls_prefer_server_cipher_suites",
];

/// Reads a listener, with warnings.
pub(super) fn listener(mut body: Section, warnings: &mut Vec<String>) -> Result<ListenerConfig, String> {
    for (key, why) in REFUSED {
        if let Some(place) = body.pass_over(key) {
            return Err(body.wrong(&place, key, why));
        }
    }
    let mut config = ListenerConfig::new(address(&mut body)?);
    config.tls = tls(&mut body, matches!(config.address, Address::Unix(_)), warnings)?;
    limits(&mut body, &mut config)?;
    config.forwarded_for = forwarded_for(&mut body)?;
    config.proxy_protocol = proxy_protocol(&mut body)?;
    open_routes(&mut body, &mut config)?;
    response_headers(&mut body, &mut config)?;
    config.namespace = chroot(&mut body)?;
    for key in IGNORED {
        body.pass_over(key);
    }
    warnings.extend(body.unknown());
    Ok(config)
}

/// The namespace that all requests of the listener go into.
fn chroot(body: &mut Section) -> Result<Option<String>, String> {
    const KEY: &str = "chroot_namespace";
    let Some(text) = body.text(KEY)? else { return Ok(None) };
    let path = text.trim_matches('/');
    if api::ReqPath::new(path).is_err() || path.split('/').any(|name| name.trim().is_empty()) {
        return Err(body.says(&format!("{KEY}: {text:?} is no path of a namespace, such as team/web")));
    }
    Ok(Some(path.to_owned()).filter(|path| path != "root"))
}

fn address(body: &mut Section) -> Result<Address, String> {
    let address = body.text("address")?;
    match body.label.as_str() {
        "tcp" => {
            let text = address.unwrap_or_else(|| "127.0.0.1:8200".to_owned());
            let wrong = || body.says(&format!("address {text:?} is not HOST:PORT of this machine"));
            resolve(&text).map(Address::Tcp).ok_or_else(wrong)
        }
        "unix" => {
            let path = address.ok_or_else(|| body.says("address is missing: name the path of the socket"))?;
            let mut socket = UnixSocket::new(path);
            if let Some(text) = body.text("socket_mode")? {
                let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
                socket.mode = mode.ok_or_else(|| body.says("socket_mode is no octal mode such as \"660\""))?;
            }
            socket.user = account(body, "socket_user", "/etc/passwd")?;
            socket.group = account(body, "socket_group", "/etc/group")?;
            Ok(Address::Unix(socket))
        }
        _ => Err(body.says("this kind of listener is not known; the kinds are tcp and unix")),
    }
}

/// The address that a text such as `localhost:8200` means; of several, one of IPv4. A port alone, as in `:8200`, means
/// every address of the machine.
pub(crate) fn resolve(text: &str) -> Option<SocketAddr> {
    let full = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    let all: Vec<_> = full.to_socket_addrs().ok()?.collect();
    all.iter().find(|address| address.is_ipv4()).or(all.first()).copied()
}

/// The number of a user or group, which is given as a number or by a name of the system's own list.
fn account(body: &mut Section, key: &str, list: &str) -> Result<Option<u32>, String> {
    let Some(name) = body.text(key)? else { return Ok(None) };
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    let text = std::fs::read_to_string(list).unwrap_or_default();
    let number = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name.as_str())).then(|| fields.nth(1)?.parse().ok())?
    });
    number.map(Some).ok_or_else(|| body.says(&format!("{key} {name:?} is not in {list}")))
}

fn tls(body: &mut Section, may_be_plain: bool, warnings: &mut Vec<String>) -> Result<Option<Tls>, String> {
    let disabled = body.flag("tls_disable")?.unwrap_or(false);
    let (certificate, key) = (body.text("tls_cert_file")?, body.text("tls_key_file")?);
    let client_ca_file = body.text("tls_client_ca_file")?;
    let no_client_certs = body.flag("tls_disable_client_certs")?.unwrap_or(false);
    let required = body.flag("tls_require_and_verify_client_cert")?.unwrap_or(false);
    let min_version = version(body, "tls_min_version", warnings)?;
    let max_version = version(body, "tls_max_version", warnings)?;
    let cipher_suites = cipher_suites(body, warnings)?;
    if disabled {
        return match required {
            true => Err(body.says("tls_require_and_verify_client_cert needs TLS, and tls_disable turns it off")),
            false => Ok(None),
        };
    }
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) if may_be_plain && !required => return Ok(None),
        _ => return Err(body.says("set tls_cert_file and tls_key_file, or tls_disable = true")),
    };
    if required && no_client_certs {
        return Err(body.says("tls_require_and_verify_client_cert and tls_disable_client_certs exclude each other"));
    }
    if required && client_ca_file.is_none() {
        return Err(body.says("tls_require_and_verify_client_cert needs tls_client_ca_file"));
    }
    let mut tls = Tls::new(certificate, key);
    tls.client_ca_file = client_ca_file.filter(|_| !no_client_certs).map(Into::into);
    tls.require_client_cert = required;
    tls.min_version = min_version.unwrap_or(tls.min_version);
    tls.max_version = max_version.unwrap_or(tls.max_version);
    if tls.max_version < tls.min_version {
        return Err(body.says("tls_max_version is older than tls_min_version"));
    }
    tls.cipher_suites = cipher_suites;
    Ok(Some(tls))
}

fn version(body: &mut Section, key: &str, warnings: &mut Vec<String>) -> Result<Option<TlsVersion>, String> {
    let Some(text) = body.text(key)? else { return Ok(None) };
    match text.as_str() {
        "tls10" | "tls11" => {
            warnings.push(body.says(&format!("{key}: TLS 1.2 is the oldest version that is spoken")));
            Ok(Some(TlsVersion::Tls12))
        }
        "tls12" => Ok(Some(TlsVersion::Tls12)),
        "tls13" => Ok(Some(TlsVersion::Tls13)),
        _ => Err(body.says(&format!("{key}: use tls12 or tls13"))),
    }
}

fn cipher_suites(body: &mut Section, warnings: &mut Vec<String>) -> Result<Option<Vec<String>>, String> {
    let Some((place, names)) = body.list("tls_cipher_suites")? else { return Ok(None) };
    let (known, unknown): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| strongroom_http::knows_cipher_suite(name));
    if known.is_empty() {
        return Err(body.wrong(&place, "tls_cipher_suites", "none of them is spoken here"));
    }
    if !unknown.is_empty() {
        let why = format!("not spoken here, and passed over: {}", unknown.join(", "));
        warnings.push(body.wrong(&place, "tls_cipher_suites", &why));
    }
    Ok(Some(known))
}

fn limits(body: &mut Section, config: &mut ListenerConfig) -> Result<(), String> {
    let times = [
        ("max_request_duration", &mut config.max_request_duration),
        ("http_read_header_timeout", &mut config.header_read_timeout),
        ("http_idle_timeout", &mut config.idle_timeout),
    ];
    for (key, time) in times {
        // Nothing may take for ever; zero asks for the usual limit, as it does elsewhere.
        *time = body.duration(key)?.filter(|given| *given > Duration::ZERO).unwrap_or(*time);
    }
    config.read_timeout = body.duration("http_read_timeout")?.unwrap_or(config.read_timeout);
    config.write_timeout = body.duration("http_write_timeout")?.unwrap_or(config.write_timeout);
    config.require_request_header = body.flag("require_request_header")?.unwrap_or(false);
    let json = &mut config.json;
    let sizes = [
        ("max_request_size", &mut config.max_request_size),
        ("max_json_depth", &mut json.depth),
        ("max_json_string_value_length", &mut json.string_length),
        ("max_json_object_entry_count", &mut json.object_entries),
        ("max_json_array_element_count", &mut json.array_elements),
        ("max_token_size", &mut config.max_token_size),
        ("max_connections", &mut config.max_connections),
    ];
    for (key, size) in sizes {
        match body.size(key)? {
            Some(0) if key != "max_request_size" => {}
            Some(given) => *size = given,
            None => {}
        }
    }
    if config.json.depth > strongroom_http::json::Limits::DEEPEST && config.json.depth != usize::MAX {
        let most = strongroom_http::json::Limits::DEEPEST;
        return Err(body.says(&format!("max_json_depth: it can be {most} at most")));
    }
    Ok(())
}

fn forwarded_for(body: &mut Section) -> Result<Option<ForwardedFor>, String> {
    let hop_skips = body.size("x_forwarded_for_hop_skips")?;
    let not_present = body.flag("x_forwarded_for_reject_not_present")?;
    let not_authorized = body.flag("x_forwarded_for_reject_not_authorized")?;
    let Some((place, proxies)) = body.list("x_forwarded_for_authorized_addrs")? else {
        if hop_skips.is_some() || not_present.is_some() || not_authorized.is_some() {
            return Err(body.says("x_forwarded_for_… needs x_forwarded_for_authorized_addrs: whom to believe"));
        }
        return Ok(None);
    };
    let parsed = ForwardedFor::parse(proxies.iter().map(String::as_str));
    let mut config = parsed.map_err(|text| {
        body.wrong(&place, "x_forwarded_for_authorized_addrs", &format!("{text:?} is no address and no network"))
    })?;
    config.hop_skips = hop_skips.unwrap_or(config.hop_skips);
    config.reject_not_present = not_present.unwrap_or(config.reject_not_present);
    config.reject_not_authorized = not_authorized.unwrap_or(config.reject_not_authorized);
    Ok(Some(config))
}

fn proxy_protocol(body: &mut Section) -> Result<Option<ProxyProtocol>, String> {
    const PROXIES: &str = "proxy_protocol_authorized_addrs";
    let behavior = body.text("proxy_protocol_behavior")?;
    let proxies = match body.list(PROXIES)? {
        None => None,
        Some((place, texts)) => {
            let parsed = strongroom_http::networks(texts.iter().map(String::as_str));
            let wrong = |text: String| body.wrong(&place, PROXIES, &format!("{text:?} is no address and no network"));
            Some(parsed.map_err(wrong)?)
        }
    };
    match (behavior.as_deref(), proxies) {
        (None | Some(""), None) => Ok(None),
        (Some("use_always"), _) => Ok(Some(ProxyProtocol::Always)),
        (Some("allow_authorized"), Some(proxies)) => Ok(Some(ProxyProtocol::Authorized(proxies))),
        (Some("deny_unauthorized"), Some(proxies)) => Ok(Some(ProxyProtocol::AuthorizedOnly(proxies))),
        (Some("allow_authorized" | "deny_unauthorized"), None) => {
            Err(body.says("proxy_protocol_behavior needs proxy_protocol_authorized_addrs: whom to believe"))
        }
        (None | Some(""), Some(_)) => Err(body.says("proxy_protocol_authorized_addrs needs proxy_protocol_behavior")),
        (Some(_), _) => {
            Err(body.says("proxy_protocol_behavior: use use_always, allow_authorized or deny_unauthorized"))
        }
    }
}

/// What those without a token are not told, and may not do.
fn open_routes(body: &mut Section, config: &mut ListenerConfig) -> Result<(), String> {
    let open = &mut config.open_routes;
    let switches = [
        ("redact_version", &mut open.redact.version),
        ("redact_cluster_name", &mut open.redact.cluster_name),
        ("redact_addresses", &mut open.redact.addresses),
        ("disable_unauthed_rekey_endpoints", &mut open.no_rekey),
        ("disable_unauthed_generate_root_endpoints", &mut open.no_generate_root),
    ];
    for (key, switch) in switches {
        *switch = body.flag(key)?.unwrap_or(*switch);
    }
    Ok(())
}

fn response_headers(body: &mut Section, config: &mut ListenerConfig) -> Result<(), String> {
    const KEY: &str = "custom_response_headers";
    for (statuses, place, value) in body.pairs(KEY)? {
        let Value::Object(headers) = value else {
            return Err(body.wrong(&place, KEY, "expected a block of headers for each status"));
        };
        for header in headers {
            let name = header.keys.first().map(|key| key.text.clone()).unwrap_or_default();
            let values = match &header.value {
                Value::List(values) => values.iter().map(as_text).collect(),
                one => as_text(one).map(|text| vec![text]),
            };
            let values: Vec<_> =
                values.ok_or_else(|| body.wrong(&place, KEY, &format!("{name}: expected a list of texts")))?;
            let added = config.response_headers.add(&statuses, &name, values.iter().map(String::as_str));
            added.map_err(|why| body.wrong(&place, KEY, &why))?;
        }
    }
    Ok(())
}
