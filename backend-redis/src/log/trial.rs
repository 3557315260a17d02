//! Tries what logs need of a server, before somebody needs one.

use redis::Value;

use super::Scripts;
use crate::{
    names::Names,
    wire::{
        Packed,
        value::{self, Unexpected},
    },
};

/// What a trial has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    /// The commands that the user may not use, with commas.
    pub(crate) refused: String,
    /// The policy by which the server drops keys when its memory is full, if it does.
    pub(crate) evicts: Option<String>,
}

/// The call that tries it, and a key that says where on a Cluster.
pub(crate) fn trial(scripts: &Scripts, names: &Names, publish: &str) -> (String, Packed) {
    let (keys, channel) = names.of_no_topic();
    let all = [&keys.meta, &keys.log, &keys.order, &keys.values].map(|key| key.as_bytes());
    let call = scripts.trial.call(&all, &[publish.as_bytes(), channel.as_bytes()]);
    (keys.meta, call)
}

/// The answer of [`trial`].
pub(crate) fn parse_trial(answer: Value) -> Result<Trial, Unexpected> {
    let answer = value::array(answer).ok_or(Unexpected)?;
    let [refused, limit, policy] = answer.as_slice() else { return Err(Unexpected) };
    let [refused, limit, policy] =
        [refused, limit, policy].map(|value| value::text(value).unwrap_or_default());
    let evicts = !matches!(limit, "" | "0") && !matches!(policy, "" | "noeviction");
    Ok(Trial { refused: refused.to_owned(), evicts: evicts.then(|| policy.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_evicts_where_it_has_a_limit_and_a_policy() {
        let found = |answer: [&str; 3]| {
            let values = answer.map(|text| Value::BulkString(text.into()));
            parse_trial(Value::Array(values.into())).unwrap()
        };
        for (limit, policy, evicts) in [
            ("0", "allkeys-lru", false),
            ("1000", "noeviction", false),
            ("", "", false),
            ("1000", "volatile-ttl", true),
        ] {
            let found = found(["HSET, XADD", limit, policy]);
            assert_eq!(found.refused, "HSET, XADD");
            assert_eq!(found.evicts.as_deref(), evicts.then_some(policy));
        }
        assert_eq!(parse_trial(Value::Nil), Err(Unexpected));
    }
}
