//! Who may be connected to, asked over the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::AsyncWriteExt;

use super::support::{Stage, answers, echo, listener, nobody, port, rest, within};

#[tokio::test]
async fn private_addresses_are_refused_in_every_spelling() {
    let target = echo().await;
    let port = port(&target);
    let stage = Stage::with(&[], &[], |_: &str| vec![[127, 0, 0, 1].into()]);
    let _call = stage.open();
    for host in [
        "127.0.0.1",
        "localhost",
        "any.test",
        "any.test.",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "127.1",
        "127.0.0.1.",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "[fd00:ec2::254]",
    ] {
        for request in [
            format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n"),
            format!("GET http://{host}:{port}/latest/meta-data HTTP/1.1\r\nHost: public.example\r\n\r\n"),
        ] {
            let answer = stage.say(&request).await;
            assert!(answer.starts_with("HTTP/1.1 403 Egress denied: "), "{request}: {answer}");
            let first = answer.lines().next().unwrap();
            assert!(first.contains("--egress-allow"), "the first line says how to open it: {answer}");
            assert!(answer.contains("application/problem+json") && answer.contains("\"egress_denied\""));
        }
    }
    for no_host in ["[fe80::1%25lo]", "[fe80::1%lo]", "a..b", "127.0.0.1%00.example"] {
        let answer = stage.refused(&format!("{no_host}:{port}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{no_host}: {answer}");
    }
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_connected_to_where_it_was_checked() {
    let (first, address) = listener().await;
    // Only the first answer may be connected to; whoever asks twice gets elsewhere.
    let stage = Stage::with(&["127.0.0.1"], &[], answers(&["127.0.0.1", "127.0.0.2"]));
    let _call = stage.open();
    let target = format!("changing.test:{}", port(&address));
    let _tunnel = stage.tunnel(&target).await;
    within(first.accept()).await.unwrap();
    // Each connection is checked anew.
    let answer = stage.refused(&target).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("127.0.0.2"), "{answer}");
}

#[tokio::test]
async fn an_allow_list_narrows_and_what_is_not_on_it_is_not_even_resolved() {
    let target = echo().await;
    let port = port(&target);
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let stage = Stage::with(&["127.0.0.1"], &[], move |_: &str| {
        count.fetch_add(1, Ordering::SeqCst);
        vec![[127, 0, 0, 1].into()]
    });
    let call = stage.open_for(&["*.open.test", &format!("one.test:{port}")]);
    stage.tunnel(&format!("A.open.test:{port}")).await;
    stage.tunnel(&format!("one.test.:{port}")).await;
    let known = asked.load(Ordering::SeqCst);
    for denied in ["open.test", "secret-data.evil.test", "127.0.0.1", "one.test.evil.test"] {
        let answer = stage.refused(&format!("{denied}:{port}")).await;
        assert!(answer.contains("allow-list") && answer.contains("`egress.allow`"), "{denied}: {answer}");
    }
    assert!(stage.refused("one.test:1").await.starts_with("HTTP/1.1 403 "));
    assert_eq!(asked.load(Ordering::SeqCst), known);
    drop(call);
    // A list opens nothing that the operator has not.
    let _call = stage.open_for(&["127.0.0.0/8", "10.0.0.1"]);
    stage.tunnel(&format!("127.0.0.1:{port}")).await;
    stage.tunnel(&format!("by-address.test:{port}")).await;
    for closed in ["127.0.0.2", "10.0.0.1"] {
        let answer = stage.refused(&format!("{closed}:{port}")).await;
        assert!(answer.contains("--egress-allow"), "{closed}: {answer}");
    }
}

#[tokio::test]
async fn the_fleets_own_servers_are_refused_whatever_is_opened() {
    let (redis, rabbitmq, other) = (echo().await, echo().await, echo().await);
    let own = [redis.clone(), format!("rabbitmq.test:{}", port(&rabbitmq))];
    let stage = Stage::with(&["127.0.0.0/8", "::1", "0.0.0.0"], &own, |_: &str| vec![[127, 0, 0, 1].into()]);
    let _call = stage.open();
    stage.tunnel(&other).await;
    let (redis, rabbitmq) = (port(&redis), port(&rabbitmq));
    for own in [
        format!("127.0.0.1:{redis}"),
        format!("any.test:{redis}"),
        format!("[::ffff:7f00:1]:{redis}"),
        format!("127.0.0.2:{redis}"),
        format!("0.0.0.0:{redis}"),
        format!("[::1]:{redis}"),
        format!("rabbitmq.test:{rabbitmq}"),
        format!("127.0.0.1:{rabbitmq}"),
    ] {
        let answer = stage.refused(&own).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("Sortie's own"), "{own}: {answer}");
    }
}

#[tokio::test]
async fn without_a_call_everything_is_refused() {
    let target = echo().await;
    let stage = Stage::set();
    assert!(stage.refused(&target).await.contains("no call is running"));
    let call = stage.open();
    stage.tunnel(&target).await;
    drop(call);
    assert!(stage.refused(&target).await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn what_can_not_be_reached_is_told_apart_from_what_may_not_be() {
    let (_bound, address) = nobody();
    let stage = Stage::set();
    let _call = stage.open();
    let answer = stage.refused(&address).await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains(&address), "{answer}");
    let nameless = Stage::with(&[], &[], |_: &str| Vec::new());
    let _call = nameless.open();
    let answer = nameless.refused("gone.test:80").await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("can't be resolved"), "{answer}");
    nameless.ended("unreachable", 1).await;
}

#[tokio::test]
async fn a_request_can_not_be_smuggled_to_another_host() {
    let (listener, address) = listener().await;
    let stage = Stage::set();
    let _call = stage.open();
    let mut client = stage.client().await;
    let second = format!("GET http://127.0.0.2:{}/secret HTTP/1.1\r\n\r\n", port(&address));
    let first =
        format!("POST http://{address}/a HTTP/1.1\r\nHost: other.test\r\nContent-Length: 2\r\n\r\nok");
    client.write_all(format!("{first}{second}").as_bytes()).await.unwrap();
    let (mut target, _) = within(listener.accept()).await.unwrap();
    let seen = rest(&mut target).await;
    assert!(seen.starts_with(&format!("POST /a HTTP/1.1\r\nHost: {address}\r\n")), "{seen}");
    assert!(seen.ends_with("\r\n\r\nok"), "nothing follows the one request: {seen}");
}
