//! Encryption to the database: whom to trust, and which name a certificate must have.

use std::sync::Arc;

use engine_database::target::{ConnectionConfig, Error};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use tokio_postgres::{Socket, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How sure to be of the server, in the words of PostgreSQL's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
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
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "disable" => Ok(Self::Disable),
            "allow" | "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(Error::Invalid(
                "connection_url: sslmode must be disable, prefer, require, verify-ca or verify-full".to_owned(),
            )),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    pub(crate) fn driver(self) -> tokio_postgres::config::SslMode {
        match self {
            Self::Disable => tokio_postgres::config::SslMode::Disable,
            Self::Prefer => tokio_postgres::config::SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => tokio_postgres::config::SslMode::Require,
        }
    }
}

/// Makes encrypted connections.
#[derive(Clone)]
pub(crate) struct Connector {
    inner: MakeRustlsConnect,
    server_name: Option<String>,
}

impl Connector {
    pub(crate) fn new(mode: Mode, config: &ConnectionConfig) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Invalid(format!("TLS: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(verifier(mode, config, provider)?);
        let client = match identity(config)? {
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|_| Error::Invalid("tls_certificate, tls_key: they do not belong together".to_owned()))?,
            None => builder.with_no_client_auth(),
        };
        let server_name = (!config.tls_server_name.is_empty()).then(|| config.tls_server_name.clone());
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
    config: &ConnectionConfig,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let checked = matches!(mode, Mode::VerifyCa | Mode::VerifyFull) || !config.tls_ca.is_empty();
    if !checked {
        return Ok(Arc::new(Verifier { trusted: None, provider, any_name: true }));
    }
    let trusted = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(&config.tls_ca)?), Arc::clone(&provider))
        .build()
        .map_err(|_| Error::Invalid("tls_ca: holds no certificate authority".to_owned()))?;
    Ok(Arc::new(Verifier { trusted: Some(trusted), provider, any_name: mode != Mode::VerifyFull }))
}

fn roots(pem: &str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    if pem.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        for certificate in certificates("tls_ca", pem)? {
            roots.add(certificate).map_err(|_| Error::Invalid("tls_ca: holds no certificate authority".to_owned()))?;
        }
    }
    match roots.is_empty() {
        true => Err(Error::Invalid("tls_ca: this machine trusts no authorities, so one must be given".to_owned())),
        false => Ok(roots),
    }
}

fn certificates(field: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = || Error::Invalid(format!("{field}: must be certificates in PEM form"));
    let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(|_| wrong())?;
    if found.is_empty() { Err(wrong()) } else { Ok(found) }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(config: &ConnectionConfig) -> Result<Option<Identity>, Error> {
    match (config.tls_certificate.is_empty(), config.tls_key.is_empty()) {
        (true, true) => return Ok(None),
        (false, false) => {}
        _ => return Err(Error::Invalid("tls_certificate, tls_key: give both or none".to_owned())),
    }
    // EXPOSE: the key goes into the TLS library, which logs in with it.
    let key = PrivateKeyDer::from_pem_slice(config.tls_key.expose().as_bytes())
        .map_err(|_| Error::Invalid("tls_key: must be a private key in PEM form".to_owned()))?;
    Ok(Some((certificates("tls_certificate", &config.tls_certificate)?, key)))
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
