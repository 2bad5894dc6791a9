//! The values of parameters: where they come from, which source prevails, and what is asked for.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Cli;
use super::output::Failure;
use crate::coder::deployment::{Parameter, Preset, Template};

/// Values by parameter.
type Values = BTreeMap<String, String>;

impl Cli {
    /// The values for a workspace that is created. Later sources prevail: the file, flags, the workspace that is
    /// copied, the preset.
    pub(super) fn values_of_new(
        &self,
        template: &Template,
        copied: &Values,
        preset: Option<&Preset>,
    ) -> Result<Values, Failure> {
        let mut values = self.given()?;
        let known = |name: &str| template.parameters.iter().any(|it| it.name == name && !it.ephemeral);
        values.extend(copied.iter().filter(|(name, _)| known(name)).map(|(a, b)| (a.clone(), b.clone())));
        values.extend(preset.into_iter().flat_map(|it| it.parameters.clone()));
        check(&values, template)?;
        let defaults = pairs(self.flags.all("parameter-default"), "can't parse given parameter defaults")?;
        for parameter in template.parameters.iter().filter(|it| !it.ephemeral) {
            if !values.contains_key(&parameter.name) {
                let value = self.value_of(parameter, defaults.get(&parameter.name))?;
                values.insert(parameter.name.clone(), value);
            }
        }
        Ok(values)
    }

    /// The values for a workspace that is started again, whose last ones prevail.
    pub(super) fn values_of_old(&self, template: &Template, last: &Values) -> Result<Values, Failure> {
        let mut values = self.given()?;
        check(&values, template)?;
        let known = |name: &str| template.parameters.iter().any(|it| it.name == name);
        values.extend(last.iter().filter(|(name, _)| known(name)).map(|(a, b)| (a.clone(), b.clone())));
        Ok(values)
    }

    /// What the file and flags say.
    fn given(&self) -> Result<Values, Failure> {
        let mut values = match self.flags.text("rich-parameter-file") {
            Some(path) => file(path).map_err(|why| {
                Failure::text(&format!("can't parse parameter map file: {why}")).during("prepare build")
            })?,
            None => Values::new(),
        };
        values.extend(pairs(self.flags.all("parameter"), "can't parse given parameter values")?);
        Ok(values)
    }

    /// The value that nobody has given.
    fn value_of(&self, parameter: &Parameter, own: Option<&String>) -> Result<String, Failure> {
        let default = own.or(parameter.default.as_ref());
        let shown = default.cloned().unwrap_or_default();
        if let (Some(default), true) = (default, self.flags.is_set("use-parameter-defaults")) {
            self.say(&format!("Using default value for {}: '{default}'\n", parameter.name));
            return Ok(default.clone());
        }
        if !parameter.options.is_empty() {
            self.choose(&parameter.name, &parameter.options);
        }
        self.ask_for_value(&parameter.name, &shown).map_err(|it| it.during("prepare build"))
    }
}

/// Values as `name=value`.
fn pairs(given: &[String], what: &str) -> Result<Values, Failure> {
    let pair = |it: &String| {
        let pair = it.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        pair.ok_or_else(|| Failure::text(&format!("{what}: format key=value expected, but got {it}")))
    };
    given.iter().map(pair).collect()
}

/// The values of a YAML file.
fn file(path: &str) -> Result<Values, String> {
    let text =
        std::fs::read_to_string(path).map_err(|_| format!("open {path}: no such file or directory"))?;
    let all: BTreeMap<String, Value> =
        serde_saphyr::from_str(&text).map_err(|error| format!("yaml: {error}"))?;
    let value = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Bool(_) | Value::Array(_) => Ok(value.to_string()),
        Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
        Value::Number(_) => Err("invalid parameter type: float64".to_owned()),
        Value::Null => Err("invalid parameter type: <nil>".to_owned()),
        Value::Object(_) => Err("invalid parameter type: map[string]interface {}".to_owned()),
    };
    all.into_iter().map(|(name, it)| Ok((name, value(it)?))).collect()
}

/// Fails on a value for a parameter that there is not, or that counts for one build only.
fn check(values: &Values, template: &Template) -> Result<(), Failure> {
    for name in values.keys() {
        let Some(parameter) = template.parameters.iter().find(|it| it.name == *name) else {
            let mut text = format!("parameter \"{name}\" is not present in the template.");
            let near = |it: &&Parameter| strsim::levenshtein(name, &it.name) <= name.len() / 2;
            let near: Vec<&str> =
                template.parameters.iter().filter(near).map(|it| it.name.as_str()).collect();
            if !near.is_empty() {
                text += &format!("\nDid you mean: {}", near.join(", "));
            }
            return Err(Failure::text(&text).during("prepare build"));
        };
        if parameter.ephemeral {
            return Err(Failure::text(&format!(
                "ephemeral parameter \"{name}\" can be used only with --prompt-ephemeral-parameters or \
                 --ephemeral-parameter flag"
            ))
            .during("prepare build"));
        }
    }
    Ok(())
}
