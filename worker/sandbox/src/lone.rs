//! Whether a call has left anything behind, seen from outside at once.
//!
//! A look costs a few system calls, on files that stay open where they can. Who sees something here, or nothing because the
//! host hides it, has the template look and mend.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, OFlags};

/// Links of a directory of threads before it has one.
const NO_THREADS: u64 = 2;
/// Longer than the number of a process and a space.
const NUMBER_BYTES: usize = 16;

/// A process that should be all that its parent has started.
#[derive(Debug)]
pub struct Lone {
    /// The children of the parent.
    siblings: File,
    process: Option<Seen>,
}

/// A process as it is looked at.
#[derive(Debug)]
struct Seen {
    /// What the children of its parent are if there is only it.
    only: Vec<u8>,
    children: File,
    /// Has a link for each thread.
    threads: OwnedFd,
}

impl Lone {
    /// The only process of this parent, which has one thread itself. Fails if the host doesn't tell about it.
    pub fn new(parent: u32) -> io::Result<Self> {
        Ok(Self { siblings: children(parent)?, process: None })
    }

    /// The process is another one from now on.
    pub fn renew(&mut self) {
        self.process = None;
    }

    /// True if the process, which the parent hasn't waited for yet, has one thread and no child, and its parent no other
    /// child: an orphan of a call becomes one.
    pub fn is_alone(&mut self) -> bool {
        if self.process.is_none() {
            self.process = Seen::new(&self.siblings).ok();
        }
        let Some(process) = &self.process else { return false };
        let threads = rustix::fs::fstat(&process.threads).is_ok_and(|told| told.st_nlink == NO_THREADS + 1);
        // In this order: an orphan moves from the process to its parent, never back.
        threads && says(&process.children, b"") && says(&self.siblings, &process.only)
    }
}

impl Seen {
    /// The process that has no siblings.
    fn new(siblings: &File) -> io::Result<Self> {
        let mut only = vec![0; NUMBER_BYTES];
        let size = siblings.read_at(&mut only, 0)?;
        only.truncate(size);
        let number = str::from_utf8(&only).ok().and_then(|text| text.trim_end().parse().ok());
        let number: u32 = number.ok_or(io::ErrorKind::NotFound)?;
        let threads = rustix::fs::open(
            format!("/proc/{number}/task"),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        Ok(Self { children: children(number)?, threads, only })
    }
}

/// The file that tells the children of a process with one thread.
fn children(process: u32) -> io::Result<File> {
    File::open(format!("/proc/{process}/task/{process}/children"))
}

/// True if the file has exactly this text.
fn says(file: &File, text: &[u8]) -> bool {
    let mut buffer = [0; 64];
    file.read_at(&mut buffer, 0).is_ok_and(|size| &buffer[..size] == text)
}

/// A directory that calls write to, on a file system of its own.
#[derive(Debug)]
pub struct Room {
    directory: OwnedFd,
    empty: (u64, u64),
    mode: u32,
}

impl Room {
    /// The directory, which is empty now.
    pub fn new(directory: OwnedFd) -> io::Result<Self> {
        let mode = rustix::fs::fstat(&directory)?.st_mode;
        if !FileType::from_raw_mode(mode).is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { empty: taken(&directory)?, directory, mode })
    }

    /// True if nothing is in it that takes room, and it can be entered as it could be when it was empty.
    pub fn is_empty(&self) -> bool {
        taken(&self.directory).is_ok_and(|taken| taken == self.empty)
            && rustix::fs::fstat(&self.directory).is_ok_and(|told| told.st_mode == self.mode)
    }
}

/// What a file system holds: files and blocks.
fn taken(directory: &OwnedFd) -> io::Result<(u64, u64)> {
    let told = rustix::fs::fstatvfs(directory)?;
    Ok((told.f_files.wrapping_sub(told.f_ffree), told.f_blocks.wrapping_sub(told.f_bfree)))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this is the crate that starts processes")]
    fn a_process_is_alone_until_it_or_its_parent_has_another_child() {
        let shell = ["-c", "while read command; do eval \"$command\"; done"];
        let (input, output) = (Stdio::piped(), Stdio::piped());
        let mut parent =
            std::process::Command::new("sh").args(shell).stdin(input).stdout(output).spawn().unwrap();
        let (mut tell, mut told) =
            (parent.stdin.take().unwrap(), BufReader::new(parent.stdout.take().unwrap()).lines());
        let mut ask = |command: &str| -> String {
            writeln!(tell, "{command}").unwrap();
            told.next().unwrap().unwrap()
        };
        let first = ask("sleep 1000 & echo $!");
        let mut lone = Lone::new(parent.id()).unwrap();
        assert!(lone.is_alone());
        let second = ask("sleep 1000 & echo $!");
        assert!(!lone.is_alone(), "its parent has another child");
        ask(&format!("kill {second}; wait {second}; echo"));
        assert!(lone.is_alone());
        ask(&format!("kill {first}; wait {first}; echo"));
        assert!(!lone.is_alone(), "it is gone");
        // The child of the second tells that it runs.
        ask("(sh -c 'echo; exec sleep 1000'; true) &");
        lone.renew();
        assert!(!lone.is_alone(), "it has a child");
        crate::kill_tree(parent.id());
        parent.wait().unwrap();
    }

    #[test]
    fn a_room_is_a_directory() {
        assert!(Room::new(File::open("/dev/null").unwrap().into()).is_err());
        assert!(Room::new(File::open("/").unwrap().into()).is_ok());
    }
}
