//! Listening on a socket in the file system.

use std::{
    ffi::OsString,
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;

/// A socket in the file system, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnixSocket {
    /// Where it lies.
    pub path: PathBuf,
    /// Who may use it: writing to it is what connecting needs. 0600.
    pub mode: u32,
    /// The number of the user that it is given to; nobody else's than our own without rights.
    pub user: Option<u32>,
    /// The number of its group.
    pub group: Option<u32>,
}

impl UnixSocket {
    /// A socket for the server's own user alone.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), mode: 0o600, user: None, group: None }
    }

    /// Binds it. What another process left behind is replaced; one that answers, and what is no socket, is not. It has its
    /// mode and owner before anybody can find it.
    pub(crate) fn bind(&self) -> io::Result<UnixListener> {
        if let Ok(there) = std::fs::symlink_metadata(&self.path) {
            if !there.file_type().is_socket() {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
            }
            if std::os::unix::net::UnixStream::connect(&self.path).is_ok() {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it"));
            }
        }
        let fresh = self.fresh();
        let listener = UnixListener::bind(&fresh)?;
        let ready = std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(self.mode))
            .and_then(|()| match (self.user, self.group) {
                (None, None) => Ok(()),
                (user, group) => std::os::unix::fs::chown(&fresh, user, group),
            })
            .and_then(|()| std::fs::rename(&fresh, &self.path));
        if let Err(error) = ready {
            // The first error is the one to tell.
            let _ = std::fs::remove_file(&fresh);
            return Err(error);
        }
        Ok(listener)
    }

    /// A name beside the socket that nobody knows yet.
    fn fresh(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(format!(".{}", std::process::id()));
        self.path.with_file_name(name)
    }

    /// Takes it away.
    pub(crate) fn remove(&self) {
        // Left behind, it does no harm: the next start replaces it.
        let _ = std::fs::remove_file(&self.path);
    }
}
