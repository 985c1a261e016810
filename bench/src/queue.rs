//! The cost of a long queue in Redis: memory for each join (`used_memory` of `INFO`, before the first
//! join and after the last), and the time of a status read and of an admission beside so many people.

use std::error::Error;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use holdfast::domain::{DrawState, Floors, Layout, RoomSettings, UserId};
use holdfast::redis::{Engine, RoomConfiguration, RoomJoinReply};

use super::decisions::median;
use super::stage::{Stage, rows_of_a_hundred};

/// Rows of a hundred seats: admission checks whether the event is sold out.
const ROWS: u32 = 100;
/// Joins under way at once.
const UNDER_WAY: usize = 200;
/// Joins between two signs of progress.
const PROGRESS_EVERY: u64 = 10_000;
/// Looks that are timed.
const LOOKS: u32 = 200;
/// Admissions that are timed.
const ADMISSIONS: u32 = 30;
/// Time between two admissions: longer than the shortest time between two batches, a hundredth of
/// the claim window, so that each can open one.
const ADMIT_EVERY: Duration = Duration::from_millis(350);
/// Places that one admission opens.
const PLACES_A_BATCH: u32 = 100;
/// Sessions and open places that the room allows.
const CONCURRENT: u32 = 100_000;
/// How long a room that is off is kept, ms.
const KEEP_MS: u64 = 86_400_000;
/// The most memory that a join may take, bytes.
const BYTES_TARGET: f64 = 120.0;

/// The command line's options.
#[derive(clap::Args)]
pub struct Options {
    /// Redis to measure on, with no other work; its keys below a name of the run's own are left
    /// behind
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis_url: String,
    /// People who join, each under an id of 20 bytes
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    joins: u64,
}

/// Fills the room and prints what it took; the last line is the same as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let joins = options.joins;
    let settings = settings();
    let stage = open_room(&options.redis_url, &settings).await?;
    let before = memory(&stage.engine).await?;
    let began = Instant::now();
    join_all(&stage, joins).await?;
    let joins_per_second = joins as f64 / began.elapsed().as_secs_f64();
    let after = memory(&stage.engine).await?;
    let bytes_a_join = (after as f64 - before as f64) / joins as f64;
    let look_ms = look(&stage, joins).await?;
    let (admit_ms, opened, admissions) = admit(&stage, &settings, joins).await?;

    println!("people in the queue                      {joins:>12}");
    println!(
        "bytes of Redis a join                    {bytes_a_join:12.1}  (at most {BYTES_TARGET})"
    );
    println!("joins a second, {UNDER_WAY} under way          {joins_per_second:12.0}");
    println!("room_look, there and back, median        {look_ms:12.3} ms");
    println!(
        "room_admit, there and back, median       {admit_ms:12.3} ms  ({opened} places, {admissions} batches)"
    );
    let json = serde_json::json!({
        "joins": joins, "bytes_a_join": bytes_a_join, "bytes_target": BYTES_TARGET,
        "joins_per_second": joins_per_second, "look_ms": look_ms, "admit_ms": admit_ms,
        "places_opened": opened, "batches": admissions,
    });
    println!("{json}");
    Ok(())
}

fn settings() -> RoomSettings {
    RoomSettings { on: true, max_concurrent: CONCURRENT, ..RoomSettings::default() }
}

/// Opens an event with a waiting room.
async fn open_room(redis_url: &str, settings: &RoomSettings) -> Result<Stage, Box<dyn Error>> {
    let layout = Layout::new(vec![rows_of_a_hundred("Floor", ROWS)])?;
    let stage = Stage::open(redis_url, layout, None).await?;
    let room = RoomConfiguration {
        revision: 1,
        settings,
        draw: DrawState::None,
        draw_joined: 0,
        commitment: "",
        keep_ms: KEEP_MS,
    };
    match stage.engine.room_configure(stage.event.id, &room, Floors::default()).await? {
        true => Ok(stage),
        false => Err("the room was not configured".into()),
    }
}

/// Opens an event in whose waiting room so many people wait; its holds are an admin's.
pub async fn room_of(redis_url: &str, joins: u64) -> Result<Stage, Box<dyn Error>> {
    let stage = Stage { exempt: true, ..open_room(redis_url, &settings()).await? };
    join_all(&stage, joins).await?;
    Ok(stage)
}

/// Returns Redis' `used_memory`, bytes.
async fn memory(engine: &Engine) -> Result<u64, Box<dyn Error>> {
    match engine.nodes_facts().await.remove(0).answer?.memory_used_bytes {
        0 => Err("Redis does not tell its used_memory".into()),
        bytes => Ok(bytes),
    }
}

/// Lets everybody join; fails unless each gets a number.
async fn join_all(stage: &Stage, joins: u64) -> Result<(), Box<dyn Error>> {
    let joining = stream::iter(1..=joins).map(async |n| {
        // 20 bytes, as long as a user id commonly is.
        let user: UserId = format!("user-{n:015}").parse()?;
        match stage.engine.room_join(stage.event.id, &user, None, Floors::default()).await? {
            RoomJoinReply::Given { number, .. } | RoomJoinReply::Replayed { number, .. } => {
                Ok::<u64, Box<dyn Error>>(number)
            }
            other => Err(format!("a join answered {other:?}").into()),
        }
    });
    let mut joining = joining.buffer_unordered(UNDER_WAY);
    let mut joined = 0_u64;
    while joining.try_next().await?.is_some() {
        joined += 1;
        if joined.is_multiple_of(PROGRESS_EVERY) {
            eprint!("\rjoin {joined} of {joins}");
        }
    }
    eprintln!();
    Ok(())
}

/// The median time of a look, ms.
async fn look(stage: &Stage, joins: u64) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..LOOKS {
        let began = Instant::now();
        let state = stage.engine.room_look(stage.event.id, 0, 0, Floors::default()).await?;
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
        if state.floors.joined != joins {
            return Err(format!("{} have joined, not {joins}", state.floors.joined).into());
        }
    }
    Ok(median(times))
}

/// The median time of an admission that opened places, ms; all the places opened, and by how many.
async fn admit(
    stage: &Stage,
    settings: &RoomSettings,
    joins: u64,
) -> Result<(f64, u64, usize), Box<dyn Error>> {
    let (mut times, mut opened) = (Vec::new(), 0);
    for batch in 1..=ADMISSIONS {
        let began = Instant::now();
        let admitted = stage
            .engine
            .room_admit(stage.event.id, settings, batch * PLACES_A_BATCH, Floors::default())
            .await?
            .ok_or("the room is off")?;
        let took = began.elapsed();
        if admitted.opened > 0 {
            times.push(took.as_secs_f64() * 1_000.0);
            opened += admitted.opened;
        }
        if opened == joins {
            break;
        }
        tokio::time::sleep(ADMIT_EVERY).await;
    }
    if times.is_empty() {
        return Err("no admission opened a place".into());
    }
    let admissions = times.len();
    Ok((median(times), opened, admissions))
}
