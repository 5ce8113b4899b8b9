//! Choosing a worker: who could do a task, and who of them does.

use core::cmp::{Ordering, Reverse};
use core::time::Duration;

use pilot_identity::NodeId;
use pilot_proto::Tag;
use serde::{Deserialize, Serialize};

/// Verdicts kept with a task; of more candidates, the worst are left out.
pub const MAX_VERDICTS: usize = 64;

/// Tasks that may be on their way to one worker, or in its queue, for each
/// that it can work on at once. The others stay at the submitter, and go to
/// whoever has room first.
const PER_HAND: usize = 2;

/// Among whom a worker is chosen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Pool {
    /// What it must have.
    pub tags: Vec<Tag>,
    /// What counts, first first.
    pub prefer: Vec<Preference>,
}

/// What makes a worker the better choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Preference {
    /// Its reputation.
    Polo,
    /// How little it has to do.
    Idle,
    /// How near it is.
    Latency,
}

/// What counts if nothing was said.
const USUAL: [Preference; 3] = [Preference::Idle, Preference::Latency, Preference::Polo];

/// What is known of a node that might do a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which node.
    pub peer: NodeId,
    /// Why it cannot be given tasks at all, if so: not trusted, not allowed.
    pub barred: Option<&'static str>,
    /// Whether it can be reached, as far as is known.
    pub is_online: bool,
    /// What it says of itself.
    pub tags: Vec<Tag>,
    /// How many tasks it can work on at once; none if it did not say.
    pub hands: Option<u32>,
    /// How many tasks it has, of all submitters, by its own word.
    pub busy: Option<u32>,
    /// How many of this node's tasks were given to it and are not over.
    pub given: usize,
    /// Whether it takes files of this node.
    pub takes_files: bool,
    /// The time there and back.
    pub rtt: Option<Duration>,
    /// Its reputation.
    pub polo: Option<i64>,
}

/// What was thought of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which node.
    pub peer: NodeId,
    /// Whether it was the one.
    pub chosen: bool,
    /// Why, or why not.
    pub why: String,
}

/// Who does a task, and what was thought of everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Who; or why nobody.
    pub chosen: Result<NodeId, String>,
    /// One for each candidate, the best first; at most [`MAX_VERDICTS`].
    pub verdicts: Vec<Verdict>,
}

/// Chooses among `candidates` for a task of `pool`; `declined_by` are those
/// that did not want it, and `has_files` says that it has some that go ahead.
#[must_use]
pub fn choose(
    pool: &Pool,
    candidates: &[Candidate],
    declined_by: &[NodeId],
    has_files: bool,
) -> Choice {
    let prefer = if pool.prefer.is_empty() { &USUAL[..] } else { &pool.prefer };
    let mut able = Vec::new();
    let mut verdicts = Vec::new();
    // Where nobody is at work, a task would wait for somebody who may never come.
    let some_work = candidates.iter().any(|candidate| {
        let bars = hindrance(pool, candidate, declined_by, has_files);
        candidate.hands.is_some_and(|hands| hands > 0)
            && bars.is_none_or(|bars| matches!(bars, Hindrance::Full { .. }))
    });
    for candidate in candidates {
        let idle = some_work && candidate.hands.is_none_or(|hands| hands == 0);
        let bars = hindrance(pool, candidate, declined_by, has_files);
        match bars.or_else(|| idle.then_some(Hindrance::Nobody)) {
            None => able.push(candidate),
            Some(hindrance) => verdicts.push((candidate, hindrance)),
        }
    }
    able.sort_by(|one, other| better(one, other, prefer));
    verdicts.sort_by_key(|(_, hindrance)| Reverse(hindrance.rank()));
    let chosen = match able.first() {
        Some(best) => Ok(best.peer),
        None => Err(nobody(pool, &verdicts)),
    };
    let first = able.iter().enumerate().map(|(place, candidate)| Verdict {
        peer: candidate.peer,
        chosen: place == 0,
        why: standing(candidate, able.first().filter(|_| place > 0).copied(), prefer),
    });
    let others = verdicts.iter().map(|(candidate, hindrance)| Verdict {
        peer: candidate.peer,
        chosen: false,
        why: hindrance.words(),
    });
    Choice { chosen, verdicts: first.chain(others).take(MAX_VERDICTS).collect() }
}

/// Why a node cannot do a task now.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hindrance {
    Barred(&'static str),
    Lacks(Tag),
    Offline,
    Declined,
    NoFiles,
    Nobody,
    Full { given: usize, hands: u32 },
}

impl Hindrance {
    /// The higher, the nearer it is to being able.
    const fn rank(&self) -> u8 {
        match self {
            Self::Barred(_) => 0,
            Self::Lacks(_) | Self::NoFiles => 1,
            Self::Declined => 2,
            Self::Offline | Self::Nobody => 3,
            Self::Full { .. } => 4,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Barred(why) => (*why).to_owned(),
            Self::Lacks(tag) => format!("has no tag {tag}"),
            Self::Declined => "declined it".to_owned(),
            Self::Offline => "is not online".to_owned(),
            Self::NoFiles => "does not allow this node to send it files".to_owned(),
            Self::Nobody => "has nobody at work, and others have".to_owned(),
            Self::Full { given, hands } => {
                format!("has {given} tasks of this node already, and {hands} at work on them")
            }
        }
    }
}

fn hindrance(
    pool: &Pool,
    candidate: &Candidate,
    declined_by: &[NodeId],
    has_files: bool,
) -> Option<Hindrance> {
    if let Some(why) = candidate.barred {
        return Some(Hindrance::Barred(why));
    }
    if let Some(tag) = pool.tags.iter().find(|tag| !candidate.tags.contains(tag)) {
        return Some(Hindrance::Lacks(tag.clone()));
    }
    if has_files && !candidate.takes_files {
        return Some(Hindrance::NoFiles);
    }
    if declined_by.contains(&candidate.peer) {
        return Some(Hindrance::Declined);
    }
    if !candidate.is_online {
        return Some(Hindrance::Offline);
    }
    let hands = candidate.hands.unwrap_or_default().max(1);
    let room = usize::try_from(hands).unwrap_or(usize::MAX).saturating_mul(PER_HAND);
    (candidate.given >= room).then_some(Hindrance::Full { given: candidate.given, hands })
}

/// The better one first; at the end by key, so that the same facts give the same choice.
fn better(one: &Candidate, other: &Candidate, prefer: &[Preference]) -> Ordering {
    let by = |preference: &Preference| match preference {
        Preference::Polo => other.polo.unwrap_or_default().cmp(&one.polo.unwrap_or_default()),
        Preference::Idle => share(one).cmp(&share(other)),
        Preference::Latency => {
            one.rtt.unwrap_or(Duration::MAX).cmp(&other.rtt.unwrap_or(Duration::MAX))
        }
    };
    let by_preference = prefer.iter().map(by).find(|order| order.is_ne());
    by_preference
        .unwrap_or(Ordering::Equal)
        .then_with(|| one.given.cmp(&other.given))
        .then_with(|| one.peer.cmp(&other.peer))
}

/// Thousandths of a node's hands that are taken, by tasks of all or of this node.
fn share(candidate: &Candidate) -> usize {
    let busy = candidate.busy.and_then(|busy| usize::try_from(busy).ok()).unwrap_or_default();
    let hands = candidate.hands.and_then(|hands| usize::try_from(hands).ok()).unwrap_or_default();
    let tasks = busy.max(candidate.given);
    // Who waits for tasks comes before who does not.
    let per_hand = tasks.saturating_mul(1_000).checked_div(hands);
    per_hand.unwrap_or_else(|| (tasks + 1).saturating_mul(1_000_000))
}

fn standing(candidate: &Candidate, best: Option<&Candidate>, prefer: &[Preference]) -> String {
    let facts: Vec<String> = prefer.iter().map(|preference| fact(candidate, *preference)).collect();
    let facts = facts.join(", ");
    let Some(best) = best else { return facts };
    let decisive = prefer.iter().find(|preference| {
        better(best, candidate, core::slice::from_ref(*preference)).is_lt()
            && fact(best, **preference) != fact(candidate, **preference)
    });
    match decisive {
        Some(preference) => {
            format!("{facts}; the one chosen was better: {}", fact(best, *preference))
        }
        None => format!("{facts}; as good as the one chosen"),
    }
}

fn fact(candidate: &Candidate, preference: Preference) -> String {
    match preference {
        Preference::Polo => match candidate.polo {
            Some(polo) => format!("polo {polo}"),
            None => "no polo".to_owned(),
        },
        Preference::Idle => {
            let tasks = candidate.busy.and_then(|busy| usize::try_from(busy).ok());
            let tasks = tasks.unwrap_or_default().max(candidate.given);
            match candidate.hands {
                Some(hands) if hands > 0 => format!("{tasks} tasks for {hands} at work"),
                Some(_) => format!("{tasks} tasks, nobody at work"),
                None => format!("{tasks} tasks"),
            }
        }
        Preference::Latency => match candidate.rtt {
            Some(rtt) => format!("{:.1} ms away", rtt.as_secs_f64() * 1e3),
            None => "how far away is not known".to_owned(),
        },
    }
}

/// Why nobody can do it now, in one sentence.
fn nobody(pool: &Pool, others: &[(&Candidate, Hindrance)]) -> String {
    let count =
        |wanted: u8| others.iter().filter(|(_, hindrance)| hindrance.rank() == wanted).count();
    let (full, offline, declined) = (count(4), count(3), count(2));
    if full > 0 {
        return format!("all {full} workers that could do it have enough to do");
    }
    if offline > 0 {
        return format!("none of the {offline} workers that could do it is online");
    }
    if declined > 0 {
        return format!("all {declined} workers that could do it have declined");
    }
    if pool.tags.is_empty() {
        return "no peer is trusted mutually and allows this node its tasks".to_owned();
    }
    let tags: Vec<String> = pool.tags.iter().map(ToString::to_string).collect();
    format!("no trusted peer that allows this node its tasks has {}", tags.join(" and "))
}

#[cfg(test)]
mod tests {
    use pilot_identity::NodeKey;
    use zeroize::Zeroizing;

    use super::*;

    fn node(seed: u8) -> NodeId {
        NodeKey::from_seed(&Zeroizing::new([seed; 32])).id()
    }

    fn candidate(seed: u8) -> Candidate {
        Candidate {
            peer: node(seed),
            barred: None,
            is_online: true,
            tags: vec!["gpu=a100".parse().unwrap()],
            hands: Some(4),
            busy: Some(0),
            given: 0,
            takes_files: true,
            rtt: Some(Duration::from_millis(10)),
            polo: Some(0),
        }
    }

    fn chosen(pool: &Pool, candidates: &[Candidate]) -> Result<NodeId, String> {
        choose(pool, candidates, &[], false).chosen
    }

    fn preferring(prefer: &[Preference]) -> Pool {
        Pool { prefer: prefer.to_vec(), ..Pool::default() }
    }

    #[test]
    fn what_is_preferred_first_decides_first() {
        let near = Candidate { rtt: Some(Duration::from_millis(1)), ..candidate(1) };
        let idle = Candidate { busy: Some(0), ..candidate(2) };
        let good = Candidate { polo: Some(47), ..candidate(3) };
        let all = [near, idle, good].map(|one| {
            let busy = if one.peer == node(2) { 0 } else { 2 };
            Candidate { busy: Some(busy), ..one }
        });

        assert_eq!(chosen(&preferring(&[Preference::Latency]), &all), Ok(node(1)));
        assert_eq!(chosen(&preferring(&[Preference::Idle]), &all), Ok(node(2)));
        assert_eq!(chosen(&preferring(&[Preference::Polo]), &all), Ok(node(3)));
        assert_eq!(chosen(&preferring(&[]), &all), Ok(node(2)), "idle is what counts first");
        let both = preferring(&[Preference::Polo, Preference::Latency]);
        let alike = all.map(|one| Candidate { polo: Some(1), ..one });
        assert_eq!(chosen(&both, &alike), Ok(node(1)));
    }

    #[test]
    fn who_cannot_is_told_why_and_nobody_is_chosen() {
        let pool = Pool { tags: vec!["gpu=a100".parse().unwrap()], ..Pool::default() };
        type Change = fn(&mut Candidate);
        let cases: [(Change, &str, &str); 6] = [
            (|one| one.barred = Some("is a stranger"), "is a stranger", "no trusted peer"),
            (|one| one.tags.clear(), "has no tag gpu=a100", "no trusted peer"),
            (|one| one.is_online = false, "is not online", "none of the 1 workers"),
            (|one| one.takes_files = false, "does not allow", "no trusted peer"),
            (|one| one.given = 8, "has 8 tasks of this node", "all 1 workers"),
            (|one| one.peer = node(9), "declined it", "all 1 workers"),
        ];
        for (change, why, nobody) in cases {
            let mut one = candidate(1);
            change(&mut one);
            let choice = choose(&pool, &[one], &[node(9)], true);
            let said = choice.chosen.unwrap_err();
            assert!(said.contains(nobody), "{said}");
            assert!(choice.verdicts[0].why.contains(why), "{:?}", choice.verdicts);
        }
    }

    #[test]
    fn where_nobody_is_at_work_nothing_is_sent_while_others_are() {
        let nobody = Candidate { hands: Some(0), rtt: Some(Duration::ZERO), ..candidate(1) };
        let full = Candidate { given: 8, ..candidate(2) };
        let pool = preferring(&[Preference::Latency]);

        assert_eq!(chosen(&pool, &[nobody.clone(), candidate(2)]), Ok(node(2)));
        assert!(chosen(&pool, &[nobody.clone(), full]).is_err(), "it has enough to do just now");
        assert_eq!(chosen(&pool, &[nobody]), Ok(node(1)), "somebody may come");
    }

    #[test]
    fn tasks_spread_over_those_that_are_alike() {
        let mut all = [candidate(1), candidate(2), candidate(3)];
        let mut given = Vec::new();
        while let Ok(peer) = chosen(&Pool::default(), &all) {
            let one = all.iter_mut().find(|one| one.peer == peer).unwrap();
            one.given += 1;
            given.push(peer);
        }

        assert_eq!(given.len(), 3 * 4 * PER_HAND);
        assert!(all.iter().all(|one| one.given == 4 * PER_HAND));
        assert_eq!(given[..3].iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
    }
}
