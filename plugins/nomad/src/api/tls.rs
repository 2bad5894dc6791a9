//! How TLS is spoken: whom we trust, who we are, and which name the agent has to bear.

use std::path::Path;
use std::sync::Arc;

use crabbox_provider_kit::problem;
use crabbox_provider_kit::protocol::Problem;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::config::Config;

/// TLS as it was configured. TLS 1.2 at least, which is what Nomad accepts; HTTP/1.1 only, as exec needs it.
#[derive(Clone)]
pub(crate) struct Tls {
    /// What rustls works with.
    pub(crate) client: Arc<ClientConfig>,
    /// The name in the agent's certificate, where it is not the address's host.
    pub(crate) server_name: Option<ServerName<'static>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    ///
    /// What is wrong, with the key.
    pub(crate) fn new(config: &Config) -> Result<Self, Problem> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| problem("", format!("TLS does not work: {error}")))?;
        let builder = match config.skip_verify {
            true => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
            false => {
                let roots = Arc::new(roots(config)?);
                let verifier = match roots.is_empty() {
                    // Nothing is trusted, and an address without TLS needs nothing.
                    true => None,
                    false => WebPkiServerVerifier::builder_with_provider(roots, provider).build().ok(),
                };
                match verifier {
                    Some(verifier) => builder.with_webpki_verifier(verifier),
                    None => builder.with_root_certificates(RootCertStore::empty()),
                }
            }
        };
        let client = match (&config.client_cert, &config.client_key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = certificates("clientCert", certificate)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| problem("clientKey", unreadable("a private key", key, &error)))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| problem("clientKey", format!("it does not fit the certificate: {error}")))?
            }
            (Some(_), None) => return Err(problem("clientKey", "is not set, and `clientCert` is")),
            (None, Some(_)) => return Err(problem("clientCert", "is not set, and `clientKey` is")),
        };
        let server_name = config.tls_server_name.as_ref().filter(|name| !name.is_empty()).map(|name| {
            ServerName::try_from(name.clone())
                .map_err(|_| problem("tlsServerName", format!("`{}` is not a name", name.escape_debug())))
        });
        Ok(Self { client: Arc::new(client), server_name: server_name.transpose()? })
    }
}

/// The configured authorities, or this machine's.
fn roots(config: &Config) -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    let mut add = |key: &str, path: &Path| {
        for certificate in certificates(key, path)? {
            roots.add(certificate).map_err(|error| problem(key, unreadable("certificates", path, &error)))?;
        }
        Ok(())
    };
    if let Some(file) = &config.ca_cert {
        add("caCert", file)?;
    }
    if let Some(directory) = &config.ca_path {
        let unreadable = |error| problem("caPath", unreadable("certificates", directory, &error));
        for entry in std::fs::read_dir(directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_file() {
                add("caPath", &path)?;
            }
        }
    }
    if config.ca_cert.is_none() && config.ca_path.is_none() && is_https(config) {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(roots)
}

/// Reading the machine's certificates takes some milliseconds, which nobody should pay without TLS.
fn is_https(config: &Config) -> bool {
    config.address.as_deref().is_some_and(|address| address.trim().to_ascii_lowercase().starts_with("https:"))
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(problem(key, format!("there is no certificate in `{}`", path.display()))),
        Ok(found) => Ok(found),
        Err(error) => Err(problem(key, unreadable("certificates", path, &error))),
    }
}

fn unreadable(what: &str, path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("cannot read {what} from `{}`: {error}", path.display())
}

/// `skipVerify`: whoever answers is taken for the agent. That it has the key of its certificate is still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
