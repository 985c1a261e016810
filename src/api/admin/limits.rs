//! `/api/v1/admin/limits`: the limit and bot rules, and their modes.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::admin_audit::{self, AdminAction};
use crate::api::openapi::{AdminProblems, LimitProblems};
use crate::api::state::RequestContext;
use crate::archive::StoredPolicy;
use crate::config::Config;
use crate::domain::policy::AllRules;
use crate::domain::time::iso8601;
use crate::domain::{Mode, RuleChange};
use crate::http::HandlerResult;
use crate::http::body::read_object;
use crate::http::fields::Text;
use crate::http::problem::{Code, Problem, TRY_AGAIN};
use crate::http::reply::json;
use crate::http::words;
use crate::sale::SaleError;
use crate::sale::policy::{ChangeError, REACHES_ALL_SECONDS, REACHES_ALL_UNANNOUNCED_SECONDS};
use crate::sale::rules_in_effect::{LimitShown, RuleInEffect, RulesInEffect, Source, Sourced};

/// Longest name of a rule, bytes.
const NAME_BYTES_MAX: usize = 40;
/// `Retry-After` of a change whose outcome is unknown, seconds.
const RETRY_SECONDS: u32 = 1;

/// The rules in effect.
#[derive(Serialize, ToSchema)]
pub struct LimitsBody {
    /// The mode of all rules at once: `each` is every rule's own.
    mode: SourcedWord,
    /// How strict the rules are: `standard` or `strict`.
    profile: SourcedWord,
    /// How programs are treated.
    bots: SourcedWord,
    /// Why operators' changes are not in effect.
    #[schema(required = true)]
    problem: Option<String>,
    /// Who changed anything last.
    #[schema(required = true)]
    changed_by: Option<String>,
    /// When.
    #[schema(format = DateTime, required = true)]
    changed_at: Option<String>,
    /// The rules.
    rules: Vec<RuleBody>,
    /// After a change: within which time all processes apply it, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false, example = 2)]
    effective_within_seconds: Option<u64>,
}

/// A word with its source.
#[derive(Serialize, ToSchema)]
pub struct SourcedWord {
    /// The word.
    #[schema(value_type = String, example = "each")]
    value: serde_json::Value,
    /// `shipped`, `settings`, `operator`, `limits` or `profile`.
    #[schema(value_type = words::ValueSource)]
    from: Source,
}

/// A rule.
#[derive(Serialize, ToSchema)]
pub struct RuleBody {
    /// Its name.
    #[schema(example = "requests")]
    name: String,
    /// Whose requests are counted together: `address`, `user` or `user_event`.
    #[schema(value_type = String, example = "user")]
    scope: &'static str,
    /// The classes of requests it counts.
    #[schema(value_type = Vec<String>, example = json!(["hold"]))]
    routes: Vec<&'static str>,
    /// `requests`, or `grants`: holds that took seats.
    #[schema(value_type = String, example = "requests")]
    counts: &'static str,
    /// Its limit.
    limit: LimitBody,
    /// What happens beyond it: `enforce`, `observe` or `off`.
    #[schema(value_type = words::RuleMode)]
    mode: &'static str,
    /// Where that comes from.
    #[schema(value_type = words::ValueSource)]
    mode_from: Source,
    /// `redis` or `process`.
    #[schema(value_type = String, example = "redis")]
    place: &'static str,
    /// `pass`, `local` or `refuse`.
    #[schema(value_type = String, example = "local")]
    when_redis_is_away: &'static str,
}

/// A limit: exact in any window, or on average.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum LimitBody {
    /// Exact in any window of this length.
    Window {
        /// Requests in the window.
        #[schema(example = 30)]
        quota: u32,
        /// The window.
        #[schema(example = 60)]
        window_seconds: u64,
    },
    /// On average.
    Rate {
        /// Requests a second.
        per_second: u32,
        /// Requests at once.
        burst: u32,
    },
}

/// A mode to set: of all rules, or of one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LimitsChange)]
pub struct ChangeLimitsBody {
    /// Only this rule; all if absent.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 40, example = "requests")]
    rule: Option<Text<1, NAME_BYTES_MAX>>,
    /// `enforce`, `observe` or `off`; for all rules also `each` (every rule's own), and `settings` (what the
    /// settings say).
    #[schema(value_type = words::NewLimitsMode)]
    mode: Text<1, NAME_BYTES_MAX>,
}

/// Show the limits
///
/// The limit and bot rules in effect, and where their modes come from.
#[utoipa::path(
    get, operation_id = "get_limits", path = "/api/v1/admin/limits", tag = "admin",
    responses((status = 200, description = "The rules", body = LimitsBody), AdminProblems),
)]
pub async fn show(context: RequestContext, _: Payload) -> HandlerResult {
    context.gates().pass_admin(&context.head).await?;
    let stored = context.state.sale.policy().stored().await.map_err(SaleError::from)?;
    json(StatusCode::OK, &LimitsBody::new(&stored, &context.state.config.load(), None))
}

/// Change the mode of limits
///
/// Of all rules, or of one: as `holdfastctl limits mode` and `limits set --mode`.
#[utoipa::path(
    patch, operation_id = "change_limits", path = "/api/v1/admin/limits", tag = "admin",
    request_body(content = ChangeLimitsBody, example = json!({ "mode": "observe" })),
    responses((status = 200, description = "The rules as they are now", body = LimitsBody), LimitProblems),
)]
pub async fn change(context: RequestContext, payload: Payload) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let body: ChangeLimitsBody =
        read_object(&context.http, payload, context.state.body_limits()).await?;
    let change = ModeChange::parse(body)?;
    let target = match &change {
        ModeChange::All(_) => "all rules".to_owned(),
        ModeChange::Rule(rule, _) => format!("rule {rule}"),
    };
    let action = AdminAction { verb: "limits_mode", target, detail: change.word() };
    let changed = Box::pin(changed(&context, &admin, &change));
    admin_audit::recorded(&context, &admin, action, changed).await
}

async fn changed(context: &RequestContext, admin: &str, change: &ModeChange) -> HandlerResult {
    let (store, config) = (context.state.sale.policy(), context.state.config.load_full());
    let base = config.base_policy();
    if let ModeChange::Rule(rule, _) = change {
        let stored = store.stored().await.map_err(SaleError::from)?;
        let known = RulesInEffect::of(&stored, &base, &Config::default().base_policy());
        if !known.has_rule(rule) {
            let names = known.names();
            return Err(Problem::field("rule", format_args!("must be one of {names}")));
        }
    }
    let edit = |live: &mut crate::domain::policy::LivePolicy| {
        match change {
            ModeChange::All(mode) => live.all_rules = *mode,
            ModeChange::Rule(name, mode) => live.set_rule(RuleChange {
                name: name.clone(),
                mode: Some(*mode),
                ..RuleChange::default()
            }),
        }
        Ok(())
    };
    let changed = store.change(admin, Some(&base), edit).await.map_err(problem)?;
    let within =
        if changed.announced { REACHES_ALL_SECONDS } else { REACHES_ALL_UNANNOUNCED_SECONDS };
    json(StatusCode::OK, &LimitsBody::new(&changed.stored, &config, Some(within)))
}

/// The mode to set; of all rules `None` is what the settings say.
enum ModeChange {
    All(Option<AllRules>),
    Rule(String, Mode),
}

impl ModeChange {
    fn parse(body: ChangeLimitsBody) -> Result<Self, Problem> {
        let word = body.mode.0.as_str();
        let mode = Mode::ALL.iter().copied().find(|mode| mode.as_str() == word);
        if let Some(Text(rule)) = body.rule {
            let expected = "must be enforce, observe or off";
            let mode = mode.ok_or_else(|| Problem::field("mode", expected))?;
            return Ok(ModeChange::Rule(rule, mode));
        }
        match (word, mode) {
            ("settings", _) => Ok(ModeChange::All(None)),
            ("each", _) => Ok(ModeChange::All(Some(AllRules::Each))),
            (_, Some(Mode::Enforce)) => Ok(ModeChange::All(Some(AllRules::Enforce))),
            (_, Some(Mode::Observe)) => Ok(ModeChange::All(Some(AllRules::Observe))),
            (_, Some(Mode::Off)) => Ok(ModeChange::All(Some(AllRules::Off))),
            _ => {
                let expected = "must be each, enforce, observe, off or settings";
                Err(Problem::field("mode", expected))
            }
        }
    }

    fn word(&self) -> String {
        match self {
            ModeChange::All(None) => "settings".to_owned(),
            ModeChange::All(Some(mode)) => word(mode).as_str().unwrap_or_default().to_owned(),
            ModeChange::Rule(_, mode) => mode.as_str().to_owned(),
        }
    }
}

fn problem(error: ChangeError) -> Problem {
    let text = error.to_string();
    match error {
        ChangeError::Refused(_) | ChangeError::Impossible(_) => {
            Problem::new(Code::ValidationFailed, text)
        }
        ChangeError::Unavailable(_) => {
            Problem::new(Code::OutcomeUnknown, TRY_AGAIN).retry_after(RETRY_SECONDS).caused_by(text)
        }
        ChangeError::Unreadable(_) | ChangeError::Busy => {
            Problem::new(Code::ServiceUnavailable, TRY_AGAIN)
                .retry_after(RETRY_SECONDS)
                .caused_by(text)
        }
    }
}

/// The serialized word of a value.
fn word(value: &impl Serialize) -> serde_json::Value {
    // Words always serialize.
    serde_json::to_value(value).unwrap_or_default()
}

impl SourcedWord {
    fn new(value: &Sourced<impl Serialize>) -> Self {
        SourcedWord { value: word(&value.value), from: value.from }
    }
}

impl LimitsBody {
    fn new(stored: &StoredPolicy, config: &Config, effective_within_seconds: Option<u64>) -> Self {
        let shipped = Config::default().base_policy();
        let rules = RulesInEffect::of(stored, &config.base_policy(), &shipped);
        let is_changed = stored.live.revision > 0;
        LimitsBody {
            mode: SourcedWord::new(&rules.limits),
            profile: SourcedWord::new(&rules.profile),
            bots: SourcedWord::new(&rules.bots),
            problem: rules.problem,
            changed_by: is_changed.then(|| stored.by.clone()),
            changed_at: is_changed.then(|| iso8601(stored.at_ms)),
            rules: rules.rules.iter().map(RuleBody::new).collect(),
            effective_within_seconds,
        }
    }
}

impl RuleBody {
    fn new(rule: &RuleInEffect) -> Self {
        RuleBody {
            name: rule.name.clone(),
            scope: rule.scope.value.as_str(),
            routes: rule.routes.value.iter().map(|route| route.as_str()).collect(),
            counts: rule.counts.value.as_str(),
            limit: match rule.limit.value {
                LimitShown::Window { quota, window_seconds } => {
                    LimitBody::Window { quota, window_seconds }
                }
                LimitShown::Rate { per_second, burst } => LimitBody::Rate { per_second, burst },
            },
            mode: rule.mode.value.as_str(),
            mode_from: rule.mode.from,
            place: rule.place.value.as_str(),
            when_redis_is_away: rule.when_redis_is_away.value.as_str(),
        }
    }
}
