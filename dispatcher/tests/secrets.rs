//! Secrets: set, listed, deleted, and never told.

use std::sync::Arc;

use dispatcher::Options;
use protocol::id::{SecretName, TenantId};
use protocol::limits;
use protocol::seal::{self, MasterKeys};
use protocol::secret::Secret;
use serde_json::json;

use crate::support::{ADMIN, Wish, World, ask, content};

const VALUE: &str = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";

fn master() -> Arc<MasterKeys> {
    Arc::new(MasterKeys::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap())
}

async fn world() -> World {
    let options =
        Options { admin_key: Some(Secret::new(ADMIN)), master_keys: Some(master()), ..Options::default() };
    World::with(Wish { options, ..Wish::default() }).await
}

#[tokio::test]
async fn a_secret_is_set_replaced_listed_and_deleted_and_never_told() {
    let world = world().await;
    let made = world.put("/v1/secrets/STRIPE_KEY", &json!({"value": VALUE})).await;
    assert_eq!((made.status, &made.json()["name"]), (201, &json!("STRIPE_KEY")), "{made:?}");
    let again = world.put("/v1/secrets/STRIPE_KEY", &json!({"value": format!("{VALUE}2")})).await;
    assert_eq!((again.status, &again.json()["created_at"]), (200, &made.json()["created_at"]), "{again:?}");
    world.put("/v1/secrets/API.KEY", &json!({"value": VALUE})).await;
    let list = world.get("/v1/secrets").await;
    let names: Vec<_> =
        list.json()["secrets"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["API.KEY", "STRIPE_KEY"]);
    assert_eq!(list.json()["secrets"][0]["master_key"], master().ids().next().unwrap());
    for answer in [&made, &again, &list] {
        assert!(!answer.body.contains("sk_live"), "{answer:?}");
    }

    // What is stored is sealed for this tenant and name.
    let (tenant, name) = (TenantId::standard(), SecretName::new("STRIPE_KEY").unwrap());
    let sealed = world.ports.registry.secret(&tenant, &name).await.unwrap().unwrap();
    assert!(!sealed.as_str().contains("sk_live"));
    assert_eq!(seal::open(&master(), &tenant, &name, &sealed).unwrap().reveal(), format!("{VALUE}2"));

    assert_eq!(world.call("DELETE", "/v1/secrets/STRIPE_KEY").send().await.status, 204);
    let gone = world.call("DELETE", "/v1/secrets/STRIPE_KEY").send().await;
    gone.is_problem(404, "secret_not_found", "-");
    world.call("DELETE", "/v1/secrets/a%20b").send().await.is_problem(404, "secret_not_found", "-");
}

#[tokio::test]
async fn wrong_secrets_are_refused_and_not_repeated() {
    let world = world().await;
    for (body, code, pointer) in [
        (json!({"value": "hunter2"}), "field_invalid", "/value"),
        (json!({"value": "hunter2".repeat(4096)}), "field_invalid", "/value"),
        (json!({"value": ["hunter2"]}), "field_invalid", "/value"),
        (json!({"valeu": "hunter2hunter2"}), "field_unknown", "/valeu"),
        (json!({}), "field_missing", "/value"),
    ] {
        let answer = world.put("/v1/secrets/A", &body).await;
        answer.is_problem(422, code, pointer);
        assert!(!answer.body.contains("hunter2"), "{answer:?}");
    }
    let bad_name = world.put("/v1/secrets/a%20b", &json!({"value": VALUE})).await;
    bad_name.is_problem(400, "parameter_invalid", "-");
    assert_eq!(world.get("/v1/secrets").await.json()["secrets"], json!([]));
}

#[tokio::test]
async fn a_tenant_may_have_so_many_secrets_and_can_always_replace_them() {
    let world = world().await;
    let (tenant, any) = (TenantId::standard(), SecretName::new("ANY").unwrap());
    let sealed = seal::seal(&master(), &tenant, &any, &Secret::new(VALUE)).unwrap();
    for number in 0..limits::TENANT_SECRETS {
        let name = SecretName::new(format!("S{number}")).unwrap();
        world.ports.registry.put_secret(&tenant, &name, &sealed).await.unwrap().unwrap();
    }
    let body = json!({ "value": VALUE });
    let refused = world.put("/v1/secrets/ONE_MORE", &body).await;
    refused.is_problem(409, "secrets_too_many", "-");
    assert!(refused.body.contains("1000 secrets"), "{refused:?}");
    assert_eq!(world.put("/v1/secrets/S0", &body).await.status, 200);
    assert_eq!(world.call("DELETE", "/v1/secrets/S0").send().await.status, 204);
    assert_eq!(world.put("/v1/secrets/ONE_MORE", &body).await.status, 201);
}

#[tokio::test]
async fn every_call_needs_the_scope_and_a_key_for_all_actions() {
    let world = world().await;
    let writer = world.key(json!({"scopes": ["secrets:write"]})).await;
    let others =
        world.key(json!({"scopes": ["actions:write", "actions:read", "jobs:write", "jobs:read"]})).await;
    let limited = world.key(json!({"scopes": ["secrets:write"], "actions": ["a"]})).await;
    assert_eq!(ask(&world, &writer, "PUT", "/v1/secrets/A", json!({"value": VALUE})).await.status, 201);
    for (method, path) in [("PUT", "/v1/secrets/A"), ("GET", "/v1/secrets"), ("DELETE", "/v1/secrets/A")] {
        let answer = ask(&world, &others, method, path, json!({"value": VALUE})).await;
        answer.is_problem(403, "scope_missing", "-");
    }
    for method in ["PUT", "DELETE"] {
        let answer = ask(&world, &limited, method, "/v1/secrets/A", json!({"value": VALUE})).await;
        answer.is_problem(403, "action_not_allowed", "-");
    }
    assert_eq!(ask(&world, &writer, "GET", "/v1/secrets", json!({})).await.json()["secrets"][0]["name"], "A");
}

#[tokio::test]
async fn another_tenant_sees_and_touches_nothing() {
    let world = world().await;
    world.put("/v1/secrets/A", &json!({"value": VALUE})).await;
    let foreign = world.key(json!({"scopes": ["admin"], "tenant": "other"})).await;
    assert_eq!(ask(&world, &foreign, "GET", "/v1/secrets", json!({})).await.json()["secrets"], json!([]));
    let answer = ask(&world, &foreign, "DELETE", "/v1/secrets/A", json!({})).await;
    answer.is_problem(404, "secret_not_found", "-");
    let theirs = ask(&world, &foreign, "PUT", "/v1/secrets/A", json!({"value": "something else"})).await;
    assert_eq!(theirs.status, 201);
    let (tenant, name) = (TenantId::standard(), SecretName::new("A").unwrap());
    let sealed = world.ports.registry.secret(&tenant, &name).await.unwrap().unwrap();
    assert_eq!(seal::open(&master(), &tenant, &name, &sealed).unwrap().reveal(), VALUE);
}

#[tokio::test]
async fn without_a_master_key_every_call_says_which_setting_to_give() {
    let world = World::start().await;
    for (method, path) in [("PUT", "/v1/secrets/A"), ("GET", "/v1/secrets"), ("DELETE", "/v1/secrets/A")] {
        let answer = world.call(method, path).json(&json!({"value": VALUE})).send().await;
        answer.is_problem(503, "master_key_missing", "-");
        assert!(answer.body.contains("SORTIE_MASTER_KEY") && !answer.body.contains(VALUE), "{answer:?}");
    }
}

#[tokio::test]
async fn an_action_may_name_secrets_that_are_set_later_each_once() {
    let world = World::start().await;
    let answer = world.put("/v1/actions/a", &content(json!({"secrets": ["A", "B"]}))).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(world.get("/v1/actions/a").await.json()["content"]["secrets"], json!(["A", "B"]));
    let twice = world.put("/v1/actions/a", &content(json!({"secrets": ["A", "A"]}))).await;
    twice.is_problem(422, "field_invalid", "/secrets/1");
}

#[tokio::test]
async fn an_attempt_shows_its_isolation() {
    let world = World::start().await;
    world.publish("a").await;
    let id = world.submit("a", json!({})).await;
    world.claim(id).await;
    assert_eq!(world.get(&format!("/v1/jobs/{id}")).await.json()["attempts"][0]["isolation"], "partial");
}
