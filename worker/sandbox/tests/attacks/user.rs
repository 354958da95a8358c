//! The second run, as an ordinary user: a process with a mount namespace in which that user can reach this program and
//! the Python, wherever they are.

use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Gid, Uid};

use crate::stage::interpreter;

/// The first argument of a process that is to become the ordinary user.
pub(crate) const BECOME: &str = "--as-ordinary-user";
/// Who that is: nobody.
const USER: u32 = 65_534;
/// Carries the figure of the run as root to the last line of the other.
const HELD_AS_ROOT: &str = "SORTIE_ATTACKS_AS_ROOT";

/// Runs this program again as the ordinary user, whose output ends with the count of both.
#[expect(clippy::disallowed_methods, reason = "a test of who may start processes")]
pub(crate) fn run_as_ordinary(wanted: &[&str], held: usize) -> ExitCode {
    let status = Command::new(env::current_exe().unwrap())
        .arg(BECOME)
        .args(wanted)
        .env(HELD_AS_ROOT, held.to_string())
        .status()
        .unwrap();
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The start of the last line.
pub(crate) fn count_before() -> String {
    let held = env::var_os(HELD_AS_ROOT).map(|held| format!("{} as root, ", held.to_string_lossy()));
    format!("attacks: {}", held.unwrap_or_default())
}

/// Becomes the ordinary user, and this program again. Must be called before there is a second thread.
#[expect(clippy::disallowed_methods, reason = "a test of who may start processes")]
pub(crate) fn become_ordinary(wanted: &[String]) -> ExitCode {
    let program = env::current_exe().unwrap();
    let python = sandbox::probe(&interpreter()).unwrap();
    let mut needed = vec![program.parent().unwrap().to_owned(), interpreter()];
    needed.extend(python.prefixes);
    unshare_mounts().unwrap();
    uncover(&needed).unwrap();

    rustix::thread::set_thread_groups(&[]).unwrap();
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(USER));
    rustix::thread::set_thread_res_gid(group, group, group).unwrap();
    rustix::thread::set_thread_res_uid(user, user, user).unwrap();
    let error = Command::new(&program)
        .args(wanted)
        .current_dir("/")
        .env("HOME", "/nonexistent")
        .env("TMPDIR", "/tmp")
        .exec();
    panic!("{} can't be run as user {USER}: {error}", program.display());
}

#[expect(unsafe_code, reason = "the library's function is unsafe for a case that we don't have")]
fn unshare_mounts() -> io::Result<()> {
    // SAFETY: UnshareFlags::FILES, the one that is unsafe, is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }?;
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    Ok(rustix::mount::mount_change("/", private)?)
}

/// Makes `needed` reachable for everybody: over each directory on the way that only root may enter comes an empty one,
/// in which the needed ones are mounted where they were.
fn uncover(needed: &[PathBuf]) -> io::Result<()> {
    let mut places = Vec::new();
    for path in needed {
        let real = path.canonicalize()?;
        let whole = if real.is_dir() { real.clone() } else { real.parent().unwrap_or(&real).to_owned() };
        places.push((whole, path.clone(), real));
    }
    // What has others in it comes first.
    places.sort_by_key(|(whole, ..)| whole.components().count());
    // Held open from before they are covered.
    let held: Vec<fs::File> =
        places.iter().map(|(whole, ..)| fs::File::open(whole)).collect::<Result<_, _>>()?;
    for (number, (whole, path, real)) in places.iter().enumerate() {
        while let Some(closed) = first_closed(whole).or_else(|| first_closed(path)) {
            rustix::mount::mount("attacks", &closed, "tmpfs", MountFlags::empty(), Some(c"mode=755"))?;
        }
        if !whole.exists() {
            fs::create_dir_all(whole)?;
            let source = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held[number]));
            rustix::mount::mount_bind(source.as_str(), whole)?;
        }
        if !path.exists() {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            symlink(real, path)?;
        }
    }
    Ok(())
}

/// The first directory on the way to `path` that others may not enter.
fn first_closed(path: &Path) -> Option<PathBuf> {
    let mut way: Vec<&Path> = path.ancestors().skip(1).collect();
    way.reverse();
    let closed =
        |path: &&&Path| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 == 0);
    way.iter().find(closed).map(|path| path.to_path_buf())
}
