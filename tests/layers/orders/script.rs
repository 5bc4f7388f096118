//! Generated upstreams: their response to each credential, and the requests that are sent.

use std::hash::{DefaultHasher, Hash, Hasher};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    Helps,
    Fails,
    Rejected,
}

#[derive(Clone, Debug)]
pub struct AccountScript {
    /// The result of a refresh, if it has a refresh token.
    pub refresh: Option<Refresh>,
    /// The quota that it shares with all that have the same.
    pub quota: Option<u8>,
}

#[derive(Clone, Debug)]
pub struct RequestScript {
    /// Seconds after the previous request.
    pub after: u64,
    pub repeatable: bool,
}

#[derive(Clone, Debug)]
pub struct Script {
    pub accounts: Vec<AccountScript>,
    pub requests: Vec<RequestScript>,
    pub budget: Option<usize>,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canned {
    pub status: u16,
    pub retry_after: Option<u64>,
}

impl Script {
    /// The upstream's response to the nth request of this credential.
    pub fn response(&self, credential: Option<(usize, u64)>, nth: usize) -> Canned {
        let mut dice = Dice::new((self.seed, credential, nth));
        let status = dice.pick(&[200, 200, 200, 429, 429, 429, 401, 401, 403, 403, 404, 409, 500]);
        let retry_after = dice.pick(&[None, Some(0), Some(10), Some(60), Some(4000)]);
        Canned { status, retry_after: retry_after.filter(|_| status == 429) }
    }

    pub fn generate(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let accounts = (0..dice.pick(&[1, 2, 3, 4]))
            .map(|_| AccountScript {
                refresh: dice.pick(&[
                    None,
                    Some(Refresh::Helps),
                    Some(Refresh::Helps),
                    Some(Refresh::Fails),
                    Some(Refresh::Rejected),
                ]),
                quota: dice.pick(&[None, None, Some(0), Some(0), Some(1)]),
            })
            .collect();
        let requests = (0..4)
            .map(|_| RequestScript {
                after: dice.pick(&[0, 1, 15, 100, 1000]),
                repeatable: dice.pick(&[true, true, true, false]),
            })
            .collect();
        let budget = dice.pick(&[None, Some(1), Some(2), Some(3), Some(9)]);
        Self { accounts, requests, budget, seed: dice.next() }
    }
}

/// A random generator that gives the same numbers for the same seed on every machine.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        Self(hasher.finish())
    }

    pub fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        let index = self.next() % choices.len() as u64;
        choices[index as usize].clone()
    }
}
