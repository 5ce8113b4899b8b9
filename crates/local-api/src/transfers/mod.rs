//! Transfers of files and folders: what is asked of the daemon, and what it shows.

mod path;
mod request;
mod view;

pub use path::PathText;
pub use request::{Keep, LEAST_LIMIT, SendRequest, TransfersQuery};
pub use view::{
    Direction, TOP_NAMES, TransferProblem, TransferState, TransferStateError, TransferView,
};
