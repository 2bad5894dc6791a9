//! What was found out: the verdict on each rule.

use std::collections::{BTreeMap, BTreeSet};

use crabbox_protocol::Method;
use crabbox_protocol::records::{CheckCounts, CheckedRule, RuleLevel, RuleStatus};

use super::rules::{self, Rule};
use crate::output::foreign;

/// Why a rule did not pass.
#[derive(Debug, Clone, Default)]
pub(super) struct Finding {
    /// It could not be tried.
    pub(super) skipped: bool,
    /// Why.
    pub(super) why: String,
    /// What the plugin got last.
    pub(super) sent: Vec<String>,
    /// What it wrote last.
    pub(super) received: Vec<String>,
    /// What it said on standard error.
    pub(super) stderr: String,
}

impl Finding {
    /// The rule is broken.
    pub(super) fn broken(why: impl Into<String>) -> Self {
        Self { why: why.into(), ..Self::default() }
    }

    /// The rule could not be tried.
    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self { skipped: true, why: why.into(), ..Self::default() }
    }
}

/// What became of a rule.
pub(super) type Verdict = Result<(), Finding>;

/// The verdicts.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    verdicts: BTreeMap<&'static str, Verdict>,
    /// How many pieces of output came.
    pub(super) pieces: usize,
    /// Methods that were not answered in their time.
    pub(super) unanswered: BTreeSet<Method>,
    /// What may be in nothing that a plugin writes.
    pub(super) secrets: Vec<String>,
}

impl Ledger {
    /// Notes how a rule came out. What is broken once stays broken, by what was found first.
    pub(super) fn judge(&mut self, rule: &'static Rule, verdict: Verdict) {
        let known = self.verdicts.get(rule.id);
        if !matches!(known, Some(Err(finding)) if !finding.skipped) {
            self.verdicts.insert(rule.id, verdict);
        }
    }

    /// Notes that a rule is broken.
    pub(super) fn blame(&mut self, rule: &'static Rule, finding: Finding) {
        self.judge(rule, Err(finding));
    }

    /// What is looked at all the time, and was not found to be broken, is kept.
    pub(super) fn nothing_found(&mut self) {
        for rule in rules::ALL.iter().filter(|rule| rule.is_watched()) {
            let verdict = match rule.id == rules::PIECES.id && self.pieces == 0 {
                true => Err(Finding::skipped("no output came by notification")),
                false => Ok(()),
            };
            self.verdicts.entry(rule.id).or_insert(verdict);
        }
    }

    /// Whether a rule is known to be broken.
    pub(super) fn broken(&self, rule: &'static Rule) -> bool {
        matches!(self.verdicts.get(rule.id), Some(Err(finding)) if !finding.skipped)
    }

    /// Whether a rule was tried and is kept.
    pub(super) fn passed(&self, rule: &'static Rule) -> bool {
        matches!(self.verdicts.get(rule.id), Some(Ok(())))
    }

    /// Every rule with its verdict; `rest` is why those without one were not tried.
    pub(super) fn rows(&self, rest: &str) -> Vec<CheckedRule> {
        rules::ALL.iter().map(|rule| row(rule, self.verdicts.get(rule.id), rest)).collect()
    }
}

/// What is to be said of one rule.
fn row(rule: &Rule, verdict: Option<&Verdict>, rest: &str) -> CheckedRule {
    let not_tried = Finding::skipped(rest);
    let finding = match verdict {
        Some(Ok(())) => None,
        Some(Err(finding)) => Some(finding),
        None => Some(&not_tried),
    };
    let status = match finding {
        None => RuleStatus::Pass,
        Some(finding) if finding.skipped => RuleStatus::Skip,
        Some(_) if rule.level == RuleLevel::Should => RuleStatus::Warn,
        Some(_) => RuleStatus::Fail,
    };
    let finding = finding.cloned().unwrap_or_default();
    CheckedRule {
        id: rule.id.to_owned(),
        group: rule.group.to_owned(),
        rule: rule.says.to_owned(),
        level: rule.level,
        section: format!("docs/protocol.md#{}", rule.section),
        status,
        reason: Some(short(&finding.why)).filter(|why| !why.is_empty()),
        sent: finding.sent,
        received: finding.received,
        stderr: Some(finding.stderr).filter(|said| !said.is_empty()),
    }
}

/// Why, in a line that can be read.
fn short(why: &str) -> String {
    const MOST: usize = 500;
    let why = foreign(why);
    match why.char_indices().nth(MOST) {
        Some((at, _)) => format!("{} ...", &why[..at]),
        None => why,
    }
}

/// How many rules came out how.
pub(super) fn count(rules: &[CheckedRule]) -> CheckCounts {
    let count = |status| rules.iter().filter(|rule| rule.status == status).count();
    CheckCounts {
        pass: count(RuleStatus::Pass),
        warn: count(RuleStatus::Warn),
        fail: count(RuleStatus::Fail),
        skip: count(RuleStatus::Skip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(ledger: &Ledger, rule: &'static Rule) -> RuleStatus {
        ledger.rows("").into_iter().find(|row| row.id == rule.id).unwrap().status
    }

    #[test]
    fn the_level_says_what_a_broken_rule_is() {
        let mut ledger = Ledger::default();
        assert_eq!(status(&ledger, rules::ANSWERS), RuleStatus::Skip);
        ledger.judge(rules::ANSWERS, Ok(()));
        assert_eq!(status(&ledger, rules::ANSWERS), RuleStatus::Pass);
        ledger.blame(rules::CR, Finding::broken("CR"));
        assert_eq!(status(&ledger, rules::CR), RuleStatus::Warn);
        ledger.blame(rules::STRAYS, Finding::broken("a print"));
        assert_eq!(status(&ledger, rules::STRAYS), RuleStatus::Fail);
    }

    #[test]
    fn what_is_broken_once_stays_broken_by_what_was_found_first() {
        let mut ledger = Ledger::default();
        ledger.blame(rules::ENDS, Finding::broken("first"));
        ledger.blame(rules::ENDS, Finding::broken("second"));
        ledger.judge(rules::ENDS, Ok(()));
        let row = ledger.rows("").into_iter().find(|row| row.id == rules::ENDS.id).unwrap();
        assert_eq!((row.status, row.reason.as_deref()), (RuleStatus::Fail, Some("first")));
    }
}
