//! The filter of a list: of the language go-bexpr, comparisons that are joined with `and`.

use serde_json::Value;

use super::answer::Answer;

/// Comparisons that must all hold.
pub(super) struct Filter(Vec<Comparison>);

struct Comparison {
    /// The names on the way to the value.
    selector: Vec<String>,
    operator: Operator,
    value: String,
}

enum Operator {
    Is,
    IsNot,
    Contains,
    IsEmpty,
    IsNotEmpty,
}

impl Filter {
    /// Reads an expression such as `Meta["crabbox.managed"] == "true" and Status != "dead"`.
    pub(super) fn parse(text: &str) -> Result<Self, Answer> {
        let wrong = || {
            let text = "failed to create result paginator: failed to read filter expression: no match found";
            Answer::error(400, text)
        };
        if text.trim().is_empty() {
            return Ok(Self(Vec::new()));
        }
        let parts = text.split(" and ").map(Comparison::parse);
        parts.collect::<Option<Vec<_>>>().map(Self).ok_or_else(wrong)
    }

    /// Refuses names that a job does not have, as the real one does when it comes to the first job.
    pub(super) fn check(&self, job: &Value) -> Result<(), Answer> {
        let unknown = |it: &&Comparison| it.selector.first().is_some_and(|name| job.get(name).is_none());
        let Some(name) = self.0.iter().find(unknown).and_then(|it| it.selector.first()) else {
            return Ok(());
        };
        let why = format!("couldn't find key: struct field with name {name:?}");
        let text =
            format!("failed to read result page: error finding value in datum: /{name} at part 0: {why}");
        Err(Answer::error(400, text))
    }

    pub(super) fn fits(&self, job: &Value) -> bool {
        self.0.iter().all(|it| it.holds(job))
    }
}

impl Comparison {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        for (suffix, operator) in [(" is not empty", Operator::IsNotEmpty), (" is empty", Operator::IsEmpty)]
        {
            if let Some(selector) = text.strip_suffix(suffix) {
                return Some(Self { selector: selector_of(selector)?, operator, value: String::new() });
            }
        }
        if let Some((key, selector)) = text.split_once(" in ") {
            let value = key.trim().trim_matches('"').to_owned();
            return Some(Self { selector: selector_of(selector)?, operator: Operator::Contains, value });
        }
        for (sign, operator) in
            [("!=", Operator::IsNot), ("==", Operator::Is), (" contains ", Operator::Contains)]
        {
            if let Some((selector, value)) = text.split_once(sign) {
                let value = value.trim();
                let inner = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
                let value = inner.unwrap_or(value).to_owned();
                return Some(Self { selector: selector_of(selector)?, operator, value });
            }
        }
        None
    }

    fn holds(&self, job: &Value) -> bool {
        let found = self.selector.iter().try_fold(job, |it, name| it.get(name));
        let text = found.map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
        let empty = found.is_none_or(|it| match it {
            Value::Null => true,
            Value::Object(fields) => fields.is_empty(),
            Value::Array(items) => items.is_empty(),
            other => other == "",
        });
        match self.operator {
            Operator::Is => text.as_ref() == Some(&self.value),
            // A key that a map does not have is no other value: nothing is found.
            Operator::IsNot => text.is_some_and(|it| it != self.value),
            Operator::Contains => match found {
                Some(Value::Object(fields)) => fields.contains_key(&self.value),
                _ => text.is_some_and(|it| it.contains(&self.value)),
            },
            Operator::IsEmpty => empty,
            Operator::IsNotEmpty => !empty,
        }
    }
}

/// The names of `Meta["a.b"]` and of `Meta.a`.
fn selector_of(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    if let Some((first, rest)) = text.split_once('[') {
        let key = rest.strip_suffix(']')?.trim_matches('"');
        return Some(vec![first.to_owned(), key.to_owned()]);
    }
    let names: Vec<String> = text.split('.').map(str::to_owned).collect();
    names.iter().all(|it| !it.is_empty() && !it.contains(' ')).then_some(names)
}
