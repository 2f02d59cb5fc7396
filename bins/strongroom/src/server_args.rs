//! The arguments of `strongroom server`.

use std::{net::SocketAddr, path::PathBuf};

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
    /// A configuration file in HCL or JSON, or a folder of them; may be repeated, later ones win
    #[arg(long, value_name = "PATH", required_unless_present_any = ["dev", "dev_tls"])]
    pub(crate) config: Vec<PathBuf>,

    /// Serve from memory, unsealed, for a first try
    #[arg(long)]
    pub(crate) dev: bool,

    /// The root token of the dev server; a random one otherwise
    #[arg(long, value_name = "TOKEN")]
    pub(crate) dev_root_token_id: Option<String>,

    /// Where the dev server listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8200")]
    pub(crate) dev_listen_address: SocketAddr,

    /// Do not write the dev server's root token to ~/.vault-token
    #[arg(long)]
    pub(crate) dev_no_store_token: bool,

    /// Serve the dev server over TLS with a certificate made for it
    #[arg(long)]
    pub(crate) dev_tls: bool,

    /// Where to write the dev server's certificates (vault-ca.pem and others); a temporary folder otherwise
    #[arg(long, value_name = "DIR", requires = "dev_tls")]
    pub(crate) dev_tls_cert_dir: Option<PathBuf>,
}
