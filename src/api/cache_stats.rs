//! `/cache/stats`, also under `/api/v1`: the caches of this process. It needs no other service, and
//! names no event.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::Serialize;
use utoipa::ToSchema;

use crate::live::LiveState;

use super::openapi::OpenProblems;
use super::seats::CacheStats;
use super::state::RequestContext;
use crate::http::HandlerResult;
use crate::http::reply::json_with;

/// The caches of this process.
#[derive(Serialize, ToSchema)]
pub struct CacheStatsBody {
    /// All keys of `keys_breakdown`.
    #[schema(example = 9)]
    total_keys: u64,
    /// Keys by kind.
    keys_breakdown: KeysBreakdown,
    /// Hits and misses of seat maps and counts.
    stats: HitStats,
    /// Bytes of rendered bodies.
    #[schema(example = 812_345)]
    bytes: u64,
    /// The live view.
    live_view: LiveViewBody,
}

/// Cached keys by kind.
#[derive(Serialize, ToSchema)]
pub struct KeysBreakdown {
    /// Events whose seats are all in memory.
    #[schema(example = 3)]
    events: u64,
    /// Rendered seat maps, and parts and changes of them.
    #[schema(example = 4)]
    seats: u64,
    /// Rendered counts.
    #[schema(example = 2)]
    availability: u64,
}

/// Since this process began.
#[derive(Serialize, ToSchema)]
pub struct HitStats {
    /// Responses with a cached body, or without a body (304).
    #[schema(example = 9_900)]
    keyspace_hits: u64,
    /// Responses whose body had to be rendered.
    #[schema(example = 100)]
    keyspace_misses: u64,
    /// The share of hits, 0 to 1; 0 before the first response.
    #[schema(example = 0.99)]
    hit_rate: f64,
}

/// The live view.
#[derive(Serialize, ToSchema)]
pub struct LiveViewBody {
    /// Seats in the view.
    #[schema(example = 50_992)]
    seats: u64,
    /// Requested events that are not in the view (yet).
    #[schema(example = 0)]
    missing: u64,
    /// Age of the newest entry read from the quietest booking log that is followed.
    #[schema(example = 120)]
    age_ms: u64,
    /// Whether it is too old to be used; requests go to Redis then.
    #[schema(example = false)]
    is_stale: bool,
}

impl CacheStatsBody {
    fn new(stats: &CacheStats, live: &LiveState) -> Self {
        let keys_breakdown = KeysBreakdown {
            events: live.views as u64,
            seats: stats.maps as u64,
            availability: stats.availability as u64,
        };
        let KeysBreakdown { events, seats, availability } = keys_breakdown;
        let answers = stats.hits + stats.misses;
        CacheStatsBody {
            total_keys: events + seats + availability,
            keys_breakdown,
            stats: HitStats {
                keyspace_hits: stats.hits,
                keyspace_misses: stats.misses,
                hit_rate: if answers == 0 { 0.0 } else { stats.hits as f64 / answers as f64 },
            },
            bytes: stats.bytes as u64,
            live_view: LiveViewBody {
                seats: live.seats as u64,
                missing: live.missing as u64,
                age_ms: live.age_ms,
                is_stale: live.is_stale,
            },
        }
    }
}

/// Cache statistics
///
/// What this process has in memory for seat maps.
#[utoipa::path(
    get, operation_id = "get_cache_stats", path = "/cache/stats", tag = "operations",
    responses((status = 200, description = "Counts", body = CacheStatsBody), OpenProblems),
)]
pub async fn stats(context: RequestContext, _: Payload) -> HandlerResult {
    let body =
        CacheStatsBody::new(&context.state.seat_maps.stats(), &context.state.sale.live().state());
    Ok(json_with(StatusCode::OK, &body)?.header("Cache-Control", "no-store").send())
}

/// Cache statistics (alias)
///
/// The same as `/cache/stats`.
#[utoipa::path(
    get, operation_id = "get_cache_stats_alias", path = "/api/v1/cache/stats", tag = "operations",
    responses((status = 200, description = "Counts", body = CacheStatsBody), OpenProblems),
)]
pub async fn stats_alias(context: RequestContext, payload: Payload) -> HandlerResult {
    stats(context, payload).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_add_up_and_hit_rate_is_a_share() {
        let live = LiveState { views: 3, seats: 100, ..LiveState::default() };
        let mut stats = CacheStats { maps: 4, availability: 2, bytes: 7, hits: 0, misses: 0 };
        let body = serde_json::to_value(CacheStatsBody::new(&stats, &live)).unwrap();
        assert_eq!((&body["total_keys"], &body["stats"]["hit_rate"]), (&9.into(), &0.0.into()));
        (stats.hits, stats.misses) = (3, 1);
        let body = serde_json::to_value(CacheStatsBody::new(&stats, &live)).unwrap();
        assert_eq!(body["stats"]["hit_rate"], 0.75);
    }
}
