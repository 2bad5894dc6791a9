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

/// Whether there is a password in a URL of the value, as in `scheme://user:password@host`.
pub(crate) fn has_password(value: &Value) -> bool {
    match value {
        Value::String(text) => text.match_indices("://").any(|(at, mark)| {
            let (authority, _) = split_authority(&text[at + mark.len()..]);
            let user = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
            user.is_some_and(|(_, password)| !password.is_empty())
        }),
        Value::Array(items) => items.iter().any(has_password),
        Value::Object(entries) => entries.values().any(has_password),
        _ => false,
    }
}

/// What follows `scheme://`, as user and host, and the rest.
fn split_authority(text: &str) -> (&str, &str) {
    text.split_at(text.find(['/', '?', '#']).unwrap_or(text.len()))
}

fn redact_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority, tail) = split_authority(rest);
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
    fn a_password_in_a_url_is_seen() {
        for (text, seen) in [
            ("https://me:pw@host/", true),
            ("x https://host, ssh://me:p@w@host:1", true),
            ("https://:pw@host", true),
            ("https://me@host", false),
            ("https://me:@host", false),
            ("https://host:1/a:b@c", false),
            ("https://host?q=a:b@c", false),
            ("me:pw@host", false),
        ] {
            assert_eq!(has_password(&text.into()), seen, "{text}");
        }
        let nested = serde_json::json!({"a": [1, {"b": "x://u:p@h"}]});
        assert!(has_password(&nested) && !has_password(&serde_json::json!([1, null, true])));
    }

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
