//! Transports that are wrong in one respect each: the suite has to find each of them, by the case that is named for it.
//! The same transport without a fault passes all.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod encoder;
mod fault;
mod harness;
mod server;

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use fanfare_testkit::transport::{CASES, Setup, case, run_case};
use fault::Fault;
use harness::Piped;

mod without_a_fault {
    fanfare_testkit::transport_tests!(super::Piped);
}

/// The fault has to make the case fail.
fn fails(fault: Fault, name: &str) {
    let case = case(name).unwrap_or_else(|| panic!("no case is called {name}"));
    let setup = Setup::new(Duration::from_secs(5), move |broker| async move { Piped::with(fault, &broker) });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let failed = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run_case(case, setup))));
    assert!(failed.is_err(), "{name} does not find {fault:?}");
}

macro_rules! mutants {
    ($($name:ident: $fault:ident => $($case:ident),+;)*) => {
        $(
            #[test]
            fn $name() {
                $(fails(Fault::$fault, stringify!($case));)+
            }
        )*

        /// The cases that find a mutant.
        fn finders() -> BTreeSet<&'static str> {
            [$($(stringify!($case)),+),*].into_iter().collect()
        }
    };
}

mutants! {
    reordering: Reorders => frames_arrive_in_order;
    breaks_at_line_ends: BreaksLines => frames_carry_every_kind_of_payload;
    all_is_json: AllIsJson => frames_carry_every_kind_of_payload;
    short: CutsLarge => frames_may_be_as_large_as_the_limit;
    cross_topic: MixesCase => frames_of_several_topics_are_told_apart;
    forgets_a_client: ForgetsThird => frames_reach_every_client;
    one_writer_for_all: SharedWriter => stall_is_the_stalled_clients_alone;
    swallows_gaps: SwallowsGaps => stall_is_told_as_a_gap, recovery_beyond_the_log_is_a_gap;
    drops_when_full: DropsWhenFull => stall_is_told_as_a_gap, stall_of_a_logged_topic_loses_nothing;
    hoards: Hoards => stall_takes_a_bounded_amount_of_memory;
    ignores_cursors: IgnoresCursors => recovery_goes_on_where_it_stopped;
    starts_over: StartsOver => recovery_goes_on_where_it_stopped;
    leaves_without_a_word: NoCloseFrame => close_says_that_the_app_ended_it, close_says_when_to_come_back, close_says_that_an_admission_has_ended;
    no_hint: NoRetryHint => close_says_when_to_come_back;
    admits_for_ever: IgnoresDeadline => close_says_that_an_admission_has_ended;
    lets_all_in: IgnoresTokens => refusal_is_no_connection;
    serves_on: NeverReads => end_of_a_client_frees_everything, end_of_a_stalled_client_frees_everything;
    leaves_a_task: LeavesTask => end_of_a_client_frees_everything;
    waits_to_write: WaitsToWrite => drain_does_not_wait_for_the_stalled;
    no_hooks: DropsSession => end_runs_hooks_once;
    hasty: GivesUpQueue => drain_delivers_what_waits;
    late_guests: WelcomesWhileDraining => drain_lets_nobody_in;
}

#[test]
fn every_case_finds_a_mutant() {
    let all: BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(finders(), all);
}
