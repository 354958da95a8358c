//! Sealed secrets. All of a tenant's are one hash: name to `<first set> <last set> <sealed>`.

use protocol::id::{SecretName, TenantId};
use protocol::limits;
use protocol::ports::{PortError, PutSecret, SecretInfo};
use protocol::seal::Sealed;

use super::RedisRegistry;
use crate::error::Unreadable;
use crate::fields::{Fields, instant};

impl RedisRegistry {
    pub(super) async fn store_secret(
        &self,
        tenant: &TenantId,
        name: &SecretName,
        sealed: &Sealed,
    ) -> Result<Option<PutSecret>, PortError> {
        const OPERATION: &str = "registry.put_secret";
        let keys = [self.keys.secrets(tenant)];
        let most = limits::TENANT_SECRETS.to_string();
        let arguments = [name.as_str(), sealed.as_str(), &most];
        let (word, fields) = self.run(OPERATION, &self.scripts.secret_put, &keys, &arguments).await?;
        if word == "full" {
            return Ok(None);
        }
        let entry = fields.text("secret").unwrap_or_default();
        let (info, _) = read(name.as_str(), entry).map_err(|e| e.during(OPERATION))?;
        Ok(Some(PutSecret { info, created: word == "created" }))
    }

    pub(super) async fn read_secret(
        &self,
        tenant: &TenantId,
        name: &SecretName,
    ) -> Result<Option<Sealed>, PortError> {
        const OPERATION: &str = "registry.secret";
        let mut get = redis::cmd("HGET");
        get.arg(self.keys.secrets(tenant)).arg(name.as_str());
        let entry: Option<String> = self.connection.run(OPERATION, &get).await?;
        let sealed = entry.map(|entry| read(name.as_str(), &entry).map(|(_, sealed)| sealed));
        sealed.transpose().map_err(|e| e.during(OPERATION))
    }

    pub(super) async fn list_secrets(&self, tenant: &TenantId) -> Result<Vec<SecretInfo>, PortError> {
        const OPERATION: &str = "registry.secrets";
        let fields: Fields = self.fields(OPERATION, self.keys.secrets(tenant)).await?;
        let mut secrets = fields
            .iter()
            .map(|(name, entry)| read(name, entry).map(|(info, _)| info))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| e.during(OPERATION))?;
        secrets.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(secrets)
    }

    pub(super) async fn remove_secret(
        &self,
        tenant: &TenantId,
        name: &SecretName,
    ) -> Result<bool, PortError> {
        let mut delete = redis::cmd("HDEL");
        delete.arg(self.keys.secrets(tenant)).arg(name.as_str());
        let deleted: u32 = self.connection.run("registry.delete_secret", &delete).await?;
        Ok(deleted > 0)
    }
}

/// The secret of that name, from its entry.
fn read(name: &str, entry: &str) -> Result<(SecretInfo, Sealed), Unreadable> {
    let parts = || -> Option<(SecretInfo, Sealed)> {
        let mut parts = entry.splitn(3, ' ');
        let (created_at, updated_at) = (instant(parts.next()?)?, instant(parts.next()?)?);
        let sealed: Sealed = parts.next()?.parse().ok()?;
        let master_key = sealed.master_key().to_owned();
        let name = SecretName::new(name).ok()?;
        Some((SecretInfo { name, master_key, created_at, updated_at }, sealed))
    };
    parts().ok_or_else(|| Unreadable::at(format!("the secret {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_did_not_write_is_unreadable_and_no_panic() {
        let good = "1 2 v1:0123456789abcdef:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let (info, sealed) = read("A", good).unwrap();
        assert_eq!((info.created_at.millis(), info.updated_at.millis()), (1, 2));
        assert_eq!((info.master_key.as_str(), sealed.as_str()), ("0123456789abcdef", &good[4..]));
        for bad in ["", "1", "1 2", "1 2 plain", "x 2 v1:0123456789abcdef:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(read("A", bad).is_err(), "{bad}");
        }
        assert!(read("a b", good).is_err());
    }
}
