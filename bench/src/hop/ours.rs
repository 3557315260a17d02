//! Fanfare's own part.

use std::time::{Duration, Instant};

use anyhow::bail;
use fanfare::{BackendFromUrl, Broker, policy::Open, subscription::Delivery, topic::TopicConfig};

use super::{
    SIZE, TASKS,
    bare::Bare,
    pace::{Arrivals, Pace, Times, stamped},
};

pub(super) async fn broker(bare: &impl Bare) -> anyhow::Result<Broker> {
    let builder = Broker::builder().policy(Open).shards(1);
    let builder = builder.topic("logged.>", TopicConfig::new().history(1000));
    Ok(builder.backend_from_url(&bare.url())?.start().await?)
}

pub(super) async fn hop(publisher: &Broker, listener: &Broker, count: u32) -> anyhow::Result<Times> {
    // Room for what comes in one go after the machine was busy with something else.
    let mut subscription = listener.subscribe("hop").queue_messages(1 << 16).await?;
    let start = Instant::now();
    let receiving = tokio::spawn(async move {
        let mut arrivals = Arrivals::new(start, count);
        while !arrivals.are_complete() {
            match subscription.recv().await {
                Some(Delivery::Message(received)) => {
                    arrivals.take(received.message().payload().as_str().unwrap_or_default());
                }
                other => bail!("nothing may be lost: {other:?}"),
            }
        }
        Ok(arrivals.times())
    });
    let mut pace = Pace::new();
    for _ in 0..count {
        pace.next().await;
        tokio::spawn(publisher.publish("hop", stamped(start)).into_future());
    }
    receiving.await?
}

pub(super) async fn logged(broker: &Broker, seconds: u32) -> anyhow::Result<f64> {
    let broker = broker.clone();
    in_tasks(seconds, move || {
        let publish = broker.publish("logged.bench", "x".repeat(SIZE));
        async { Ok(publish.await.map(drop)?) }
    })
    .await
}

/// How often a second something is done that many tasks do all the time.
pub(super) async fn in_tasks<W, F>(seconds: u32, work: W) -> anyhow::Result<f64>
where
    W: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = anyhow::Result<()>> + Send,
{
    let start = Instant::now();
    let until = start + Duration::from_secs(seconds.into());
    let task = |work: W| async move {
        let mut count = 0_u64;
        while Instant::now() < until {
            work().await?;
            count += 1;
        }
        anyhow::Ok(count)
    };
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(task(work.clone()))).collect();
    let mut count = 0;
    for task in tasks {
        count += task.await??;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}
