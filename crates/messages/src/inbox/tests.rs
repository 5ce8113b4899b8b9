//! Rules of the inbox.
