//! The other ways in: a unix socket, TLS, and gzip.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

use crate::nomad::{Certificates, Emulator, Options, Tls};

const REQUEST: &[u8] = b"GET /v1/regions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

fn answer(mut stream: impl Read + Write) -> std::io::Result<String> {
    stream.write_all(REQUEST)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn a_unix_socket_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("nomad.sock");
    let emulator = Emulator::with(Options { socket: Some(socket.clone()), ..Options::default() });
    assert_eq!(emulator.socket_address().unwrap(), format!("unix://{}", socket.display()));
    assert!(answer(UnixStream::connect(&socket).unwrap()).unwrap().ends_with("[\"global\"]"));
}

#[test]
fn tls_asks_for_what_it_is_told_to() {
    let emulator = Emulator::with(Options { tls: Some(Tls::default()), ..Options::default() });
    let files = emulator.certificates().unwrap();
    assert!(emulator.address().starts_with("https://127.0.0.1:"));
    assert!(secured(&emulator, files, &files.ca, "localhost", false).unwrap().ends_with("[\"global\"]"));
    assert!(secured(&emulator, files, &files.other_ca, "localhost", false).is_err());
    assert!(secured(&emulator, files, &files.ca, "elsewhere", false).is_err());
    let plain = answer(TcpStream::connect(("127.0.0.1", emulator.port())).unwrap()).unwrap();
    assert!(
        plain.starts_with("HTTP/1.0 400") && plain.contains("an HTTP request to an HTTPS server"),
        "{plain}"
    );

    let mutual = Tls { verify_client: true, names: vec!["server.global.nomad".to_owned()] };
    let emulator = Emulator::with(Options { tls: Some(mutual), ..Options::default() });
    let files = emulator.certificates().unwrap();
    assert!(secured(&emulator, files, &files.ca, "server.global.nomad", false).is_err());
    let answer = secured(&emulator, files, &files.ca, "server.global.nomad", true).unwrap();
    assert!(answer.ends_with("[\"global\"]"));
}

fn secured(
    emulator: &Emulator,
    files: &Certificates,
    ca: &std::path::Path,
    name: &str,
    own: bool,
) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = if own {
        let certificate = CertificateDer::from_pem_file(&files.client).unwrap();
        let key = PrivateKeyDer::from_pem_file(&files.client_key).unwrap();
        builder.with_client_auth_cert(vec![certificate], key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    let connection = ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", emulator.port()))?;
    answer(StreamOwned::new(connection, stream))
}

#[test]
fn what_is_asked_for_in_gzip_comes_in_gzip() {
    let emulator = Emulator::start();
    let mut stream = TcpStream::connect(("127.0.0.1", emulator.port())).unwrap();
    let head = "GET /v1/regions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let body = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
    let mut text = String::new();
    flate2::read::GzDecoder::new(&answer[body..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, "[\"global\"]");
}
