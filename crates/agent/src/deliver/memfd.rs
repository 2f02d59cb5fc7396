//! A file without a file system: anonymous memory that nobody can change any more.

use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags};

use super::{Error, failed};

/// Low numbers are left to the program and to shells.
const FIRST_NUMBER: i32 = 20;

/// Sealed memory with `content`, positioned at its start, closed on exec until it is passed on.
pub(super) fn sealed(name: &str, content: &[u8]) -> Result<OwnedFd, Error> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Newer kernels want to hear that it is not to be executed; older ones do not know the flag.
    let fd = rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| rustix::fs::memfd_create(name, flags))
        .map_err(failed("making sealed memory"))?;
    let mut rest = content;
    while !rest.is_empty() {
        let at = (content.len() - rest.len()) as u64;
        // At an offset, so that the position which the program inherits stays at the start.
        let written = rustix::io::pwrite(&fd, rest, at).map_err(failed("filling sealed memory"))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&fd, seals).map_err(failed("sealing memory"))?;
    rustix::io::fcntl_dupfd_cloexec(&fd, FIRST_NUMBER).map_err(failed("numbering sealed memory"))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn sealed_memory_is_read_and_never_written() {
        let fd = sealed("probe", b"value").unwrap();
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        assert_eq!(std::fs::read(&path).unwrap(), b"value");
        assert_eq!(std::fs::read(&path).unwrap(), b"value", "a second reader starts at the beginning too");
        assert!(rustix::io::pwrite(&fd, b"other", 0).is_err());
        assert!(rustix::fs::ftruncate(&fd, 0).is_err());
        assert!(rustix::fs::fcntl_add_seals(&fd, SealFlags::empty()).is_err());
        assert!(fd.as_raw_fd() >= FIRST_NUMBER);
    }
}
