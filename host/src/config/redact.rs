//! Values without the credentials that people put into URLs.

use serde_json::Value;

/// The value with the userinfo and the query of every URL in it replaced.
pub(crate) fn redact(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(redact_url(text)),
        Value::Array(items) => items.iter().map(redact).collect(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| (key.clone(), redact(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn redact_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("<redacted>@{host}"),
        None => authority.to_owned(),
    };
    let tail = match tail.split_once('?') {
        Some((path, _)) => format!("{path}?<redacted>"),
        None => tail.to_owned(),
    };
    format!("{scheme}://{authority}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_credentials() {
        for (text, shown) in [
            ("plain", "plain"),
            ("me@host", "me@host"),
            ("https://host:1/a", "https://host:1/a"),
            ("https://me:pw@host/a#b", "https://<redacted>@host/a#b"),
            ("https://a@b@host", "https://<redacted>@host"),
            ("https://host/a?token=x", "https://host/a?<redacted>"),
        ] {
            assert_eq!(redact_url(text), shown);
        }
        assert_eq!(
            redact(&serde_json::json!({"a": ["x://u@h"], "b": 1})),
            serde_json::json!({"a": ["x://<redacted>@h"], "b": 1})
        );
    }
}
