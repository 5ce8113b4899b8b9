//! Whether a peer takes files from here, as far as that is known without sending any.

use pilot_local_api::proto::PeerRef;
use pilot_local_api::trust::{Allowed, TrustView};
use pilot_local_api::{ApiError, ErrorCode};

use crate::Ctl;

/// The peer, if there is mutual trust and it allows data. Whether it is there
/// just now does not count.
pub(super) async fn takes_data(ctl: &Ctl, peer: &PeerRef) -> Result<TrustView, ApiError> {
    let view = ctl.client.trust_check(peer).await.map_err(|error| {
        let error = ApiError::from(error);
        ApiError { message: format!("{}; nothing was sent", error.message), ..error }
    })?;
    allowed(&view, peer)?;
    Ok(view)
}

fn allowed(view: &TrustView, peer: &PeerRef) -> Result<(), ApiError> {
    if view.they_allow.contains(&Allowed::Data) {
        return Ok(());
    }
    let message = format!("{peer} does not take data from here; nothing was sent");
    Err(ApiError::new(ErrorCode::NotAllowed, message)
        .with_hint(format!("pilotctl trust show {peer}"))
        .with_detail("peer", peer.to_string()))
}

#[cfg(test)]
mod tests {
    use pilot_local_api::identity::PeerIdentity;
    use pilot_local_api::proto::identity::NodeId;
    use pilot_local_api::trust::TrustState;

    use super::*;

    #[test]
    fn trust_for_other_things_is_not_enough() {
        let mut key = [0x66; 32];
        key[0] = 0x58;
        let mut view = TrustView {
            identity: PeerIdentity::new(NodeId::from_bytes(key).unwrap(), None, None),
            state: TrustState::Trusted,
            i_allow: vec![Allowed::Data],
            they_allow: vec![Allowed::Tasks],
            expires_at: None,
        };
        let peer: PeerRef = "backend".parse().unwrap();

        let refused = allowed(&view, &peer).unwrap_err();
        view.they_allow.push(Allowed::Data);

        assert_eq!(refused.code, ErrorCode::NotAllowed);
        assert_eq!(refused.hint.as_deref(), Some("pilotctl trust show backend"));
        assert_eq!(allowed(&view, &peer), Ok(()));
    }
}
