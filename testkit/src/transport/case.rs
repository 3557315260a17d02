//! The list of cases.

use futures_util::future::BoxFuture;

use super::{cases::*, run::Setup};

/// One case of the suite.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Case {
    /// The name of the test.
    pub name: &'static str,
    /// What is proved, in a sentence.
    pub about: &'static str,
    pub(super) run: fn(Setup) -> BoxFuture<'static, ()>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The case of a name.
#[must_use]
pub fn case(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

/// Gives the list of cases to another macro: name, what it proves.
#[doc(hidden)]
#[macro_export]
macro_rules! __transport_cases {
    ([$($callback:tt)*] $arguments:tt) => {
        $($callback)*! { $arguments
            (frames_arrive_in_order, "Hundreds of messages of all sizes arrive whole and in order.")
            (frames_carry_every_kind_of_payload, "Text, JSON and bytes arrive as they were published.")
            (frames_may_be_as_large_as_the_limit, "The largest message arrives whole.")
            (frames_of_several_topics_are_told_apart, "Each message says its topic, and no other topic's arrive.")
            (frames_reach_every_client, "All clients of a topic get the same.")

            (stall_is_the_stalled_clients_alone, "One client that does not read holds up nobody.")
            (stall_is_told_as_a_gap, "What a stalled client lost is counted and told, in its place.")
            (stall_of_a_logged_topic_loses_nothing, "A stalled client of a logged topic reads from the log, and misses nothing.")
            (stall_takes_a_bounded_amount_of_memory, "What waits for a stalled client is bounded.")

            (recovery_goes_on_where_it_stopped, "Who comes back gets what it missed, and nothing twice.")
            (recovery_beyond_the_log_is_a_gap, "Who comes back too late is told what is gone.")

            (close_says_that_the_app_ended_it, "A client that is disconnected by the app learns it.")
            (close_says_when_to_come_back, "A client of a server that drains learns when to come back.")
            (close_says_that_an_admission_has_ended, "A client whose credential has expired learns it.")
            (refusal_is_no_connection, "Who is not let in costs nothing, and disturbs nobody.")

            (end_of_a_client_frees_everything, "A client that has gone leaves no connection, subscription, message or task.")
            (end_of_a_stalled_client_frees_everything, "Also one that has gone while messages waited for it.")
            (end_runs_hooks_once, "The hooks of an end run once for each client, with its topics.")

            (drain_delivers_what_waits, "What was published before the end arrives before it.")
            (drain_lets_nobody_in, "A server that drains takes no new clients.")
            (drain_does_not_wait_for_the_stalled, "The end has a deadline, whoever does not read.")
        }
    };
}

macro_rules! list {
    (() $(($name:ident, $about:literal))*) => {
        /// The cases of the suite.
        pub const CASES: &[Case] = &[$(Case {
            name: stringify!($name),
            about: $about,
            run: |setup| Box::pin($name(setup)),
        }),*];
    };
}

__transport_cases! { [list] () }
