//! The servers of the installation itself, which no handler may reach: RabbitMQ, Redis, and where we listen.

use std::net::SocketAddr;

use anyhow::{Context, anyhow};
use protocol::secret::Secret;
use reqwest::Url;
use worker::egress::Own;

use crate::settings::Servers;

/// All of them that this process knows.
pub(crate) fn list(listen: SocketAddr, servers: Option<&Servers>) -> anyhow::Result<Vec<Own>> {
    let mut list = vec![Own::from(listen)];
    if let Some(servers) = servers {
        list.push(server("amqp_url", &servers.amqp)?);
        list.push(server("redis_url", &servers.redis)?);
    }
    Ok(list)
}

/// Host and port in a server's URL. No error shows the URL, which holds a password.
fn server(key: &'static str, url: &Secret) -> anyhow::Result<Own> {
    let url = Url::parse(url.reveal()).map_err(|error| anyhow!("{key}: {error}"))?;
    let host = url.host_str().unwrap_or("localhost");
    let port = url.port().unwrap_or(match url.scheme() {
        "amqp" => 5672,
        "amqps" => 5671,
        _ => 6379,
    });
    format!("{host}:{port}").parse().context(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(text: &str) -> Own {
        text.parse().unwrap()
    }

    #[test]
    fn hosts_and_ports_come_out_of_the_settings() {
        let servers =
            |amqp: &str, redis: &str| Servers { amqp: Secret::new(amqp), redis: Secret::new(redis) };
        let listen: SocketAddr = "0.0.0.0:7300".parse().unwrap();
        assert_eq!(list(listen, None).unwrap(), [own("0.0.0.0:7300")]);
        let some = servers("amqp://u:p%2f@Rabbit.example/%2f", "rediss://:p@[::1]:6380/0");
        assert_eq!(
            list(listen, Some(&some)).unwrap(),
            [own("0.0.0.0:7300"), own("rabbit.example:5672"), own("[::1]:6380")]
        );
        let some = servers("amqps://10.0.0.1", "redis://");
        assert_eq!(list(listen, Some(&some)).unwrap()[1..], [own("10.0.0.1:5671"), own("localhost:6379")]);
        let error = list(listen, Some(&servers("amqp://u:secret@a b/", "redis://x"))).unwrap_err();
        assert!(error.to_string().contains("amqp_url") && !format!("{error:#}").contains("secret"));
    }
}
