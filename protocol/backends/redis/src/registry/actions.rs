//! Actions, their versions and contents. All of a tenant's share one slot.

use std::time::Duration;

use protocol::action::{Action, Content, VersionInfo};
use protocol::id::{ActionName, ContentHash, TenantId};
use protocol::ports::{PortError, Published};

use super::{RedisRegistry, switch};
use crate::error::Unreadable;
use crate::fields::{Fields, instant, json, number, read, rows};

/// How long a draft can be read: the promised day and an hour for a job that was accepted at its end.
const DRAFT: Duration = Duration::from_secs(25 * 60 * 60);

impl RedisRegistry {
    pub(super) async fn publish_version(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        content: &Content,
        enabled: Option<bool>,
    ) -> Result<Published, PortError> {
        const OPERATION: &str = "registry.publish";
        let hash = content.hash();
        let keys = [
            self.keys.action(tenant, name),
            self.keys.versions(tenant, name),
            self.keys.names(tenant),
            self.keys.content(tenant, &hash),
        ];
        let arguments = [name.as_str(), hash.as_str(), &json(content), enabled.map_or("", switch)];
        let (word, fields) = self.run(OPERATION, &self.scripts.publish, &keys, &arguments).await?;
        self.cache.forget();
        let action = action(tenant, name, &fields).map_err(|e| e.during(OPERATION))?;
        Ok(Published { action, created: word == "created" })
    }

    pub(super) async fn read_action(
        &self,
        tenant: &TenantId,
        name: &ActionName,
    ) -> Result<Option<Action>, PortError> {
        const OPERATION: &str = "registry.action";
        let asked = match self.cache.action(tenant, name) {
            Ok(action) => return Ok(Some(action)),
            Err(asked) => asked,
        };
        let fields = self.fields(OPERATION, self.keys.action(tenant, name)).await?;
        let found = live(tenant, name, &fields).map_err(|e| e.during(OPERATION))?;
        found.iter().for_each(|action| self.cache.keep_action(asked, action));
        Ok(found)
    }

    /// An action that is deleted between the two steps is left out.
    pub(super) async fn list_actions(
        &self,
        tenant: &TenantId,
        after: Option<&ActionName>,
        limit: usize,
    ) -> Result<Vec<Action>, PortError> {
        const OPERATION: &str = "registry.actions";
        let mut range = redis::cmd("ZRANGE");
        range.arg(self.keys.names(tenant)).arg(after.map_or("-".into(), |name| format!("({name}"))).arg("+");
        range.arg("BYLEX").arg("LIMIT").arg(0).arg(rows(limit));
        let names: Vec<String> = self.connection.run(OPERATION, &range).await?;
        let names: Vec<ActionName> = names.iter().filter_map(|name| ActionName::new(name).ok()).collect();
        let mut commands = redis::pipe();
        for name in &names {
            commands.cmd("HGETALL").arg(self.keys.action(tenant, name));
        }
        let mut actions = Vec::with_capacity(names.len());
        for (name, answer) in names.iter().zip(self.connection.run_all(OPERATION, &commands).await?) {
            let fields: Fields = read(OPERATION, Some(answer))?;
            actions.extend(live(tenant, name, &fields).map_err(|e| e.during(OPERATION))?);
        }
        Ok(actions)
    }

    pub(super) async fn list_versions(
        &self,
        tenant: &TenantId,
        name: &ActionName,
    ) -> Result<Vec<VersionInfo>, PortError> {
        const OPERATION: &str = "registry.versions";
        let fields = self.fields(OPERATION, self.keys.versions(tenant, name)).await?;
        let mut versions = fields
            .iter()
            .map(|(number, text)| version(number, text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| e.during(OPERATION))?;
        versions.sort_unstable_by_key(|version| std::cmp::Reverse(version.number));
        Ok(versions)
    }

    pub(super) async fn read_version(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        number: u32,
    ) -> Result<Option<VersionInfo>, PortError> {
        const OPERATION: &str = "registry.version";
        let mut get = redis::cmd("HGET");
        get.arg(self.keys.versions(tenant, name)).arg(number);
        let text: Option<String> = self.connection.run(OPERATION, &get).await?;
        text.map(|text| version(&number.to_string(), &text)).transpose().map_err(|e| e.during(OPERATION))
    }

    pub(super) async fn enable_action(
        &self,
        tenant: &TenantId,
        name: &ActionName,
        enabled: bool,
    ) -> Result<Option<Action>, PortError> {
        const OPERATION: &str = "registry.set_enabled";
        let keys = [self.keys.action(tenant, name)];
        let (_, fields) = self.run(OPERATION, &self.scripts.enable, &keys, &[switch(enabled)]).await?;
        self.cache.forget();
        live(tenant, name, &fields).map_err(|e| e.during(OPERATION))
    }

    pub(super) async fn remove_action(
        &self,
        tenant: &TenantId,
        name: &ActionName,
    ) -> Result<bool, PortError> {
        let keys =
            [self.keys.action(tenant, name), self.keys.versions(tenant, name), self.keys.names(tenant)];
        let (word, _) =
            self.run("registry.delete_action", &self.scripts.delete, &keys, &[name.as_str()]).await?;
        self.cache.forget();
        Ok(word == "done")
    }

    pub(super) async fn keep_draft(
        &self,
        tenant: &TenantId,
        content: &Content,
    ) -> Result<ContentHash, PortError> {
        let hash = content.hash();
        let keys = [self.keys.content(tenant, &hash)];
        let arguments = [json(content), DRAFT.as_millis().to_string()];
        let arguments = [arguments[0].as_str(), &arguments[1]];
        self.run("registry.put_draft", &self.scripts.draft, &keys, &arguments).await?;
        Ok(hash)
    }

    pub(super) async fn read_content(
        &self,
        tenant: &TenantId,
        hash: &ContentHash,
    ) -> Result<Option<Content>, PortError> {
        const OPERATION: &str = "registry.content";
        let get = redis::cmd("GET").arg(self.keys.content(tenant, hash)).to_owned();
        let text: Option<String> = self.connection.run(OPERATION, &get).await?;
        let parse = |text: String| {
            serde_json::from_str(&text).map_err(|_| Unreadable::at(format!("the content {hash}")))
        };
        text.map(parse).transpose().map_err(|e| e.during(OPERATION))
    }
}

/// The action of a hash, unless it was deleted or never was.
fn live(tenant: &TenantId, name: &ActionName, fields: &Fields) -> Result<Option<Action>, Unreadable> {
    fields.text("latest").map(|_| action(tenant, name, fields)).transpose()
}

fn action(tenant: &TenantId, name: &ActionName, fields: &Fields) -> Result<Action, Unreadable> {
    Ok(Action {
        tenant: tenant.clone(),
        name: name.clone(),
        enabled: fields.must("enabled", |text| Some(text == "1"))?,
        latest: VersionInfo {
            number: fields.must("latest", number)?,
            content_hash: fields.must("hash", |text| ContentHash::new(text).ok())?,
            created_at: fields.must("published_at", instant)?,
        },
        created_at: fields.must("created_at", instant)?,
        updated_at: fields.must("updated_at", instant)?,
    })
}

/// The version that `text` (`<content hash> <when>`) tells of.
fn version(name: &str, text: &str) -> Result<VersionInfo, Unreadable> {
    let parts = || -> Option<VersionInfo> {
        let (hash, at) = text.split_once(' ')?;
        let content_hash = ContentHash::new(hash).ok()?;
        Some(VersionInfo { number: number(name)?, content_hash, created_at: instant(at)? })
    };
    parts().ok_or_else(|| Unreadable::at(format!("the version {name}")))
}
