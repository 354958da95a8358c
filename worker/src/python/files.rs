//! The Python side as files: part of our binary, written to disk before the first template starts.

use std::fs::{self, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

macro_rules! runner {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../runner/", $name)))),+]
    };
}

/// Every file of the runner: name and text.
const FILES: &[(&str, &str)] = runner![
    "__main__.py",
    "sortie_runner/__init__.py",
    "sortie_runner/bounds.py",
    "sortie_runner/capture.py",
    "sortie_runner/child.py",
    "sortie_runner/confine.py",
    "sortie_runner/context.py",
    "sortie_runner/emptying.py",
    "sortie_runner/failure.py",
    "sortie_runner/forks.py",
    "sortie_runner/frames.py",
    "sortie_runner/holes.py",
    "sortie_runner/image.py",
    "sortie_runner/immortal.py",
    "sortie_runner/invoke.py",
    "sortie_runner/loader.py",
    "sortie_runner/master.py",
    "sortie_runner/names.py",
    "sortie_runner/network.py",
    "sortie_runner/output.py",
    "sortie_runner/quick.py",
    "sortie_runner/rehearsal.py",
    "sortie_runner/syscalls.py",
    "sortie_runner/template.py",
];

/// Writes the runner and the files in `more` (name and content) below `dir` and returns its directory, whose name is
/// that of its content: workers of several versions can share `dir`. Either complete or not there. Readable for all:
/// handlers may be run by another user.
pub(super) fn write(dir: &Path, more: &[(&str, &[u8])]) -> io::Result<PathBuf> {
    let files: Vec<(&str, &[u8])> =
        FILES.iter().map(|(name, text)| (*name, text.as_bytes())).chain(more.iter().copied()).collect();
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    let target = dir.join(format!("runner-{:016x}", hasher.finish()));
    if is_complete(&target, &files) {
        return Ok(target);
    }
    let draft = dir.join(format!(".runner-{}-{:p}", std::process::id(), &hasher));
    for (name, content) in &files {
        let path = draft.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
            fs::set_permissions(parent, Permissions::from_mode(0o755))?;
        }
        fs::write(&path, content)?;
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    }
    if target.exists() && !is_complete(&target, &files) {
        fs::remove_dir_all(&target)?;
    }
    match fs::rename(&draft, &target) {
        // Another worker was quicker: its files are the same.
        Err(_) if is_complete(&target, &files) => fs::remove_dir_all(&draft)?,
        done => done?,
    }
    Ok(target)
}

fn is_complete(target: &Path, files: &[(&str, &[u8])]) -> bool {
    files.iter().all(|(name, content)| fs::read(target.join(name)).is_ok_and(|found| found == *content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_once_and_mended_when_damaged() {
        let dir = std::env::temp_dir().join(format!("sortie-files-{}", std::process::id()));
        let more: [(&str, &[u8]); 1] = [("filters", b"more")];
        let runner = write(&dir, &more).unwrap();
        assert_eq!(write(&dir, &more).unwrap(), runner);
        fs::write(runner.join("filters"), "damaged").unwrap();
        assert_eq!(write(&dir, &more).unwrap(), runner);
        assert!(is_complete(&runner, &more));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no draft is left");
        assert_ne!(write(&dir, &[]).unwrap(), runner);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn every_file_of_the_runner_is_in_the_binary() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("runner/sortie_runner");
        let names =
            fs::read_dir(package).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        for name in names.filter(|name| name.ends_with(".py")) {
            let listed = format!("sortie_runner/{name}");
            assert!(FILES.iter().any(|(file, _)| *file == listed), "{listed} is not listed");
        }
    }
}
