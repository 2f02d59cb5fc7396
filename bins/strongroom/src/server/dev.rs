//! The server for a first try: in memory, unsealed, with a root token that is printed.

use std::{io::Write, net::SocketAddr, path::Path, path::PathBuf};

use secret::SecretString;
use strongroom_core::DevStart;

use super::{
    config::{COMPATIBILITY, Config, Listener, Storage, Tls},
    core, listen, log_to_stderr, open, secret, stop, until_stopped,
};
use crate::server_args::ServerArgs;

pub(super) async fn serve(args: ServerArgs) -> Result<(), String> {
    let certificates = if args.dev_tls {
        Some(Certificates::make(args.dev_tls_cert_dir.as_deref(), args.dev_listen_address)?)
    } else {
        None
    };
    let listener = Listener {
        address: args.dev_listen_address,
        tls: certificates.as_ref().map(|made| made.tls.clone()),
        max_request_size: None,
        max_request_duration: None,
    };
    let config = Config {
        storage: Storage::Memory,
        listeners: vec![listener.clone()],
        default_lease_ttl: None,
        max_lease_ttl: None,
        cluster_name: "strongroom-dev".to_owned(),
        log_level: "warn".to_owned(),
        log_json: false,
        pid_file: None,
        cache_bytes: 0,
        compatibility: COMPATIBILITY.to_owned(),
        allow_audit_log_prefixing: false,
    };
    let tap = log_to_stderr(&config.log_level, config.log_json);
    let (store, counters) = open(&config.storage)?;
    let core = core(store, counters, &config, tap).await?;
    let started = core.start_dev(secret(args.dev_root_token_id)).await.map_err(|error| error.to_string())?;
    let serving = listen(&core, &listener).await?;
    if !args.dev_no_store_token {
        store_token(&started.root_token)?;
    }
    tell(&started, serving.address(), certificates.as_ref()).map_err(|error| format!("cannot print: {error}"))?;
    let serving = vec![serving];
    until_stopped(&core, &serving).await?;
    stop(&core, serving).await;
    Ok(())
}

/// What a newcomer, or a tool that starts the server, reads from the standard output.
fn tell(started: &DevStart, address: SocketAddr, certificates: Option<&Certificates>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let scheme = if certificates.is_some() { "https" } else { "http" };
    writeln!(out, "WARNING! This is a dev server: it keeps everything in memory and starts unsealed.")?;
    writeln!(out, "Do not use it for anything but a first try.\n")?;
    writeln!(out, "You may need to set these environment variables:\n")?;
    writeln!(out, "    export VAULT_ADDR='{scheme}://{address}'")?;
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
    use std::os::unix::fs::OpenOptionsExt;
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
}

impl Certificates {
    /// Makes an authority and a certificate for the listener into `folder`, or into a new temporary one.
    fn make(folder: Option<&Path>, address: SocketAddr) -> Result<Self, String> {
        let folder = match folder {
            Some(folder) => folder.to_owned(),
            None => std::env::temp_dir().join(format!("strongroom-dev-{}", std::process::id())),
        };
        let wrong =
            |error: &dyn std::fmt::Display| format!("cannot make certificates in {}: {error}", folder.display());
        std::fs::create_dir_all(&folder).map_err(|error| wrong(&error))?;
        let made = make_pair(address).map_err(|error| wrong(&error))?;
        let path = |name| folder.join(name);
        let (ca, cert_file, key_file) = (path("vault-ca.pem"), path("vault-cert.pem"), path("vault-key.pem"));
        for (file, text) in [(&ca, &made.ca), (&cert_file, &made.cert), (&key_file, &made.key)] {
            std::fs::write(file, text).map_err(|error| wrong(&error))?;
        }
        Ok(Self { ca, tls: Tls { cert_file, key_file } })
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
