use pilot_local_api::proto::TransferId;
use pilot_local_api::transfers::TransferView;
use pilot_local_api::{ApiError, CallError};

use super::line;
use crate::Ctl;
use crate::failure::Failure;

/// Forget transfers that have ended; what was received goes from the inbox, too.
///
/// Copies that were made of it stay. It stops at the first that cannot be
/// removed, such as one that has not ended: cancel it first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(required = true)]
    id: Vec<TransferId>,
}

pub(crate) async fn run(Args { id: ids }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let mut removed: Vec<TransferView> = Vec::with_capacity(ids.len());
    let mut outcome = Ok(());
    for id in &ids {
        match ctl.client.remove_transfer(*id).await {
            Ok(view) => removed.push(view),
            Err(error) => {
                outcome = Err(named(error, *id).into());
                break;
            }
        }
    }
    // What is gone is told even if another could not be removed.
    match removed.as_slice() {
        [] => {}
        [view] if ids.len() == 1 => ctl.ui.answer(view, line)?,
        views => {
            ctl.ui.answer(&views, |views| views.iter().map(|view| line(view) + "\n").collect())?
        }
    }
    outcome
}

/// The error of one of several transfers says of which.
fn named(error: CallError, id: TransferId) -> ApiError {
    let error = ApiError::from(error);
    let message = format!("transfer {id} was not removed: {}", error.message);
    ApiError { message, ..error }.with_detail("transfer", id.to_string())
}

#[cfg(test)]
mod tests {
    use pilot_local_api::ErrorCode;

    use super::*;

    #[test]
    fn an_error_names_its_transfer_and_keeps_its_code_and_hint() {
        let id: TransferId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let refused = ApiError::new(ErrorCode::Conflict, "it is still sending").with_hint("x");

        let error = named(CallError::Refused(refused), id);

        assert_eq!(error.message, format!("transfer {id} was not removed: it is still sending"));
        assert_eq!((error.code, error.hint.as_deref()), (ErrorCode::Conflict, Some("x")));
        assert_eq!(error.details["transfer"], id.to_string());
    }
}
