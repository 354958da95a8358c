//! Contents by hash: of versions and of unsaved drafts, for their own tenant only.
//! A worker reads a job's content by the hash in its message, whatever became of the action.

use std::collections::BTreeMap;

use protocol::action::{AuthPlace, Content, Handler, HttpAuth, HttpHandler, Reuse};
use protocol::egress::Egress;
use protocol::id::ContentHash;
use serde_json::json;

use super::{Fixture, name, us};
use crate::sample::{UNICODE, content, lane, secret, tenant};

fn http() -> Content {
    Content {
        output_schema: None,
        handler: Handler::Http(HttpHandler {
            method: "POST".into(),
            url: "https://api.example.com/v1/{city}?ä=1".into(),
            headers: BTreeMap::from([("X-Key".into(), "{key}".into())]),
            query: BTreeMap::from([(UNICODE.into(), String::new())]),
            body: Some(json!({"deep": [[[{"": null}]]], "big": 18_446_744_073_709_551_615_u64, "f": 0.1})),
            auth: Some(HttpAuth {
                place: AuthPlace::Query,
                name: UNICODE.into(),
                secret: secret("API.KEY-1_x"),
                prefix: " Bearer ".into(),
            }),
            result: Some("/data/0".into()),
        }),
        timeout_ms: u64::MAX >> 12,
        memory_mb: u32::MAX,
        lane: lane("gpu-2_x"),
        reuse: Reuse::Fresh,
        secrets: vec![secret("B"), secret("A")],
        egress: Some(Egress { allow: vec!["*.example.com:443".parse().unwrap()] }),
        ..content("")
    }
}

pub async fn the_content_of_every_version_is_read_by_its_hash(registry: Fixture) {
    let contents = [content("1"), content(UNICODE), http()];
    for content in &contents {
        registry.put(content).await;
    }
    for content in contents {
        assert_eq!(registry.content(&us(), &content.hash()).await.unwrap(), Some(content));
    }
}

pub async fn an_unknown_hash_has_no_content(registry: Fixture) {
    registry.put_source("1").await;
    let unknown = ContentHash::new("f".repeat(64)).unwrap();
    assert_eq!(registry.content(&us(), &unknown).await.unwrap(), None);
}

pub async fn a_content_of_another_tenant_cannot_be_read(registry: Fixture) {
    let (version, draft) = (content("version"), content("draft"));
    registry.put(&version).await;
    registry.put_draft(&us(), &draft).await.unwrap();
    let stranger = tenant("stranger");
    for content in [version, draft] {
        assert_eq!(registry.content(&stranger, &content.hash()).await.unwrap(), None);
        // Not even if both have the same one: each has its own.
        assert_eq!(registry.put_draft(&stranger, &content).await.unwrap(), content.hash());
        assert_eq!(registry.content(&stranger, &content.hash()).await.unwrap(), Some(content));
    }
}

pub async fn a_draft_is_read_by_its_hash_and_is_no_version(registry: Fixture) {
    let draft = http();
    for _ in 0..2 {
        assert_eq!(registry.put_draft(&us(), &draft).await.unwrap(), draft.hash());
    }
    assert_eq!(registry.action(&us(), &name()).await.unwrap(), None);
    let registry = registry.reopened().await;
    assert_eq!(registry.content(&us(), &draft.hash()).await.unwrap(), Some(draft));
}

pub async fn a_draft_can_become_a_version(registry: Fixture) {
    let draft = content("draft");
    let hash = registry.put_draft(&us(), &draft).await.unwrap();
    assert!(registry.put(&draft).await.created);
    assert_eq!(registry.put_draft(&us(), &draft).await.unwrap(), hash);
    assert_eq!(registry.content(&us(), &hash).await.unwrap(), Some(draft));
}
