//! `/api/v1/admin/dead-letters`: log entries that the worker gave up on.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::Serialize;
use utoipa::ToSchema;

use super::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use crate::api::admin_audit::{self, AdminAction};
use crate::api::openapi::{AdminProblems, ReplayProblems};
use crate::api::state::RequestContext;
use crate::domain::Partition;
use crate::domain::time::iso8601;
use crate::http::HandlerResult;
use crate::http::params::Query;
use crate::http::problem::{Code, Problem};
use crate::http::reply::json;
use crate::http::words;
use crate::redis::DeadLetter;
use crate::sale::dead_letters::LetterId;
use crate::sale::replay::{ReplayResult, read};

/// A page of dead letters.
#[derive(Serialize, ToSchema)]
pub struct DeadLettersBody {
    /// How many there are.
    #[schema(example = 1)]
    total: u64,
    /// Newest first.
    letters: Vec<LetterBody>,
    /// Partitions whose Redis node does not answer: their letters are missing here.
    silent_partitions: Vec<u16>,
    /// Send it as `cursor` for older ones; null if there are none.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// A dead letter.
#[derive(Serialize, ToSchema)]
pub struct LetterBody {
    /// Its id.
    #[schema(example = "3:1795243836470-0")]
    id: String,
    /// Its partition.
    #[schema(example = 3)]
    partition: u16,
    /// The entry's position in the booking log.
    #[schema(example = "1795243836400-0")]
    entry_id: String,
    /// Why the worker gave up.
    reason: String,
    /// When.
    #[schema(format = DateTime)]
    parked_at: String,
    /// The entry's kind.
    #[schema(example = "sold", required = true)]
    kind: Option<String>,
    /// The entry's booking.
    #[schema(required = true)]
    booking_id: Option<String>,
    /// The entry's event.
    #[schema(required = true)]
    event_id: Option<u32>,
    /// Whether this build can read the entry.
    is_readable: bool,
}

/// What became of a letter.
#[derive(Serialize, ToSchema)]
pub struct ReplayedBody {
    /// Its id.
    #[schema(example = "3:1795243836470-0")]
    id: String,
    /// `replayed` (it is gone), `stays` (its entry cannot be stored) or `later` (try again).
    #[schema(value_type = words::ReplayOutcome)]
    result: &'static str,
    /// The archive's decision, if the entry is a sale.
    #[schema(value_type = Option<words::StoredOutcome>, required = true)]
    outcome: Option<&'static str>,
    /// Why it stays.
    #[schema(required = true)]
    detail: Option<String>,
}

/// List dead letters
///
/// Newest first.
#[utoipa::path(
    get, operation_id = "list_dead_letters", path = "/api/v1/admin/dead-letters", tag = "admin",
    params(
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("page_size" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Letters a page, 1 to 200; 50 if absent"),
    ),
    responses((status = 200, description = "One page", body = DeadLettersBody), AdminProblems),
)]
pub async fn list(context: RequestContext, _: Payload) -> HandlerResult {
    context.gates().pass_admin(&context.head).await?;
    let query = Query::of(&context.http)?;
    let before = query.cursor(|text| text.parse::<LetterId>().ok()?.parts())?;
    let size = query.page_size(PAGE_SIZE_MAX)?.unwrap_or(PAGE_SIZE_DEFAULT);
    let page = context.state.sale.dead_letters(before, u64::from(size)).await?;
    let last = page.letters.last().filter(|_| page.has_more);
    let body = DeadLettersBody {
        total: page.total,
        silent_partitions: page.silent_partitions,
        next_cursor: last
            .map(|(partition, _, last)| LetterId::new(*partition, last.id).to_string()),
        letters: page.letters.iter().map(|(of, _, letter)| LetterBody::new(*of, letter)).collect(),
    };
    json(StatusCode::OK, &body)
}

/// Replay a dead letter
///
/// As `holdfastctl dead-letters replay`: stores its entry again, settles the decision, and removes the
/// letter. Safe to repeat.
#[utoipa::path(
    post, operation_id = "replay_dead_letter", path = "/api/v1/admin/dead-letters/{letter_id}/replay", tag = "admin",
    params(("letter_id" = String, Path, description = "The letter", example = "3:1795243836470-0")),
    responses((status = 200, description = "What became of it", body = ReplayedBody), ReplayProblems),
)]
pub async fn replay(context: RequestContext, _: Payload) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let text = context.http.match_info().get("letter_id").unwrap_or_default();
    // With its partition: several may have a letter at one position.
    let id = text.parse::<LetterId>().ok().filter(|id| id.parts().is_some());
    let id = id.ok_or_else(|| {
        Problem::parameter("letter_id", "must be the `id` of a letter, such as 3:1795243836470-0")
    })?;
    let action = AdminAction {
        verb: "dead_letter_replay",
        target: format!("letter {id}"),
        detail: String::new(),
    };
    let replayed = async {
        let Some(result) = context.state.sale.replay_dead_letter(id).await? else {
            let detail = format!("There is no dead letter {id}: replayed already, or never there");
            return Err(Problem::new(Code::DeadLetterUnknown, detail));
        };
        json(StatusCode::OK, &ReplayedBody::new(id, result))
    };
    admin_audit::recorded(&context, &admin, action, Box::pin(replayed)).await
}

impl LetterBody {
    fn new(partition: Partition, letter: &DeadLetter) -> Self {
        let field = |name| letter.value(name).map(str::to_owned);
        LetterBody {
            id: LetterId::new(partition, letter.id).to_string(),
            partition: partition.0,
            entry_id: letter.entry_id.clone(),
            reason: letter.reason.clone(),
            parked_at: iso8601(i64::try_from(letter.id.ms).unwrap_or(i64::MAX)),
            kind: field("kind"),
            booking_id: field("booking"),
            event_id: letter.value("event").and_then(|event| event.parse().ok()),
            is_readable: read(letter).is_ok(),
        }
    }
}

impl ReplayedBody {
    fn new(id: LetterId, result: ReplayResult) -> Self {
        let (result, outcome, detail) = match result {
            ReplayResult::Replayed { outcome, .. } => ("replayed", outcome, None),
            ReplayResult::Stays(why) => ("stays", None, Some(why)),
            ReplayResult::Later(why) => ("later", None, Some(why.to_owned())),
        };
        let outcome = outcome.map(|outcome| outcome.as_str());
        ReplayedBody { id: id.to_string(), result, outcome, detail }
    }
}
