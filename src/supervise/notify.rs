//! How a process says that it is ready: a datagram socket per process, by systemd's protocol (sd_notify(3)).
//!
//! Synapse sends `READY=1` when its listeners are open and `STOPPING=1` when it begins to end (`synapse/app/_base.py`).
//! What else the protocol has is read over.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixDatagram;

use super::Error;

/// Longer messages are cut; those of Synapse's are some twenty bytes long.
const LONGEST_MESSAGE_BYTES: usize = 4096;

/// The folder of the sockets, held by one supervisor at a time.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The lock ends with the file; the kernel closes it however this process ends.
    _lock: File,
}

/// One process's socket. It stays when the process is started again.
#[derive(Debug)]
pub(super) struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

/// What a message said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Notice {
    /// The process serves requests.
    pub(super) ready: bool,
    /// The process is ending.
    pub(super) stopping: bool,
}

impl Folder {
    /// Makes the folder, or takes over the one of a supervisor that has ended.
    pub(super) fn open(runtime_directory: &Path) -> Result<Folder, Error> {
        // Absolute, because the processes look for their sockets from working directories of their own.
        let absolute = std::path::absolute(runtime_directory);
        let path = absolute.map(|path| path.join("supervise"));
        let path = path.map_err(|source| Error::Folder { path: runtime_directory.to_owned(), source })?;
        let failed = |source| Error::Folder { path: path.clone(), source };
        // The runtime directory itself follows the umask; others may have business there.
        fs::create_dir_all(runtime_directory).map_err(failed)?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(Error::FolderOfOthers { path });
        }
        fs::set_permissions(&path, Permissions::from_mode(0o700)).map_err(failed)?;
        let lock = File::open(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { path }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Makes the socket of the process with this index: its name might not do as a file's. Needs a Tokio runtime.
    pub(super) fn bind(&self, index: usize) -> Result<NotifySocket, Error> {
        let path = self.path.join(format!("{index}.sock"));
        let failed = |source| Error::Socket { path: path.clone(), source };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let socket = UnixDatagram::bind(&path).map_err(failed)?;
        Ok(NotifySocket { socket, path })
    }
}

impl NotifySocket {
    /// Where the process finds it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a message that says something new. May be dropped at any time without losing one.
    pub(super) async fn receive(&self) -> Notice {
        let mut message = [0; LONGEST_MESSAGE_BYTES];
        loop {
            match self.socket.recv(&mut message).await {
                Ok(length) => {
                    let notice = Notice::read(message.get(..length).unwrap_or_default());
                    if notice != Notice::default() {
                        return notice;
                    }
                }
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "cannot read a process's messages");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Throws away what a process that is gone has left unread.
    pub(super) fn clear(&self) {
        let mut message = [0; LONGEST_MESSAGE_BYTES];
        while self.socket.try_recv(&mut message).is_ok() {}
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        // One that stays behind is removed by the next supervisor.
        let _ = fs::remove_file(&self.path);
    }
}

impl Notice {
    /// Reads a message: lines of `NAME=value`.
    fn read(message: &[u8]) -> Notice {
        let mut notice = Notice::default();
        for line in message.split(|byte| *byte == b'\n') {
            notice.ready |= line == b"READY=1";
            notice.stopping |= line == b"STOPPING=1";
        }
        notice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read() {
        let nothing = Notice::default();
        let ready = Notice { ready: true, stopping: false };
        let stopping = Notice { ready: false, stopping: true };
        let table: [(&[u8], Notice); 9] = [
            (b"READY=1", ready),
            (b"READY=1\nMAINPID=77", ready),
            (b"STATUS=listening\nREADY=1\n", ready),
            (b"STOPPING=1", stopping),
            (b"READY=0", nothing),
            (b"NOTREADY=1", nothing),
            (b"READY=11", nothing),
            (b"", nothing),
            (b"\xff\x00READY=1", nothing),
        ];
        for (message, expected) in table {
            assert_eq!(Notice::read(message), expected, "{}", String::from_utf8_lossy(message));
        }
    }

    #[test]
    fn the_folder_is_private_and_held_by_one_at_a_time() {
        let directory = tempfile::tempdir().expect("makes a folder");
        let runtime_directory = directory.path().join("made");
        let folder = Folder::open(&runtime_directory).expect("opens");
        let mode = fs::metadata(runtime_directory.join("supervise")).expect("is there").mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(matches!(Folder::open(&runtime_directory), Err(Error::InUse { .. })));
        drop(folder);
        fs::set_permissions(runtime_directory.join("supervise"), Permissions::from_mode(0o755)).expect("changes");
        let _folder = Folder::open(&runtime_directory).expect("opens again");
        let mode = fs::metadata(runtime_directory.join("supervise")).expect("is there").mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_link_is_not_followed() {
        let directory = tempfile::tempdir().expect("makes a folder");
        fs::create_dir(directory.path().join("elsewhere")).expect("makes a folder");
        let link = directory.path().join("supervise");
        std::os::unix::fs::symlink(directory.path().join("elsewhere"), link).expect("makes a link");
        assert!(matches!(Folder::open(directory.path()), Err(Error::FolderOfOthers { .. })));
    }

    #[tokio::test]
    async fn messages_arrive_and_old_ones_are_cleared() {
        let directory = tempfile::tempdir().expect("makes a folder");
        let folder = Folder::open(directory.path()).expect("opens");
        fs::write(directory.path().join("supervise/3.sock"), "left behind").expect("writes");
        let socket = folder.bind(3).expect("binds");
        let process = std::os::unix::net::UnixDatagram::unbound().expect("opens");
        process.send_to(b"READY=1", socket.path()).expect("sends");
        // The runtime must have seen the message before it can be cleared.
        socket.socket.readable().await.expect("is readable");
        socket.clear();
        process.send_to(b"STATUS=busy", socket.path()).expect("sends");
        process.send_to(b"STOPPING=1", socket.path()).expect("sends");
        assert_eq!(socket.receive().await, Notice { ready: false, stopping: true });
        let path = socket.path().to_owned();
        drop(socket);
        assert!(!path.exists());
    }
}
