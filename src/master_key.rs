//! The master keys, which seal and open the secrets of tenants: set from outside, or made at the first start of
//! `sortie serve` and kept in `DATA/master.key`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use protocol::seal::{MasterKeys, new_master_key};
use protocol::secret::Secret;

use crate::key_file;
use crate::settings::{Role, Settings};

/// Where the master keys of a process are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Set from outside.
    Setting,
    /// In a file that the settings name.
    File(PathBuf),
    /// In the file that `sortie serve` makes at its first start.
    Own(PathBuf),
    /// A dispatcher or worker that was given none has none: all of an installation must have the same, so they can't
    /// make their own.
    Nowhere,
}

/// Where the master keys of this process are, or will be.
pub(crate) fn origin(settings: &Settings) -> Origin {
    match (&settings.master_key, &settings.master_key_file) {
        (Some(_), _) => Origin::Setting,
        (None, Some(file)) => Origin::File(file.clone()),
        (None, None) if settings.role == Role::Serve => Origin::Own(path(&settings.data)),
        (None, None) => Origin::Nowhere,
    }
}

/// The master keys of this process, which are made where that is its own affair.
pub(crate) fn load(settings: &Settings) -> anyhow::Result<Option<Arc<MasterKeys>>> {
    match origin(settings) {
        Origin::Own(path) => {
            let make = || new_master_key().context("the operating system gives no random numbers");
            let (_, made) = key_file::read_or_make(&path, make)?;
            if made {
                tracing::info!(path = %path.display(), "made a master key; without it, stored secrets are lost");
            }
        }
        Origin::Nowhere => tracing::info!("no master key is set: secrets can't be used"),
        Origin::Setting | Origin::File(_) => {}
    }
    Ok(read(settings)?.map(Arc::new))
}

/// The master keys that there are now.
pub(crate) fn read(settings: &Settings) -> anyhow::Result<Option<MasterKeys>> {
    match origin(settings) {
        Origin::Setting => Ok(settings.master_key.clone()),
        Origin::File(path) => {
            let text = key_file::read(&path)?.with_context(|| format!("{} is not there", path.display()));
            parse(&path, &text.context("master_key_file")?).map(Some)
        }
        Origin::Own(path) => key_file::read(&path)?.map(|text| parse(&path, &text)).transpose(),
        Origin::Nowhere => Ok(None),
    }
}

fn path(data: &Path) -> PathBuf {
    data.join("master.key")
}

fn parse(path: &Path, text: &Secret) -> anyhow::Result<MasterKeys> {
    MasterKeys::parse(text.reveal()).map_err(|error| anyhow!("{}: {error}", path.display()))
}
