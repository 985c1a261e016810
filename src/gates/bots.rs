//! Recognizes automated clients by their user agent and by headers that every honest client sends.
//! Those that imitate browsers well are bounded by limits, waiting rooms and seats per user.

use std::cell::RefCell;
use std::collections::HashMap;

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT, HeaderName, SEC_WEBSOCKET_KEY, USER_AGENT};
use foldhash::fast::RandomState;
use regex::bytes::{RegexSet, RegexSetBuilder};
use thread_local::ThreadLocal;

use crate::domain::RouteClass;
use crate::domain::policy::BotRules;
use crate::http::problem::{Code, Problem};

/// User agents whose verdict a thread caches, and the most bytes of one. A crowd has few different
/// ones; others are matched each time.
const REMEMBERED_MAX: usize = 1_024;
const REMEMBERED_BYTES_MAX: usize = 512;

/// Cached verdicts on user agents.
type Remembered = HashMap<Box<[u8]>, bool, RandomState>;

/// The compiled bot rules.
pub struct Bots {
    user_agents: RegexSet,
    remembered: ThreadLocal<RefCell<Remembered>>,
    required_headers: Vec<HeaderName>,
}

impl Bots {
    /// Compiles the rules. Invalid patterns and names are left out and logged: `Config::check` and
    /// `holdfastctl` refuse them.
    pub fn new(rules: &BotRules) -> Self {
        // User agents are ASCII: without Unicode's classes matching takes half the time.
        let mut set = RegexSetBuilder::new(&rules.user_agents);
        let set = set.case_insensitive(true).unicode(false).build();
        let user_agents = set.unwrap_or_else(|error| {
            tracing::error!(%error, "no user agent is taken for a program");
            RegexSet::empty()
        });
        let names = rules.required_headers.iter();
        let required_headers = names.filter_map(|name| name.parse().ok()).collect();
        Bots { user_agents, remembered: ThreadLocal::new(), required_headers }
    }

    /// Whether a request looks automated.
    pub fn matches(&self, request: &HttpRequest, class: RouteClass) -> bool {
        let headers = request.headers();
        // Browsers send no `Accept` when they open a WebSocket.
        let is_socket = class == RouteClass::Push && headers.contains_key(SEC_WEBSOCKET_KEY);
        let lacks = self
            .required_headers
            .iter()
            .any(|name| !(headers.contains_key(name) || (is_socket && *name == ACCEPT)));
        lacks || headers.get(USER_AGENT).is_some_and(|is| self.is_program(is.as_bytes()))
    }

    /// Whether a user agent matches a pattern.
    fn is_program(&self, user_agent: &[u8]) -> bool {
        if user_agent.len() > REMEMBERED_BYTES_MAX {
            return self.user_agents.is_match(user_agent);
        }
        let mut remembered = self.remembered.get_or_default().borrow_mut();
        if let Some(is_program) = remembered.get(user_agent) {
            return *is_program;
        }
        let is_program = self.user_agents.is_match(user_agent);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(user_agent.into(), is_program);
        is_program
    }
}

/// The refusal of automated clients and of those on the deny list.
pub fn automated() -> Problem {
    Problem::new(Code::AutomatedAccess, "Automated access not allowed")
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::config::Config;

    #[test]
    fn programs_match_and_browsers_do_not() {
        let bots = Bots::new(&Config::default().base_policy().bots);
        let matches = |user_agent: &str| {
            let request = TestRequest::get().insert_header(("accept", "*/*"));
            let request = request.insert_header(("user-agent", user_agent)).to_http_request();
            bots.matches(&request, RouteClass::Events)
        };
        for program in [
            "curl/8.5.0",
            "Wget/1.21",
            "python-requests/2.31",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (compatible; bingbot/2.0)",
            "AhrefsBot",
            "Scrapy/2.11",
            "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120.0",
        ] {
            assert!(matches(program), "{program}");
        }
        for person in [
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15",
            "Mozilla/5.0 (Linux; Android 9; CUBOT NOTE 20) AppleWebKit/537.36",
            "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36",
            "axios/1.6.2",
            "node",
            "okhttp/4.12.0",
        ] {
            assert!(!matches(person), "{person}");
        }
    }

    #[test]
    fn cached_verdicts_are_right_and_bounded() {
        let bots = Bots::new(&Config::default().base_policy().bots);
        for turn in 0..2 {
            for number in 0..=REMEMBERED_MAX {
                let long = "x".repeat(REMEMBERED_BYTES_MAX);
                assert!(!bots.is_program(format!("Mozilla/5.0 {number}").as_bytes()), "{turn}");
                assert!(bots.is_program(format!("curl/8.{number}").as_bytes()), "{turn}");
                assert!(bots.is_program(format!("curl/8 {long}").as_bytes()), "{turn}");
            }
        }
        let remembered = bots.remembered.get_or_default().borrow();
        assert!(remembered.len() <= REMEMBERED_MAX);
        assert!(remembered.keys().all(|one| one.len() <= REMEMBERED_BYTES_MAX));
    }

    #[test]
    fn request_without_common_headers_is_automated() {
        let bots = Bots::new(&Config::default().base_policy().bots);
        let bare = TestRequest::get().insert_header(("user-agent", "Mozilla/5.0"));
        assert!(bots.matches(&bare.to_http_request(), RouteClass::Events));
        let silent = TestRequest::get().insert_header(("accept", "*/*"));
        assert!(bots.matches(&silent.to_http_request(), RouteClass::Events));
    }

    #[test]
    fn websocket_without_accept_is_not_automated() {
        let bots = Bots::new(&Config::default().base_policy().bots);
        let browser = TestRequest::get().insert_header(("user-agent", "Mozilla/5.0"));
        let browser = browser.insert_header(("sec-websocket-key", "k")).to_http_request();
        assert!(!bots.matches(&browser, RouteClass::Push));
        // Elsewhere the header changes nothing, and here a bot's user agent still counts.
        assert!(bots.matches(&browser, RouteClass::Hold));
        let program = TestRequest::get().insert_header(("user-agent", "python-requests/2.31"));
        let program = program.insert_header(("sec-websocket-key", "k")).to_http_request();
        assert!(bots.matches(&program, RouteClass::Push));
    }
}
