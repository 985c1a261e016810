//! Invalid tokens: each is refused with the reason, by every process.

use holdfast::domain::EventId;
use holdfast::domain::admission_token::{AdmissionToken, DeploymentTag, TokenKeys};
use serde_json::json;

use super::TOKEN;
use crate::support::api::{Api, Place, TOKEN_SECRET, places};
use crate::support::eventually;
use crate::support::http::Reply;

#[track_caller]
fn refused(reply: &Reply, reason: &str) {
    let body = reply.problem(403, "waiting_room_token_invalid");
    assert_eq!(body["reason"], reason, "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_token_is_refused_with_its_reason() {
    let place = Place::shared();
    let apis =
        [Api::program(&place, &[]).await.patient(), Api::program(&place, &[]).await.patient()];
    let api = &apis[0];
    let worker = place.worker();
    let (event, other) = (api.event(places(10)).await, api.event(places(10)).await);
    for event in [event, other] {
        api.enable_room(event, json!({})).await;
    }
    let token = api.joined(event, "ann").await;
    let elsewhere = api.joined(other, "ann").await;
    let bobs = api.joined(event, "bob").await;
    api.admitted(event, &token).await;
    api.admitted(event, &bobs).await;

    let (id, secret) = TOKEN_SECRET.split_once(':').unwrap();
    let elsewhere_keys =
        TokenKeys::new(DeploymentTag::of(place.name(), "x"), &[(id, secret.as_bytes())]).unwrap();
    let keys = place.token_keys().await;
    let ours = keys.verify(&token, 0).unwrap();
    let expired = keys.sign(&AdmissionToken { expires_ms: ours.issued_ms + 1, ..ours.clone() });
    let elsewheres = elsewhere_keys.sign(&ours);
    let own = DeploymentTag::of(place.name(), "x");
    let strangers = TokenKeys::new(own, &[(id, b"another secret of thirty-two bytes")]).unwrap();
    let forged = strangers.sign(&ours);
    let mut altered = token.clone().into_bytes();
    let at = altered.len() / 2;
    altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).unwrap();
    let cut = &token[..token.len() - 1];
    assert_eq!(ours.event, EventId(event as u32));

    for (bad, reason) in [
        (elsewhere.as_str(), "other_event"),
        (&altered, "altered"),
        (cut, "altered"),
        ("x", "altered"),
        (&forged, "altered"),
        (&expired, "expired"),
        (&elsewheres, "other_deployment"),
    ] {
        for api in &apis {
            refused(&api.room_status(event, bad).await, reason);
            refused(&api.leave_room(event, bad).await, reason);
            refused(&api.hold_in_room("ann", event, &[1], bad).await, reason);
        }
    }
    refused(&api.hold_in_room("ann", event, &[1], &bobs).await, "other_user");

    // After leaving, the token is invalid everywhere: for polls and for bookings.
    api.leave_room(event, &token).await.json(200);
    api.leave_room(event, &token).await.json(200);
    for api in &apis {
        refused(&api.room_status(event, &token).await, "given_up");
        api.hold_in_room("ann", event, &[1], &token).await.problem(403, "waiting_room_required");
    }
    // The other process knows as well that a waiting person has left.
    drop(worker);
    let waiting = api.joined(event, "cid").await;
    assert_eq!(apis[1].room_status(event, &waiting).await.json(200)["status"], "queued");
    api.leave_room(event, &waiting).await.json(200);
    eventually("the other process knows", super::SOON, async || {
        apis[1].room_status(event, &waiting).await.status == 403
    })
    .await;
    refused(&apis[1].room_status(event, &waiting).await, "given_up");
    // A person who joins again has a new place, and the old token none.
    let anew = api.joined(event, "cid").await;
    assert_eq!(apis[1].room_status(event, &anew).await.json(200)["status"], "queued");
    let twice = api.get(&format!("/api/v1/events/{event}/waiting-room/status"));
    let twice = twice.header(TOKEN, &anew).header(TOKEN, &bobs).send().await;
    twice.problem(400, "invalid_parameter");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_of_another_deployment_is_refused() {
    // Two deployments with the same secrets; ids of events begin with 1.
    let (staging, production) = (Place::shared(), Place::shared());
    let staging = Api::program(&staging, &[]).await.patient();
    let _worker = production.worker();
    let production = Api::program(&production, &[]).await.patient();
    let (theirs, event) = (staging.event(places(4)).await, production.event(places(4)).await);
    assert_eq!(theirs, event);
    staging.enable_room(theirs, json!({})).await;
    production.enable_room(event, json!({})).await;
    for n in 0..3 {
        production.joined(event, &format!("user-{n}")).await;
    }
    let token = staging.joined(theirs, "eve").await;
    for reply in [
        production.room_status(event, &token).await,
        production.hold_in_room("eve", event, &[1], &token).await,
    ] {
        refused(&reply, "other_deployment");
    }
}
