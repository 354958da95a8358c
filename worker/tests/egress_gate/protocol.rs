//! What the gate speaks: tunnels, plain HTTP, halves of connections, answers.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Stage, echo, is_reset, listener, port, rest, within};

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_counts_them() {
    let target = echo().await;
    let stage = Stage::set();
    let _call = stage.open();
    let mut tunnel = stage.tunnel(&format!("by-name.test:{}", port(&target))).await;
    let data: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let (mut from, mut to) = tunnel.split();
    let writing = async {
        to.write_all(&data).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut seen = Vec::new();
    within(async { tokio::join!(writing, from.read_to_end(&mut seen)) }).await.1.unwrap();
    assert!(seen == data);
    drop(tunnel);
    stage.ended("served", 1).await;
    for direction in ["sent", "received"] {
        assert_eq!(stage.metrics.egress_bytes.with_label_values(&[direction]).get(), 1_000_000);
    }
}

#[tokio::test]
async fn half_a_connection_goes_on_after_the_other_half_ended() {
    let (listener, address) = listener().await;
    let stage = Stage::set();
    let _call = stage.open();
    let mut client = stage.tunnel(&address).await;
    let (mut target, _) = within(listener.accept()).await.unwrap();
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut target).await, "question");
    target.write_all(b"answer").await.unwrap();
    drop(target);
    assert_eq!(rest(&mut client).await, "answer");
    stage.ended("served", 1).await;
    // And the other way round.
    let mut client = stage.tunnel(&address).await;
    let (mut target, _) = within(listener.accept()).await.unwrap();
    target.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await, "");
    client.write_all(b"late").await.unwrap();
    drop(client);
    assert_eq!(rest(&mut target).await, "late");
}

#[tokio::test]
async fn data_right_behind_the_head_is_not_lost() {
    let target = echo().await;
    let stage = Stage::set();
    let _call = stage.open();
    let mut client = stage.client().await;
    client.write_all(format!("CONNECT {target} HTTP/1.1\r\n\r\nearly").as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await, "HTTP/1.1 200 Connected\r\n\r\nearly");
}

#[tokio::test]
async fn plain_http_is_asked_in_origin_form_and_ends_after_one_answer() {
    let (listener, address) = listener().await;
    let stage = Stage::set();
    let _call = stage.open();
    let mut client = stage.client().await;
    let request = format!(
        "PUT http://{address}/a?b HTTP/1.1\r\nHost: x\r\nProxy-Connection: keep-alive\r\n\
         Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let (mut target, _) = within(listener.accept()).await.unwrap();
    let expected = format!(
        "PUT /a?b HTTP/1.1\r\nHost: {address}\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"
    );
    let mut head = vec![0; expected.len()];
    within(target.read_exact(&mut head)).await.unwrap();
    assert_eq!(String::from_utf8(head).unwrap(), expected);
    target.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
    let mut go_on = [0; 25];
    within(client.read_exact(&mut go_on)).await.unwrap();
    client.write_all(b"body").await.unwrap();
    let mut body = [0; 4];
    within(target.read_exact(&mut body)).await.unwrap();
    // A target that would keep the connection: the client must hear that it ends.
    target
        .write_all(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi")
        .await
        .unwrap();
    let mut answer = vec![0; 59];
    within(client.read_exact(&mut answer)).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(answer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    drop(client);
    assert_eq!(rest(&mut target).await, "", "the target sees that the client has gone");
    drop(target);
    stage.ended("served", 1).await;
}

#[tokio::test]
async fn a_client_that_ends_its_half_gets_the_whole_answer() {
    let stage = Stage::set();
    let _call = stage.open();
    let (mut client, mut target) = stage.half_answered().await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut target).await, "", "the target sees the end of the request");
    target.write_all(b" and half").await.unwrap();
    drop(target);
    assert_eq!(rest(&mut client).await, " and half");
    stage.ended("served", 1).await;
}

#[tokio::test]
async fn a_client_that_sends_more_than_its_request_is_cut_off() {
    let stage = Stage::set();
    let _call = stage.open();
    let (mut client, mut target) = stage.half_answered().await;
    client.write_all(b"GET").await.unwrap();
    assert!(is_reset(&mut client).await, "half an answer must not look whole");
    assert!(is_reset(&mut target).await);
    stage.ended("broken", 1).await;
}

#[tokio::test]
async fn a_client_that_breaks_off_is_not_taken_for_one_that_was_served() {
    let stage = Stage::set();
    let _call = stage.open();
    let (client, mut target) = stage.half_answered().await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert!(is_reset(&mut target).await);
    stage.ended("broken", 1).await;
}

#[tokio::test]
async fn an_answer_without_a_head_is_a_bad_gateway() {
    let stage = Stage::set();
    let _call = stage.open();
    for (count, answer) in (1..).zip(["SSH-2.0-OpenSSH_9.6\r\n", "HTTP/1.1 200 OK\r\nServ", ""]) {
        let (mut client, mut target) = stage.asked().await;
        target.write_all(answer.as_bytes()).await.unwrap();
        drop(target);
        let told = rest(&mut client).await;
        assert!(told.starts_with("HTTP/1.1 502 "), "{answer}: {told}");
        drop(client);
        stage.ended("unreachable", count).await;
    }
}

#[tokio::test]
async fn what_is_no_request_to_a_proxy_is_answered_with_what_to_do() {
    let stage = Stage::set();
    let _call = stage.open();
    for (request, hint) in [
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "this is a proxy"),
        ("GET https://a.test/ HTTP/1.1\r\n\r\n", "CONNECT"),
        ("CONNECT a.test HTTP/1.1\r\n\r\n", "port"),
        ("POST http://a.test/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "length"),
        ("\u{16}\u{3}\u{1}\u{2}", "no HTTP/1"),
    ] {
        let answer = stage.say(request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request}: {answer}");
        assert!(answer.lines().next().unwrap().contains(hint), "{request}: {answer}");
    }
    stage.ended("invalid", 5).await;
}

#[tokio::test]
async fn a_target_that_breaks_off_is_not_taken_for_one_that_ended() {
    let (listener, address) = listener().await;
    let stage = Stage::set();
    let _call = stage.open();
    let mut client = stage.tunnel(&address).await;
    let (target, _) = within(listener.accept()).await.unwrap();
    target.set_zero_linger().unwrap();
    drop(target);
    assert!(is_reset(&mut client).await);
    stage.ended("broken", 1).await;
}

#[tokio::test]
async fn a_new_listener_takes_the_place_of_the_old_one() {
    let target = echo().await;
    let mut stage = Stage::set();
    let _call = stage.open();
    let mut before = stage.tunnel(&target).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    stage.slot.serve(listener).unwrap();
    assert_eq!(rest(&mut before).await, "", "connections of the old one are closed");
    stage.address = address;
    stage.tunnel(&target).await;
}
