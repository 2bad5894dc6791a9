//! How TLS is spoken: whom we trust, who we are, and which name the agent has to bear.

use std::path::Path;
use std::sync::Arc;

use crabbox_provider_kit::http::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use crabbox_provider_kit::http::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use crabbox_provider_kit::http::rustls::pki_types::pem::PemObject as _;
use crabbox_provider_kit::http::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use crabbox_provider_kit::http::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use crabbox_provider_kit::http::{Tls, authorities};
use crabbox_provider_kit::problem;
use crabbox_provider_kit::protocol::Problem;

use crate::config::Config;

/// Reads the files that the configuration names. TLS 1.2 at least, which is what Nomad accepts; HTTP/1.1 only, as
/// exec needs it.
///
/// # Errors
///
/// Everything that is wrong, each with its key.
pub(crate) fn read(config: &Config) -> Result<Tls, Vec<Problem>> {
    let mut problems = Vec::new();
    let roots = roots(config, &mut problems);
    let identity = identity(config).map_err(|problem| problems.push(problem)).ok().flatten();
    let server_name = config.tls_server_name.as_ref().filter(|name| !name.is_empty()).map(|name| {
        ServerName::try_from(name.clone())
            .map_err(|_| problem("tlsServerName", format!("`{}` is not a name", name.escape_debug())))
    });
    let server_name = server_name.transpose().map_err(|problem| problems.push(problem)).ok().flatten();
    if !problems.is_empty() {
        return Err(problems);
    }
    let client = client(config, roots, identity).map_err(|problem| vec![problem])?;
    Ok(Tls { client: Arc::new(client), server_name })
}

/// A certificate with those above it, and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client(
    config: &Config,
    roots: RootCertStore,
    identity: Option<Identity>,
) -> Result<ClientConfig, Problem> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| problem("", format!("TLS does not work: {error}")))?;
    let builder = match config.skip_verify {
        true => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        false => builder.with_root_certificates(roots),
    };
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| problem("clientKey", format!("it does not fit the certificate: {error}"))),
    }
}

/// Who we are, where the agent wants to know.
fn identity(config: &Config) -> Result<Option<Identity>, Problem> {
    match (&config.client_cert, &config.client_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            let chain = certificates("clientCert", certificate)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| problem("clientKey", unreadable("a private key", key, &error)))?;
            Ok(Some((chain, key)))
        }
        (Some(_), None) => Err(problem("clientKey", "it is not set, and `clientCert` is")),
        (None, Some(_)) => Err(problem("clientCert", "it is not set, and `clientKey` is")),
    }
}

/// The configured authorities, or this machine's.
fn roots(config: &Config, problems: &mut Vec<Problem>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let mut add = |key: &str, path: &Path| {
        for certificate in certificates(key, path)? {
            roots.add(certificate).map_err(|error| problem(key, unreadable("certificates", path, &error)))?;
        }
        Ok(())
    };
    let file = config.ca_cert.as_ref().map_or(Ok(()), |file| add("caCert", file));
    let directory = config.ca_path.as_ref().map_or(Ok(()), |directory| {
        let unreadable = |error| problem("caPath", unreadable("certificates", directory, &error));
        for entry in std::fs::read_dir(directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_file() {
                add("caPath", &path)?;
            }
        }
        Ok(())
    });
    problems.extend([file, directory].into_iter().filter_map(Result::err));
    if config.ca_cert.is_none() && config.ca_path.is_none() && is_https(config) {
        return authorities();
    }
    roots
}

/// Reading the machine's certificates takes some milliseconds, which nobody should pay without TLS.
fn is_https(config: &Config) -> bool {
    config.address.as_deref().is_some_and(|address| address.trim().to_ascii_lowercase().starts_with("https:"))
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => {
            Err(problem(key, format!("there is no certificate in `{}`", path.display())))
        }
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
