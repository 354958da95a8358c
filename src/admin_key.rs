//! The first API key: set from outside, or made at the first start and kept in `DATA/admin.key`.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use protocol::secret::Secret;

use crate::key_file;

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
    let make = || protocol::key::new_secret().context("the operating system gives no random numbers");
    key_file::read_or_make(&path(data), make)
}

/// The key in the data folder, if there is one.
pub(crate) fn read(data: &Path) -> anyhow::Result<Option<Secret>> {
    key_file::read(&path(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_in_the_folder_and_read_again() {
        let data = std::env::temp_dir().join(format!("sortie-data-{}", protocol::id::JobId::generate()));
        make_folder(&data).unwrap();
        let (key, made) = read_or_make(&data).unwrap();
        assert!(made && key.reveal().starts_with("sk_"));
        assert_eq!(read_or_make(&data).unwrap(), (key.clone(), false));
        assert_eq!(read(&data).unwrap(), Some(key));
        std::fs::remove_dir_all(&data).unwrap();
    }
}
