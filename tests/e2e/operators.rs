//! What an operator puts beside the service: that it asks for figures which the service gives.

use std::collections::BTreeSet;
use std::fs;

use crate::daemon::metrics_page;
use crate::support::{have_root, root};

fn config(name: &str) -> String {
    fs::read_to_string(root().join("configs").join(name)).expect("the file is there")
}

/// The names of metrics in a text.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("graven_")).collect()
}

/// The names of the samples on a metrics page.
fn samples(page: &str) -> BTreeSet<&str> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).collect()
}

#[test]
fn alerts_and_dashboard_ask_for_what_the_service_exports() {
    if !have_root("metrics") {
        return;
    }
    let page = metrics_page();
    let exported = samples(&page);
    assert!(exported.contains("graven_up"), "control: the page has samples\n{page}");
    for name in ["prometheus/alerts.yml", "grafana/graven.json"] {
        let text = config(name);
        let asked = metrics_in(&text);
        assert!(asked.len() > 10, "control: {name} asks for figures");
        let missing: Vec<_> = asked.difference(&exported).collect();
        assert!(
            missing.is_empty(),
            "{name} asks for {missing:?}, which the service does not export"
        );
    }
}

/// Without it every quantile is NaN, and an alert on one never fires.
#[test]
fn the_sync_histogram_ends_in_infinity() {
    if !have_root("the sync histogram") {
        return;
    }
    let page = metrics_page();
    let mut buckets = page.lines().filter(|line| line.starts_with("graven_sync_seconds_bucket{"));
    let last = buckets.next_back().expect("control: the page has buckets");
    assert!(last.contains("le=\"+Inf\""), "{last}");
}

/// An alert that no test names could be wrong for years.
#[test]
fn every_alert_is_tested_to_fire_and_to_stay_silent() {
    let (rules, tests) = (config("prometheus/alerts.yml"), config("prometheus/alerts_test.yml"));
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(!alerts.is_empty(), "control: there are alerts");
    let (healthy, firing) =
        tests.split_once("\n  - name: GravenDown\n").expect("the healthy machine comes first");
    for alert in alerts {
        assert!(healthy.contains(&format!("alertname: {alert}}}")), "{alert} on a healthy machine");
        assert!(
            firing.contains(&format!("alertname: {alert}\n")),
            "{alert} is nowhere seen to fire"
        );
    }
}
