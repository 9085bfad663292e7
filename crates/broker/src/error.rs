//! What can keep a broker from starting, or its embedder from changing it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::log::recovery::OpenError;
use crate::topics::TopicError;

/// Why a call on the broker failed.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The directory cannot be created, read or written.
    #[error("broker directory {path} cannot be used: {source}; it has to be a writable directory")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another broker runs on the same directory.
    #[error("broker directory {path} is in use by another broker; stop it, or give each its own")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The identity file is damaged, or of a newer version.
    #[error(
        "{path} is not the identity of a broker, format 1; restore it, or use an empty directory"
    )]
    Identity {
        /// The file.
        path: PathBuf,
    },
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; choose a free address, or port 0 for any free port"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address for clients has no port.
    #[error("advertised address `{value}` is not `host:port`")]
    Advertise {
        /// The address.
        value: String,
    },
    /// A log is damaged where no crash could have damaged it.
    #[error(
        "{path} is damaged at byte {position} ({reason}), and later segments are whole; restore it from a \
         copy, or move it and all segments before it away to give up their records"
    )]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// Where its whole batches end.
        position: u32,
        /// What is there instead of a batch.
        reason: String,
    },
    /// A topic cannot be created.
    #[error("{0}")]
    Topic(String),
    /// A thread cannot be started.
    #[error("cannot start the broker's thread: {0}")]
    Thread(io::Error),
}

impl From<TopicError> for BrokerError {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::Open(OpenError::Io { path, source }) | TopicError::Io { path, source } => {
                Self::Directory { path, source }
            }
            TopicError::Open(OpenError::Corrupt { path, position, reason }) => {
                Self::Corrupt { path, position, reason }
            }
            other => Self::Topic(other.to_string()),
        }
    }
}
