//! People are admitted exactly in the order of their numbers, whichever process they poll.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use serde_json::json;

use super::SOON;
use crate::support::api::{Api, Place, number_in, places};
use crate::support::eventually;
use crate::support::http::Client;

/// Number of people who join.
const JOINERS: usize = 300;
/// Concurrent joins.
const AT_ONCE: usize = 32;
/// Concurrent sessions.
const CONCURRENT: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admission_follows_the_order_of_numbers() {
    let place = Place::shared();
    let mut apis = Vec::new();
    for _ in 0..4 {
        apis.push(Api::program(&place, &[]).await.patient());
    }
    let _workers = [place.worker(), place.worker()];
    let event = apis[0].event(places(1_000)).await;
    let settings =
        json!({ "max_concurrent": CONCURRENT, "session_duration": 1, "claim_window": 5 });
    apis[0].enable_room(event, settings).await;
    let api = |n: usize| -> &Client { &apis[n % apis.len()] };
    let joins = stream::iter((0..JOINERS).map(|n| async move {
        let token = api(n).joined(event, &format!("user-{n}")).await;
        (number_in(&token), token)
    }));
    let tokens: HashMap<u64, String> = joins.buffer_unordered(AT_ONCE).collect().await;
    let numbers: Vec<u64> = (1..=JOINERS as u64).collect();
    let mut given: Vec<u64> = tokens.keys().copied().collect();
    given.sort_unstable();
    assert_eq!(given, numbers, "each number once");

    // In each round everybody polls, each a different process. An admitted person's number was served,
    // and so was every lower one: their owners may claim as soon as the polled process knows. No
    // position rises, whichever process reports it.
    let (mut admitted, mut positions) = (Vec::<u64>::new(), HashMap::<u64, u64>::new());
    let mut round = 0;
    eventually("all are let in", SOON * 3, async || {
        round += 1;
        let highest_before = admitted.iter().max().copied().unwrap_or_default();
        let mut passed_over = Vec::new();
        let waiting: Vec<u64> =
            numbers.iter().copied().filter(|number| !admitted.contains(number)).collect();
        let polls = stream::iter(waiting.into_iter().map(|number| {
            let token = &tokens[&number];
            async move { (number, api(number as usize + round).room_status(event, token).await) }
        }));
        let polls: Vec<_> = polls.buffer_unordered(AT_ONCE).collect().await;
        for (number, reply) in polls {
            if reply.status == 403 {
                // Admitted by a response that was lost, or too slow to claim: on a busy machine.
                let reason = reply.problem(403, "waiting_room_token_invalid")["reason"].clone();
                assert!(
                    ["lapsed", "session_ended"].contains(&reason.as_str().unwrap()),
                    "{reason}"
                );
                admitted.push(number);
                continue;
            }
            let status = reply.json(200);
            if status["admitted"] == true {
                admitted.push(number);
                continue;
            }
            if number < highest_before {
                passed_over.push(number);
            }
            let position = status["position"].as_u64().unwrap();
            let previous = positions.insert(number, position).unwrap_or(u64::MAX);
            assert!(position <= previous, "{number} was at {previous}, is at {position}");
        }
        let served = api(round).room_stats(event).await["served"].as_u64().unwrap();
        assert!(admitted.iter().all(|number| *number <= served), "{admitted:?}, served {served}");
        for number in passed_over {
            eventually("who was served may claim", SOON, async || {
                let reply = api(round).room_status(event, &tokens[&number]).await;
                reply.status == 403 || reply.json(200)["admitted"] == true
            })
            .await;
            admitted.push(number);
        }
        admitted.len() == JOINERS
    })
    .await;
}
