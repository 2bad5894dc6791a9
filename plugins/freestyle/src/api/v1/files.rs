//! Files. A path is one segment of the URL, a file's bytes are text in JSON, and there are neither modes nor ranges.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crabbox_provider_kit::http::{Bytes, Method, segment};
use crabbox_provider_kit::{Error, Result};
use serde_json::json;

use super::super::client::MOVING;
use super::super::{Command, Executed, Part, commands, refused};
use super::V1;
use super::machines::path;
use crate::shell::quoted;
use crate::source::{Source, piece_path, pieces};

/// How much of a file is written at once.
const PIECE: u64 = 4 << 20;

/// How often a piece is sent again.
const TRIES: u32 = 3;

/// How much of a file is read at once: it comes as the output of a command.
const READ: usize = 256 << 10;

/// How long a command that reads may take; it waits for a tenth of that at most.
const READING: Duration = Duration::from_secs(30);

impl V1 {
    /// Writes a file as pieces.
    pub(crate) async fn write_pieces(&self, vm: &str, source: &mut Source, base: &str) -> Result<()> {
        for (number, offset, length) in pieces(source.size, PIECE) {
            let bytes = source.piece(offset, length).await?;
            self.write_piece(vm, &bytes, &piece_path(base, number)).await?;
        }
        Ok(())
    }

    async fn write_piece(&self, vm: &str, bytes: &Bytes, to: &str) -> Result<()> {
        let target = format!("{}/files/{}", path(vm), segment(to));
        let body = json!({"content": STANDARD.encode(bytes), "encoding": "base64"});
        let mut tries = 0;
        loop {
            let headers = self.client.headers()?;
            let error = match self.client.call(Method::PUT, &target, headers, Some(&body), MOVING).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(refusal)) => refused::error(&refusal),
                Err(error) => error,
            };
            let may_go_again =
                error.as_object().data.as_ref().is_some_and(|data| data.retryable == Some(true));
            tries += 1;
            if !may_go_again || tries >= TRIES {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(250 << tries)).await;
        }
    }

    /// Reads by a command, which waits on the machine: asking ten times a second would be ten commands a second.
    pub(crate) async fn read(&self, vm: &str, file: &str, offset: u64, last: bool) -> Result<Part> {
        let line = reading(file, offset, last);
        let command = Command { limit: READING, ..commands::as_root(&line, Bytes::new()) };
        Ok(part(&self.execute(vm, &command).await?, offset)?.into())
    }
}

/// The line that tells how long a file is, and then what it has from `offset` on. Unless this is the `last` time it
/// waits for that, for two and a half seconds.
fn reading(file: &str, offset: u64, last: bool) -> String {
    let (file, from, waited) = (quoted(file), offset + 1, if last { 25 } else { 0 });
    format!(
        "n={waited}\n\
         while s=$(wc -c 2>/dev/null <{file}) || s=0; s=$((s)); [ $s -le {offset} ] && [ $n -lt 25 ]; do\n\
         n=$((n + 1)); sleep 0.1 || sleep 1\n\
         done 2>/dev/null\n\
         echo $s; [ $s -le {offset} ] || tail -c +{from} {file} | head -c {READ} | base64"
    )
}

/// What was read. An answer that is shorter than the file was is an error: it would be missing in the output.
fn part(read: &Executed, offset: u64) -> Result<Bytes> {
    let broken = |why: &str| Error::provider("a file on the machine was not read as a whole").cause(why);
    if read.status.is_none() {
        return Err(Error::deadline("reading a file on the machine took too long"));
    }
    let (size, text) = read.stdout.split_once('\n').ok_or_else(|| broken(&read.stderr))?;
    let size: u64 = size.trim().parse().map_err(|_| broken("its size is none"))?;
    let text: String = text.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(text).map_err(|_| broken("it is no base64"))?;
    let expected = size.saturating_sub(offset).min(READ as u64);
    match read.status == Some(0) && bytes.len() as u64 >= expected {
        true => Ok(bytes.into()),
        false => Err(broken(&format!("{} of {expected} bytes came: {}", bytes.len(), read.stderr))),
    }
}

#[cfg(test)]
mod tests {
    use crabbox_provider_kit::protocol::ErrorKind;

    use super::*;

    fn executed(status: Option<i32>, stdout: &str) -> Executed {
        Executed { status, stdout: stdout.to_owned(), stderr: String::new(), limit: READING }
    }

    fn read(file: &str, offset: u64) -> Executed {
        let line = reading(file, offset, true);
        let output = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
        let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::new());
        Executed { status: output.status.code(), stdout, stderr, limit: READING }
    }

    #[test]
    fn a_file_is_read_byte_for_byte_from_any_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("it's").to_str().unwrap().to_owned();
        assert_eq!(part(&read(&path, 0), 0).unwrap(), "", "it is not there yet");
        let bytes: Vec<u8> = (0..READ + 1000).map(|number| (number % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        for offset in [0, 1, 255, 999, 1000, 1001, READ, READ + 999, READ + 1000, READ + 2000] {
            let end = (offset + READ).min(bytes.len());
            let expected = bytes.get(offset..end).unwrap_or_default();
            assert!(part(&read(&path, offset as u64), offset as u64).unwrap() == expected, "{offset}");
        }
    }

    #[test]
    fn what_is_cut_or_late_is_no_end_of_the_output() {
        assert_eq!(part(&executed(Some(0), "2\nYWI=\n"), 0).unwrap(), "ab");
        assert_eq!(part(&executed(Some(0), "2\nYWJj\n"), 0).unwrap(), "abc", "it grew");
        for (status, stdout) in [
            (Some(0), "3\nYWI=\n"),
            (Some(0), "3\n"),
            (Some(127), "3\nYWJj\n"),
            (Some(0), "3\nYWJ\n"),
            (Some(0), ""),
            (Some(0), "x\n"),
        ] {
            let error = part(&executed(status, stdout), 0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Provider, "{status:?} {stdout:?}");
        }
        let late = part(&executed(None, "0\n"), 0).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Deadline);
    }
}
