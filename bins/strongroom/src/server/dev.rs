//! The server for a first try: in memory, unsealed, with a root token that is printed.

use std::{
    io::Write,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use secret::SecretString;
use strongroom_core::DevStart;

use strongroom_http::{Address, ListenerConfig, Tls};

use super::{
    Reload,
    config::{Config, resolve},
    core, listen,
    log::{Log, either},
    open, secret, stop,
};
use crate::server_args::ServerArgs;

pub(super) async fn serve(mut args: ServerArgs) -> Result<(), String> {
    let address = listen_address(&args)?;
    let root_token = args.dev_root_token_id.take().or_else(|| either("DEV_ROOT_TOKEN_ID"));
    let certificates =
        if args.dev_tls { Some(Certificates::make(args.dev_tls_cert_dir.as_deref(), address)?) } else { None };
    let (mut config, warnings) = Config::read_dev(&args.config)?;
    let scheme = if certificates.is_some() { "https" } else { "http" };
    config.api_addr.get_or_insert_with(|| format!("{scheme}://{address}"));
    let log = Log::start(&args, &config)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let (store, counters) = open(&config.storage).await?;
    let core = core(store, counters, &config, log.tap()).await?;
    let started = core.start_dev(secret(root_token)).await.map_err(|error| error.to_string())?;
    let mut listener = ListenerConfig::new(address);
    listener.tls = certificates.as_ref().map(|made| made.tls.clone());
    let listeners: Vec<ListenerConfig> = std::iter::once(listener).chain(config.listeners.iter().cloned()).collect();
    let mut serving = Vec::new();
    for listener in &listeners {
        serving.push(listen(&core, listener.clone()).await?);
    }
    let url = url(serving.first(), certificates.is_some());
    if !args.dev_no_store_token {
        store_token(&started.root_token)?;
    }
    if let Some(file) = &args.dev_cluster_json {
        tell_cluster(file, &url, &started, certificates.as_ref())?;
    }
    tell(&started, &url, certificates.as_ref()).map_err(|error| format!("cannot print: {error}"))?;
    let reload = Reload { core: &core, listeners: &listeners, serving: &serving, log: &log, args: &args };
    reload.until_stopped().await?;
    stop(&core, serving).await;
    if let Some(made) = certificates {
        made.remove();
    }
    Ok(())
}

fn listen_address(args: &ServerArgs) -> Result<SocketAddr, String> {
    let said = args.dev_listen_address.clone().or_else(|| either("DEV_LISTEN_ADDRESS"));
    let text = said.unwrap_or_else(|| "127.0.0.1:8200".to_owned());
    resolve(&text).ok_or_else(|| format!("-dev-listen-address {text:?} is not HOST:PORT of this machine"))
}

fn url(serving: Option<&strongroom_http::Serving>, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    match serving.map(|serving| serving.address()) {
        Some(Address::Tcp(address)) => format!("{scheme}://{address}"),
        Some(Address::Unix(socket)) => format!("unix://{}", socket.path.display()),
        None => String::new(),
    }
}

/// Tells tools where the nodes are; there is one.
fn tell_cluster(file: &Path, url: &str, started: &DevStart, certificates: Option<&Certificates>) -> Result<(), String> {
    let cluster = serde_json::json!({
        "nodes": [{ "api_address": url }],
        "ca_cert_path": certificates.map(|made| made.ca.display().to_string()).unwrap_or_default(),
        // EXPOSE: whoever starts a dev server with this flag wants its token there, for its owner alone.
        "root_token": started.root_token.expose(),
    });
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    let written = opened.and_then(|mut opened| writeln!(opened, "{cluster:#}"));
    written.map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// What a newcomer, or a tool that starts the server, reads from the standard output.
fn tell(started: &DevStart, url: &str, certificates: Option<&Certificates>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "WARNING! This is a dev server: it keeps everything in memory and starts unsealed.")?;
    writeln!(out, "Do not use it for anything but a first try.\n")?;
    writeln!(out, "You may need to set these environment variables:\n")?;
    writeln!(out, "    export VAULT_ADDR='{url}'")?;
    if let Some(made) = certificates {
        writeln!(out, "    export VAULT_CACERT='{}'", made.ca.display())?;
    }
    // EXPOSE: whoever starts a dev server is told its keys.
    writeln!(out, "\nUnseal Key: {}", started.unseal_key.expose())?;
    // EXPOSE: as above.
    writeln!(out, "Root Token: {}\n", started.root_token.expose())?;
    writeln!(out, "Development mode should NOT be used in production installations!\n")?;
    out.flush()
}

/// The token goes where the command line looks for it, readable by its owner alone.
fn store_token(token: &SecretString) -> Result<(), String> {
    let Some(home) = std::env::var_os("HOME") else { return Ok(()) };
    let path = PathBuf::from(home).join(".vault-token");
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    // EXPOSE: written to the token file of the user who starts the server.
    let written = file.and_then(|mut file| file.write_all(token.expose().as_bytes()));
    written.map_err(|error| format!("cannot write {}: {error}; use -dev-no-store-token", path.display()))
}

/// The certificates of a dev server.
struct Certificates {
    ca: PathBuf,
    tls: Tls,
    /// The folder, if it is ours to remove.
    temporary: Option<PathBuf>,
}

impl Certificates {
    /// Makes an authority and a certificate for the listener into `folder`, or into a new temporary one.
    fn make(folder: Option<&Path>, address: SocketAddr) -> Result<Self, String> {
        let own = || std::env::temp_dir().join(format!("strongroom-dev-{}", std::process::id()));
        let temporary = folder.is_none().then(own);
        let folder = temporary.clone().or(folder.map(Path::to_owned)).unwrap_or_default();
        let wrong =
            |error: &dyn std::fmt::Display| format!("cannot make certificates in {}: {error}", folder.display());
        let mut builder = std::fs::DirBuilder::new();
        // One that we name ourselves must be new: another's would see the key.
        builder.mode(0o700).recursive(temporary.is_none()).create(&folder).map_err(|error| wrong(&error))?;
        let made = make_pair(address).map_err(|error| wrong(&error))?;
        let path = |name| folder.join(name);
        let (ca, cert_file, key_file) = (path("vault-ca.pem"), path("vault-cert.pem"), path("vault-key.pem"));
        for (file, text) in [(&ca, &made.ca), (&cert_file, &made.cert), (&key_file, &made.key)] {
            let mode = if *file == key_file { 0o600 } else { 0o644 };
            let mut options = std::fs::OpenOptions::new();
            let opened = options.write(true).create(true).truncate(true).mode(mode).open(file);
            opened.and_then(|mut opened| opened.write_all(text.as_bytes())).map_err(|error| wrong(&error))?;
        }
        Ok(Self { ca, tls: Tls::new(cert_file, key_file), temporary })
    }

    /// Takes away what nobody needs after the end.
    fn remove(self) {
        if let Some(folder) = self.temporary {
            // Left behind, it is a certificate of a server that is gone.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

struct Pair {
    ca: String,
    cert: String,
    key: String,
}

fn make_pair(address: SocketAddr) -> Result<Pair, rcgen::Error> {
    let ca_key = rcgen::KeyPair::generate()?;
    let mut ca = rcgen::CertificateParams::new(Vec::new())?;
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "Strongroom dev CA");
    let ca_cert = ca.self_signed(&ca_key)?;
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate()?;
    let names = vec!["localhost".to_owned(), address.ip().to_string(), "127.0.0.1".to_owned()];
    let cert = rcgen::CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    Ok(Pair { ca: ca_cert.pem(), cert: cert.pem(), key: key.serialize_pem() })
}
