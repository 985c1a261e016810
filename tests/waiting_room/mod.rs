//! Waiting rooms over HTTP and sockets, with real API and worker processes.

mod crowd;
mod draw;
mod loss;
mod memory;
mod moving;
mod order;
mod polls;
mod surge;
mod switch;
mod tokens;
mod walkthrough;

use std::time::Duration;

use serde_json::Value;

use crate::support::eventually;
use crate::support::http::{Client, Reply};

/// How long a worker may take to admit somebody, on a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// The header of an admission token.
const TOKEN: &str = "X-Waiting-Room-Token";

impl Client {
    /// Switches a room on, with these settings.
    async fn enable_room(&self, event: u64, settings: Value) -> Value {
        let path = format!("/api/v1/events/{event}/waiting-room/enable");
        self.post(&path).json(settings).send().await.json(200)
    }

    async fn join_room(&self, event: u64, user: &str) -> Reply {
        self.post(&format!("/api/v1/events/{event}/waiting-room/join")).user(user).send().await
    }

    /// Joins and returns the token.
    async fn joined(&self, event: u64, user: &str) -> String {
        let joined = self.join_room(event, user).await.json(200);
        joined["token"].as_str().unwrap_or_else(|| panic!("no token: {joined}")).to_owned()
    }

    async fn room_status(&self, event: u64, token: &str) -> Reply {
        let path = format!("/api/v1/events/{event}/waiting-room/status?token={token}");
        self.get(&path).send().await
    }

    async fn leave_room(&self, event: u64, token: &str) -> Reply {
        let path = format!("/api/v1/events/{event}/waiting-room/leave");
        self.post(&path).header(TOKEN, token).send().await
    }

    async fn room_stats(&self, event: u64) -> Value {
        let path = format!("/api/v1/events/{event}/waiting-room/stats");
        self.get(&path).send().await.json(200)
    }

    /// Polls until admitted.
    async fn admitted(&self, event: u64, token: &str) -> Value {
        let mut status = Value::Null;
        eventually("admitted", SOON, async || {
            status = self.room_status(event, token).await.json(200);
            status["admitted"] == true
        })
        .await;
        status
    }

    async fn hold_in_room(&self, user: &str, event: u64, seats: &[u32], token: &str) -> Reply {
        let body = serde_json::json!({ "event_id": event, "seat_ids": seats });
        self.post("/api/v1/bookings").user(user).header(TOKEN, token).json(body).send().await
    }
}
