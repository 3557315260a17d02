//! How the stream is configured: made so, checked, and changed where it holds too little.

use std::time::Duration;

use fanfare_core::{backend::BackendErrorKind, message::Epoch};
use serde_json::json;

use super::{Limits, Logs, Stream, identity, limits::FOREVER};
use crate::{
    error::Trouble,
    log::api::{Config, Info, Refusal, Republish},
    settings::{LogSettings, Storage, Streams},
};

impl Logs {
    pub(in crate::log) fn config_of_values(&self) -> Config {
        self.config(Limits::default(), Epoch::new(0))
    }

    pub(super) fn config(&self, needs: Limits, epoch: Epoch) -> Config {
        let LogSettings { storage, replicas, .. } = &self.settings.logs;
        let (src, dest) = (self.names.logs(), self.names.all_messages());
        Config {
            name: self.names.stream(epoch),
            description: "Logs of Fanfare's topics. Delete it, and all logs begin anew.".to_owned(),
            subjects: vec![src.clone()],
            retention: "limits".to_owned(),
            discard: "old".to_owned(),
            storage: storage_name(*storage).to_owned(),
            max_msgs: -1,
            max_bytes: -1,
            max_consumers: -1,
            max_msgs_per_subject: i64::try_from(needs.messages).unwrap_or(i64::MAX),
            max_age: age(needs.age),
            num_replicas: *replicas,
            duplicate_window: nanoseconds(needs.window),
            allow_direct: true,
            republish: Some(Republish { src, dest, headers_only: false }),
            more: serde_json::Map::new(),
        }
    }

    /// Whether a stream holds logs as they have to be held. One of our own is changed where it does not, and replaced where it has
    /// lost its end.
    pub(super) async fn check(
        &self,
        info: Info,
        needs: Limits,
        reached: u64,
    ) -> Result<Option<Stream>, Trouble> {
        let Info { config, created, state, .. } = info;
        let is_ours = self.names.epoch(&config.name);
        let logs = &self.settings.logs;
        let is_managed = logs.streams == Streams::Managed;
        let name = &config.name;
        if is_managed && is_ours.is_none() {
            return Err(Trouble::configuration(format!(
                "the stream {name} takes {}, and is none that the backend has created: remove it, choose another prefix, or set \
                 Streams::Checked",
                self.names.logs()
            )));
        }
        if state.last_seq < reached {
            return self.replace(config, reached, is_managed).await;
        }
        let wanted = Config { name: name.clone(), ..self.config(needs, Epoch::new(0)) };
        if let Some(what) = unfit(&config, &wanted) {
            return Err(Trouble::configuration(format!(
                "the stream {name} has {what}: change it, or remove it"
            )));
        }
        let held = limits_of(&config);
        if is_managed {
            if config.storage != wanted.storage {
                return Err(Trouble::configuration(format!(
                    "the stream {name} keeps messages in {}, and the settings say {}: set the storage so, or remove the stream",
                    config.storage, wanted.storage
                )));
            }
            let limits = held.with(needs);
            if limits != held || config.num_replicas != wanted.num_replicas {
                return self.update(config, limits, wanted.num_replicas).await;
            }
        } else if !held.hold(Limits { window: Duration::ZERO, ..needs }) {
            return Err(Trouble::configuration(format!(
                "the stream {name} holds too little: topics need max_msgs_per_subject {} and max_age {:?} at the least",
                needs.messages, needs.age
            )));
        } else if held.window < needs.window {
            return Err(Trouble::configuration(format!(
                "the stream {name} remembers message ids for too short a time: topics need a duplicate_window of {:?}",
                needs.window
            )));
        }
        self.has_reached(name, state.last_seq);
        let epoch = is_ours.unwrap_or_else(|| identity(name, &created));
        let limits = if is_managed { held } else { held.with(needs) };
        Ok(Some(Stream { name: name.as_str().into(), epoch, limits, replicas: config.num_replicas }))
    }

    async fn update(
        &self,
        config: Config,
        limits: Limits,
        replicas: usize,
    ) -> Result<Option<Stream>, Trouble> {
        let config = Config {
            max_msgs_per_subject: i64::try_from(limits.messages).unwrap_or(-1),
            max_age: age(limits.age),
            duplicate_window: nanoseconds(limits.window),
            num_replicas: replicas,
            ..config
        };
        match self.api.change::<Info>(&format!("STREAM.UPDATE.{}", config.name), &config).await {
            // What came of it is looked at: another node may have changed it, too.
            Ok(_) => Ok(None),
            Err(refusal) if refusal.is_gone() => Ok(None),
            Err(refusal) => Err(refusal.into_trouble()),
        }
    }

    /// A stream that ends before an offset that it has given has lost its end: another message may get that offset. What it still holds is
    /// the operator's: it is set aside, and nothing of it deleted.
    async fn replace(
        &self,
        config: Config,
        reached: u64,
        is_managed: bool,
    ) -> Result<Option<Stream>, Trouble> {
        let name = config.name.clone();
        // Looked at once more, a little later, before anything is done.
        tokio::time::sleep(BEFORE_ACTING).await;
        let last = match self.api.ask::<Info>(&format!("STREAM.INFO.{name}"), &json!({})).await {
            Ok(info) => info.state.last_seq,
            Err(refusal) if refusal.is_gone() => return Ok(None),
            Err(refusal) => return Err(refusal.into_trouble()),
        };
        if last >= reached {
            return Ok(None);
        }
        if !is_managed {
            return Err(Trouble::new(
                BackendErrorKind::Corrupt,
                format!(
                    "the stream {name} has lost its last messages: remove it and create it anew, so that nobody takes new ones for old"
                ),
            ));
        }
        let aside = self.names.aside(&name);
        // Nobody reads it any more who has not heard of it.
        let config = Config { subjects: vec![aside.clone()], allow_direct: false, ..config };
        match self.api.change::<Info>(&format!("STREAM.UPDATE.{name}"), &config).await {
            Ok(_) => {}
            Err(refusal) if refusal.is_gone() => return Ok(None),
            // An older server lets no stream that publishes again have other subjects: then there is only one way to go on.
            Err(Refusal::Error(_)) if self.version() < SETS_ASIDE => {
                return self.delete(&name, last, reached).await;
            }
            Err(refusal) => return Err(refusal.into_trouble()),
        }
        tracing::warn!(
            target: "fanfare::nats", stream = name, last, reached, subject = aside,
            "the stream ends before a message that it had stored: all logs begin anew in another one. It is set aside with what it \
             still holds: look at it if you need any of it, then remove it (`nats stream rm`)"
        );
        Ok(None)
    }

    async fn delete(&self, name: &str, last: u64, reached: u64) -> Result<Option<Stream>, Trouble> {
        tracing::warn!(
            target: "fanfare::nats", stream = name, last, reached,
            "the stream ends before a message that it had stored: it is deleted, and all logs begin anew. From NATS 2.10 on it would be kept"
        );
        match self.api.change::<serde_json::Value>(&format!("STREAM.DELETE.{name}"), &json!({})).await {
            Ok(_) => Ok(None),
            Err(refusal) if refusal.is_gone() => Ok(None),
            Err(refusal) => Err(refusal.into_trouble()),
        }
    }
}

/// The oldest version that lets a stream be set aside.
const SETS_ASIDE: (u64, u64) = (2, 10);

/// How long it is waited before a stream that seems to have lost its end is looked at once more.
const BEFORE_ACTING: Duration = Duration::from_millis(200);

/// What a stream holds of each topic.
pub(super) fn limits_of(config: &Config) -> Limits {
    let most = u64::try_from(config.max_msgs_per_subject).ok().filter(|most| *most > 0);
    Limits {
        messages: most.unwrap_or(u64::MAX),
        age: if config.max_age == 0 { Duration::MAX } else { Duration::from_nanos(config.max_age) },
        window: Duration::from_nanos(config.duplicate_window),
    }
}

/// What a stream has that logs cannot do with.
fn unfit(config: &Config, wanted: &Config) -> Option<String> {
    if config.subjects != wanted.subjects {
        return Some(format!("other subjects than {}", wanted.subjects.join(", ")));
    }
    let republish = |config: &Config| config.republish.clone().unwrap_or_default();
    if republish(config) != republish(wanted) {
        let Republish { src, dest, .. } = republish(wanted);
        return Some(format!("another republish than from {src} to {dest}, of whole messages"));
    }
    unfit_in(config)
}

/// What a stream has that neither logs nor last values can do with.
pub(in crate::log) fn unfit_in(config: &Config) -> Option<String> {
    let says = |name: &str| config.more.get(name).and_then(serde_json::Value::as_bool).unwrap_or_default();
    let has = |name: &str| config.more.get(name).is_some_and(|value| !value.is_null());
    if config.retention != "limits" || config.discard != "old" {
        return Some("another retention than limits, or another discard than old".to_owned());
    }
    if !config.allow_direct || says("sealed") || says("no_ack") || has("mirror") {
        return Some(
            "no direct reads (allow_direct), no acknowledgements, or is sealed or a mirror".to_owned(),
        );
    }
    if says("deny_purge") || has("subject_transform") || has("sources") || has("subject_delete_marker_ttl") {
        return Some(
            "deny_purge, so that nothing is trimmed, or messages of others: subject_transform, sources, delete markers".to_owned(),
        );
    }
    None
}

fn storage_name(storage: Storage) -> &'static str {
    match storage {
        Storage::File => "file",
        Storage::Memory => "memory",
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How long messages are held: 0 is for ever.
fn age(time: Duration) -> u64 {
    if time >= FOREVER { 0 } else { nanoseconds(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_logs_cannot_do_with_is_seen() {
        let of = |more: serde_json::Value| -> Config {
            let mut config = json!({
                "name": "logs", "subjects": ["p.l.>"], "retention": "limits", "discard": "old", "storage": "file",
                "max_msgs": -1, "max_bytes": -1, "max_consumers": -1, "max_msgs_per_subject": 64, "max_age": 0,
                "num_replicas": 1, "allow_direct": true, "republish": { "src": "p.l.>", "dest": "p.m.>" },
            });
            let fields = config.as_object_mut().unwrap();
            fields.extend(more.as_object().unwrap().clone());
            serde_json::from_value(config).unwrap()
        };
        let wanted = of(json!({}));
        for fits in
            [json!({}), json!({ "deny_delete": true, "sealed": false, "mirror": null, "compression": "s2" })]
        {
            assert_eq!(unfit(&of(fits.clone()), &wanted), None, "{fits}");
        }
        for unfits in [
            json!({ "subjects": ["p.l.>", "x"] }),
            json!({ "republish": null }),
            json!({ "republish": { "src": "p.l.>", "dest": "p.m.>", "headers_only": true } }),
            json!({ "retention": "interest" }),
            json!({ "discard": "new" }),
            json!({ "allow_direct": false }),
            json!({ "sealed": true }),
            json!({ "deny_purge": true }),
            json!({ "subject_transform": { "src": ">", "dest": "x.>" } }),
            json!({ "subject_delete_marker_ttl": 1_000_000_000 }),
            json!({ "sources": [{ "name": "other" }] }),
        ] {
            assert!(unfit(&of(unfits.clone()), &wanted).is_some(), "{unfits}");
        }
    }
}
