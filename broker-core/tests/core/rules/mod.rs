//! The rules of the core, one module each. Kernel buffers and liveness (rules 9 and 10) are the
//! transports' own, and tested there.

mod rule_01_reserve_then_commit;
mod rule_02_hand_over;
mod rule_03_one_barrier;
mod rule_04_catching_up;
mod rule_05_joined_bytes;
mod rule_06_filters;
mod rule_07_gaps;
mod rule_08_fairness;
mod rule_11_idempotency;
mod rule_12_shutdown;
