//! Backends that are wrong in one respect each: the suite has to find each of them, by the case that is named for it.
//! The same backend without a fault passes all.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod absence;
mod arrivals;
mod fault;
mod harness;
mod pages;
mod twisted;

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use fanfare_testkit::backend::{CASES, Cluster, case, run_case};
use fault::Fault;
use harness::Twisted;

mod without_a_fault {
    fanfare_testkit::backend_tests!(super::Twisted);
}

/// The fault has to make the case fail.
fn fails(fault: Fault, name: &str) {
    let case = case(name).unwrap_or_else(|| panic!("no case is called {name}"));
    let cluster = Cluster::new(Arc::new(Twisted::with(fault)), Duration::from_secs(5));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let failed = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run_case(case, cluster))));
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

        /// The clauses of the cases that find a mutant.
        fn clauses() -> BTreeSet<&'static str> {
            [$($(stringify!($case)),+),*].into_iter().filter_map(|name| Some(case(name)?.clause)).collect()
        }
    };
}

mutants! {
    start_that_is_not_done: StartsLater => start_returns_when_everything_works;
    start_that_leaves_a_task_when_dropped: StartLeavesTask => start_that_was_dropped_may_be_called_again;
    start_that_blames_the_network: CallsEverythingUnavailable => start_errors_say_what_is_wrong;
    start_that_shows_the_password: ShowsPassword => start_errors_say_what_is_wrong;
    start_that_gives_up_on_the_network: CallsEverythingConfiguration => start_errors_of_an_absent_server_invite_a_retry;
    shutdown_that_is_none: NeverEnds => shutdown_calls_nothing_afterwards, shutdown_fails_later_calls_at_once;
    shutdown_that_leaves_a_task: LeavesTask => shutdown_leaves_no_task_and_no_connection, shutdown_may_come_before_a_start;
    shutdown_that_leaves_a_connection: LeavesConnection => shutdown_leaves_no_task_and_no_connection;
    shutdown_that_drops_what_it_was_given: DropsAtShutdown => shutdown_acknowledges_what_was_handed_over;
    shutdown_that_waits_for_ever: WaitsAtShutdown => shutdown_keeps_its_deadline_in_an_outage;
    shutdown_of_everybody: ShutsEverybodyDown => shutdown_leaves_other_nodes_alone;

    lazy: HandsOverWhenPolled => hand_over_is_the_call_and_not_the_future;
    overfull: OverfullIsRefused => hand_over_does_not_block;
    acknowledges_before_storing: AcknowledgesBeforeStoring => accepted_messages_are_stored_where_it_says, history_holds_what_was_acknowledged;
    lossy: Lossy => delivery_reaches_every_node_that_wants_it, delivery_keeps_up_with_many_messages, law_messages_reach_subscribers_everywhere;
    chatty: DeliversUnwanted => delivery_reaches_every_node_that_wants_it;
    forgets_exclusions: ForgetsExcept => whole_messages_arrive_with_all_their_parts;
    forgets_keys_in_the_log: ForgetsKeysInTheLog => whole_messages_are_read_with_all_their_parts;
    text_only: MakesText => whole_messages_may_be_empty_or_large;
    forgets_further_topics: ForgetsAlso => also_topics_travel_as_one_message, ephemeral_order_counts_messages_to_several_topics;
    reordering: Reorders => ephemeral_order_is_that_of_the_calls, logged_order_is_one_for_all_nodes;
    reordering_publishes: ReordersPublishes => logged_order_is_that_of_the_calls;
    duplicating: Duplicates => repeats_do_not_come_from_nowhere;
    double_echo: EchoesTwice => repeats_do_not_come_from_nowhere;
    no_echo: EchoesNothing => own_echo_brings_logged_messages_back;
    nameless_echo: ForgetsLoggedOrigin => own_echo_brings_logged_messages_back;
    cross_topic: MixesCase => isolation_between_topics;
    leaky_prefix: LeaksPrefix => isolation_between_clusters;
    forgets_idempotency: ForgetsIds => idempotency_answers_with_the_first_position, idempotency_holds_among_nodes_at_once;
    idempotency_for_all_users: IdsWithoutUsers => idempotency_is_scoped_to_topic_and_user;
    idempotency_for_ever: IdsForEver => idempotency_ends_with_its_window;

    late: SubscribesLater => interest_holds_from_the_answer_on;
    counts_subscribes: CountsSubscribes => interest_twice_is_interest_once;
    ignores_later_subscribes: SubscribesOnce => interest_is_what_was_said_last;
    patterns_and_names_in_one: ForgetsPatternsWithNames => interest_by_name_and_by_pattern_are_apart;
    poisoned_by_a_dropped_call: PoisonedByDrop => interest_survives_calls_that_were_dropped;
    top_ahead: TopAhead => top_is_a_position_that_was_reached;
    top_made_up: TopMadeUp => top_of_an_empty_log_names_its_epoch;
    unsubscribe_only_once: UnsubscribeTwiceFails => unsubscribe_of_what_was_not_wanted_is_no_error;
    greedy_patterns: GreedyPatterns => patterns_bring_what_they_match_and_nothing_else;
    glob_patterns: GlobPatterns => patterns_take_other_wildcards_literally;
    patterns_for_known_topics: PatternsOfKnownTopics => patterns_bring_topics_that_begin_later;
    concurrent: DeliversConcurrently => one_caller_at_a_time_for_each_topic;
    locked_while_delivering: LockedWhileDelivering => one_caller_may_read_the_history;
    swallows_lost: SwallowsLost => one_caller_that_waits_misses_nothing_untold;

    off_by_one: ReadsFromOffset => history_begins_after_an_offset;
    off_by_one_backwards: ReadsToOffset => history_ends_before_an_offset;
    no_more: NeverMore => history_leads_through_the_log_page_by_page;
    stale_history: StaleHistory => history_holds_what_was_acknowledged;
    history_made_up: RefusesUnknownLogs => history_of_nothing_is_empty;
    no_floor: FloorOfZero => floor_and_last_frame_what_is_retained;
    new_epoch_when_emptied: EmptiedIsLost => floor_of_an_emptied_log_is_its_end;
    wrong_prev: WrongPrev => prev_is_the_message_before;
    keeps_too_much: KeepsTooMuch => retention_by_messages, retention_by_bytes;
    keeps_too_long: KeepsTooLong => retention_by_time;
    keeps_too_short: KeepsTooShort => retention_by_time;
    oldest_of_each_key: LatestInWrongOrder => latest_is_the_last_of_each_key;
    latest_of_the_history: LatestOfTheHistory => latest_outlives_the_history;
    epoch_kept_after_loss: KeepsEpoch => epoch_changes_when_a_log_is_lost, law_a_lost_log_is_told;

    silent_outage: SwallowsState => state_tells_of_an_outage;
    deaf_after_reconnect: DeafAfterReconnect => reconnect_hears_everything_again, law_ephemeral_topics_tell_of_outages, law_logged_topics_survive_outages;
    partial_after_reconnect: PartialAfterReconnect => reconnect_hears_everything_again;
    remembers_what_was_given_up: RenewsEverything => reconnect_forgets_what_was_given_up;
    silent_renewal: RenewsSilently => late_renewal_is_told;
    no_renewal: NeverRenews => late_renewal_is_told;
    loss_told_too_early: TellsLossFirst => loss_told_comes_after_what_came_before_it;
    ignores_garbage: IgnoresGarbage => loss_told_of_bytes_that_are_no_message;
    hangs_in_an_outage: HangsWhileDown => down_calls_end;
    lies_about_what_it_stored: LiesAboutStoring => errors_of_publishing_are_true;
    control_echo: ControlEcho => control_reaches_the_others_in_order;
    control_for_all: ControlForAll => control_reaches_the_one_that_is_named;
    short_control: ShortControl => control_frames_may_be_large;

    forgets_what_is_before_holes: ForgetsWhatIsBeforeHoles => holes_leave_what_was_before_them, law_recovery_tells_of_a_hole_at_its_place;
    covers_holes: CoversHoles => holes_leave_what_was_before_them;
    gives_what_had_begun: GivesWhatHadBegun => state_leaves_nothing_from_before;
    hides_holes: HidesHoles => law_recovery_beyond_the_log_is_a_gap;
}

#[test]
fn every_clause_has_a_mutant() {
    let all: BTreeSet<_> = CASES.iter().map(|case| case.clause).collect();
    assert_eq!(clauses(), all);
}
