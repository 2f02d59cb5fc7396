//! Encryption to PostgreSQL servers: whom to trust, and which name a certificate must have. For PostgreSQL as a target
//! and as a store.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use secret::SecretString;
use tokio_postgres::{Socket, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How sure to be of the server, in the words of PostgreSQL's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No encryption.
    Disable,
    /// Encryption if the server offers it.
    Prefer,
    /// Encryption with anybody; with a trusted authority given, as [`Mode::VerifyCa`].
    Require,
    /// A certificate of a trusted authority, for any name.
    VerifyCa,
    /// A certificate of a trusted authority for the server's name.
    VerifyFull,
}

impl Mode {
    /// The mode that `sslmode` names.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "disable" => Ok(Self::Disable),
            "allow" | "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(Invalid("sslmode must be disable, prefer, require, verify-ca or verify-full".to_owned())),
        }
    }

    /// Its name as `sslmode`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// What the driver is told.
    pub fn driver(self) -> tokio_postgres::config::SslMode {
        match self {
            Self::Disable => tokio_postgres::config::SslMode::Disable,
            Self::Prefer => tokio_postgres::config::SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => tokio_postgres::config::SslMode::Require,
        }
    }
}

/// Whom to trust, and who we are.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// Certificates of authorities, PEM; empty for those that the machine trusts.
    pub ca: &'a str,
    /// Our own certificate, PEM; empty for none.
    pub certificate: &'a str,
    /// Its private key, PEM.
    pub key: &'a SecretString,
    /// The name that the server's certificate must have; empty for that of the host.
    pub server_name: &'a str,
    /// How errors call the fields before: of the authorities, the certificate, the key.
    pub names: [&'a str; 3],
}

/// What is wrong with a setting; the text begins with its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// Makes encrypted connections.
#[derive(Clone)]
pub struct Connector {
    inner: MakeRustlsConnect,
    server_name: Option<String>,
}

impl Connector {
    /// Connections of this mode. An error names the field of `config` that is wrong.
    pub fn new(mode: Mode, config: &Trust<'_>) -> Result<Self, Invalid> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Invalid(format!("TLS: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(verifier(mode, config, provider)?);
        let client = match identity(config)? {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|_| {
                let [_, certificate, key] = config.names;
                Invalid(format!("{certificate}, {key}: they do not belong together"))
            })?,
            None => builder.with_no_client_auth(),
        };
        let server_name = (!config.server_name.is_empty()).then(|| config.server_name.to_owned());
        Ok(Self { inner: MakeRustlsConnect::new(client), server_name })
    }
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
    type Error = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        let name = self.server_name.as_deref().unwrap_or(host);
        <MakeRustlsConnect as MakeTlsConnect<Socket>>::make_tls_connect(&mut self.inner, name)
    }
}

fn verifier(
    mode: Mode,
    config: &Trust<'_>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Invalid> {
    let checked = matches!(mode, Mode::VerifyCa | Mode::VerifyFull) || !config.ca.is_empty();
    if !checked {
        return Ok(Arc::new(Verifier { trusted: None, provider, any_name: true }));
    }
    let trusted = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(config)?), Arc::clone(&provider))
        .build()
        .map_err(|_| no_authority(config))?;
    Ok(Arc::new(Verifier { trusted: Some(trusted), provider, any_name: mode != Mode::VerifyFull }))
}

fn roots(config: &Trust<'_>) -> Result<RootCertStore, Invalid> {
    let mut roots = RootCertStore::empty();
    if config.ca.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        for certificate in certificates(config.names[0], config.ca)? {
            roots.add(certificate).map_err(|_| no_authority(config))?;
        }
    }
    match roots.is_empty() {
        true => {
            let field = config.names[0];
            Err(Invalid(format!("{field}: this machine trusts no authorities, so one must be given")))
        }
        false => Ok(roots),
    }
}

fn no_authority(config: &Trust<'_>) -> Invalid {
    Invalid(format!("{}: holds no certificate authority", config.names[0]))
}

fn certificates(field: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, Invalid> {
    let wrong = || Invalid(format!("{field}: must be certificates in PEM form"));
    let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(|_| wrong())?;
    if found.is_empty() { Err(wrong()) } else { Ok(found) }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(config: &Trust<'_>) -> Result<Option<Identity>, Invalid> {
    let [_, certificate, key] = config.names;
    match (config.certificate.is_empty(), config.key.is_empty()) {
        (true, true) => return Ok(None),
        (false, false) => {}
        _ => return Err(Invalid(format!("{certificate}, {key}: give both or none"))),
    }
    // EXPOSE: the key goes into the TLS library, which logs in with it.
    let parsed = PrivateKeyDer::from_pem_slice(config.key.expose().as_bytes())
        .map_err(|_| Invalid(format!("{key}: must be a private key in PEM form")))?;
    Ok(Some((certificates(certificate, config.certificate)?, parsed)))
}

/// Checks as much of a certificate as the mode asks for. The signature of the handshake is always checked.
#[derive(Debug)]
struct Verifier {
    trusted: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    any_name: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trusted) = &self.trusted else { return Ok(ServerCertVerified::assertion()) };
        // The name is looked at last, so that any other fault shows first.
        match trusted.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
