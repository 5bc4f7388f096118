//! The standings of all accounts are those of each, whatever quotas they share.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tower_credentials::standing::{Cooldown, Quota, Reason, Scope, Standing, Standings};
use tower_credentials::{CredentialId, Timestamp};

use super::shared;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A cooldown but for its end: its reason, its scope, and whether a clock that was wrong has dated it.
type Part = (bool, Option<bool>, bool);

fn cooldown((is_refusal, scope, is_misdated): Part, number: u64) -> Cooldown {
    let set_at = if is_misdated { NOW.after(Duration::from_secs(400 * 86_400)) } else { NOW };
    Cooldown {
        // No two end at once, so that it is clear which counts.
        until: set_at.after(Duration::from_millis(number)),
        set_at,
        reason: if is_refusal { Reason::Refused } else { Reason::Limited },
        scope: scope.map(|is_large| Scope::new(if is_large { "large" } else { "small" })),
        generation: None,
        cause: None,
    }
}

/// The standings of as many accounts as there are parts, each with its cooldowns and the quota that it takes from.
fn standings(parts: Vec<(Option<u8>, Vec<Part>)>) -> Standings {
    let mut standings = Standings::default();
    let mut number = 0;
    for (id, (quota, parts)) in (0..).zip(parts) {
        let quota = quota.map(|name| match name {
            0 => Quota::Own,
            name => shared(&name.to_string()),
        });
        let mut standing = Standing { quota, ..Standing::default() };
        for part in parts {
            number += 1;
            let new = cooldown(part, number);
            if standing.cooldowns.iter().all(|known| known.scope != new.scope) {
                standing.cooldowns.push(new);
            }
        }
        standings.credentials.insert(CredentialId::from_bytes([id; 16]), standing);
    }
    standings
}

/// The cooldowns of one standing have no order.
fn sorted(mut standing: Standing) -> Standing {
    standing.cooldowns.sort_by_key(|cooldown| cooldown.until);
    standing
}

proptest! {
    #[test]
    fn the_standings_of_all_are_those_of_each(
        parts in vec((proptest::option::of(0..3_u8), vec(any::<Part>(), 0..4)), 0..8)
    ) {
        let standings = standings(parts);
        let mut seen = standings.seen(NOW);
        prop_assert_eq!(seen.len(), standings.credentials.len());
        for id in standings.credentials.keys() {
            let own = seen.remove(id).expect("every account is there");
            prop_assert_eq!(sorted(own), sorted(standings.standing(*id, NOW)));
        }
    }
}

#[test]
fn a_limit_of_one_is_seen_by_all_that_share_its_quota_and_a_refusal_by_none() {
    let limited = vec![(false, None, false)];
    let refused = vec![(true, Some(true), false)];
    let parts = vec![(Some(1), limited), (Some(1), refused), (Some(2), vec![]), (None, vec![])];
    let seen = standings(parts).seen(NOW);
    let count = |id| seen[&CredentialId::from_bytes([id; 16])].cooldowns.len();
    assert_eq!([0, 1, 2, 3].map(count), [1, 2, 0, 0]);
}
