//! The arguments of `strongroom server`.

use std::path::PathBuf;

/// Start the server
///
/// With -config, the server starts sealed unless its seal opens it by itself; `strongroom operator init` and `operator
/// unseal` do the rest. With -dev, it starts in memory, unsealed, on plain HTTP, for a first try: everything is lost
/// when it ends.
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:
    Start with a configuration file (repeat -config for several):
        strongroom server -config=/etc/strongroom/strongroom.hcl

    Try it out in memory; the root token is printed:
        strongroom server -dev

    The same with a known root token and with TLS:
        strongroom server -dev -dev-root-token-id=root -dev-tls")]
pub(crate) struct ServerArgs {
    /// A configuration file in HCL or JSON, or a folder of them; may be repeated, later ones win. With -dev, its storage is
    /// passed over
    #[arg(long, value_name = "PATH", required_unless_present_any = ["dev", "dev_tls"])]
    pub(crate) config: Vec<PathBuf>,

    /// Serve from memory, unsealed, for a first try
    #[arg(long)]
    pub(crate) dev: bool,

    /// The root token of the dev server; a random one otherwise [env: STRONGROOM_DEV_ROOT_TOKEN_ID,
    /// VAULT_DEV_ROOT_TOKEN_ID]
    #[arg(long, value_name = "TOKEN")]
    pub(crate) dev_root_token_id: Option<String>,

    /// Where the dev server listens; 127.0.0.1:8200 otherwise [env: STRONGROOM_DEV_LISTEN_ADDRESS,
    /// VAULT_DEV_LISTEN_ADDRESS]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) dev_listen_address: Option<String>,

    /// Do not write the dev server's root token to ~/.vault-token
    #[arg(long)]
    pub(crate) dev_no_store_token: bool,

    /// Serve the dev server over TLS with a certificate made for it
    #[arg(long)]
    pub(crate) dev_tls: bool,

    /// Where to write the dev server's certificates (vault-ca.pem and others); a temporary folder otherwise
    #[arg(long, value_name = "DIR", requires = "dev_tls")]
    pub(crate) dev_tls_cert_dir: Option<PathBuf>,

    /// A file to write the dev server's address, authority and root token to, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) dev_cluster_json: Option<PathBuf>,

    /// What the log tells: error, warn, info, debug or trace [env: STRONGROOM_LOG_LEVEL, VAULT_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,

    /// The log's format: standard or json [env: STRONGROOM_LOG_FORMAT, VAULT_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
}
