//! Listening on a socket in the file system.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod kit;

use std::{
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use kit::{Server, answer, read_all, request};
use strongroom_http::{ListenerConfig, Serving, UnixSocket, serve};
use tokio::{io::AsyncWriteExt, net::UnixStream};

async fn listen(server: &Server, path: &Path, mode: u32) -> Result<Serving, String> {
    let mut socket = UnixSocket::new(path);
    socket.mode = mode;
    serve(Arc::clone(&server.core), ListenerConfig::new(socket)).await.map_err(|error| error.to_string())
}

async fn status(path: &Path) -> u16 {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(&request("GET", "/v1/sys/init", &[], b"")).await.unwrap();
    answer(&read_all(&mut stream).await).status
}

#[tokio::test]
async fn a_socket_answers_and_is_removed_at_the_end() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("api.sock");
    let serving = listen(&server, &path, 0o660).await.unwrap();
    assert_eq!(serving.address().to_string(), path.display().to_string());
    assert_eq!(serving.socket_address(), None);
    let there = std::fs::metadata(&path).unwrap();
    assert!(there.file_type().is_socket());
    assert_eq!(there.permissions().mode() & 0o777, 0o660);
    assert_eq!(status(&path).await, 200);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing lies beside it");
    serving.stop(Duration::from_secs(10)).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn what_is_left_over_is_replaced_and_nothing_else() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("api.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let left_over = std::fs::metadata(&path).unwrap().ino();
    let _first = listen(&server, &path, 0o600).await.unwrap();
    assert_ne!(std::fs::metadata(&path).unwrap().ino(), left_over);
    let error = listen(&server, &path, 0o600).await.map(drop).unwrap_err();
    assert!(error.contains("another process listens") && error.contains("api.sock"), "{error}");
    assert_eq!(status(&path).await, 200, "the first one is left alone");

    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let error = listen(&server, &file, 0o600).await.map(drop).unwrap_err();
    assert!(error.contains("no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    assert!(listen(&server, &folder.path().join("no/such/folder"), 0o600).await.is_err());
}
