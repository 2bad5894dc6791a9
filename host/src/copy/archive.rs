//! A tar archive that somebody else made: its members, one after the other, whatever stands in it.
//!
//! Read here and not by a library because of what a stranger could send: names and records of any length, which a
//! reader keeps in memory, and files with holes, of which a few bytes fill a disk. Understood is what the tars of
//! GNU, BSD and busybox write for files, directories and links: ustar, GNU's long names, and pax records.

use std::io::{self, Read};

use tar::{EntryType, Header};

const BLOCK: usize = 512;

/// The longest name or record that is kept, in bytes. No system has paths as long.
const LONGEST: u64 = 64 * 1024;

/// One member, as it says.
#[derive(Debug, PartialEq)]
pub(super) struct Member {
    /// Its name, as it stands there.
    pub(super) name: Vec<u8>,
    /// What it is.
    pub(super) kind: Kind,
    /// All bits of its mode.
    pub(super) mode: u32,
    /// When it was last changed, in seconds since 1970.
    pub(super) mtime: i64,
}

/// What a member is.
#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    Directory,
    /// A file of so many bytes, which come next.
    File(u64),
    /// A symbolic link with its target.
    Link(Vec<u8>),
    /// Another name of an earlier member.
    Same(Vec<u8>),
    /// Something else, in words.
    Other(&'static str),
}

/// An archive that is read from somewhere.
pub(super) struct Archive<R> {
    from: R,
    /// What is left of the latest member's content, and of the padding behind it.
    left: u64,
    padding: u64,
    /// Whether the end has been seen: a block of zeros.
    ended: bool,
    /// How many bytes have been read.
    pub(super) read: u64,
}

/// What records before a member say of it.
#[derive(Default)]
struct Said {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    mtime: Option<i64>,
}

impl<R: Read> Archive<R> {
    /// An archive that begins here.
    pub(super) fn new(from: R) -> Self {
        Self { from, left: 0, padding: 0, ended: false, read: 0 }
    }

    /// The next member; `None` at the end, which has to be there.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the archive. `UnexpectedEof`: it is cut short.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        let mut said = Said::default();
        loop {
            self.skip()?;
            let mut block = [0; BLOCK];
            if !self.block(&mut block)? {
                return if self.ended { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            if block.iter().all(|byte| *byte == 0) {
                self.ended = true;
                continue;
            }
            if self.ended {
                return Err(wrong("there is something behind its end"));
            }
            let header = Header::from_byte_slice(&block);
            if header.cksum().ok() != Some(checksum(&block)) {
                return Err(wrong("a header is damaged"));
            }
            let size = said.size.take().map_or_else(|| header.entry_size(), Ok)?;
            if i64::try_from(size).is_err() {
                return Err(wrong("a size in it is larger than any"));
            }
            (self.left, self.padding) = (size, size.wrapping_neg() % BLOCK as u64);
            match header.entry_type() {
                EntryType::GNULongName => said.name = Some(text(self.record()?)),
                EntryType::GNULongLink => said.link = Some(text(self.record()?)),
                EntryType::XHeader => said.take(&self.record()?)?,
                EntryType::XGlobalHeader => {}
                _ => return self.member(header, size, said).map(Some),
            }
        }
    }

    fn member(&mut self, header: &Header, size: u64, said: Said) -> io::Result<Member> {
        let link = said.link.or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
        let link = link.unwrap_or_default();
        let name = said.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = match header.entry_type() {
            // Before there was a type for directories, a slash said so.
            EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File(size),
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Link(link),
            EntryType::Link => Kind::Same(link),
            EntryType::Char | EntryType::Block => Kind::Other("a device"),
            EntryType::Fifo => Kind::Other("a named pipe"),
            EntryType::GNUSparse => Kind::Other("a file with holes, in a form that is not understood"),
            _ => Kind::Other("something that is not understood"),
        };
        let mtime = said.mtime.or_else(|| header.mtime().ok().and_then(|at| at.try_into().ok())).unwrap_or(0);
        Ok(Member { name, kind, mode: header.mode()?, mtime })
    }

    /// The content of the latest member, if it is a file.
    pub(super) fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }

    /// Goes over what is left of the latest member.
    fn skip(&mut self) -> io::Result<()> {
        let rest = self.left + self.padding;
        (self.left, self.padding) = (0, 0);
        let skipped = io::copy(&mut (&mut self.from).take(rest), &mut io::sink())?;
        self.read += skipped;
        if skipped == rest { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// The content of a member that says something of the next.
    fn record(&mut self) -> io::Result<Vec<u8>> {
        if self.left > LONGEST {
            return Err(wrong("a name in it is longer than any"));
        }
        let mut record = Vec::new();
        let wanted = self.left;
        self.content().read_to_end(&mut record)?;
        if record.len() as u64 == wanted { Ok(record) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Reads a block; `false` where there is none any more.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.from.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.read += BLOCK as u64;
        Ok(true)
    }
}

/// The bytes of a file. That they are fewer than were promised shows in how many there are.
pub(super) struct Content<'a, R>(&'a mut Archive<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.0.from.read(&mut buffer[..most])?;
        self.0.left -= count as u64;
        self.0.read += count as u64;
        Ok(count)
    }
}

impl Said {
    /// Takes pax records: `LENGTH KEY=VALUE`, a line each, where values have any bytes.
    fn take(&mut self, mut records: &[u8]) -> io::Result<()> {
        let damaged = || wrong("a record in it is damaged");
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ').ok_or_else(damaged)?;
            let length: usize = number(&records[..space]).ok_or_else(damaged)?;
            let record = records.get(space + 1..length).ok_or_else(damaged)?;
            let record = record.strip_suffix(b"\n").ok_or_else(damaged)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(damaged)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.name = Some(value.to_owned()),
                b"linkpath" => self.link = Some(value.to_owned()),
                b"size" => self.size = Some(number(value).ok_or_else(damaged)?),
                b"mtime" => {
                    let seconds = value.split(|byte| *byte == b'.').next().unwrap_or_default();
                    self.mtime = Some(number(seconds).ok_or_else(damaged)?);
                }
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(wrong("there is a file with holes in it, in a form that is not understood"));
                }
                _ => {}
            }
            records = &records[length..];
        }
        Ok(())
    }
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A name without the NUL that ends it.
fn text(mut record: Vec<u8>) -> Vec<u8> {
    let end = record.iter().position(|byte| *byte == 0).unwrap_or(record.len());
    record.truncate(end);
    record
}

/// The sum of a header's bytes, with blanks in the place of the sum.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..])
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
