//! Keys in files: made once, complete before they have their name, for their owner only.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, ensure};
use protocol::secret::Secret;

/// The key in the file; writes one that `make` gives if there is none. Says whether it was made now.
pub(crate) fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> anyhow::Result<Secret>,
) -> anyhow::Result<(Secret, bool)> {
    if let Some(key) = read(path)? {
        return Ok((key, false));
    }
    let key = make()?;
    // A reader never sees half a key, and of two first starts one wins.
    let draft = path.with_extension(format!("{}.draft", protocol::id::JobId::generate()));
    let write = || -> std::io::Result<()> {
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        writeln!(file, "{}", key.reveal())?;
        file.sync_all()?;
        std::fs::hard_link(&draft, path)
    };
    let written = write();
    // Gone already, or never made: nothing to tidy up then.
    let _ = std::fs::remove_file(&draft);
    match written {
        Ok(()) => Ok((key, true)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let read = read(path)?;
            Ok((read.with_context(|| format!("{} was removed while it was read", path.display()))?, false))
        }
        Err(error) => Err(error).with_context(|| format!("can't write {}", path.display())),
    }
}

/// The key in the file, if there is one.
pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Secret>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let key = text.trim();
            ensure!(
                !key.is_empty(),
                "{} is empty: put the key into it again, or remove it to get a new one",
                path.display()
            );
            Ok(Some(Secret::new(key)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_only() {
        let folder = std::env::temp_dir().join(format!("sortie-key-{}", protocol::id::JobId::generate()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("some.key");
        assert_eq!(read(&path).unwrap(), None);
        let make = |text: &'static str| read_or_make(&path, move || Ok(Secret::new(text))).unwrap();
        assert_eq!(make("one"), (Secret::new("one"), true));
        assert_eq!(make("two"), (Secret::new("one"), false));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::write(&path, "\n").unwrap();
        assert!(read(&path).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
