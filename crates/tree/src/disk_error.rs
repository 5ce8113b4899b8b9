//! What a disk may say to a transfer.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Why something could not be written, read or removed. Paths are shown in
/// quotes and escaped, for a peer may have named them.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No space, or no more of it for this user.
    #[error("no space is left on the disk for {path:?}")]
    Full {
        /// What was being written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// This user may not, or nobody may write to that file system.
    #[error("permission is denied for {path:?}")]
    Denied {
        /// What was being used.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file system takes two names of a folder for one.
    #[error("{path:?} and {other:?} are one name to this file system")]
    NamesCollide {
        /// What was being made.
        path: PathBuf,
        /// What was made before under a name that is the same here.
        other: PathBuf,
    },
    /// Something that was not put there stands where this belongs. It is
    /// neither followed nor replaced.
    #[error("something else stands at {path:?}")]
    InTheWay {
        /// What was being made or opened.
        path: PathBuf,
    },
    /// Anything else.
    #[error("the disk failed at {path:?}")]
    Io {
        /// What was being used.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl DiskError {
    /// What `source` means, said about `path`.
    pub(crate) fn at(path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.as_ref().to_owned(), source.into());
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Full { path, source },
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Self::Denied { path, source },
            // What opening without following links says of a link, and what
            // opening a folder says of anything else.
            Some(Errno::LOOP | Errno::NOTDIR) => Self::InTheWay { path },
            Some(_) | None => Self::Io { path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_sorted_by_what_helps() {
        let of = |errno: Errno| DiskError::at("x", errno);

        assert!(matches!(of(Errno::NOSPC), DiskError::Full { .. }));
        assert!(matches!(of(Errno::DQUOT), DiskError::Full { .. }));
        assert!(matches!(of(Errno::ACCESS), DiskError::Denied { .. }));
        assert!(matches!(of(Errno::ROFS), DiskError::Denied { .. }));
        assert!(matches!(of(Errno::LOOP), DiskError::InTheWay { .. }));
        assert!(matches!(of(Errno::IO), DiskError::Io { .. }));
    }

    #[test]
    fn a_path_is_shown_without_what_a_terminal_obeys() {
        let text = DiskError::at("a\x1b[2J\nb", Errno::IO).to_string();

        assert_eq!(text, r#"the disk failed at "a\u{1b}[2J\nb""#);
    }
}
