//! The PROXY protocol, versions 1 and 2: who is behind a proxy that passes connections on, in a header before the first
//! byte of the connection.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Whose headers are believed. A connection without a header is its peer's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Everybody's.
    Always,
    /// Those of these; the header of anybody else is taken off and ignored.
    Authorized(Vec<IpNet>),
    /// Those of these; nobody else may connect.
    AuthorizedOnly(Vec<IpNet>),
}

impl ProxyProtocol {
    /// Reads the header of a new connection. Gives the connection as it goes on behind it, and where it comes from.
    pub(crate) async fn greet<S>(&self, mut stream: S, peer: SocketAddr) -> io::Result<(Rewound<S>, SocketAddr)>
    where
        S: AsyncRead + Unpin,
    {
        let within = |proxies: &[IpNet]| proxies.iter().any(|proxy| proxy.contains(&peer.ip().to_canonical()));
        let believed = match self {
            Self::Always => true,
            Self::Authorized(proxies) => within(proxies),
            Self::AuthorizedOnly(proxies) => match within(proxies) {
                true => true,
                false => return Err(wrong("the peer is no authorized proxy")),
            },
        };
        let mut bytes = Vec::with_capacity(ROOM);
        let (length, source) = loop {
            match parse(&bytes)? {
                Header::Partial if bytes.len() >= MOST => return Err(wrong("the header is too long")),
                Header::Partial => {}
                Header::None => break (0, None),
                Header::Whole(length, source) => break (length, source),
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                // Whatever it was, it has no more to say.
                break (0, None);
            }
        };
        let mut prefix = Bytes::from(bytes);
        prefix.advance(length);
        Ok((Rewound { prefix, stream }, source.filter(|_| believed).unwrap_or(peer)))
    }
}

enum Header {
    /// There is none.
    None,
    /// It may be one; more bytes will tell.
    Partial,
    /// Its length, and the source that it names, if it names one.
    Whole(usize, Option<SocketAddr>),
}

fn parse(bytes: &[u8]) -> io::Result<Header> {
    let begins = |sign: &[u8]| bytes.starts_with(sign.get(..bytes.len().min(sign.len())).unwrap_or(sign));
    if begins(TEXT) {
        text(bytes)
    } else if begins(BINARY) {
        binary(bytes)
    } else {
        Ok(Header::None)
    }
}

/// Version 1: `PROXY TCP4 SOURCE DESTINATION PORT PORT\r\n`, at most 107 bytes.
fn text(bytes: &[u8]) -> io::Result<Header> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < 107 { Ok(Header::Partial) } else { Err(wrong("the header has no end")) };
    };
    let line =
        bytes.get(..end).and_then(|line| std::str::from_utf8(line).ok()).ok_or_else(|| wrong("it is no text"))?;
    let mut words = line.split(' ').skip(1);
    let source = match words.next() {
        // The proxy speaks for itself.
        Some("UNKNOWN") => None,
        Some("TCP4" | "TCP6") => {
            let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
            let port = words.nth(1).and_then(|word| word.parse::<u16>().ok());
            let source = address.zip(port).ok_or_else(|| wrong("the header names no source"))?;
            Some(SocketAddr::from(source))
        }
        _ => return Err(wrong("the header is of an unknown kind")),
    };
    Ok(Header::Whole(end + 2, source))
}

/// Version 2: a signature, a command, a family, a length, and addresses.
fn binary(bytes: &[u8]) -> io::Result<Header> {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else { return Ok(Header::Partial) };
    let [.., command, family, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MOST - 16 {
        return Err(wrong("the header is too long"));
    }
    let Some(addresses) = rest.get(..length) else { return Ok(Header::Partial) };
    let source = match (command, family >> 4) {
        // The proxy speaks for itself, as to see whether we live.
        (0x20, _) => None,
        (0x21, 1) => source::<4>(addresses)?.map(|(address, port)| (IpAddr::from(Ipv4Addr::from(address)), port)),
        (0x21, 2) => source::<16>(addresses)?.map(|(address, port)| (IpAddr::from(Ipv6Addr::from(address)), port)),
        (0x21, _) => None,
        _ => return Err(wrong("the header is of an unknown kind")),
    };
    Ok(Header::Whole(16 + length, source.map(SocketAddr::from)))
}

/// Both addresses, then both ports.
fn source<const N: usize>(addresses: &[u8]) -> io::Result<Option<([u8; N], u16)>> {
    let port = addresses.get(2 * N..).and_then(|rest| rest.first_chunk::<2>());
    let found = addresses.first_chunk::<N>().zip(port).ok_or_else(|| wrong("the header names no source"))?;
    Ok(Some((*found.0, u16::from_be_bytes(*found.1))))
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("PROXY protocol: {why}"))
}

/// A connection of which the first bytes have been read already.
pub(crate) struct Rewound<S> {
    prefix: Bytes,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

const TEXT: &[u8] = b"PROXY ";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// How many bytes are read at a time at first.
const ROOM: usize = 256;
/// The longest header. Version 2 may carry more than addresses.
const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "10.0.0.1:5";

    async fn greet(protocol: &ProxyProtocol, bytes: &[u8]) -> Result<(String, String), String> {
        let greeted = protocol.greet(bytes, PEER.parse().unwrap()).await;
        let (mut stream, source) = greeted.map_err(|error| error.to_string())?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        Ok((source.to_string(), String::from_utf8_lossy(&rest).into_owned()))
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [BINARY, &[command, family], &length, addresses, b"GET /"].concat()
    }

    #[tokio::test]
    async fn headers_of_both_versions_are_read_and_taken_off() {
        let four = v2(0x21, 0x11, &[192, 0, 2, 1, 127, 0, 0, 1, 0x12, 0x34, 0, 80]);
        let mut six_addresses = [0; 36];
        six_addresses[15] = 7;
        six_addresses[33] = 9;
        for (bytes, source, rest) in [
            (b"PROXY TCP4 192.0.2.1 127.0.0.1 4660 80\r\nGET /".to_vec(), "192.0.2.1:4660", "GET /"),
            (b"PROXY TCP6 ::7 ::1 9 80\r\nGET /".to_vec(), "[::7]:9", "GET /"),
            (b"PROXY UNKNOWN\r\nGET /".to_vec(), PEER, "GET /"),
            (four, "192.0.2.1:4660", "GET /"),
            (v2(0x21, 0x21, &six_addresses), "[::7]:9", "GET /"),
            (v2(0x20, 0, &[]), PEER, "GET /"),
            (v2(0x21, 0x31, &[0; 216]), PEER, "GET /"),
            (b"PUT /v1".to_vec(), PEER, "PUT /v1"),
            (b"PROXIMITY".to_vec(), PEER, "PROXIMITY"),
            (b"\x16\x03\x01".to_vec(), PEER, "\u{16}\u{3}\u{1}"),
            (b"PROX".to_vec(), PEER, "PROX"),
            (Vec::new(), PEER, ""),
        ] {
            let found = greet(&ProxyProtocol::Always, &bytes).await.unwrap();
            assert_eq!(found, (source.to_owned(), rest.to_owned()), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }

    #[tokio::test]
    async fn headers_that_make_no_sense_end_the_connection() {
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        for bytes in [
            b"PROXY TCP4 nobody 127.0.0.1 1 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 127.0.0.1 70000 80\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.1 127.0.0.1 1 80\r\n".to_vec(),
            b"PROXY \r\n".to_vec(),
            endless,
            v2(0x31, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 5]),
            v2(0x21, 0x11, &[0; 5000]),
        ] {
            let error = greet(&ProxyProtocol::Always, &bytes).await.unwrap_err();
            assert!(error.starts_with("PROXY protocol: "), "{error}");
        }
    }

    #[tokio::test]
    async fn only_authorized_proxies_are_believed() {
        let header = b"PROXY TCP4 192.0.2.1 127.0.0.1 1 80\r\nGET /";
        let (ours, others) = (vec!["10.0.0.0/8".parse().unwrap()], vec!["172.16.0.0/12".parse().unwrap()]);
        let of = |protocol| async move { greet(&protocol, header).await.map(|(source, _)| source) };
        assert_eq!(of(ProxyProtocol::Authorized(ours.clone())).await.unwrap(), "192.0.2.1:1");
        assert_eq!(of(ProxyProtocol::Authorized(others.clone())).await.unwrap(), PEER);
        assert_eq!(of(ProxyProtocol::AuthorizedOnly(ours)).await.unwrap(), "192.0.2.1:1");
        assert!(of(ProxyProtocol::AuthorizedOnly(others)).await.is_err());
    }
}
