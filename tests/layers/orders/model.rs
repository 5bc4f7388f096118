//! What a set of layers must do, whatever their order: the rules written down once more, as one
//! plain loop that knows nothing of layers, futures or the crate.

use super::script::{Canned, Refresh, Script};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    pub auth_header: bool,
    pub rotate: bool,
    pub refresh: bool,
    pub persist: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub account: usize,
    pub generation: u64,
    pub failures: u32,
    /// Until when it cools down, in seconds of the script's clock, and whether it was refused.
    pub cooldown: Option<(u64, bool)>,
    pub needs_sign_in: bool,
}

/// What one account's refusals say about it. No vault has this.
#[derive(Clone, Copy, Default)]
struct Suspicion {
    /// Whether it goes last until it succeeds.
    is_suspect: bool,
    /// The generation that was refused right after a refresh, by a 401 and by a 403.
    refused_fresh: [Option<u64>; 2],
}

/// What the upstream saw: which credential asked, with which generation, and the status of its response.
pub type Attempt = (Option<(usize, u64)>, u16);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Result {
    /// The status that the caller got for each request, or `None` for an error.
    pub responses: Vec<Option<u16>>,
    pub attempts: Vec<Attempt>,
    pub refreshes: usize,
    /// The pool at the end, in its order.
    pub pool: Vec<Account>,
    /// The same as the vault has it.
    pub saved: Vec<Account>,
}

struct Run<'a> {
    /// By account.
    suspicions: Vec<Suspicion>,
    /// The pool at its last change that was worth a write.
    saved: Vec<Account>,
    script: &'a Script,
    layers: Layers,
    now: u64,
    order: Vec<Account>,
    /// Until when each account's token endpoint is not asked, by account.
    held_off: Vec<HeldOff>,
    attempts: Vec<Attempt>,
    refreshes: usize,
}

#[derive(Clone, Copy, Default)]
struct HeldOff {
    until: u64,
    failures: u32,
}

pub fn run(script: &Script, layers: Layers) -> Result {
    let account =
        |account| Account { account, generation: 1, failures: 0, cooldown: None, needs_sign_in: false };
    let order: Vec<_> = (0..script.accounts.len()).map(account).collect();
    let mut run = Run {
        suspicions: vec![Suspicion::default(); script.accounts.len()],
        saved: order.clone(),
        script,
        layers,
        now: 0,
        held_off: vec![HeldOff::default(); script.accounts.len()],
        order,
        attempts: Vec::new(),
        refreshes: 0,
    };
    let mut responses = Vec::new();
    for request in &script.requests {
        run.now += request.after;
        responses.push(run.request(request.repeatable));
    }
    // Secrets are always saved, and a newer one ends a cooldown of the refused one.
    let mut saved = std::mem::take(&mut run.saved);
    for account in &mut saved {
        let generation = run.account(account.account).generation;
        if account.generation < generation {
            account.renewed(generation);
        }
    }
    let pool = run.seen();
    Result { responses, attempts: run.attempts, refreshes: run.refreshes, pool, saved }
}

impl Account {
    fn renewed(&mut self, generation: u64) {
        self.generation = generation;
        if self.cooldown.is_some_and(|(_, refused)| refused) {
            self.cooldown = None;
            self.failures = 0;
        }
    }
}

impl Run<'_> {
    fn request(&mut self, repeatable: bool) -> Option<u16> {
        let Layers { auth_header, rotate, refresh, .. } = self.layers;
        if !auth_header && !rotate && !refresh {
            return Some(self.upstream(None).status);
        }
        let current = self.first()?;
        let mut suspects = Vec::new();
        let status = self.attempts_of_request(current, repeatable, &mut suspects);
        // If all were refused, the request is to blame. Those without a comparison go to the end.
        let is_other = |account: &Account| {
            !account.needs_sign_in && suspects.iter().all(|(suspect, _)| *suspect != account.account)
        };
        if self.order.iter().any(is_other) {
            for (account, _) in suspects {
                let now = self.now;
                let is_blamed = |(until, refused)| refused && until > now;
                if !self.account(account).cooldown.is_some_and(is_blamed) {
                    self.suspicions[account].is_suspect = true;
                }
            }
        }
        Some(status)
    }

    /// Sends a request. Leaves the accounts that were refused without a known reason in `refused`.
    fn attempts_of_request(
        &mut self,
        mut current: usize,
        repeatable: bool,
        suspects: &mut Vec<(usize, u16)>,
    ) -> u16 {
        let Layers { rotate, refresh, .. } = self.layers;
        let (mut tried, mut refreshed, mut failed) = (vec![current], Vec::new(), Vec::new());
        let mut fresh = Vec::new();
        loop {
            let canned = self.upstream(Some(current));
            let status = canned.status;
            match status {
                429 => self.limited(current, canned.retry_after),
                200 => self.succeeded(current),
                _ => {}
            }
            suspects.retain(|(suspect, refusal)| {
                let is_blamed = blames(status, *refusal);
                if is_blamed {
                    self.blame(*suspect);
                }
                !is_blamed
            });
            let is_refused = status == 401 || status == 403;
            if is_refused && refresh {
                let token = self.script.accounts[current].refresh;
                let generation = self.account(current).generation;
                let is_futile = self.suspicions[current].refused_fresh[kind(status)] == Some(generation);
                if token.is_some() && !refreshed.contains(&current) && !is_futile {
                    refreshed.push(current);
                    if self.refresh(current, token) {
                        fresh.push(current);
                        if repeatable {
                            continue;
                        }
                        return status;
                    }
                }
            }
            if is_refused && (refresh || rotate) {
                failed.push(current);
                let Account { generation, needs_sign_in, .. } = *self.account(current);
                if fresh.contains(&current) {
                    self.suspicions[current].refused_fresh[kind(status)] = Some(generation);
                }
                if !needs_sign_in {
                    suspects.push((current, status));
                }
            }
            let is_over = status == 429 || failed.contains(&current);
            if !is_over || !rotate || !repeatable {
                return status;
            }
            let budget = self.script.budget.unwrap_or(self.script.accounts.len());
            let next = self.ready().find(|account| !tried.contains(account));
            match next.filter(|_| tried.len() < budget) {
                Some(next) => {
                    current = next;
                    tried.push(next);
                }
                None => return status,
            }
        }
    }

    fn upstream(&mut self, account: Option<usize>) -> Canned {
        let seen = account
            .filter(|_| self.layers.auth_header)
            .map(|account| (account, self.account(account).generation));
        let nth = self.attempts.iter().filter(|(other, _)| *other == seen).count();
        let canned = self.script.response(seen, nth);
        self.attempts.push((seen, canned.status));
        canned
    }

    fn account(&mut self, account: usize) -> &mut Account {
        self.order.iter_mut().find(|other| other.account == account).unwrap()
    }

    /// The others that share an account's quota.
    fn sharing(&self, account: usize) -> impl Iterator<Item = &Account> {
        let quota = |account: usize| self.script.accounts[account].quota;
        let own = quota(account);
        let shares = move |other: &&Account| other.account != account && quota(other.account) == own;
        self.order.iter().filter(move |other| own.is_some() && shares(other))
    }

    /// The limits that others of an account's quota have met.
    fn limits(&self, account: usize) -> impl Iterator<Item = u64> {
        let limits = self.sharing(account).filter_map(|other| other.cooldown);
        limits.filter(|(_, refused)| !refused).map(|(until, _)| until)
    }

    /// Until when an account cools down, for whatever reason.
    fn cools_until(&self, account: &Account) -> Option<u64> {
        self.limits(account.account).chain(account.cooldown.map(|(until, _)| until)).max()
    }

    /// The pool as it shows itself: a limit is that of all that share the quota.
    fn seen(&self) -> Vec<Account> {
        let seen = |account: &Account| {
            let mut account = account.clone();
            let limit = self.limits(account.account).max();
            if let Some(limit) =
                limit.filter(|limit| account.cooldown.is_none_or(|(own, _)| own < *limit))
            {
                account.cooldown = Some((limit, false));
            }
            account
        };
        self.order.iter().map(seen).collect()
    }

    /// Suspects last.
    fn ready(&self) -> impl Iterator<Item = usize> + '_ {
        let is_ready = |account: &&Account| {
            !account.needs_sign_in && self.cools_until(account).is_none_or(|until| until <= self.now)
        };
        let ready = || self.order.iter().filter(is_ready).map(|account| account.account);
        let is_suspect = |account: &usize| self.suspicions[*account].is_suspect;
        ready().filter(move |account| !is_suspect(account)).chain(ready().filter(is_suspect))
    }

    /// The first that is ready, or else the one that is ready soonest.
    fn first(&self) -> Option<usize> {
        let usable = self.order.iter().filter(|account| !account.needs_sign_in);
        let soonest = usable.min_by_key(|account| (self.cools_until(account), account.account));
        self.ready().next().or(soonest.map(|account| account.account))
    }

    fn send_to_back(&mut self, account: usize) {
        let place = self.order.iter().position(|other| other.account == account).unwrap();
        let account = self.order.remove(place);
        self.order.push(account);
    }

    fn limited(&mut self, account: usize, retry_after: Option<u64>) {
        let now = self.now;
        let own = self.account(account).clone();
        if let Some(known) = self.cools_until(&own).filter(|known| *known > now) {
            // A failed probe is not a new failure, and ends nothing.
            let until = retry_after.map(|seconds| now + seconds);
            if let Some(until) = until.filter(|until| *until > known) {
                self.account(account).cooldown = Some((until, false));
                self.save();
            }
            return;
        }
        // Whoever of the quota has met the limit before.
        let limited =
            self.sharing(account).filter(|other| other.cooldown.is_some_and(|(_, refused)| !refused));
        let failures = own.failures + limited.map(|other| other.failures).sum::<u32>();
        // A stated time is believed, but less each time in a row.
        let least = failures.checked_sub(1).map_or(0, |before| (1 << before.min(9)).min(30));
        let guess = 30u64.saturating_mul(1 << failures).min(3600);
        let until = now + retry_after.map_or(guess, |seconds| seconds.max(least));
        cool_down(self.account(account), until, false);
        let sharing: Vec<_> = self.sharing(account).map(|other| other.account).collect();
        sharing.into_iter().for_each(|other| self.send_to_back(other));
        self.send_to_back(account);
        self.save();
    }

    fn blame(&mut self, account: usize) {
        let now = self.now;
        self.suspicions[account].is_suspect = false;
        let state = self.account(account);
        if state.cooldown.is_some_and(|(until, refused)| refused && until > now) {
            return;
        }
        let again = state.cooldown.is_some_and(|(_, refused)| refused);
        let factor = if again { 1 << state.failures } else { 1 };
        cool_down(state, now + (300 * factor).min(3600), true);
        self.send_to_back(account);
        self.save();
    }

    fn succeeded(&mut self, account: usize) {
        let now = self.now;
        self.suspicions[account] = Suspicion::default();
        let own = self.account(account).clone();
        let ended_one = self.cools_until(&own).is_some_and(|until| until > now);
        let sharing: Vec<_> = self.sharing(account).map(|other| other.account).collect();
        for other in sharing {
            let state = self.account(other);
            if state.cooldown.take_if(|(_, refused)| !*refused).is_some() {
                state.failures = 0;
            }
        }
        let state = self.account(account);
        state.cooldown = None;
        state.failures = 0;
        if ended_one {
            self.save();
        }
    }

    /// Also saves what was not worth a write before.
    fn save(&mut self) {
        if self.layers.persist {
            self.saved = self.order.clone();
        }
    }

    fn refresh(&mut self, account: usize, token: Option<Refresh>) -> bool {
        let (now, held_off) = (self.now, self.held_off[account]);
        if now < held_off.until {
            return false;
        }
        self.refreshes += 1;
        match token {
            Some(Refresh::Helps) => {
                self.held_off[account] = HeldOff::default();
                self.suspicions[account] = Suspicion::default();
                let state = self.account(account);
                state.renewed(state.generation + 1);
            }
            Some(Refresh::Rejected) => {
                self.account(account).needs_sign_in = true;
                self.save();
            }
            Some(Refresh::Fails) | None => {
                let HeldOff { failures, .. } = held_off;
                let until = now + (1 << failures.min(9)).min(300);
                self.held_off[account] = HeldOff { until, failures: failures + 1 };
            }
        }
        token == Some(Refresh::Helps)
    }
}

fn kind(refusal: u16) -> usize {
    usize::from(refusal == 403)
}

/// Whether another account's response shows that the account was to blame for a refusal.
fn blames(response: u16, refusal: u16) -> bool {
    match response {
        200 | 409 => true,
        // This one was authenticated, but perhaps not allowed either.
        404 => refusal == 401,
        _ => false,
    }
}

/// A deadline can only move later.
fn cool_down(account: &mut Account, until: u64, refused: bool) {
    account.failures += 1;
    if account.cooldown.is_none_or(|(known, _)| until >= known) {
        account.cooldown = Some((until, refused));
    }
}
