//! That the labs are what they claim to be. Nothing here runs Pilot.

mod changes;
mod coturn;
mod port_mapping;
mod routers;
mod table;

use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    [
        table::trials(),
        routers::trials(),
        changes::trials(),
        coturn::trials(),
        port_mapping::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
