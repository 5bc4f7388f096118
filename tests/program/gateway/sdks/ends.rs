//! How the scenarios of a script have ended.

use serde_json::Value;

use crate::cli::Run;

/// What a script prints: a line of JSON for each scenario.
#[derive(Debug)]
pub(super) struct Ends(Vec<Value>);

impl Ends {
    pub(super) fn of(run: &Run) -> Self {
        Self(run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    #[track_caller]
    fn of_scenario(&self, scenario: &str) -> &Value {
        let end = self.0.iter().find(|end| end["scenario"] == scenario);
        end.unwrap_or_else(|| panic!("no {scenario:?} in {self:#?}"))
    }

    /// What the scenario got from the upstream.
    #[track_caller]
    pub(super) fn said(&self, scenario: &str) -> &str {
        let end = self.of_scenario(scenario);
        end["said"].as_str().unwrap_or_else(|| panic!("{end:#}"))
    }

    /// The name and the status of the error with which it ended.
    #[track_caller]
    pub(super) fn error(&self, scenario: &str) -> (&str, Option<u64>) {
        let end = self.of_scenario(scenario);
        let name = end["error"].as_str().unwrap_or_else(|| panic!("{end:#}"));
        (name, end["status"].as_u64())
    }

    /// How long it took.
    #[track_caller]
    pub(super) fn seconds(&self, scenario: &str) -> f64 {
        self.of_scenario(scenario)["seconds"].as_f64().unwrap()
    }
}
