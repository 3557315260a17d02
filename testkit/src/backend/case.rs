//! The list of cases.

use futures_util::future::BoxFuture;

use super::{Cluster, cases::*};

/// One case of the suite.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Case {
    /// The name of the clause of the contract that it proves, as `hand-over`; `law` for what a cluster of brokers promises.
    pub clause: &'static str,
    /// The name of the test.
    pub name: &'static str,
    /// What the harness has to offer for it.
    pub needs: Needs,
    /// What is proved, in a sentence.
    pub about: &'static str,
    pub(super) run: fn(Cluster) -> BoxFuture<'static, ()>,
}

/// What a [`Case`] needs of a [`Harness`](super::Harness).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Needs {
    /// One node.
    Node,
    /// Several nodes, or a node that hears itself: no backend that is [inline](fanfare_core::backend::Capabilities::inline).
    Nodes,
    /// [`interrupt`](super::Harness::interrupt) and [`restore`](super::Harness::restore).
    Interruption,
    /// [`lose_interests`](super::Harness::lose_interests).
    InterestLoss,
    /// [`lose_log`](super::Harness::lose_log).
    LogLoss,
    /// [`lose_end`](super::Harness::lose_end).
    EndLoss,
    /// [`garble`](super::Harness::garble).
    Garbage,
    /// [`misconfigured`](super::Harness::misconfigured) and [`unreachable`](super::Harness::unreachable).
    BadSettings,
}

/// A case that a backend cannot pass, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exception {
    /// The case's name.
    pub case: &'static str,
    /// Why.
    pub reason: &'static str,
}

impl Exception {
    /// One case.
    #[must_use]
    pub fn new(case: &'static str, reason: &'static str) -> Self {
        Self { case, reason }
    }

    /// All cases that need something.
    pub fn all_that_need(needs: Needs, reason: &'static str) -> impl Iterator<Item = Self> {
        CASES.iter().filter(move |case| case.needs == needs).map(move |case| Self::new(case.name, reason))
    }
}

/// The case of a name.
#[must_use]
pub fn case(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

/// Gives the list of cases to another macro: clause, name, what it needs, what it proves.
#[doc(hidden)]
#[macro_export]
macro_rules! __backend_cases {
    ([$($callback:tt)*] $arguments:tt) => {
        $($callback)*! { $arguments
            ("start", start_returns_when_everything_works, Node, "A backend that has started does all it is asked.")
            ("start", start_that_was_dropped_may_be_called_again, Node, "A start that was given up leaves nothing behind, and can be repeated.")
            ("start-errors", start_errors_say_what_is_wrong, BadSettings, "Wrong settings are no reason to try again, and no password is shown.")
            ("start-errors", start_errors_of_an_absent_server_invite_a_retry, BadSettings, "A server that is not there may come.")
            ("shutdown", shutdown_calls_nothing_afterwards, Nodes, "Nothing arrives at a node that has ended.")
            ("shutdown", shutdown_leaves_no_task_and_no_connection, Node, "A node that has ended has left nothing behind.")
            ("shutdown", shutdown_acknowledges_what_was_handed_over, Node, "What was handed over before the end is stored.")
            ("shutdown", shutdown_fails_later_calls_at_once, Node, "Nobody waits for a node that has ended.")
            ("shutdown", shutdown_leaves_other_nodes_alone, Nodes, "One node's end is no other node's.")
            ("shutdown", shutdown_may_come_before_a_start, Node, "What never began can be ended.")
            ("shutdown", shutdown_keeps_its_deadline_in_an_outage, Interruption, "The end does not wait for a server that is gone.")

            ("hand-over", hand_over_is_the_call_and_not_the_future, Node, "Futures that are dropped take nothing back, and the order is that of the calls.")
            ("hand-over", hand_over_does_not_block, Node, "Thousands of messages can be handed over before the first is acknowledged, or are refused.")
            ("accepted", accepted_messages_are_stored_where_it_says, Node, "Each acknowledged position holds its message.")
            ("delivery", delivery_reaches_every_node_that_wants_it, Nodes, "Ephemeral and logged messages reach all who want them, and nobody else.")
            ("delivery", delivery_keeps_up_with_many_messages, Nodes, "Of thousands of messages each arrives, or is told to be lost.")
            ("whole", whole_messages_arrive_with_all_their_parts, Nodes, "No part of a message is lost on its way.")
            ("whole", whole_messages_are_read_with_all_their_parts, Node, "No part of a message is lost in the log.")
            ("whole", whole_messages_may_be_empty_or_large, Nodes, "Payloads of no bytes, of all bytes, and of the largest size pass.")
            ("also", also_topics_travel_as_one_message, Nodes, "Who wants one of several topics is given the message with all of them.")
            ("ephemeral-order", ephemeral_order_is_that_of_the_calls, Nodes, "Each node's messages arrive in the order in which they were handed over.")
            ("ephemeral-order", ephemeral_order_counts_messages_to_several_topics, Nodes, "A message to several topics keeps its place in each.")
            ("logged-order", logged_order_is_one_for_all_nodes, Nodes, "Nodes that publish at once are heard in one order, which is the log's.")
            ("logged-order", logged_order_is_that_of_the_calls, Node, "Messages of one node stand in the order in which they were handed over.")
            ("repeats", repeats_do_not_come_from_nowhere, Nodes, "Where nothing fails, each message arrives once.")
            ("own-echo", own_echo_brings_logged_messages_back, Nodes, "A node is given its own logged messages, with their origin.")
            ("isolation", isolation_between_topics, Nodes, "Topics whose names look alike are apart.")
            ("isolation", isolation_between_clusters, Nodes, "Clusters of different prefixes share nothing.")
            ("idempotency", idempotency_answers_with_the_first_position, Node, "A repeated message_id is a duplicate, and stored once.")
            ("idempotency", idempotency_is_scoped_to_topic_and_user, Node, "Another user's or another topic's message_id is another one.")
            ("idempotency", idempotency_ends_with_its_window, Node, "A message_id is forgotten in time, and not before.")
            ("idempotency", idempotency_holds_among_nodes_at_once, Nodes, "Of repeats on several nodes at once, one is stored and delivered.")

            ("interest", interest_holds_from_the_answer_on, Nodes, "What is handed over after subscribe has answered arrives.")
            ("interest", interest_twice_is_interest_once, Nodes, "Subscribing twice brings nothing twice, and one unsubscribe ends it.")
            ("interest", interest_is_what_was_said_last, Nodes, "Of many subscribes and unsubscribes the last one counts.")
            ("interest", interest_by_name_and_by_pattern_are_apart, Nodes, "Giving up a name or a pattern leaves the other one in force.")
            ("interest", interest_survives_calls_that_were_dropped, Nodes, "A call that was given up is settled by the next one.")
            ("top", top_is_a_position_that_was_reached, Node, "Subscribing says how far the log is, and what follows arrives.")
            ("top", top_of_an_empty_log_names_its_epoch, Node, "The first message of a log has the epoch that subscribers were told.")
            ("unsubscribe", unsubscribe_of_what_was_not_wanted_is_no_error, Node, "Giving up nothing changes nothing.")
            ("patterns", patterns_bring_what_they_match_and_nothing_else, Nodes, "Wildcards mean what the core takes them to mean.")
            ("patterns", patterns_take_other_wildcards_literally, Nodes, "Characters that mean something to a server mean nothing to a pattern.")
            ("patterns", patterns_bring_topics_that_begin_later, Nodes, "Logged and ephemeral topics that nobody knew arrive by pattern.")
            ("one-caller", one_caller_at_a_time_for_each_topic, Nodes, "No two messages of a topic are given at once.")
            ("one-caller", one_caller_may_read_the_history, Nodes, "The history can be read while a message is being given.")
            ("one-caller", one_caller_that_waits_misses_nothing_untold, Nodes, "A slow node gets each message, or is told of the loss; its other calls go on.")

            ("history", history_begins_after_an_offset, Node, "After brings the first messages behind an offset, also at the edges.")
            ("history", history_ends_before_an_offset, Node, "Before brings the last messages in front of an offset, also at the edges.")
            ("history", history_leads_through_the_log_page_by_page, Node, "Pages in both directions together are the log.")
            ("history", history_holds_what_was_acknowledged, Nodes, "What one node was acknowledged any node can read at once.")
            ("history", history_of_nothing_is_empty, Node, "A topic that was never written to can be read.")
            ("floor", floor_and_last_frame_what_is_retained, Node, "A page says what is retained.")
            ("floor", floor_of_an_emptied_log_is_its_end, Node, "A log whose messages have expired keeps its epoch and its offsets.")
            ("holes", holes_leave_what_was_before_them, EndLoss, "What a log retained before it lost its end is still read, and the hole shows.")
            ("prev", prev_is_the_message_before, Nodes, "Each message names its predecessor, in the history and on its way.")
            ("retention", retention_by_messages, Node, "A log holds as many messages as was said.")
            ("retention", retention_by_bytes, Node, "A log holds about as many bytes as was said, and always its newest message.")
            ("retention", retention_by_time, Node, "A message is not read when its time is over.")
            ("latest", latest_is_the_last_of_each_key, Node, "The last message of each key can be read in one go.")
            ("latest", latest_outlives_the_history, Node, "A key's last message stays when the history has moved on; the keys are bounded.")
            ("epoch", epoch_changes_when_a_log_is_lost, LogLoss, "A log that begins anew is another one.")

            ("state", state_tells_of_an_outage, Interruption, "A node is told that its backend is gone, and that it is back.")
            ("state", state_leaves_nothing_from_before, Interruption, "What had arrived before an outage is not given after it, not even where giving it had begun.")
            ("reconnect", reconnect_hears_everything_again, Interruption, "After an outage every topic and pattern is heard as before.")
            ("reconnect", reconnect_forgets_what_was_given_up, Interruption, "What was given up during an outage is not wanted afterwards.")
            ("late-renewal", late_renewal_is_told, InterestLoss, "What arrives no more for a while is told to be lost, and is heard again.")
            ("loss-told", loss_told_comes_after_what_came_before_it, Nodes, "A loss is told after the last message before it.")
            ("loss-told", loss_told_of_bytes_that_are_no_message, Garbage, "What nobody can read is a loss, and no end.")
            ("down-fails", down_calls_end, Interruption, "In an outage no call hangs.")
            ("errors", errors_of_publishing_are_true, Interruption, "What was acknowledged is stored; what was Unavailable is not.")
            ("control", control_reaches_the_others_in_order, Nodes, "A frame for all reaches each other node once, in order, with the sender's name.")
            ("control", control_reaches_the_one_that_is_named, Nodes, "A frame for one node reaches no other.")
            ("control", control_frames_may_be_large, Nodes, "A frame of 64 KiB passes unchanged.")

            ("law", law_messages_reach_subscribers_everywhere, Node, "Whole nodes: everything is delivered once, in order, on each.")
            ("law", law_recovery_brings_what_was_missed, Node, "Whole nodes: a subscriber goes on where it stopped, on another node.")
            ("law", law_recovery_beyond_the_log_is_a_gap, Node, "Whole nodes: what is no longer retained is told as a gap.")
            ("law", law_subscribers_begin_where_they_want, Node, "Whole nodes: last, earliest and latest begin where they say.")
            ("law", law_subscribers_come_and_go, Node, "Whole nodes: who joins a busy topic misses nothing after its reply.")
            ("law", law_logged_topics_survive_outages, Interruption, "Whole nodes: every accepted message of a logged topic is delivered after an outage.")
            ("law", law_ephemeral_topics_tell_of_outages, Interruption, "Whole nodes: what an outage took from an ephemeral topic is told as a gap.")
            ("law", law_outages_come_in_rows, Interruption, "Whole nodes: many outages during publishing, and nothing is lost untold.")
            ("law", law_recovery_tells_of_a_hole_at_its_place, EndLoss, "Whole nodes: who recovers across a hole gets what is before it, a gap, and what is behind it.")
            ("law", law_a_lost_log_is_told, LogLoss, "Whole nodes: subscribers of a log that was lost are told, and go on with the next.")
        }
    };
}

macro_rules! list {
    (() $(($clause:literal, $name:ident, $needs:ident, $about:literal))*) => {
        /// The cases of the suite, in the order of the contract.
        pub const CASES: &[Case] = &[$(Case {
            clause: $clause,
            name: stringify!($name),
            needs: Needs::$needs,
            about: $about,
            run: |cluster| Box::pin($name(cluster)),
        }),*];
    };
}

__backend_cases! { [list] () }
