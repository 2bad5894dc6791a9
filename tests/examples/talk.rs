//! Two programs that talk, for tests about ways between machines that may have no other: `talk serve PORT` is an HTTP
//! server for the files of its directory, at 127.0.0.1 or at the address before the port, `talk get HOST:PORT/FILE`
//! prints one, `talk knock HOST:PORT` connects and says nothing, and `talk pipe HOST:PORT` carries its input and output
//! there, as a proxy does for ssh.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", port] => serve(port),
        ["get", from] => get(from),
        ["knock", at] => TcpStream::connect(at).map(drop),
        ["pipe", to] => pipe(to),
        _ => Err(io::Error::other(
            "usage: talk serve [HOST:]PORT | talk get HOST:PORT/FILE | talk knock HOST:PORT | talk pipe HOST:PORT",
        )),
    }
}

fn serve(port: &str) -> io::Result<()> {
    let at = if port.contains(':') { port.to_owned() } else { format!("127.0.0.1:{port}") };
    for stream in TcpListener::bind(at)?.incoming() {
        let mut stream = stream?;
        // All of it: a stream that is closed with something unread is reset, and the answer lost.
        let lines = BufReader::new(&stream).lines().map_while(Result::ok);
        let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let request = request.first().cloned().unwrap_or_default();
        let name = request.split_whitespace().nth(1).unwrap_or_default().trim_start_matches('/');
        let (status, body) = match std::fs::read(name) {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        // A client that went away is no reason to end.
        let _ = write!(stream, "HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(&body);
    }
    Ok(())
}

fn get(from: &str) -> io::Result<()> {
    let (host, file) = from.split_once('/').ok_or_else(|| io::Error::other("there is no `/`"))?;
    let mut stream = TcpStream::connect(host)?;
    stream.write_all(format!("GET /{file} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("that is no HTTP"))?;
    if !head.starts_with("HTTP/1.0 200 ") {
        return Err(io::Error::other(head.to_owned()));
    }
    io::stdout().write_all(body.as_bytes())
}

fn pipe(to: &str) -> io::Result<()> {
    let stream = TcpStream::connect(to)?;
    let mut up = stream.try_clone()?;
    std::thread::spawn(move || io::copy(&mut io::stdin(), &mut up));
    copy_now(stream, io::stdout())
}

/// As `io::copy`, and nothing waits for the end of a line.
fn copy_now(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut bytes = [0; 16 * 1024];
    loop {
        let count = from.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&bytes[..count])?;
        to.flush()?;
    }
}
