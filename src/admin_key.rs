//! The first API key: set from outside, or made at the first start and kept in `DATA/admin.key`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use protocol::secret::Secret;

/// Where a key that was made is kept.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("admin.key")
}

/// Makes the data folder, for its owner only, unless it is there.
pub(crate) fn make_folder(data: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.with_context(|| format!("can't make the data folder {}", data.display()))
}

/// The key in the data folder; makes one if there is none. Says whether it was made now.
pub(crate) fn read_or_make(data: &Path) -> anyhow::Result<(Secret, bool)> {
    let path = path(data);
    if let Some(key) = read(data)? {
        return Ok((key, false));
    }
    let key = protocol::key::new_secret().context("the operating system gives no random numbers")?;
    // Complete before it has its name: a reader never sees half a key, and of two first starts one wins.
    let draft = data.join(format!(".admin.key.{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file: File =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        writeln!(file, "{}", key.reveal())?;
        file.sync_all()?;
        std::fs::hard_link(&draft, &path)
    };
    let written = write();
    // Gone already, or never made: nothing to tidy up then.
    let _ = std::fs::remove_file(&draft);
    match written {
        Ok(()) => Ok((key, true)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Ok((read(data)?.context("the admin key was removed while it was read")?, false))
        }
        Err(error) => Err(error).with_context(|| format!("can't write {}", path.display())),
    }
}

/// The key in the data folder, if there is one.
pub(crate) fn read(data: &Path) -> anyhow::Result<Option<Secret>> {
    let path = path(data);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let key = text.trim();
            ensure!(
                !key.is_empty(),
                "{} is empty; remove it, and the next start makes a new one",
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
        let data = std::env::temp_dir().join(format!("sortie-key-{}", protocol::id::JobId::generate()));
        make_folder(&data).unwrap();
        let (key, made) = read_or_make(&data).unwrap();
        assert!(made && key.reveal().starts_with("sk_"));
        assert_eq!(read_or_make(&data).unwrap(), (key, false));
        assert_eq!(std::fs::metadata(path(&data)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
        std::fs::write(path(&data), "\n").unwrap();
        assert!(read(&data).is_err());
    }
}
