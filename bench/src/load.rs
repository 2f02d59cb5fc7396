//! A load of keep-alive connections that costs little itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What a load saw.
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
}

impl Seen {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

/// Sends requests over `connections` connections for `duration`. `make` gives the bytes of the n-th request of a
/// connection. A reply that does not begin with `expect` ends the load with an error.
pub(crate) async fn run(
    address: &str,
    connections: usize,
    duration: Duration,
    expect: &'static str,
    make: impl Fn(usize, u64) -> Vec<u8> + Clone + Send + 'static,
) -> Result<Seen> {
    let started = Instant::now();
    let mut tasks = Vec::new();
    for connection in 0..connections {
        let (address, make) = (address.to_owned(), make.clone());
        tasks.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            let mut buffer = Vec::with_capacity(8192);
            let mut count = 0;
            while started.elapsed() < duration {
                stream.write_all(&make(connection, count)).await?;
                read_reply(&mut stream, &mut buffer, expect).await?;
                count += 1;
            }
            anyhow::Ok(count)
        }));
    }
    let mut requests = 0;
    for task in tasks {
        requests += task.await??;
    }
    Ok(Seen { requests, elapsed: started.elapsed() })
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: bench\r\nX-Vault-Token: {token}\r\nX-Vault-Request: true\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Reads one reply; gives its body.
pub(crate) async fn read_reply(stream: &mut TcpStream, buffer: &mut Vec<u8>, expect: &str) -> Result<Vec<u8>> {
    buffer.clear();
    loop {
        let head = buffer.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(head) = head {
            let text = std::str::from_utf8(&buffer[..head])?;
            ensure!(text.starts_with(expect), "unexpected reply: {}", String::from_utf8_lossy(buffer));
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let wanted = head + 4 + length.unwrap_or(0);
            if buffer.len() >= wanted {
                return Ok(buffer[head + 4..wanted].to_vec());
            }
        }
        let read = stream.read_buf(buffer).await.context("the connection broke")?;
        ensure!(read > 0, "the server closed the connection");
    }
}
