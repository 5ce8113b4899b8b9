//! That the labs are what they claim to be. Nothing here runs Pilot.

mod changes;
mod coturn;
mod routers;
mod table;

use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    [table::trials(), routers::trials(), changes::trials(), coturn::trials()]
        .into_iter()
        .flatten()
        .collect()
}
