//! Measures cases in turn, and prints them as a table.

use std::collections::BTreeMap;
use std::time::Duration;

/// A way to do something. `run` returns the time that it takes this many times.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The index of the case that it is compared with.
    base: usize,
    pub(crate) run: Box<dyn FnMut(u64) -> Duration>,
}

/// Cases that are measured in turn.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    rounds: usize,
    per_round: u64,
    pub(crate) cases: Vec<Case>,
}

impl Table {
    pub(crate) fn new(name: &'static str, rounds: usize, per_round: u64) -> Self {
        Self { name, rounds, per_round, cases: Vec::new() }
    }

    /// Adds a case that the following ones are compared with.
    pub(crate) fn beside(&mut self, name: &'static str, run: impl FnMut(u64) -> Duration + 'static) {
        let base = self.cases.len();
        self.cases.push(Case { name, base, run: Box::new(run) });
    }

    pub(crate) fn case(&mut self, name: &'static str, run: impl FnMut(u64) -> Duration + 'static) {
        let base = self.cases.last().map_or(0, |last| last.base);
        self.cases.push(Case { name, base, run: Box::new(run) });
    }

    /// Measures and prints. Returns the medians in microseconds.
    pub(crate) fn measure(&mut self, measures: bool) -> BTreeMap<&'static str, f64> {
        let (rounds, per_round) = if measures { (self.rounds, self.per_round) } else { (1, 3) };
        let mut times = vec![Vec::with_capacity(rounds); self.cases.len()];
        for round in 0..rounds {
            for place in 0..self.cases.len() {
                // Each round begins with another case, and every other one goes backwards, so that none
                // always follows the same one: a sync also writes what earlier cases have left.
                let forwards = (place + round / 2) % self.cases.len();
                let index = if round % 2 == 0 { forwards } else { self.cases.len() - 1 - forwards };
                let time = (self.cases[index].run)(per_round);
                times[index].push(time.as_secs_f64() * 1e6 / per_round as f64);
            }
        }
        times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
        println!("\n{:<52} {:>9} {:>19} {:>7}", self.name, "µs", "half of rounds", "ratio");
        for (case, sorted) in self.cases.iter().zip(&times) {
            let quartiles = format!("{:.1}–{:.1}", sorted[rounds / 4], sorted[rounds * 3 / 4]);
            let median = sorted[rounds / 2];
            let ratio = median / times[case.base][rounds / 2];
            println!("{:<52} {median:>9.1} {quartiles:>19} {ratio:>7.2}", case.name);
        }
        let medians = times.iter().map(|sorted| sorted[rounds / 2]);
        self.cases.iter().map(|case| case.name).zip(medians).collect()
    }
}
