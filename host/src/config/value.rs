//! Making values of what people write, by the kind of the key.

use std::path::Path;

use serde_json::{Map, Number, Value};

use super::schema::{Kind, Variable, plain};
use super::{Env, duration};

/// Makes values for one place: it knows where relative paths start.
pub(super) struct Reader<'a> {
    pub(super) env: &'a Env,
    pub(super) base: &'a Path,
}

impl Reader<'_> {
    /// The value of a flag, as often as it was given.
    pub(super) fn flag(&self, kind: &Kind, texts: &[String]) -> Result<Value, String> {
        match kind {
            Kind::List(item) => texts.iter().map(|text| self.text(item, text)).collect(),
            Kind::Map(value) => self.entries(value, texts),
            kind => self.text(kind, texts.last().map_or("", String::as_str)),
        }
    }

    /// The value of an environment variable.
    pub(super) fn variable(&self, kind: &Kind, variable: &Variable, text: &str) -> Result<Value, String> {
        match (kind, variable.unit_ms) {
            (Kind::Duration, Some(unit)) => {
                let count: f64 = text.trim().parse().map_err(|_| format!("`{text}` is not a number"))?;
                let ms = count * unit as f64;
                match ms.round() {
                    ms if !(0.0..).contains(&ms) => Err(format!("`{text}` is no span of time")),
                    ms if ms > duration::to_ms(duration::LONGEST) as f64 => Err(duration::too_long(text)),
                    ms => Ok(Value::from(ms as u64)),
                }
            }
            (Kind::List(item), _) => items(text).iter().map(|text| self.text(item, text)).collect(),
            (Kind::Map(value), _) => self.entries(value, &items(text)),
            _ => self.text(kind, text),
        }
    }

    /// The value in a file.
    pub(super) fn yaml(&self, kind: &Kind, value: &Value) -> Result<Value, String> {
        match (kind, value) {
            (Kind::Duration, Value::Number(number)) if number.as_u64() == Some(0) => Ok(value.clone()),
            (Kind::Duration, Value::Number(number)) => {
                Err(format!("{number} has no unit; write it like `{number}s`"))
            }
            (Kind::Duration | Kind::Path | Kind::Boolean, Value::String(text)) => self.text(kind, text),
            (Kind::List(item), Value::Array(values)) => {
                values.iter().map(|value| self.yaml(item, value)).collect()
            }
            (Kind::Map(kind), Value::Object(entries)) => {
                let entries = entries.iter().map(|(name, value)| Ok((name.clone(), self.yaml(kind, value)?)));
                entries.collect::<Result<Map<_, _>, String>>().map(Value::Object)
            }
            _ => Ok(value.clone()),
        }
    }

    fn text(&self, kind: &Kind, text: &str) -> Result<Value, String> {
        match kind {
            Kind::String => Ok(text.into()),
            Kind::Integer => integer(text),
            Kind::Number => {
                let number = text.trim().parse().ok().and_then(Number::from_f64);
                integer(text)
                    .or_else(|_| number.map(Value::Number).ok_or(format!("`{text}` is not a number")))
            }
            Kind::Boolean => boolean(text).map(Value::Bool),
            Kind::Enum(values) => {
                let found = values.iter().find(|value| plain(value) == text);
                found.cloned().ok_or_else(|| format!("`{text}` is not {}", kind.describe()))
            }
            Kind::Duration => duration::parse(text).map(|duration| duration::to_ms(duration).into()),
            Kind::Path if text.is_empty() => Err("it is an empty path".to_owned()),
            Kind::Path => {
                let path = self.env.resolve_path(text, self.base);
                path.to_str().map(Value::from).ok_or_else(|| "the path is not valid UTF-8".to_owned())
            }
            Kind::List(_) | Kind::Map(_) | Kind::Any => {
                Ok(serde_json::from_str(text).unwrap_or_else(|_| text.into()))
            }
        }
    }

    fn entries(&self, kind: &Kind, texts: &[String]) -> Result<Value, String> {
        let entry = |text: &String| {
            let (name, value) =
                text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form NAME=VALUE"))?;
            Ok((name.trim().to_owned(), self.text(kind, value)?))
        };
        texts.iter().map(entry).collect::<Result<Map<_, _>, String>>().map(Value::Object)
    }
}

fn integer(text: &str) -> Result<Value, String> {
    let text = text.trim();
    let signed = text.parse::<i64>().map(Value::from);
    signed
        .or_else(|_| text.parse::<u64>().map(Value::from))
        .map_err(|_| format!("`{text}` is not an integer"))
}

/// The ways in which people say yes and no.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is not true or false")),
    }
}

/// The items of a text with commas.
pub(super) fn items(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_by_kind() {
        let env = Env::new("/cwd", [("HOME", "/home/me")]);
        let reader = Reader { env: &env, base: Path::new("/base") };
        let strings = || Kind::List(Box::new(Kind::String));
        let map = || Kind::Map(Box::new(Kind::Integer));
        let one_of = || Kind::Enum(vec!["a".into(), 2.into()]);
        let plain = Variable { name: "V".into(), unit_ms: None };
        for (kind, text, want) in [
            (Kind::String, "a,b", json!("a,b")),
            (Kind::Integer, "-3", json!(-3)),
            (Kind::Integer, "18446744073709551615", json!(u64::MAX)),
            (Kind::Number, "3", json!(3)),
            (Kind::Number, "0.5", json!(0.5)),
            (Kind::Boolean, "Yes", json!(true)),
            (Kind::Boolean, "0", json!(false)),
            (one_of(), "2", json!(2)),
            (Kind::Duration, "1m30s", json!(90_000)),
            (Kind::Path, "x", json!("/base/x")),
            (Kind::Path, "~/x", json!("/home/me/x")),
            (strings(), "a, b,,c", json!(["a", "b", "c"])),
            (map(), "a=1,b=2", json!({"a": 1, "b": 2})),
            (Kind::Any, "{\"a\": 1}", json!({"a": 1})),
            (Kind::Any, "text", json!("text")),
        ] {
            assert_eq!(reader.variable(&kind, &plain, text), Ok(want), "{kind:?} {text}");
        }
        for (kind, text, problem) in [
            (Kind::Integer, "1.5", "`1.5` is not an integer"),
            (Kind::Number, "NaN", "`NaN` is not a number"),
            (Kind::Boolean, "maybe", "`maybe` is not true or false"),
            (one_of(), "b", "`b` is not one of a, 2"),
            (Kind::Duration, "5", "`5` is not a duration; write it like `90s`, `5m` or `1h30m`"),
            (Kind::Path, "", "it is an empty path"),
            (map(), "a", "`a` is not of the form NAME=VALUE"),
        ] {
            assert_eq!(reader.variable(&kind, &plain, text), Err(problem.into()));
        }
    }

    #[test]
    fn a_variable_may_have_a_unit() {
        let env = Env::new("/", [("A", "")]);
        let reader = Reader { env: &env, base: Path::new("/") };
        let seconds = Variable { name: "V".into(), unit_ms: Some(1_000) };
        assert_eq!(reader.variable(&Kind::Duration, &seconds, "1800"), Ok(json!(1_800_000)));
        assert_eq!(reader.variable(&Kind::Duration, &seconds, "0.5"), Ok(json!(500)));
        assert!(reader.variable(&Kind::Duration, &seconds, "5m").is_err());
        for text in ["-1", "NaN"] {
            assert_eq!(
                reader.variable(&Kind::Duration, &seconds, text),
                Err(format!("`{text}` is no span of time"))
            );
        }
        for text in ["315360001", "inf"] {
            let problem = format!("`{text}` is too long: ten years is the most");
            assert_eq!(reader.variable(&Kind::Duration, &seconds, text), Err(problem));
        }
    }

    #[test]
    fn a_list_flag_is_not_split() {
        let env = Env::new("/", [("A", "")]);
        let reader = Reader { env: &env, base: Path::new("/base") };
        let texts = ["a,b".to_owned(), "c".to_owned()];
        assert_eq!(reader.flag(&Kind::List(Box::new(Kind::String)), &texts), Ok(json!(["a,b", "c"])));
        assert_eq!(reader.flag(&Kind::List(Box::new(Kind::Path)), &texts[1..]), Ok(json!(["/base/c"])));
    }

    #[test]
    fn what_yaml_says() {
        let env = Env::new("/", [("A", "")]);
        let reader = Reader { env: &env, base: Path::new("/base") };
        for (kind, value, want) in [
            (Kind::Duration, json!("5m"), Ok(json!(300_000))),
            (Kind::Duration, json!(0), Ok(json!(0))),
            (Kind::Duration, json!(5), Err("5 has no unit; write it like `5s`".to_owned())),
            (Kind::Boolean, json!("no"), Ok(json!(false))),
            (Kind::Path, json!("./x"), Ok(json!("/base/x"))),
            (Kind::List(Box::new(Kind::Path)), json!(["a", "/b"]), Ok(json!(["/base/a", "/b"]))),
            (Kind::Map(Box::new(Kind::Path)), json!({"k": "a"}), Ok(json!({"k": "/base/a"}))),
            // Left for the schema to refuse.
            (Kind::Integer, json!("3"), Ok(json!("3"))),
        ] {
            assert_eq!(reader.yaml(&kind, &value), want, "{kind:?} {value}");
        }
    }
}
