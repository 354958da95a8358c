//! The secrets of a call: which a version names, read sealed from the registry, opened with the master key, and
//! given to the handler of one call. Nothing is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use protocol::action::Content;
use protocol::error::{Code, JobError};
use protocol::id::{SecretName, TenantId};
use protocol::outcome::Ending;
use protocol::ports::{Kind, PortError, Registry};
use protocol::seal::{self, MasterKeys};
use protocol::secret::Secret;

/// Open secrets by name. Never prints their values.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    values: Arc<BTreeMap<SecretName, Secret>>,
}

impl Secrets {
    /// The value of that name.
    pub fn get(&self, name: &SecretName) -> Option<&Secret> {
        self.values.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&SecretName, &Secret)> {
        self.values.iter()
    }
}

impl FromIterator<(SecretName, Secret)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (SecretName, Secret)>>(values: I) -> Self {
        Self { values: Arc::new(values.into_iter().collect()) }
    }
}

/// Opens the secrets that versions name.
pub(crate) struct Vault {
    registry: Arc<dyn Registry>,
    keys: Option<Arc<MasterKeys>>,
}

impl Vault {
    pub(crate) fn new(registry: Arc<dyn Registry>, keys: Option<Arc<MasterKeys>>) -> Self {
        Self { registry, keys }
    }

    /// The secrets that `content` names, or how an attempt without them ends. `Err` if the registry is away.
    pub(crate) async fn open(
        &self,
        tenant: &TenantId,
        content: &Content,
    ) -> Result<Result<Secrets, Ending>, PortError> {
        let names = content.secret_names();
        if names.is_empty() {
            return Ok(Ok(Secrets::default()));
        }
        let Some(keys) = &self.keys else { return Ok(Err(no_key())) };
        let opened = try_join_all(names.into_iter().map(|name| self.open_one(tenant, name, keys))).await?;
        Ok(opened.into_iter().collect())
    }

    async fn open_one(
        &self,
        tenant: &TenantId,
        name: &SecretName,
        keys: &MasterKeys,
    ) -> Result<Result<(SecretName, Secret), Ending>, PortError> {
        let sealed = match self.registry.secret(tenant, name).await {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Ok(Err(missing(name))),
            Err(error) if error.kind == Kind::Corrupt => return Ok(Err(unreadable(name, &error))),
            Err(error) => return Err(error),
        };
        let value = seal::open(keys, tenant, name, &sealed);
        Ok(value.map(|value| (name.clone(), value)).map_err(|error| unreadable(name, &error)))
    }
}

/// Another attempt would miss it as well.
fn missing(name: &SecretName) -> Ending {
    let message =
        format!("the action names the secret {name}, which is not set; set it, and submit a new job");
    Ending::Failed { error: JobError::new(Code::SecretMissing, message), retryable: false, retry_after: None }
}

/// A worker with the right key may have more luck.
fn unreadable(name: &SecretName, error: &dyn std::error::Error) -> Ending {
    let message = format!("the secret {name} can't be opened: {error}");
    Ending::Failed {
        error: JobError::new(Code::SecretUnreadable, message),
        retryable: true,
        retry_after: None,
    }
}

/// The same.
fn no_key() -> Ending {
    let message = "the action names secrets, and this worker has no master key: set SORTIE_MASTER_KEY or \
                   --master-key-file on every worker";
    Ending::Failed {
        error: JobError::new(Code::MasterKeyMissing, message),
        retryable: true,
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_secrets_print_no_value() {
        let name = SecretName::new("KEY").unwrap();
        let secrets: Secrets = [(name.clone(), Secret::new("hunter2hunter2"))].into_iter().collect();
        assert_eq!(secrets.get(&name).unwrap().reveal(), "hunter2hunter2");
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }
}
