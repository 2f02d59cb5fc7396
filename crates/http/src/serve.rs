//! Listening: accept connections, and stop in order.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use strongroom_core::Core;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, mpsc, watch},
};

use crate::{
    Address, Error, ListenerConfig, Tls, UnixSocket, body::Room, connection, exchange::Exchange, tls::Certificates,
};

/// A listener at work. Dropping it closes it without waiting for what is under way.
pub struct Serving {
    address: Address,
    certificates: Option<Arc<Certificates>>,
    phase: watch::Sender<Phase>,
    alive: Alive,
    ended: mpsc::Receiver<Infallible>,
}

/// How far a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Connections are accepted.
    Open,
    /// What is under way comes to its end.
    Draining,
    /// Connections are cut off.
    Closed,
}

/// Held by everything that a stop waits for.
pub(crate) type Alive = mpsc::Sender<Infallible>;

/// Binds the address of `config` and serves `core` there, on the current runtime.
pub async fn serve(core: Arc<Core>, config: ListenerConfig) -> Result<Serving, Error> {
    let certificates = config.tls.clone().map(Certificates::load).transpose()?.map(Arc::new);
    let bound = Listener::bind(&config.address).await;
    let (listener, address) = bound.map_err(|source| Error::Bind { address: config.address.clone(), source })?;
    let (phase, watched) = watch::channel(Phase::Open);
    let (alive, ended) = mpsc::channel(1);
    let room = Room::new(config.max_large_bodies);
    let exchange = Arc::new(Exchange { core, config, room, phase: watched });
    tokio::spawn(accept(listener, exchange, certificates.clone(), alive.clone()));
    Ok(Serving { address, certificates, phase, alive, ended })
}

impl Serving {
    /// Where it listens, with the port that was taken.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The same, of a listener on the network.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self.address {
            Address::Tcp(address) => Some(address),
            Address::Unix(_) => None,
        }
    }

    /// Reads the certificate and its key anew, for new connections. If they are broken, says so and keeps the old ones.
    pub fn reload_tls(&self) -> Result<(), Error> {
        self.certificates.as_ref().map_or(Ok(()), |certificates| certificates.reload())
    }

    /// Shakes hands with new connections by other files and rules from now on. If they are broken, those before stay in use.
    /// `false` if this listener has no TLS, which only a new one can change.
    pub fn replace_tls(&self, tls: Tls) -> Result<bool, Error> {
        let Some(certificates) = &self.certificates else { return Ok(false) };
        certificates.replace(tls).map(|()| true)
    }

    /// Stops accepting, ends streams, and waits up to `most` for what is under way; then cuts it off.
    pub async fn stop(self, most: Duration) {
        let Self { phase, alive, mut ended, .. } = self;
        // There may be no connection to tell.
        phase.send_replace(Phase::Draining);
        drop(alive);
        if tokio::time::timeout(most, ended.recv()).await.is_err() {
            phase.send_replace(Phase::Closed);
            // What was begun in the core still gets a moment; its clients are gone.
            let _ = tokio::time::timeout(LAST, ended.recv()).await;
        }
    }
}

/// What connections come from.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, UnixSocket),
}

/// A connection, and who is at its other end.
enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    async fn bind(address: &Address) -> io::Result<(Self, Address)> {
        match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let bound = listener.local_addr()?;
                Ok((Self::Tcp(listener), Address::Tcp(bound)))
            }
            Address::Unix(socket) => Ok((Self::Unix(socket.bind()?, socket.clone()), Address::Unix(socket.clone()))),
        }
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, peer)| Accepted::Tcp(stream, peer)),
            Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        match self {
            Self::Tcp(_) => {}
            Self::Unix(_, socket) => socket.remove(),
        }
    }
}

async fn accept(listener: Listener, exchange: Arc<Exchange>, certificates: Option<Arc<Certificates>>, alive: Alive) {
    let room = Arc::new(Semaphore::new(exchange.config.max_connections));
    let mut phase = exchange.phase.clone();
    let closing = async move {
        // An error means that nobody holds the listener any more.
        let _ = phase.wait_for(|phase| *phase != Phase::Open).await;
    };
    let accepting = async {
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let accepted = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Most likely there are no file descriptors left; others have to end first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let (exchange, certificates, alive) = (Arc::clone(&exchange), certificates.clone(), alive.clone());
            tokio::spawn(async move {
                match accepted {
                    Accepted::Tcp(stream, peer) => {
                        if let Err(error) = tune(&stream) {
                            tracing::debug!(%error, "a socket option could not be set");
                        }
                        greet_proxied(exchange, certificates, alive, stream, peer).await;
                    }
                    // It comes from this machine.
                    Accepted::Unix(stream) => greet(exchange, certificates, alive, stream, LOCAL).await,
                }
                drop(place);
            });
        }
    };
    tokio::select! {
        () = closing => {}
        () = accepting => {}
    }
}

/// Reads the header of the PROXY protocol, where it is spoken.
async fn greet_proxied(
    exchange: Arc<Exchange>,
    certificates: Option<Arc<Certificates>>,
    alive: Alive,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let Some(protocol) = exchange.config.proxy_protocol.clone() else {
        return greet(exchange, certificates, alive, stream, peer).await;
    };
    match tokio::time::timeout(exchange.config.header_read_timeout, protocol.greet(stream, peer)).await {
        Ok(Ok((stream, source))) => greet(exchange, certificates, alive, stream, source).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a connection was refused"),
        Err(_) => tracing::debug!(%peer, "a PROXY header took too long"),
    }
}

async fn greet<S>(
    exchange: Arc<Exchange>,
    certificates: Option<Arc<Certificates>>,
    alive: Alive,
    stream: S,
    peer: SocketAddr,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Some(certificates) = certificates else {
        return connection::serve(exchange, alive, peer, stream, false).await;
    };
    let handshake = certificates.acceptor().accept(stream);
    match tokio::time::timeout(exchange.config.header_read_timeout, handshake).await {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            connection::serve(exchange, alive, peer, stream, http2).await;
        }
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
    }
}

/// Small replies go out at once, and a peer that is gone is noticed although nothing is sent to it.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(RETRIES);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

/// Who is at the other end of a socket in the file system.
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// After how much silence a peer is probed, how often, and how many probes may be lost.
const IDLE: Duration = Duration::from_secs(15);
const INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// How long sent bytes may stay without acknowledgement.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// How long to wait after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);
/// How long requests without a client may go on after a stop.
const LAST: Duration = Duration::from_secs(1);
