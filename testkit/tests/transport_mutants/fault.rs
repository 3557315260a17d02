//! What can be wrong.

/// What is wrong with a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing: it passes.
    None,
    Reorders,
    BreaksLines,
    AllIsJson,
    CutsLarge,
    MixesCase,
    ForgetsThird,
    SharedWriter,
    SwallowsGaps,
    DropsWhenFull,
    Hoards,
    IgnoresCursors,
    StartsOver,
    NoCloseFrame,
    NoRetryHint,
    IgnoresDeadline,
    IgnoresTokens,
    NeverReads,
    LeavesTask,
    WaitsToWrite,
    DropsSession,
    GivesUpQueue,
    WelcomesWhileDraining,
}
