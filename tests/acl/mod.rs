//! Redis users with least rights (`deploy/redis/acl`): each program does its work as its own user.

mod programs;

use std::path::Path;

use holdfast::redis::scripts::{ClockSource, SCRIPTS, Scripts};

const USERS: [&str; 3] = ["api", "worker", "ctl"];

/// The line of a user as it is shipped.
fn line(user: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/redis/acl");
    std::fs::read_to_string(root.join(format!("{user}.acl"))).unwrap()
}

/// The commands of a script's text, in lower case.
fn commands(text: &str) -> Vec<String> {
    let calls = regex::Regex::new(r#"redis\.p?call\(\s*['"](\w+)['"]"#).unwrap();
    let found = calls.captures_iter(text).map(|call| call[1].to_lowercase()).collect::<Vec<_>>();
    let all = text.matches("redis.call(").count() + text.matches("redis.pcall(").count();
    assert_eq!(found.len(), all, "every call names its command");
    found
}

#[test]
fn each_user_may_run_every_command_of_the_scripts() {
    let scripts = Scripts::embedded(ClockSource::Redis);
    for user in USERS {
        let line = line(user);
        let allowed: Vec<&str> = line.split_whitespace().collect();
        for script in SCRIPTS {
            for command in commands(&scripts.get(*script).text) {
                let rule = format!("+{command}");
                let name = script.name();
                assert!(allowed.contains(&rule.as_str()), "{user}.acl lacks {rule} of {name}.lua");
            }
        }
    }
}

/// The console verifies, reconciles and replays by the same use cases.
#[test]
fn api_may_do_what_the_operators_tool_does() {
    let (api, tool) = (line("api"), line("ctl"));
    let allowed: Vec<&str> = api.split_whitespace().collect();
    // The tool alone asks a server for its role.
    let commands = tool.split_whitespace().filter(|word| word.starts_with('+') && *word != "+role");
    for command in commands {
        assert!(allowed.contains(&command), "api.acl lacks {command}");
    }
}

#[test]
fn no_user_may_harm_the_server_or_see_other_keys() {
    for user in USERS {
        let line = line(user);
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..2], ["user", &format!("holdfast-{user}")]);
        assert!(words.contains(&"-@all") && words.contains(&"resetchannels"));
        let keys: Vec<&&str> = words.iter().filter(|word| word.starts_with(['~', '%'])).collect();
        assert_eq!(keys, [&"~hf1:*"]);
        for forbidden in
            ["@", "keys", "scan", "flush", "config", "acl", "debug", "script", "shutdown"]
        {
            let has = words
                .iter()
                .any(|word| word.strip_prefix('+').is_some_and(|w| w.starts_with(forbidden)));
            assert!(!has, "{user}.acl: {forbidden}");
        }
        assert!(line.lines().all(|line| line.starts_with("user ")), "Redis takes no other lines");
    }
}
