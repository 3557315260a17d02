//! Who may do anything on a server: by the client of its makers.

use std::time::{Duration, Instant};

use async_nats::{
    Client, ConnectOptions,
    jetstream::{self, stream},
};
use fanfare_testkit::server::Server;
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{PASSWORD, PATIENCE, USER, requests::Requests};

/// The name of the administrator's connections, by which they are known.
const NAME: &str = "administrator";

/// Where what nodes tell each other arrives: each is subscribed to it.
const NODES: &str = "fanfare.n.all";

pub struct Admin {
    /// In the nodes' account.
    pub app: Client,
    /// In the server's own.
    system: Client,
}

impl Admin {
    pub async fn of(server: &Server) -> Self {
        Self::of_user(server, USER).await
    }

    /// As another user of the nodes' account.
    pub async fn of_user(server: &Server, user: &str) -> Self {
        Self { app: connect(server, user).await, system: connect(server, "admin").await }
    }

    pub async fn publish(&self, subject: impl Into<String>, payload: impl Into<Vec<u8>>) {
        self.app.publish(subject.into(), payload.into().into()).await.expect("a connection");
        self.app.flush().await.expect("a connection");
    }

    pub fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.app.clone())
    }

    /// Whether JetStream answers.
    pub async fn has_jetstream(&self) -> bool {
        let answer = self.app.request("$JS.API.INFO", "".into()).await;
        answer.is_ok_and(|answer| !String::from_utf8_lossy(&answer.payload).contains("\"error\""))
    }

    /// The names of the streams that hold logs.
    pub async fn logs(&self) -> Vec<String> {
        let names: Vec<String> = self.jetstream().stream_names().try_collect().await.expect("an answer");
        names.into_iter().filter(|name| name.contains("-log-")).collect()
    }

    /// The one stream that holds logs.
    pub async fn log(&self) -> stream::Info {
        let names = self.logs().await;
        let [name] = &*names else { panic!("one stream of logs: {names:?}") };
        let mut stream = self.jetstream().get_stream(name).await.expect("a stream");
        stream.info().await.expect("an answer").clone()
    }

    /// Makes a stream for logs as an operator does; one of its name is deleted before.
    pub async fn make_log(&self, name: &str) -> stream::Config {
        let republish = stream::Republish {
            source: "fanfare.l.>".into(),
            destination: "fanfare.m.>".into(),
            headers_only: false,
        };
        let config = stream::Config {
            name: name.into(),
            subjects: vec!["fanfare.l.>".into()],
            max_messages_per_subject: 200_000,
            duplicate_window: Duration::from_secs(120),
            republish: Some(republish),
            allow_direct: true,
            ..stream::Config::default()
        };
        let _ = self.jetstream().delete_stream(name).await;
        self.jetstream().create_stream(config.clone()).await.expect("a stream");
        config
    }

    /// The same for last values.
    pub async fn make_values(&self) {
        let config = stream::Config {
            name: "fanfare-values".into(),
            subjects: vec!["fanfare.v.>".into()],
            max_messages_per_subject: 1,
            allow_direct: true,
            ..stream::Config::default()
        };
        self.jetstream().create_stream(config).await.expect("a stream");
    }

    /// Deletes the streams that hold logs.
    pub async fn delete_logs(&self) {
        for name in self.logs().await {
            self.jetstream().delete_stream(name).await.expect("an answer");
        }
    }

    /// Asks all servers about themselves; the first answer counts.
    pub async fn ask(&self, what: &str, payload: Value) -> Value {
        let answer = self.system.request(format!("$SYS.REQ.SERVER.{what}"), payload.to_string().into()).await;
        serde_json::from_slice(&answer.expect("an answer").payload).expect("JSON")
    }

    /// The connections of this server on which nodes receive: their numbers, and the name of the server.
    pub async fn nodes(&self) -> (Vec<u64>, String) {
        let query = json!({ "subscriptions": true, "limit": 10_000 });
        // Of a cluster only this server is meant.
        let id = self.system.server_info().server_id;
        let answer = self.ask(&format!("{id}.CONNZ"), query).await;
        let server = answer["server"]["id"].as_str().expect("a name").to_owned();
        let connections = answer["data"]["connections"].as_array().expect("a list").iter();
        let nodes = connections.filter(|connection| {
            let subjects = connection["subscriptions_list"].as_array();
            connection["name"] != NAME && subjects.is_some_and(|subjects| subjects.iter().any(|s| s == NODES))
        });
        (nodes.map(|node| node["cid"].as_u64().expect("a number")).collect(), server)
    }

    /// What nodes are subscribed to on this server, each as often as it is.
    pub async fn subjects(&self) -> Vec<String> {
        let query = json!({ "subscriptions": true, "limit": 10_000 });
        let id = self.system.server_info().server_id;
        let answer = self.ask(&format!("{id}.CONNZ"), query).await;
        let connections = answer["data"]["connections"].as_array().expect("a list").iter();
        let nodes = connections.filter(|connection| connection["name"] != NAME);
        let subjects = nodes.filter_map(|node| node["subscriptions_list"].as_array()).flatten();
        subjects.filter_map(|subject| subject.as_str().map(ToOwned::to_owned)).collect()
    }

    /// Counts what JetStream is asked from now on.
    pub async fn requests(&self) -> Requests {
        Requests::start(self.app.clone()).await
    }

    /// How many messages a stream holds of a subject.
    pub async fn count(&self, stream: &str, subject: &str) -> u64 {
        let question = json!({ "subjects_filter": subject }).to_string();
        let answer = self.app.request(format!("$JS.API.STREAM.INFO.{stream}"), question.into()).await;
        let answer: Value = serde_json::from_slice(&answer.expect("an answer").payload).expect("JSON");
        answer["state"]["subjects"][subject].as_u64().unwrap_or_default()
    }

    /// Ends connections: from 2.10 on.
    pub async fn kick(&self, connections: &[u64], server: &str) {
        for connection in connections {
            let answer = self.ask(&format!("{server}.KICK"), json!({ "cid": connection })).await;
            // It may have ended by itself.
            eprintln!("kick {connection}: {}", answer["error"]);
        }
    }
}

async fn connect(server: &Server, user: &str) -> Client {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let options = ConnectOptions::with_user_and_password(user.into(), PASSWORD.into()).name(NAME);
        match options.connect(server.addr().to_string()).await {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < deadline, "no connection: {error}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}
