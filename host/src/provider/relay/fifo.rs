//! Output by path: a FIFO that the plugin writes to, and a thread that moves its bytes on.
//!
//! The host opens the FIFO for reading before it asks, and holds a writing end itself: so the reader
//! never sees an end of file, nor spins. When the plugin has answered, everything is in the pipe: what is in
//! it then is moved on, and that is all of it. On Linux the bytes go from pipe to pipe by splice
//! and never through the host's memory; where the target refuses that (a terminal, a file opened for
//! appending), they are copied.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use tokio::sync::{Notify, oneshot};

use super::{Descriptor, Shared};
use crate::output::write_all;

/// The most that is moved at once.
const MOST: usize = 1024 * 1024;

/// One stream's FIFO, and the thread behind it.
#[derive(Debug)]
pub(super) struct Mover {
    path: PathBuf,
    wake: Wake,
    finishing: Arc<AtomicBool>,
    done: oneshot::Receiver<()>,
    _hold: OwnedFd,
}

impl Mover {
    /// Makes the FIFO and starts the thread that moves its bytes to `target`.
    pub(super) fn start(
        path: PathBuf,
        target: Target,
        shared: Arc<Shared>,
        broken: Arc<Notify>,
    ) -> io::Result<Self> {
        make_fifo(&path)?;
        let flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = open(&path, OFlags::RDONLY | flags, Mode::empty())?;
        let hold = open(&path, OFlags::WRONLY | flags, Mode::empty())?;
        #[cfg(target_os = "linux")]
        let _ = rustix::pipe::fcntl_setpipe_size(&source, MOST);
        let (woken, wake) = io::pipe()?;
        let finishing = Arc::new(AtomicBool::new(false));
        let (finished, done) = oneshot::channel();
        let splice = cfg!(target_os = "linux");
        let thread = Thread {
            source,
            target,
            woken,
            finishing: finishing.clone(),
            shared,
            broken,
            splice,
            left: u64::MAX,
            buffer: Vec::new(),
        };
        std::thread::spawn(move || {
            // The target ends before anybody hears of it.
            thread.run();
            let _ = finished.send(());
        });
        Ok(Self { path, wake: Wake(wake), finishing, done, _hold: hold })
    }

    /// Where the plugin writes.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the thread look at its orders.
    pub(super) fn wake(&self) {
        self.wake.wake();
    }

    /// The plugin has written everything.
    pub(super) fn finish(self) -> Finishing {
        self.finishing.store(true, Ordering::Release);
        self.wake();
        let _ = std::fs::remove_file(&self.path);
        Finishing { done: self.done, wake: self.wake }
    }
}

/// A FIFO that nobody writes to any more.
#[derive(Debug)]
pub(super) struct Finishing {
    /// Hears when everything is moved.
    pub(super) done: oneshot::Receiver<()>,
    /// As long as this is there, the thread waits for its reader.
    pub(super) wake: Wake,
}

/// The way to a thread that waits.
#[derive(Debug)]
pub(super) struct Wake(PipeWriter);

impl Wake {
    /// Makes the thread look at its orders.
    pub(super) fn wake(&self) {
        let _ = (&self.0).write(b"w");
    }
}

/// Where the bytes go.
#[derive(Debug)]
pub(super) enum Target {
    /// To a descriptor of this process.
    Fd(Descriptor),
    /// Into memory, as much of them as is captured.
    Memory(Arc<Mutex<Vec<u8>>>),
}

struct Thread {
    source: OwnedFd,
    target: Target,
    woken: PipeReader,
    finishing: Arc<AtomicBool>,
    shared: Arc<Shared>,
    broken: Arc<Notify>,
    splice: bool,
    /// The most that is still to be moved, once that is known.
    left: u64,
    buffer: Vec<u8>,
}

impl Thread {
    fn run(mut self) {
        let mut last = false;
        while self.left > 0 {
            if !last && self.finishing.load(Ordering::Acquire) {
                // All that was written before the order is in the pipe. Somebody whom the plugin left behind
                // may go on writing: that is not waited for.
                last = true;
                self.left = rustix::io::ioctl_fionread(&self.source).unwrap_or(u64::MAX);
            } else if !self.moves() && (last || !self.wait(self.source.as_fd(), PollFlags::IN)) {
                return;
            }
        }
    }

    /// Moves some bytes; `false` when there are none now.
    fn moves(&mut self) -> bool {
        if self.shared.broken.load(Ordering::Relaxed) {
            return self.discards();
        }
        let target = match &self.target {
            Target::Fd(target) => target,
            Target::Memory(memory) => {
                let count = keeps(&self.source, &mut self.buffer, memory);
                return self.moved(count);
            }
        };
        let moved = if self.splice {
            splices(&self.source, target.as_fd(), self.left)
        } else {
            copies(&self.source, target.as_fd(), &mut self.buffer)
        };
        match moved {
            Ok(count) => self.moved(count),
            Err(Errno::AGAIN | Errno::INTR) if !ready(self.source.as_fd(), PollFlags::IN) => false,
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) if self.shared.lossy.load(Ordering::Relaxed) => self.discards(),
            Err(Errno::AGAIN) => self.wait(target.as_fd(), PollFlags::OUT),
            Err(Errno::INVAL) if self.splice => {
                self.splice = false;
                true
            }
            Err(error) => {
                self.shared.fail(error);
                self.broken.notify_one();
                true
            }
        }
    }

    /// Counts what was moved; `false` when it was nothing.
    fn moved(&mut self, count: usize) -> bool {
        self.left = self.left.saturating_sub(count as u64);
        count > 0
    }

    /// Throws away what nobody reads.
    fn discards(&mut self) -> bool {
        self.buffer.resize(64 * 1024, 0);
        let count = rustix::io::read(&self.source, &mut self.buffer).unwrap_or(0);
        self.shared.dropped.fetch_add(count as u64, Ordering::Relaxed);
        self.moved(count)
    }

    /// Waits for `fd` or an order; `false` when there is nothing to wait for any more.
    fn wait(&self, fd: BorrowedFd<'_>, flags: PollFlags) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(fd, flags), PollFd::new(&self.woken, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => return true,
            Err(_) => return false,
        }
        if fds[1].revents().is_empty() {
            return true;
        }
        // An order, or the session was dropped.
        matches!((&self.woken).read(&mut [0; 16]), Ok(1..))
    }
}

/// Moves as much as the target takes without blocking, by the kernel.
#[cfg(target_os = "linux")]
fn splices(source: &OwnedFd, target: BorrowedFd<'_>, left: u64) -> Result<usize, Errno> {
    use rustix::pipe::{SpliceFlags, splice};
    let most = usize::try_from(left).map_or(MOST, |left| left.min(MOST));
    splice(source, None, target, None, most, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)
}

#[cfg(not(target_os = "linux"))]
fn splices(_source: &OwnedFd, _target: BorrowedFd<'_>, _left: u64) -> Result<usize, Errno> {
    Err(Errno::INVAL)
}

/// Copies as much as the target takes without blocking: whole blocks for a file, for all else what POSIX
/// guarantees of a pipe that is ready.
fn copies(source: &OwnedFd, target: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> Result<usize, Errno> {
    if !ready(target, PollFlags::OUT) {
        return Err(Errno::AGAIN);
    }
    let file = fstat(target).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    buffer.resize(if file { 256 * 1024 } else { 512 }, 0);
    let count = rustix::io::read(source, &mut *buffer)?;
    write_all(target, &buffer[..count])?;
    Ok(count)
}

/// Keeps the beginning of what comes, and lets the rest go by.
fn keeps(source: &OwnedFd, buffer: &mut Vec<u8>, memory: &Mutex<Vec<u8>>) -> usize {
    buffer.resize(64 * 1024, 0);
    let count = rustix::io::read(source, &mut *buffer).unwrap_or(0);
    super::keep(&mut memory.lock().unwrap_or_else(PoisonError::into_inner), &buffer[..count]);
    count
}

/// Whether `fd` is ready now.
fn ready(fd: BorrowedFd<'_>, flags: PollFlags) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&now)).is_ok_and(|count| count > 0)
}

/// Makes a FIFO, for this user only.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn make_fifo(path: &Path) -> io::Result<()> {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::RUSR | Mode::WUSR)?;
    Ok(())
}

/// There is no safe binding for `mkfifo` on this system; POSIX has the program.
#[cfg(target_vendor = "apple")]
pub(crate) fn make_fifo(path: &Path) -> io::Result<()> {
    let status = std::process::Command::new("mkfifo").arg("-m").arg("600").arg(path).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("mkfifo failed")) }
}
