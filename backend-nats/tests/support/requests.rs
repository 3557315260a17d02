//! What JetStream is asked, by all who share the nodes' account.

use std::{collections::BTreeMap, sync::Arc};

use async_nats::Client;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::timeout};

use super::PATIENCE;

/// A request that nobody else makes: what came before it has been counted.
const MARK: &str = "$JS.API.MARK";

/// Counts requests by their kinds, as long as it lives.
pub struct Requests {
    client: Client,
    counts: Arc<Mutex<Counts>>,
    counting: JoinHandle<()>,
}

/// How often what was asked: kinds of requests, without the names in them.
#[derive(Clone, Debug, Default)]
pub struct Counts(BTreeMap<String, u64>);

impl Requests {
    pub(super) async fn start(client: Client) -> Self {
        let mut requests = client.subscribe("$JS.API.>").await.expect("a subscription");
        let counts: Arc<Mutex<Counts>> = Arc::default();
        let counting = tokio::spawn({
            let counts = counts.clone();
            async move {
                while let Some(request) = requests.next().await {
                    let kind = request.subject.trim_start_matches("$JS.API.");
                    // `STREAM.INFO.name`, `CONSUMER.MSG.NEXT.stream.consumer`: kinds are words of capitals.
                    let is_kind = |word: &&str| word.bytes().all(|byte| byte.is_ascii_uppercase());
                    let kind = kind.split('.').take_while(is_kind).collect::<Vec<_>>().join(".");
                    *counts.lock().0.entry(kind).or_default() += 1;
                }
            }
        });
        let this = Self { client, counts, counting };
        this.so_far().await;
        this
    }

    /// What was asked until now.
    pub async fn so_far(&self) -> Counts {
        let marks = || self.counts.lock().of("MARK");
        let before = marks();
        self.client.publish(MARK, "".into()).await.expect("a connection");
        let counted = async {
            while marks() == before {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, counted).await.expect("the server hands on what JetStream is asked");
        let mut counts = self.counts.lock().clone();
        counts.0.remove("MARK");
        counts
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.counting.abort();
    }
}

impl Counts {
    pub fn of(&self, kind: &str) -> u64 {
        self.0.get(kind).copied().unwrap_or_default()
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// What has been asked since.
    pub fn since(&self, before: &Self) -> Self {
        let since = self.0.iter().map(|(kind, count)| (kind.clone(), count - before.of(kind)));
        Self(since.filter(|(_, count)| *count > 0).collect())
    }
}
