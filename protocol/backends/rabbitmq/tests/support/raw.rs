//! AMQP written by hand, for messages that no client library would send.

use lapin::uri::AMQPUri;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Sends a message to `queue` whose content type is not UTF-8. Keep what it returns until the message is
/// there: dropping it closes the connection.
pub(crate) async fn send_unreadable(url: &str, queue: &str) -> TcpStream {
    let uri: AMQPUri = url.parse().unwrap();
    let user = &uri.authority.userinfo;
    let login = format!("\0{}\0{}", user.username, user.password);
    let mut bytes = b"AMQP\0\0\x09\x01".to_vec();
    // connection.start-ok: no properties, PLAIN, en_US.
    let login_length = u32::try_from(login.len()).unwrap().to_be_bytes();
    method(
        &mut bytes,
        0,
        (10, 11),
        &[&[0; 4], &short(b"PLAIN")[..], &login_length, login.as_bytes(), &short(b"en_US")],
    );
    // connection.tune-ok: what the server wants, no heartbeats.
    method(&mut bytes, 0, (10, 31), &[&[7, 255, 0, 2, 0, 0, 0, 0]]);
    method(&mut bytes, 0, (10, 40), &[&short(uri.vhost.as_bytes()), &[0, 0]]);
    // channel.open, then basic.publish through the default exchange.
    method(&mut bytes, 1, (20, 10), &[&[0]]);
    method(&mut bytes, 1, (60, 40), &[&[0, 0, 0], &short(queue.as_bytes())[..], &[0]]);
    // The content header: class, weight, size, which properties (content type only), their values.
    let size = 2_u64.to_be_bytes();
    frame(&mut bytes, 2, 1, &[&[0, 60, 0, 0], &size[..], &[0x80, 0], &short(b"\xff\xfe")].concat());
    frame(&mut bytes, 3, 1, b"{}");
    let mut stream = TcpStream::connect((uri.authority.host, uri.authority.port)).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    stream
}

fn method(bytes: &mut Vec<u8>, channel: u8, (class, method): (u8, u8), arguments: &[&[u8]]) {
    frame(bytes, 1, channel, &[&[0, class, 0, method], &arguments.concat()[..]].concat());
}

fn frame(bytes: &mut Vec<u8>, kind: u8, channel: u8, payload: &[u8]) {
    bytes.extend([kind, 0, channel]);
    bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend(payload);
    bytes.push(0xCE);
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}
