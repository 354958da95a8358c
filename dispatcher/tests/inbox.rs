//! Requests that come as messages: the same intake as over HTTP, answered, and never lost.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::post::{Letter, PostOffice};
use crate::support::{ADMIN, Wish, World, eventually};

fn letter(id: &str, body: &Value) -> Letter {
    Letter {
        body: body.to_string().into_bytes(),
        message_id: Some(id.into()),
        authorization: Some(format!("Bearer {ADMIN}")),
    }
}

async fn world() -> (World, Arc<PostOffice>) {
    let office = Arc::new(PostOffice::open());
    let world = World::with(Wish { background: true, inbox: Some(office.clone()), ..Wish::default() }).await;
    world.publish("a").await;
    (world, office)
}

#[tokio::test]
async fn a_message_is_accepted_and_its_result_is_sent() {
    let (world, office) = world().await;
    office.send(letter("m1", &json!({"action": "a", "input": {"n": 1}})));
    eventually("it is accepted", async || office.replies("accepted").len() == 1).await;
    eventually("it is acked", async || office.acked() == 1).await;
    let id = office.replies("accepted")[0]["id"].as_str().unwrap().parse().unwrap();
    let claimed = world.claim(id).await;
    world.succeed(&claimed, json!({"ok": 1})).await;
    eventually("the result is sent", async || office.replies("finished").len() == 1).await;
    let job = &office.replies("finished")[0];
    assert_eq!((&job["state"], &job["result"]), (&json!("succeeded"), &json!({"ok": 1})));
    assert_eq!(*job, world.get(&format!("/v1/jobs/{id}")).await.json());
    world.stop().await;
}

#[tokio::test]
async fn the_same_message_twice_is_one_job_and_is_answered_twice() {
    let (world, office) = world().await;
    let message = letter("m1", &json!({"action": "a", "input": {"n": 1}}));
    office.send(message.clone());
    office.send(message);
    eventually("both are answered", async || office.replies("accepted").len() == 2).await;
    let replies = office.replies("accepted");
    assert_eq!(replies[0]["id"], replies[1]["id"]);
    assert_eq!(world.get("/v1/jobs").await.json()["jobs"].as_array().unwrap().len(), 1);
    office.send(letter("m1", &json!({"action": "a", "input": {"n": 2}})));
    eventually("another request is refused", async || office.replies("refused").len() == 1).await;
    assert_eq!(office.replies("refused")[0]["code"], "idempotency_conflict");
    world.stop().await;
}

#[tokio::test]
async fn wrong_messages_are_refused_with_the_problem_and_gone() {
    let (world, office) = world().await;
    let good = letter("m", &json!({"action": "a", "input": {"n": 1}}));
    let checks = [
        (Letter { authorization: None, ..good.clone() }, "key_missing"),
        (Letter { authorization: Some("sk_wrong".into()), ..good.clone() }, "key_invalid"),
        (Letter { message_id: None, ..good.clone() }, "field_missing"),
        (Letter { message_id: Some("x".repeat(300)), ..good.clone() }, "field_invalid"),
        (Letter { body: b"{".to_vec(), ..good.clone() }, "body_not_json"),
        (Letter { body: vec![b' '; 1 << 20], ..good.clone() }, "body_too_large"),
        (letter("m", &json!({"action": "none"})), "action_not_found"),
        (letter("m", &json!({"action": "a", "input": {"n": "x"}})), "input_invalid"),
    ];
    for (number, (wrong, code)) in checks.into_iter().enumerate() {
        office.send(wrong);
        eventually("it is refused", async || office.replies("refused").len() == number + 1).await;
        assert_eq!(office.replies("refused")[number]["code"], code);
        eventually("it is acked", async || office.acked() == 1).await;
    }
    assert_eq!(world.get("/v1/jobs").await.json()["jobs"].as_array().unwrap().len(), 0);
    world.stop().await;
}

#[tokio::test]
async fn a_message_is_held_while_the_store_is_away_and_nothing_is_lost() {
    let (world, office) = world().await;
    world.faults.set_away("store", true);
    office.send(letter("m1", &json!({"action": "a", "input": {"n": 1}})));
    eventually("it was tried twice", async || world.faults.calls("store.create") >= 2).await;
    assert_eq!((office.replies.lock().unwrap().len(), office.acked()), (0, 0));
    world.faults.set_away("store", false);
    eventually("it is accepted", async || office.replies("accepted").len() == 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_stop_gives_back_what_is_held() {
    let (world, office) = world().await;
    world.faults.set_away("store", true);
    office.send(letter("m1", &json!({"action": "a", "input": {"n": 1}})));
    eventually("it was tried", async || world.faults.calls("store.create") >= 1).await;
    tokio::time::timeout(Duration::from_secs(8), world.stop()).await.unwrap();
    assert_eq!(office.acked(), 0);
    assert!(office.holds(), "the message comes again");
}
