//! The file system that a Python needs, as data: the interpreter, its libraries, certificates, ordinary programs,
//! five devices. No home directory, no configuration of the host, nothing of the worker.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::policy::Entry;

/// The program's user and group inside.
pub(crate) const USER: u32 = 1000;
/// Where the runner is, inside.
pub const RUNNER: &str = "/sortie";

/// What every host has, if it is there: programs and their libraries, certificates, time zones.
const HOST: &[&str] = &[
    "/usr/bin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
];
/// Links into /usr on most hosts; on the others they are directories of their own.
const MERGED: &[&str] = &["/bin", "/lib", "/lib32", "/lib64"];
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Everything that the program sees. `prefixes` are the installation of the interpreter (`sys.prefix`,
/// `sys.base_prefix`), `runner` is a directory outside that appears as [`RUNNER`]. Reads the host's file system, to
/// leave out what isn't there.
pub fn tree(prefixes: &[PathBuf], runner: &Path) -> Vec<Entry> {
    let mut tree = Vec::new();
    let directories = ["/proc", "/dev", "/dev/shm", "/tmp", "/etc"];
    tree.extend(directories.into_iter().map(|path| Entry::Directory(path.into())));
    tree.extend(DEVICES.iter().map(|path| Entry::Device(path.into())));
    for (link, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        tree.push(Entry::Link(Path::new("/dev").join(link), target.into()));
    }
    let user = format!("handler:x:{USER}:{USER}:handler:/tmp:/bin/sh\n");
    for (name, text) in [
        ("passwd", user.as_str()),
        ("group", &format!("handler:x:{USER}:\n")),
        ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ] {
        tree.push(Entry::File(Path::new("/etc").join(name), text.into()));
    }
    for path in MERGED.iter().map(Path::new) {
        match std::fs::read_link(path) {
            Ok(target) => tree.push(Entry::Link(path.into(), target)),
            Err(_) => tree.extend(view(path)),
        }
    }
    let mut seen = BTreeSet::new();
    for path in HOST.iter().map(PathBuf::from).chain(prefixes.iter().flat_map(|prefix| parts(prefix))) {
        let Ok(real) = path.canonicalize() else { continue };
        if seen.iter().any(|other| real.starts_with(other)) {
            // It is there already, by its real name.
        } else {
            tree.push(Entry::View(real.clone(), real.clone()));
            seen.insert(real.clone());
        }
        if real != path && !seen.iter().any(|other| path.starts_with(other)) {
            tree.push(Entry::Link(path, real));
        }
    }
    tree.push(Entry::View(runner.into(), RUNNER.into()));
    tree
}

fn view(path: &Path) -> Option<Entry> {
    path.exists().then(|| Entry::View(path.into(), path.into()))
}

/// What is shown of an interpreter's prefix: all of it, unless it is shared with the whole host.
fn parts(prefix: &Path) -> Vec<PathBuf> {
    match prefix.to_str() {
        Some("/" | "/usr") => Vec::new(),
        Some("/usr/local") => vec!["/usr/local/bin".into(), "/usr/local/lib".into()],
        _ if prefix.components().any(|part| part == Component::ParentDir) => Vec::new(),
        _ => vec![prefix.into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_shown_whole_unless_it_is_the_hosts_own() {
        assert_eq!(parts(Path::new("/opt/python")), [PathBuf::from("/opt/python")]);
        assert!(parts(Path::new("/usr")).is_empty());
        assert!(!parts(Path::new("/usr/local")).contains(&"/usr/local".into()));
    }

    #[test]
    fn the_tree_has_the_runner_and_nothing_of_a_home() {
        let tree = tree(&["/usr".into()], Path::new("/var/lib/runner"));
        assert!(tree.contains(&Entry::View("/var/lib/runner".into(), RUNNER.into())));
        let outside = tree.iter().filter_map(|entry| match entry {
            Entry::View(outside, _) => Some(outside),
            _ => None,
        });
        assert!(outside.into_iter().all(|path| !path.starts_with("/home") && !path.starts_with("/root")));
    }
}
