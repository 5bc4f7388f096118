//! Measures a path's variants in turn, and prints the results as a table.

use crate::path::Path;
use crate::sample::Sample;

/// Requests before each round: the other variants have filled the caches meanwhile.
const WARM_UP: u64 = 15;

/// Medians over the rounds, by variant.
pub(crate) struct Table(Vec<Row>);

pub(crate) struct Row {
    name: &'static str,
    nanoseconds: f64,
    /// `nanoseconds` less those of the base.
    pub(crate) added: f64,
    /// Half of all rounds lie between these two.
    quartiles: (f64, f64),
    allocations: f64,
    pub(crate) added_allocations: f64,
}

impl Table {
    /// Measures all variants in turn, round by round.
    pub(crate) fn measure(path: &mut Path, rounds: usize, per_round: u64) -> Self {
        let mut samples = vec![Vec::with_capacity(rounds); path.variants.len()];
        for round in 0..rounds {
            for place in 0..path.variants.len() {
                // Each round begins with another variant, so that none always follows the same one.
                let index = (place + round) % path.variants.len();
                let run = &mut path.variants[index].run;
                run(WARM_UP);
                samples[index].push(run(per_round));
            }
        }
        let sorted = |samples: &[Sample], read: fn(&Sample) -> f64| {
            let mut values: Vec<_> =
                samples.iter().map(|sample| read(sample) / per_round as f64).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let times: Vec<_> = samples
            .iter()
            .map(|samples| sorted(samples, |sample| sample.time.as_nanos() as f64))
            .collect();
        let allocations: Vec<_> =
            samples.iter().map(|samples| sorted(samples, |sample| sample.allocations as f64)).collect();
        let median = |values: &[f64]| values[values.len() / 2];
        let variants = path.variants.iter().enumerate();
        let rows = variants.map(|(index, variant)| Row {
            name: variant.name,
            nanoseconds: median(&times[index]),
            added: median(&times[index]) - median(&times[variant.base]),
            quartiles: (times[index][rounds / 4], times[index][rounds * 3 / 4]),
            allocations: median(&allocations[index]),
            added_allocations: median(&allocations[index]) - median(&allocations[variant.base]),
        });
        Self(rows.collect())
    }

    pub(crate) fn row(&self, name: &str) -> &Row {
        self.0.iter().find(|row| row.name == name).expect("a row of this name")
    }

    pub(crate) fn print(&self, title: &str) {
        println!("\n{title}");
        println!(
            "{:<36} {:>9} {:>17} {:>9} {:>7} {:>7}",
            "", "ns", "half of rounds", "added ns", "allocs", "added"
        );
        for row in &self.0 {
            let Row { name, nanoseconds, added, quartiles: (low, high), .. } = row;
            let quartiles = format!("{low:.0}–{high:.0}");
            let (all, more) = (row.allocations, row.added_allocations);
            println!(
                "{name:<36} {nanoseconds:>9.0} {quartiles:>17} {added:>9.0} {all:>7.2} {more:>7.2}"
            );
        }
    }
}
