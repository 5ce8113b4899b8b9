//! What may run in a lab beside Pilot.

pub(crate) mod coturn;
pub(crate) mod flood;
pub(crate) mod port_mapping;
pub(crate) mod proxy;
pub(crate) mod punch;
