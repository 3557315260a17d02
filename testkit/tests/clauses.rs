//! The suite and the contract speak of the same clauses.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::collections::BTreeSet;

use fanfare_testkit::backend::CASES;

/// Clauses that no backend alone can break or keep.
const NOT_THE_BACKENDS: [&str; 1] = ["hang"];

/// What is proved beside the contract.
const BESIDE: [&str; 1] = ["law"];

#[test]
fn every_clause_of_the_contract_has_a_case_and_every_case_a_clause() {
    let contract = include_str!("../../broker-core/src/backend/CONTRACT.md");
    let named =
        contract.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("**")).map(|(name, _)| name);
    let clauses: BTreeSet<_> = named.filter(|name| !NOT_THE_BACKENDS.contains(name)).collect();
    let proved: BTreeSet<_> = CASES.iter().map(|case| case.clause).filter(|c| !BESIDE.contains(c)).collect();
    assert_eq!(clauses, proved);
}

#[test]
fn cases_are_named_after_their_clauses_and_each_once() {
    for case in CASES {
        println!("{:60} {}", case.name, case.about);
        let clause = case.clause.replace('-', "_");
        // `down-fails`, `errors` and `own-echo` read on as sentences.
        let first = clause.split('_').next().unwrap();
        assert!(case.name.starts_with(first), "{} of {}", case.name, case.clause);
        assert!(case.about.ends_with('.'), "{}", case.name);
    }
    let names: BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), CASES.len());
}
