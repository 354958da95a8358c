//! API keys: what each may do, and when none of it.

use protocol::id::{ActionName, KeyId, TenantId};
use protocol::key::{Key, KeyHash, Scope};
use protocol::secret::Secret;
use protocol::time::Timestamp;
use serde_json::json;

use crate::support::{World, ask};

#[tokio::test]
async fn a_secret_is_shown_once_and_a_key_is_switched_and_deleted() {
    let world = World::start().await;
    let made = world.post("/v1/keys", &json!({"name": "planner", "scopes": ["jobs:read"]})).await;
    assert_eq!((made.status, made.header("cache-control")), (201, Some("no-store")));
    let (id, secret) =
        (made.json()["id"].as_str().unwrap().to_owned(), made.json()["secret"].as_str().unwrap().to_owned());
    let list = world.get("/v1/keys").await;
    assert!(!list.body.contains(&secret) && !list.body.contains("hash"), "{}", list.body);
    assert_eq!(list.json()["keys"][0]["name"], "planner");
    assert_eq!(world.get(&format!("/v1/keys/{id}")).await.json()["scopes"], json!(["jobs:read"]));

    let read = async || ask(&world, &secret, "GET", "/v1/jobs", json!({})).await;
    assert_eq!(read().await.status, 200);
    assert_eq!(world.post(&format!("/v1/keys/{id}/disable"), &json!({})).await.json()["disabled"], true);
    read().await.is_problem(401, "key_disabled", "-");
    assert_eq!(world.post(&format!("/v1/keys/{id}/enable"), &json!({})).await.status, 200);
    assert_eq!(read().await.status, 200);
    assert_eq!(world.call("DELETE", &format!("/v1/keys/{id}")).send().await.status, 204);
    read().await.is_problem(401, "key_invalid", "-");
    world.get(&format!("/v1/keys/{id}")).await.is_problem(404, "key_not_found", "-");
}

#[tokio::test]
async fn every_verb_needs_its_scope() {
    let world = World::start().await;
    world.publish("a").await;
    let secret = world.key(json!({"scopes": ["jobs:read"]})).await;
    let id = world.submit("a", json!({})).await;
    assert_eq!(ask(&world, &secret, "GET", &format!("/v1/jobs/{id}"), json!({})).await.status, 200);
    for (method, path, body) in [
        ("POST", "/v1/jobs".to_owned(), json!({"action": "a"})),
        ("POST", format!("/v1/jobs/{id}/cancel"), json!({})),
        ("PUT", "/v1/actions/b".to_owned(), json!({"handler": {"kind": "python", "source": "x"}})),
        ("GET", "/v1/actions".to_owned(), json!({})),
        ("GET", "/v1/actions/a".to_owned(), json!({})),
        ("GET", "/v1/actions/a/versions".to_owned(), json!({})),
        ("GET", "/v1/actions/a/versions/1".to_owned(), json!({})),
        ("POST", "/v1/actions/a/enable".to_owned(), json!({})),
        ("POST", "/v1/actions/a/disable".to_owned(), json!({})),
        ("POST", "/v1/actions/a/test".to_owned(), json!({})),
        ("DELETE", "/v1/actions/a".to_owned(), json!({})),
        ("GET", "/v1/keys".to_owned(), json!({})),
        ("POST", "/v1/keys".to_owned(), json!({"name": "k", "scopes": ["jobs:read"]})),
    ] {
        ask(&world, &secret, method, &path, body).await.is_problem(403, "scope_missing", "-");
    }
}

#[tokio::test]
async fn a_key_that_is_limited_to_actions_sees_only_those() {
    let world = World::start().await;
    world.publish("a").await;
    world.publish("b").await;
    let secret = world.key(json!({"scopes": ["admin"], "actions": ["a"]})).await;
    let (mine, other) = (world.submit("a", json!({})).await, world.submit("b", json!({})).await);
    let get = async |path: &str| ask(&world, &secret, "GET", path, json!({})).await;
    assert_eq!(get(&format!("/v1/jobs/{mine}")).await.status, 200);
    get(&format!("/v1/jobs/{other}")).await.is_problem(403, "action_not_allowed", "-");
    get(&format!("/v1/jobs/{other}/events")).await.is_problem(403, "action_not_allowed", "-");
    get("/v1/actions/b").await.is_problem(403, "action_not_allowed", "-");
    let post = async |path: &str, body| ask(&world, &secret, "POST", path, body).await;
    post("/v1/jobs", json!({"action": "b", "input": {"n": 1}})).await.is_problem(
        403,
        "action_not_allowed",
        "-",
    );
    post(&format!("/v1/jobs/{other}/cancel"), json!({})).await.is_problem(403, "action_not_allowed", "-");
    post("/v1/actions/b/test", json!({})).await.is_problem(403, "action_not_allowed", "-");
    assert_eq!(get("/v1/jobs").await.json()["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(get("/v1/actions").await.json()["actions"].as_array().unwrap().len(), 1);
    let wide = json!({"name": "k", "scopes": ["jobs:read"]});
    post("/v1/keys", wide).await.is_problem(403, "action_not_allowed", "-");
}

#[tokio::test]
async fn nobody_gives_or_touches_more_than_they_have() {
    let world = World::start().await;
    let admin = world.key(json!({"scopes": ["admin"]})).await;
    let operator = world.post("/v1/keys", &json!({"name": "root", "scopes": ["operator"]})).await.json();
    let post = async |path: &str, body| ask(&world, &admin, "POST", path, body).await;
    let wide = json!({"name": "k", "scopes": ["operator"]});
    post("/v1/keys", wide).await.is_problem(403, "scope_missing", "-");
    let elsewhere = json!({"name": "k", "scopes": ["admin"], "tenant": "other"});
    post("/v1/keys", elsewhere.clone()).await.is_problem(403, "scope_missing", "-");
    let path = format!("/v1/keys/{}/disable", operator["id"].as_str().unwrap());
    post(&path, json!({})).await.is_problem(403, "scope_missing", "-");

    // The operator opens another tenant, whose key sees nothing of this one.
    world.publish("a").await;
    let made = world.post("/v1/keys", &elsewhere).await.json();
    assert_eq!(made["tenant"], "other");
    let foreign = made["secret"].as_str().unwrap();
    ask(&world, foreign, "GET", "/v1/actions/a", json!({})).await.is_problem(404, "action_not_found", "-");
    let id = world.submit("a", json!({})).await;
    let path = format!("/v1/jobs/{id}");
    ask(&world, foreign, "GET", &path, json!({})).await.is_problem(404, "job_not_found", "-");
    assert_eq!(world.get("/v1/keys?tenant=other").await.json()["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_keys_are_refused_at_their_place() {
    let world = World::start().await;
    for (body, code, pointer) in [
        (json!({"scopes": ["admin"]}), "field_missing", "/name"),
        (json!({"name": " ", "scopes": ["admin"]}), "field_invalid", "/name"),
        (json!({"name": "k", "scopes": []}), "field_invalid", "/scopes"),
        (json!({"name": "k", "scopes": ["job:read"]}), "field_invalid", "/scopes/0"),
        (json!({"name": "k", "scopes": ["admin"], "actions": []}), "field_invalid", "/actions"),
        (
            json!({"name": "k", "scopes": ["admin"], "expires_at": "2020-01-01T00:00:00Z"}),
            "field_invalid",
            "/expires_at",
        ),
        (json!({"name": "k", "scopes": ["admin"], "expires": "x"}), "field_unknown", "/expires"),
    ] {
        world.post("/v1/keys", &body).await.is_problem(422, code, pointer);
    }
}

#[tokio::test]
async fn an_expired_key_says_so() {
    let world = World::start().await;
    let key = Key {
        id: KeyId::new("key_old").unwrap(),
        tenant: TenantId::standard(),
        name: "old".into(),
        hash: KeyHash::of(&Secret::new("sk_old")),
        scopes: [Scope::Admin].into(),
        actions: Some([ActionName::new("a").unwrap()].into()),
        created_at: Timestamp::from_millis(0),
        expires_at: Some(Timestamp::from_millis(1)),
        disabled: false,
    };
    assert!(world.ports.registry.create_key(&key).await.unwrap());
    ask(&world, "sk_old", "GET", "/v1/jobs", json!({})).await.is_problem(401, "key_expired", "-");
}
