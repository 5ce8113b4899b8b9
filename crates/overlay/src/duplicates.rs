//! Which of two sessions with the same peer stays.
//!
//! Two nodes that dial each other at the same moment get two sessions. Both
//! must keep the same one, without asking. A peer that restarted shows a new
//! boot id: its old session is dead whatever it looks like from here.

use pilot_identity::NodeId;
use pilot_proto::BootId;

/// What decides between two sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The run of the peer's daemon.
    pub(crate) boot: BootId,
    /// Whether this node dialled it.
    pub(crate) dialled_here: bool,
}

/// What to do with an old and a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The peer restarted: the old one is closed at once.
    OldIsDead,
    /// The new one is used from now on, the old one may finish its streams.
    UseNew,
    /// The old one goes on being used, the new one may finish its streams.
    UseOld,
}

pub(crate) fn settle(old: Facts, new: Facts, me: &NodeId, peer: &NodeId) -> Verdict {
    if old.boot != new.boot {
        return Verdict::OldIsDead;
    }
    // The same side dialled twice: it had given up the old one.
    if old.dialled_here == new.dialled_here {
        return Verdict::UseNew;
    }
    let keep_ours = me < peer;
    if new.dialled_here == keep_ours { Verdict::UseNew } else { Verdict::UseOld }
}

#[cfg(test)]
mod tests {
    use pilot_identity::NodeKey;
    use zeroize::Zeroizing;

    use super::*;

    fn ids() -> (NodeId, NodeId) {
        let id = |seed| NodeKey::from_seed(&Zeroizing::new([seed; 32])).id();
        let (a, b) = (id(1), id(2));
        if a < b { (a, b) } else { (b, a) }
    }

    fn facts(boot: u64, dialled_here: bool) -> Facts {
        Facts { boot: BootId(boot), dialled_here }
    }

    #[test]
    fn a_restarted_peer_is_believed() {
        let (small, large) = ids();

        for (me, peer) in [(small, large), (large, small)] {
            for dialled in [(true, false), (false, true), (true, true), (false, false)] {
                let verdict = settle(facts(1, dialled.0), facts(2, dialled.1), &me, &peer);
                assert_eq!(verdict, Verdict::OldIsDead);
            }
        }
    }

    #[test]
    fn both_sides_keep_the_session_that_the_smaller_key_dialled() {
        let (small, large) = ids();

        // Seen by the smaller key, then by the larger one, in either order of arrival.
        assert_eq!(settle(facts(1, true), facts(1, false), &small, &large), Verdict::UseOld);
        assert_eq!(settle(facts(1, false), facts(1, true), &small, &large), Verdict::UseNew);
        assert_eq!(settle(facts(1, true), facts(1, false), &large, &small), Verdict::UseNew);
        assert_eq!(settle(facts(1, false), facts(1, true), &large, &small), Verdict::UseOld);
    }

    #[test]
    fn who_dials_again_has_given_up_the_old_one() {
        let (small, large) = ids();

        assert_eq!(settle(facts(1, true), facts(1, true), &small, &large), Verdict::UseNew);
        assert_eq!(settle(facts(1, false), facts(1, false), &small, &large), Verdict::UseNew);
    }
}
