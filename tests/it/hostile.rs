//! What broke Pilot Protocol, and what broke into it.

mod peers;
mod puppet;
mod strangers;
