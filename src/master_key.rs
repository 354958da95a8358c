//! The master keys, which seal and open the secrets of tenants: set from outside, or made at the first start of
//! `sortie serve` and kept in `DATA/master.key`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use protocol::seal::{MasterKeys, new_master_key};
use protocol::secret::Secret;

use crate::key_file;
use crate::settings::{Role, Settings};

/// The master keys of this process. None for a dispatcher or worker that was given none: all of an installation must
/// have the same, so they can't make their own.
pub(crate) fn load(settings: &Settings) -> anyhow::Result<Option<Arc<MasterKeys>>> {
    if let Some(keys) = &settings.master_key {
        return Ok(Some(Arc::new(keys.clone())));
    }
    if let Some(path) = &settings.master_key_file {
        let text = key_file::read(path)?.with_context(|| format!("{} is not there", path.display()));
        return parse(path, &text.context("master_key_file")?).map(Some);
    }
    if settings.role != Role::Serve {
        tracing::info!("no master key is set: secrets can't be used");
        return Ok(None);
    }
    let path = path(&settings.data);
    let make = || new_master_key().context("the operating system gives no random numbers");
    let (text, made) = key_file::read_or_make(&path, make)?;
    if made {
        tracing::info!(path = %path.display(), "made a master key; without it, stored secrets are lost");
    }
    parse(&path, &text).map(Some)
}

/// Where a key that was made is kept.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("master.key")
}

fn parse(path: &Path, text: &Secret) -> anyhow::Result<Arc<MasterKeys>> {
    let keys = MasterKeys::parse(text.reveal());
    keys.map(Arc::new).map_err(|error| anyhow!("{}: {error}", path.display()))
}
