//! HTTP/1.1 over kept-alive connections, as cheap as it can be: one write for a request, one buffer for its answer.
//! The load generator shares the processors with what it measures.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Room for a head with all its fields.
const FIELDS: usize = 32;
const BUFFER: usize = 16 * 1024;

/// A connection, with the answer that was read last.
pub(crate) struct Connection {
    stream: TcpStream,
    /// The head of every request, behind its first line.
    head: String,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// The body, for people.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.body).into_owned()
    }
}

impl Connection {
    /// Connects; every request will carry this API key.
    pub(crate) async fn open(address: SocketAddr, key: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let head = format!("host: {address}\r\nauthorization: Bearer {key}\r\n");
        Ok(Self { stream, head, request: Vec::new(), buffer: Vec::with_capacity(BUFFER) })
    }

    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Answer<'_>> {
        self.request.clear();
        write!(self.request, "GET {path} HTTP/1.1\r\n{}\r\n", self.head)?;
        self.exchange().await
    }

    /// Sends JSON; `fields` are further lines of the head, each with its end.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        fields: &str,
        body: &[u8],
    ) -> anyhow::Result<Answer<'_>> {
        self.request.clear();
        let (head, length) = (&self.head, body.len());
        write!(
            self.request,
            "{method} {path} HTTP/1.1\r\n{head}content-type: application/json\r\ncontent-length: {length}\r\n{fields}\r\n"
        )?;
        self.request.extend_from_slice(body);
        self.exchange().await
    }

    /// Asks for a stream; what has come of its body so far is left for [`Body`].
    pub(crate) async fn stream(mut self, path: &str) -> anyhow::Result<Body> {
        self.request.clear();
        write!(self.request, "GET {path} HTTP/1.1\r\n{}accept: text/event-stream\r\n\r\n", self.head)?;
        self.stream.write_all(&self.request).await?;
        self.buffer.clear();
        let head = self.head().await?;
        if head.status != 200 || head.length.is_some() {
            bail!("{path} gave no stream but {}", head.status);
        }
        let raw = self.buffer.split_off(head.bytes);
        Ok(Body { stream: self.stream, raw, at: 0 })
    }

    async fn exchange(&mut self) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(&self.request).await?;
        self.buffer.clear();
        let head = self.head().await?;
        let end = head.bytes + head.length.context("an answer without content-length")?;
        while self.buffer.len() < end {
            self.more().await?;
        }
        Ok(Answer { status: head.status, body: &self.buffer[head.bytes..end] })
    }

    async fn head(&mut self) -> anyhow::Result<Head> {
        loop {
            self.more().await?;
            if let Some(head) = Head::read(&self.buffer)? {
                return Ok(head);
            }
        }
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

/// The head of an answer.
struct Head {
    status: u16,
    bytes: usize,
    length: Option<usize>,
}

impl Head {
    /// `None` while it isn't complete.
    fn read(buffer: &[u8]) -> anyhow::Result<Option<Self>> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(bytes) = response.parse(buffer)? else { return Ok(None) };
        let field = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
        let length = field.map(|field| anyhow::Ok(std::str::from_utf8(field.value)?.parse()?)).transpose()?;
        Ok(Some(Self { status: response.code.unwrap_or(0), bytes, length }))
    }
}

/// The body of an answer that comes in chunks (of HTTP) for as long as it takes.
pub(crate) struct Body {
    stream: TcpStream,
    raw: Vec<u8>,
    /// How much of `raw` has been taken.
    at: usize,
}

impl Body {
    /// Adds the next chunk to `text`; `false` at the end.
    pub(crate) async fn read(&mut self, text: &mut Vec<u8>) -> anyhow::Result<bool> {
        loop {
            if let Ok(httparse::Status::Complete((head, size))) =
                httparse::parse_chunk_size(&self.raw[self.at..])
            {
                let (begin, size) = (self.at + head, usize::try_from(size)?);
                // Behind each chunk there is an empty line.
                if self.raw.len() >= begin + size + 2 {
                    text.extend_from_slice(&self.raw[begin..begin + size]);
                    self.at = begin + size + 2;
                    return Ok(size > 0);
                }
            }
            self.raw.drain(..self.at);
            self.at = 0;
            if self.stream.read_buf(&mut self.raw).await? == 0 {
                bail!("the server closed the connection within a stream");
            }
        }
    }
}
