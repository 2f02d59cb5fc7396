//! The certificate of a listener, read anew on request.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig, SupportedCipherSuite,
    crypto::{CryptoProvider, aws_lc_rs},
    server::WebPkiClientVerifier,
    sign::CertifiedKey,
    sign::SingleCertAndKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;

use crate::{Error, Tls, TlsVersion};

/// What new connections are shaken hands with.
pub(crate) struct Certificates {
    wanted: ArcSwap<Tls>,
    current: ArcSwap<ServerConfig>,
}

impl Certificates {
    /// Reads the files.
    pub(crate) fn load(wanted: Tls) -> Result<Self, Error> {
        let current = ArcSwap::from(read(&wanted)?);
        Ok(Self { wanted: ArcSwap::from_pointee(wanted), current })
    }

    /// Reads the files again. If they are broken, what was read before stays in use.
    pub(crate) fn reload(&self) -> Result<(), Error> {
        self.current.store(read(&self.wanted.load())?);
        Ok(())
    }

    /// Reads other files, by other rules. If they are broken, what was read before stays in use, and what was wanted.
    pub(crate) fn replace(&self, wanted: Tls) -> Result<(), Error> {
        self.current.store(read(&wanted)?);
        self.wanted.store(Arc::new(wanted));
        Ok(())
    }

    /// What shakes hands with a new connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

fn read(wanted: &Tls) -> Result<Arc<ServerConfig>, Error> {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(names) = &wanted.cipher_suites {
        restrict(&mut provider, names);
    }
    let provider = Arc::new(provider);
    let chain = certificates("tls_cert_file", &wanted.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&wanted.key_file)
        .map_err(|why| file("tls_key_file", &wanted.key_file, format!("no private key can be read: {}", pem(&why))))?;
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|why| Error::Mismatch {
        certificate: wanted.cert_file.clone(),
        key: wanted.key_file.clone(),
        why: why.to_string(),
    })?;
    let versions: &[_] = match (wanted.min_version, wanted.max_version) {
        (TlsVersion::Tls12, TlsVersion::Tls13) => &[&rustls::version::TLS13, &rustls::version::TLS12],
        (TlsVersion::Tls12, TlsVersion::Tls12) => &[&rustls::version::TLS12],
        (TlsVersion::Tls13, TlsVersion::Tls13) => &[&rustls::version::TLS13],
        (TlsVersion::Tls13, TlsVersion::Tls12) => {
            return Err(Error::Tls("tls_max_version is older than tls_min_version".to_owned()));
        }
    };
    let tls = |why: rustls::Error| Error::Tls(why.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(versions).map_err(tls)?;
    let builder = match &wanted.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(client_verifier(path, wanted.require_client_cert, provider)?),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(tls)?;
    Ok(Arc::new(config))
}

/// Whether a cipher suite of TLS 1.2 can be spoken here, by its standard name or Go's.
pub fn knows_cipher_suite(name: &str) -> bool {
    aws_lc_rs::ALL_CIPHER_SUITES.iter().any(|suite| is_named(suite, name))
}

/// Leaves of the suites of TLS 1.2 those with these names.
fn restrict(provider: &mut CryptoProvider, names: &[String]) {
    let is_13 = |suite: &SupportedCipherSuite| suite.tls13().is_some();
    provider.cipher_suites.retain(|suite| is_13(suite) || names.iter().any(|name| is_named(suite, name)));
}

fn is_named(suite: &SupportedCipherSuite, name: &str) -> bool {
    let own = format!("{:?}", suite.suite());
    // One of Go's names is shorter than the standard's.
    own == name || own.strip_suffix("_SHA256").is_some_and(|short| short == name && name.ends_with("POLY1305"))
}

fn client_verifier(
    path: &Path,
    required: bool,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls_client_ca_file", path)? {
        roots.add(certificate).map_err(|why| file("tls_client_ca_file", path, why.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|why| file("tls_client_ca_file", path, why.to_string()))
}

/// The certificates of a PEM file, at least one.
fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|why| file(what, path, format!("no certificate can be read: {}", pem(&why))))?;
    if read.is_empty() {
        return Err(file(what, path, "it holds no certificate in PEM form".to_owned()));
    }
    Ok(read)
}

fn file(what: &'static str, path: &Path, why: String) -> Error {
    Error::File { what, path: path.to_owned(), why }
}

/// What is wrong with a PEM file, without a line of it.
fn pem(error: &rustls_pki_types::pem::Error) -> String {
    use rustls_pki_types::pem::Error;
    match error {
        Error::Io(error) => error.to_string(),
        Error::NoItemsFound => "it holds none in PEM form".to_owned(),
        _ => "it is not well-formed PEM".to_owned(),
    }
}
