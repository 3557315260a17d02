//! What a client asks of the server.

use serde_json::{Value, json};

use super::{Asked, TestClient};

impl TestClient {
    /// Brings a new token on the connection that it has. What was answered: `expires_ms`, where the token expires.
    ///
    /// # Errors
    ///
    /// The error of the wire format: `code`, `message`, ...
    pub async fn refresh(&mut self, token: &str) -> Result<Value, Value> {
        let answer = self.answered("refresh", json!({ "token": token })).await?;
        self.token = Some(token.to_owned());
        Ok(answer)
    }

    /// Subscribes to a topic or a pattern.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn subscribe(&mut self, topic: &str) {
        if let Err(error) = self.try_subscribe(topic).await {
            panic!("subscribing to {topic} is refused: {error}");
        }
    }

    /// The same where it may be refused.
    ///
    /// # Errors
    ///
    /// The error of the wire format: `code`, `message`, ...
    pub async fn try_subscribe(&mut self, topic: &str) -> Result<(), Value> {
        let mut body = json!({ "topic": topic });
        if self.watched.iter().any(|watched| watched == topic) {
            body["presence"] = true.into();
        }
        if let Some(after) = self.shared.v1.lock().cursor(topic) {
            body["after"] = after.into();
        }
        let ok = self.answered("subscribe", body).await?;
        self.shared.v1.lock().subscribed(topic, &ok);
        if !self.topics.iter().any(|known| known == topic) {
            self.topics.push(topic.to_owned());
        }
        Ok(())
    }

    /// Subscribes to a topic, and is told who is there: see [`presence`](Self::presence).
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn watch(&mut self, topic: &str) {
        if !self.watched.iter().any(|watched| watched == topic) {
            self.watched.push(topic.to_owned());
        }
        self.subscribe(topic).await;
    }

    /// Asks who is there: the answer to `presence` with this body (`topic`, `limit`, `next`).
    ///
    /// # Errors
    ///
    /// The error of the wire format: `code`, `message`, ...
    pub async fn who_is_there(&mut self, body: Value) -> Result<Value, Value> {
        self.answered("presence", body).await
    }

    /// Leaves a topic or a pattern, as it was subscribed.
    ///
    /// # Panics
    ///
    /// When it was not subscribed.
    pub async fn unsubscribe(&mut self, topic: &str) {
        if let Err(error) = self.answered("unsubscribe", json!({ "topic": topic })).await {
            panic!("unsubscribing from {topic} is refused: {error}");
        }
        self.topics.retain(|known| known != topic);
        self.watched.retain(|known| known != topic);
    }

    /// Publishes a text.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn publish(&mut self, topic: &str, text: &str) {
        if let Err(error) = self.try_publish(json!({ "topic": topic, "text": true, "data": text })).await {
            panic!("publishing to {topic} is refused: {error}");
        }
    }

    /// Publishes a value as JSON.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn publish_json(&mut self, topic: &str, value: impl Into<Value>) {
        if let Err(error) = self.try_publish(json!({ "topic": topic, "data": value.into() })).await {
            panic!("publishing to {topic} is refused: {error}");
        }
    }

    /// Publishes as the body of the command says: `topic`, `data`, `event`, `message_id`, ... Ready with what it was answered.
    ///
    /// # Errors
    ///
    /// The error of the wire format: `code`, `message`, ...
    pub async fn try_publish(&mut self, body: Value) -> Result<Value, Value> {
        self.answered("publish", body).await
    }

    /// Calls a method of the app with JSON: what it answered, a binary payload as a string of base64.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn call(&mut self, method: &str, data: impl Into<Value>) -> Value {
        self.try_call(method, data)
            .await
            .unwrap_or_else(|error| panic!("calling {method} is refused: {error}"))
    }

    /// The same where it may be refused.
    ///
    /// # Errors
    ///
    /// The error of the wire format: `code`, `message`, ...
    pub async fn try_call(&mut self, method: &str, data: impl Into<Value>) -> Result<Value, Value> {
        let mut ok = self.answered("call", json!({ "method": method, "data": data.into() })).await?;
        let field = if ok.get("base64").is_some() { "base64" } else { "data" };
        Ok(ok[field].take())
    }

    /// Answers a call of the server.
    ///
    /// # Panics
    ///
    /// When the answer is refused.
    pub async fn answer(&mut self, asked: &Asked, result: Result<Value, Value>) {
        if let Err(error) = self.answered("answer", asked.answer(result)).await {
            panic!("the answer is refused: {error}");
        }
    }
}
