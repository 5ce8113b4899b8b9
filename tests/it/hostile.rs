//! What broke Pilot Protocol, and what broke into it.

mod datagrams;
mod home;
mod names;
mod peers;
mod proxy;
mod puppet;
mod strangers;
