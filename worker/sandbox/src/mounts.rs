//! Builds the file system of a policy in a new mount namespace and makes it the root.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::helper::{HelperError, step};
use crate::policy::{Entry, Namespaces};

/// What the root itself may take: directories, links and small files.
const ROOT_OPTIONS: &std::ffi::CStr = c"size=1m,nr_inodes=4096,mode=755";
/// What holds for every mount of ours.
const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Makes `namespaces.tree` the root of this process. Needs all capabilities over the mount namespace.
pub(crate) fn enter(namespaces: &Namespaces) -> Result<(), HelperError> {
    let root = namespaces.root.as_path();
    start(root)?;
    for entry in &namespaces.tree {
        make(root, entry).map_err(|source| HelperError::Entry { entry: entry.clone(), source })?;
    }
    // Before the old root goes: the kernel allows a new /proc only to those who can see a whole one.
    let proc = FLAGS | MountFlags::NOEXEC;
    step("mounting /proc", rustix::mount::mount("proc", root.join("proc"), "proc", proc, None))?;
    take(root)
}

/// Does what [`enter`] does with a root that has nothing in it, to see whether the host allows it.
pub(crate) fn rehearse() -> Result<(), HelperError> {
    // A directory that every host has.
    let root = Path::new("/proc");
    start(root)?;
    take(root)
}

fn start(root: &Path) -> Result<(), HelperError> {
    // Nothing that happens here is seen outside, and the other way round.
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    step("making mounts private", rustix::mount::mount_change("/", private))?;
    step("mounting a tmpfs as root", rustix::mount::mount("sortie", root, "tmpfs", FLAGS, ROOT_OPTIONS))
}

fn take(root: &Path) -> Result<(), HelperError> {
    step("entering the new root", rustix::process::chdir(root))?;
    step("pivot_root", rustix::process::pivot_root(".", "."))?;
    step("leaving the old root", rustix::mount::unmount(".", UnmountFlags::DETACH))?;
    step("entering the new root", rustix::process::chdir("/"))?;
    step("making the root read-only", restrict(Path::new("/"), Attributes { devices: false, tree: false }))
}

fn make(root: &Path, entry: &Entry) -> io::Result<()> {
    match entry {
        Entry::Directory(path) => fs::create_dir_all(inside(root, path)),
        Entry::File(path, text) => fs::write(place(root, path)?, text),
        Entry::Link(path, target) => std::os::unix::fs::symlink(target, place(root, path)?),
        Entry::View(outside, path) => {
            let target = place(root, path)?;
            if outside.is_dir() {
                fs::create_dir_all(&target)?;
            } else {
                fs::write(&target, "")?;
            }
            // With what is mounted below: the kernel lets no user namespace uncover it.
            rustix::mount::mount_bind_recursive(outside, &target)?;
            restrict(&target, Attributes { devices: false, tree: true })
        }
        Entry::Device(path) => {
            let target = place(root, path)?;
            fs::write(&target, "")?;
            rustix::mount::mount_bind(path, &target)?;
            restrict(&target, Attributes { devices: true, tree: false })
        }
    }
}

/// The place of `path` below the new root, with the directories above it.
fn place(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let place = inside(root, path);
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(place)
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[derive(Clone, Copy)]
struct Attributes {
    devices: bool,
    /// Also what is mounted below.
    tree: bool,
}

/// Makes a mount read-only, without setuid and, unless wanted, without devices. Takes nothing away that it has
/// already, which the kernel would refuse for mounts of the host.
#[expect(unsafe_code, reason = "no library has mount_setattr")]
fn restrict(path: &Path, wanted: Attributes) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let devices = if wanted.devices { 0 } else { libc::MOUNT_ATTR_NODEV };
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | devices,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = if wanted.tree { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string and the attributes are a struct of the size that is passed; both outlive the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
