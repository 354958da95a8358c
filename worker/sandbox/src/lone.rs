//! Whether a call has left anything behind, seen from outside at once: for a process that is kept for the next call.
//!
//! A look costs a few system calls on files that stay open. Who sees something here, or nothing because the host hides
//! it, has the template look and mend.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, OFlags};

/// Links of a directory of threads before it has one.
const NO_THREADS: u64 = 2;

/// A process that should be all that its parent has started.
#[derive(Debug)]
pub struct Lone {
    /// The children of the parent, and what that says if there is only one.
    siblings: File,
    only: Vec<u8>,
    /// The children of the process.
    children: File,
    /// Has a link for each thread.
    threads: OwnedFd,
}

impl Lone {
    /// The process and its parent, which has one thread. Fails if the host doesn't tell about them.
    pub fn new(parent: u32, process: u32) -> io::Result<Self> {
        let children = |pid: u32| File::open(format!("/proc/{pid}/task/{pid}/children"));
        let threads = rustix::fs::open(
            format!("/proc/{process}/task"),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        let only = format!("{process} ").into_bytes();
        Ok(Self { siblings: children(parent)?, only, children: children(process)?, threads })
    }

    /// True if it has one thread and no child, and its parent no other child: an orphan of a call becomes one.
    pub fn is_alone(&self) -> bool {
        let threads = rustix::fs::fstat(&self.threads).is_ok_and(|told| told.st_nlink == NO_THREADS + 1);
        // In this order: an orphan moves from the process to its parent, never back.
        threads && says(&self.children, b"") && says(&self.siblings, &self.only)
    }
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
        let first: u32 = ask("sleep 1000 & echo $!").parse().unwrap();
        let lone = Lone::new(parent.id(), first).unwrap();
        assert!(lone.is_alone());
        let second = ask("sleep 1000 & echo $!");
        assert!(!lone.is_alone(), "its parent has another child");
        ask(&format!("kill {second}; wait {second}; echo"));
        assert!(lone.is_alone());
        ask(&format!("kill {first}; wait {first}; echo"));
        assert!(!lone.is_alone(), "it is gone");
        // The child of the second tells that it runs.
        let second: u32 = ask("(sh -c 'echo $PPID; exec sleep 1000') &").parse().unwrap();
        assert!(!Lone::new(parent.id(), second).unwrap().is_alone(), "it has a child");
        crate::kill_tree(parent.id());
        parent.wait().unwrap();
    }

    #[test]
    fn a_room_is_a_directory() {
        assert!(Room::new(File::open("/dev/null").unwrap().into()).is_err());
        assert!(Room::new(File::open("/").unwrap().into()).is_ok());
    }
}
