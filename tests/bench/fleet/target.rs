//! A server that does next to nothing, in a thread of this process: the target of HTTP handlers, and what shows how
//! fast the load generator is.

use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Starts it, for as long as this process lives.
pub(crate) fn start() -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let serve = move || runtime.block_on(async { serve(TcpListener::from_std(listener)?).await });
    std::thread::Builder::new().name("target".into()).spawn(serve).context("starting a thread")?;
    Ok(address)
}

async fn serve(listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // A client that goes away ends its connection, and nothing else.
        tokio::spawn(answer_all(stream));
    }
}

async fn answer_all(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (mut request, mut answer) = (Vec::new(), String::new());
    while stream.read_buf(&mut request).await? > 0 {
        if !complete(&request)? {
            continue;
        }
        let (n, post) = (number(&request), request.starts_with(b"POST"));
        // A job as Sortie shows it, or what an HTTP handler asks for.
        let body = if post { job(n) } else { format!(r#"{{"n":{n}}}"#) };
        answer.clear();
        write!(
            answer,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        stream.write_all(answer.as_bytes()).await?;
        request.clear();
    }
    Ok(())
}

fn complete(request: &[u8]) -> anyhow::Result<bool> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(bytes) = head.parse(request)? else { return Ok(false) };
    let length = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length: usize =
        length.map_or(Ok(0), |field| std::str::from_utf8(field.value).unwrap_or("").parse())?;
    Ok(request.len() >= bytes + length)
}

/// The first number behind `?n=`, or the last one of the body.
fn number(request: &[u8]) -> u64 {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let query = request.windows(3).position(|window| window == b"?n=").map(|at| &request[at + 3..]);
    let body = request.windows(4).rposition(|window| window == b"\"n\":").map(|at| &request[at + 4..]);
    let text = query.or(body).unwrap_or_default();
    std::str::from_utf8(&text[..digits(text)]).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn job(n: u64) -> String {
    format!(
        r#"{{"id":"01936f4e-7b1a-7c3d-8e5f-0123456789ab","action":"noop_warm","version":1,"state":"succeeded","lane":"default","priority":"normal","attempts":[{{"number":1,"worker":"host-4711-3f9a0c","isolation":"sandbox","started_at":"2026-01-01T00:00:00.000Z","ended_at":"2026-01-01T00:00:00.001Z","outcome":"succeeded"}}],"input":{{"n":{n}}},"result":{{"n":{n}}},"labels":{{}},"created_at":"2026-01-01T00:00:00.000Z","deadline":"2026-01-01T01:00:00.000Z","finished_at":"2026-01-01T00:00:00.001Z","cancel_requested":false,"dead_letter":false,"last_seq":3}}"#
    )
}
