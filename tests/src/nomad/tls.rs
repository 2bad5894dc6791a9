//! TLS as `nomad tls ca create` and `nomad tls cert create` make it, with certificates that last for one emulator.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// How the agent speaks TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Whether clients need a certificate (`verify_https_client`).
    pub verify_client: bool,
    /// The names and addresses in the agent's certificate.
    pub names: Vec<String>,
}

impl Default for Tls {
    fn default() -> Self {
        let names = ["server.global.nomad", "client.global.nomad", "localhost", "127.0.0.1"];
        Self { verify_client: false, names: names.map(str::to_owned).to_vec() }
    }
}

/// The files that a client needs, in PEM.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority that has signed all others.
    pub ca: PathBuf,
    /// A directory with nothing but the authority.
    pub ca_directory: PathBuf,
    /// A client's certificate.
    pub client: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
    /// An authority that has signed nothing.
    pub other_ca: PathBuf,
}

/// Makes certificates in a directory, and an acceptor that uses them.
pub(super) fn acceptor(tls: &Tls, directory: &Path) -> std::io::Result<(TlsAcceptor, Certificates)> {
    let made = make(tls, directory).map_err(std::io::Error::other);
    let (certificates, chain, key, ca) = made?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?;
    let builder = if tls.verify_client {
        let mut roots = RootCertStore::empty();
        roots.add(ca).map_err(std::io::Error::other)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.map_err(std::io::Error::other)?)
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_single_cert(vec![chain], key).map_err(std::io::Error::other)?;
    // Like the agent, which also offers h2 to those who ask for it; the emulator does not speak it.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), certificates))
}

type Made = (Certificates, CertificateDer<'static>, PrivateKeyDer<'static>, CertificateDer<'static>);

fn make(tls: &Tls, directory: &Path) -> Result<Made, Box<dyn std::error::Error + Send + Sync>> {
    let directory = directory.join("tls");
    let ca_directory = directory.join("ca");
    std::fs::create_dir_all(&ca_directory)?;
    let (ca, ca_params, ca_key) = authority("Nomad Agent CA")?;
    let (other, ..) = authority("Another CA")?;
    let ca_der = ca.der().clone();
    let files = Certificates {
        ca: ca_directory.join("ca.pem"),
        ca_directory,
        client: directory.join("client.pem"),
        client_key: directory.join("client-key.pem"),
        other_ca: directory.join("other-ca.pem"),
    };
    std::fs::write(&files.ca, ca.pem())?;
    std::fs::write(&files.other_ca, other.pem())?;
    let issuer = Issuer::new(ca_params, ca_key);
    let (server, server_key) = signed(tls.names.clone(), "server.global.nomad", &issuer)?;
    let (client, client_key) = signed(vec!["cli.global.nomad".to_owned()], "cli.global.nomad", &issuer)?;
    std::fs::write(&files.client, client.pem())?;
    std::fs::write(&files.client_key, client_key.serialize_pem())?;
    let key = PrivateKeyDer::from_pem_slice(server_key.serialize_pem().as_bytes())?;
    Ok((files, server.der().clone(), key, ca_der))
}

fn authority(name: &str) -> Result<(rcgen::Certificate, CertificateParams, KeyPair), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    Ok((params.self_signed(&key)?, params, key))
}

fn signed(
    names: Vec<String>,
    name: &str,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok((params.signed_by(&key, issuer)?, key))
}
