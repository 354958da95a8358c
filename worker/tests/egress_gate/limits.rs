//! Bounds: time, bytes, connections, heads.

use std::time::Duration;

use protocol::limits::EGRESS_HEAD_BYTES;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use worker::egress::{CallPolicy, Limits};

use super::support::{PATIENCE, Stage, echo, is_reset, listener, policy, within};

#[tokio::test]
async fn the_end_of_a_call_closes_its_connections() {
    let (listener, address) = listener().await;
    let stage = Stage::set();
    let call = stage.open();
    let mut client = stage.tunnel(&address).await;
    let (mut target, _) = within(listener.accept()).await.unwrap();
    drop(call);
    assert!(is_reset(&mut client).await && is_reset(&mut target).await);
    stage.ended("closed", 1).await;
}

#[tokio::test]
async fn the_deadline_closes_connections_and_no_more_are_made() {
    let target = echo().await;
    let stage = Stage::set();
    let _call = stage.slot.open(CallPolicy { ends: Instant::now() + Duration::from_secs(5), ..policy() });
    let mut client = stage.tunnel(&target).await;
    let opened = Instant::now();
    assert!(is_reset(&mut client).await);
    assert!(opened.elapsed() < PATIENCE / 2);
    let mut late = stage.client().await;
    let _ = late.write_all(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()).await;
    let mut answer = Vec::new();
    let _ = within(late.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn the_next_call_has_nothing_of_the_last_one() {
    let target = echo().await;
    let stage = Stage::set();
    let first = stage.open_with(Limits { connections_per_call: 1, ..Limits::default() });
    let mut left = stage.tunnel(&target).await;
    assert!(stage.refused(&target).await.contains("1 connections"));
    let _second = stage.open();
    assert!(is_reset(&mut left).await);
    // The guard of the first call closes nothing of the second.
    drop(first);
    stage.tunnel(&target).await;
}

#[tokio::test]
async fn connections_that_were_made_before_a_call_are_none_of_it() {
    let target = echo().await;
    let stage = Stage::set();
    // Made and written to without the runtime, so that they wait to be accepted.
    let mut early = std::net::TcpStream::connect(stage.address).unwrap();
    std::io::Write::write_all(&mut early, format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
    let _call = stage.open();
    early.set_nonblocking(true).unwrap();
    let mut early = tokio::net::TcpStream::from_std(early).unwrap();
    let mut answer = Vec::new();
    let _ = within(early.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    stage.tunnel(&target).await;
}

#[tokio::test]
async fn bytes_are_limited_in_both_directions_together() {
    let target = echo().await;
    let stage = Stage::set();
    let _call = stage.open_with(Limits { bytes: 100_000, ..Limits::default() });
    let mut client = stage.tunnel(&target).await;
    client.write_all(&[b'x'; 40_000]).await.unwrap();
    within(client.read_exact(&mut [0; 40_000])).await.unwrap();
    let _ = client.write_all(&[b'x'; 40_000]).await;
    assert!(is_reset(&mut client).await, "what is cut short must not look complete");
    stage.ended("limited", 1).await;
    let answer = stage.refused(&target).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("100000 bytes"), "{answer}");
}

#[tokio::test]
async fn connections_are_limited_at_once_and_in_all() {
    let target = echo().await;
    let stage = Stage::set();
    let _call = stage.open_with(Limits { connections: 2, connections_per_call: 3, ..Limits::default() });
    let one = stage.tunnel(&target).await;
    let two = stage.tunnel(&target).await;
    assert!(stage.refused(&target).await.contains("2 connections open"));
    drop((one, two));
    stage.ended("served", 2).await;
    stage.tunnel(&target).await;
    assert!(stage.refused(&target).await.contains("opened 3 connections"));
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_given_up() {
    let stage = Stage::set();
    let _call = stage.open_with(Limits { head: Duration::from_millis(200), ..Limits::default() });
    let mut client = stage.client().await;
    client.write_all(b"CONNECT a.test:80 HT").await.unwrap();
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("too long"), "{answer}");
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up() {
    let stage = Stage::set();
    let _call = stage.open();
    let answer =
        stage.say(&format!("CONNECT a.test:80 HTTP/1.1\r\nA: {}", "x".repeat(EGRESS_HEAD_BYTES))).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_target_that_never_answers_is_given_up() {
    // A resolver that never answers stands for every way to hear nothing.
    struct Silent;
    #[async_trait::async_trait]
    impl worker::egress::Names for Silent {
        async fn find(&self, _name: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
            std::future::pending().await
        }
    }
    let stage = Stage::with(&[], &[], Silent);
    let _call = stage.open_with(Limits { connect: Duration::from_millis(200), ..Limits::default() });
    let answer = stage.refused("silent.test:80").await;
    assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("silent.test"), "{answer}");
}

#[tokio::test]
async fn a_flood_of_connections_is_cut_off() {
    let stage = Stage::set();
    let _call = stage.open();
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(stage.client().await);
    }
    stage.ended("limited", 200 - 128).await;
}
