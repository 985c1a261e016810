//! `limits`: the rules in effect and the sources of their values; valid and invalid changes.

use futures_util::future::join_all;
use holdfast::domain::rules::shipped;
use serde_json::{Value, json};

use super::Shop;

/// The rule of this name.
fn rule<'a>(limits: &'a Value, name: &str) -> &'a Value {
    let rules = limits["rules"].as_array().unwrap();
    rules.iter().find(|rule| rule["name"] == name).unwrap_or_else(|| panic!("{name}: {limits}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_value_is_shown_with_its_source() {
    let shop = Shop::any().await;
    let settings = [
        ("HOLDFAST_PROFILE", "strict"),
        (
            "HOLDFAST_LIMIT_RULES",
            "[{name=\"seat_map\",quota=5},{name=\"requests\",mode=\"observe\"}]",
        ),
    ];
    let list = async || shop.ctl_with("limits list --json", &settings).await.json(0);
    let before = list().await;
    assert_eq!(before["changed_last"], Value::Null);
    assert_eq!(before["profile"], json!({ "value": "strict", "from": "settings" }));
    assert_eq!(before["limits"], json!({ "value": "each", "from": "shipped" }));
    assert_eq!(before["bots"], json!({ "value": "enforce", "from": "profile" }));
    let seat_map = rule(&before, "seat_map");
    let expected = json!({ "value": { "quota": 5, "window_seconds": 60 }, "from": "settings" });
    assert_eq!(seat_map["limit"], expected);
    assert_eq!(seat_map["routes"], json!({ "value": ["seats"], "from": "shipped" }));
    assert_eq!(rule(&before, "requests")["mode"], json!({ "value": "enforce", "from": "profile" }));

    let set = "limits set seat_map --quota 7 --by ann --json";
    let set = shop.ctl_with(set, &settings).await.json(0);
    assert_eq!((&set["changed"], &set["announced"]), (&json!(true), &json!(true)), "{set}");
    assert_eq!(set["reaches_all_within_seconds"], 2);
    shop.ctl_with("limits profile standard", &settings).await.ended(0);
    shop.ctl_with("limits bots off", &settings).await.ended(0);
    let after = list().await;
    assert_eq!(after["changed_last"]["revision"], 3);
    assert_eq!(after["profile"], json!({ "value": "standard", "from": "operator" }));
    assert_eq!(after["bots"], json!({ "value": "off", "from": "operator" }));
    let expected = json!({ "value": { "quota": 7, "window_seconds": 60 }, "from": "operator" });
    assert_eq!(rule(&after, "seat_map")["limit"], expected);
    assert_eq!(rule(&after, "requests")["mode"], json!({ "value": "observe", "from": "settings" }));
    assert_eq!(rule(&after, "per_address")["mode_on_loopback"], "observe");

    shop.ctl_with("limits mode off", &settings).await.ended(0);
    assert_eq!(
        rule(&list().await, "requests")["mode"],
        json!({ "value": "off", "from": "limits" })
    );
    shop.ctl_with("limits mode settings", &settings).await.ended(0);
    shop.ctl_with("limits reset seat_map", &settings).await.ended(0);
    assert_eq!(rule(&list().await, "seat_map")["limit"]["value"]["quota"], 5);
    shop.ctl_with("limits reset --all", &settings).await.ended(0);
    let mut reset = list().await;
    reset["changed_last"] = Value::Null;
    assert_eq!(reset, before);

    let table = shop.ctl_with("limits list", &settings).await.stdout;
    for text in ["profile  strict (settings)", "5 a minute", "enforce", "Revision 7"] {
        assert!(table.contains(text), "{text}: {table}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_added_and_reverted() {
    let shop = Shop::any().await;
    let make =
        "limits set mine --scope user_event --routes hold,seats --quota 3 --window-seconds 9";
    let made = shop.ctl(&format!("{make} --json")).await.json(0);
    let mine = rule(&made, "mine");
    assert_eq!(mine["limit"]["value"], json!({ "quota": 3, "window_seconds": 9 }));
    assert_eq!(mine["routes"], json!({ "value": ["hold", "seats"], "from": "operator" }));
    // The other kind of limit replaces the first; the rest stays.
    let changed = shop.ctl("limits set mine --per-second 4 --burst 8 --json").await.json(0);
    let mine = rule(&changed, "mine");
    assert_eq!(mine["limit"]["value"], json!({ "per_second": 4, "burst": 8 }));
    assert_eq!(mine["scope"]["value"], "user_event");
    // Repeating it is no change.
    let again = shop.ctl("limits set mine --per-second 4 --burst 8 --json").await.json(0);
    assert_eq!((&again["changed"], &again["announced"]), (&json!(false), &json!(true)));
    assert_eq!(again["changed_last"]["revision"], 2);
    let gone = shop.ctl("limits reset mine --json").await.json(0);
    assert!(gone["rules"].as_array().unwrap().iter().all(|rule| rule["name"] != "mine"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_rule_is_refused_and_changes_nothing() {
    let shop = Shop::any().await;
    for (line, expected) in [
        ("limits set request --quota 5", "there is no rule \"request\", but per_address, requests"),
        ("limits reset request", "a new one needs --scope"),
        (
            "limits set Mine! --scope user --routes hold --quota 1 --window-seconds 1",
            "small letters",
        ),
        ("limits set mine --scope user --routes hold --quota 1", "needs `quota` and"),
        ("limits set requests --quota 0", "1 to 10000 will do"),
        ("limits set requests --window-seconds 9999999", "1 to 604800 will do"),
        ("limits set requests --burst 5", "needs `quota` and `window_seconds`, or"),
        ("limits set requests --place process", "set place to redis"),
    ] {
        let ran = shop.ctl(line).await;
        assert!(ran.refusal().contains(expected), "{line}: {ran:?}");
    }
    for (line, expected) in [
        ("limits set requests", "--quota"),
        ("limits set requests --quota many", "many"),
        ("limits set requests --quota 5 --burst 5", "cannot be used with"),
        ("limits set requests --mode strict", "expected one of `enforce`, `observe`, `off`"),
        ("limits set requests --routes seats,maps", "expected one of `events`, `seats`"),
        ("limits mode strict", "or `settings`"),
        ("limits profile hard", "expected `standard` or `strict`"),
        ("limits reset", "--all"),
    ] {
        let ran = shop.ctl(line).await;
        assert!(ran.code == 2 && ran.stderr.contains(expected), "{line}: {ran:?}");
    }
    assert_eq!(shop.ctl("limits list --json").await.json(0)["changed_last"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_invalid_under_other_settings_is_shown_and_reverted() {
    let shop = Shop::any().await;
    let rules = "[{name=\"mine\",scope=\"user\",routes=[\"hold\"],quota=1,window_seconds=1}]";
    let with_rule = [("HOLDFAST_LIMIT_RULES", rules)];
    shop.ctl_with("limits set mine --quota 2", &with_rule).await.ended(0);
    // These settings do not have the rule.
    let listed = shop.ctl("limits list --json").await.json(1);
    assert!(listed["problem"].as_str().unwrap().contains("is new and needs a scope"), "{listed}");
    assert_eq!(listed["rules"].as_array().unwrap().len(), shipped().len());
    let refused = shop.ctl("access deny user:eve --reason x").await;
    assert!(refused.refusal().contains("rule \"mine\": is new"), "{refused:?}");
    shop.ctl("limits reset mine").await.ended(0);
    assert_eq!(shop.ctl("limits list --json").await.json(0)["problem"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_at_once_lose_nothing() {
    let shop = Shop::any().await;
    let lines: Vec<String> = (0..6)
        .flat_map(|n| {
            let rule = format!("--scope user --routes hold --quota {} --window-seconds 9", n + 1);
            let deny = format!("access deny user:u{n} 10.0.0.{n} --reason race --by op{n} --json");
            [format!("limits set race_{n} {rule} --json"), deny]
        })
        .collect();
    let ran = join_all(lines.iter().map(|line| shop.ctl(line))).await;
    ran.iter().for_each(|ran| assert_eq!(ran.json(0)["changed"], true));
    let limits = shop.ctl("limits list --json").await.json(0);
    assert_eq!(limits["changed_last"]["revision"], 12);
    for n in 0..6 {
        assert_eq!(rule(&limits, &format!("race_{n}"))["limit"]["value"]["quota"], n + 1);
    }
    let access = shop.ctl("access list --json").await.json(0);
    assert_eq!(access["entries"].as_array().unwrap().len(), 12, "{access}");
}
