use serde_json::json;

use super::*;

/// The shapes are those that schemars writes.
#[test]
fn types_are_understood() {
    let defs = json!({
        "Mode": {"type": "string", "enum": ["fast", "slow"]},
        "Doc": {"description": "a doc", "oneOf": [
            {"type": "string", "const": "a", "description": "first"},
            {"type": "string", "enum": ["b", "c"]},
        ]},
    });
    let cases = [
        (json!({"type": "string"}), Kind::String),
        (json!({"type": ["string", "null"]}), Kind::String),
        (json!({"type": "integer", "format": "uint32", "minimum": 0}), Kind::Integer),
        (json!({"type": ["number", "null"]}), Kind::Number),
        (json!({"type": "boolean"}), Kind::Boolean),
        (json!({"$ref": "#/$defs/Mode"}), Kind::Enum(vec!["fast".into(), "slow".into()])),
        (
            json!({"anyOf": [{"$ref": "#/$defs/Mode"}, {"type": "null"}], "default": null}),
            Kind::Enum(vec!["fast".into(), "slow".into()]),
        ),
        (json!({"$ref": "#/$defs/Doc"}), Kind::Enum(vec!["a".into(), "b".into(), "c".into()])),
        (json!({"enum": [1, 2, null]}), Kind::Enum(vec![1.into(), 2.into()])),
        (json!({"const": "x"}), Kind::Enum(vec!["x".into()])),
        (json!({"type": "array", "items": {"type": "string"}}), Kind::List(Box::new(Kind::String))),
        (
            json!({"type": ["array", "null"], "items": {"$ref": "#/$defs/Mode"}}),
            Kind::List(Box::new(Kind::Enum(vec!["fast".into(), "slow".into()]))),
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            Kind::Map(Box::new(Kind::String)),
        ),
        (json!({"type": "object", "properties": {"a": {"type": "string"}}}), Kind::Any),
        (json!({"type": ["string", "integer"]}), Kind::Any),
        (json!({"$ref": "#/$defs/None"}), Kind::Any),
        (json!(true), Kind::Any),
        (json!({"type": "integer", "x-crabbox": {"duration": true}}), Kind::Duration),
        (json!({"type": ["string", "null"], "x-crabbox": {"path": true}}), Kind::Path),
        (
            json!({"type": "array", "items": {"type": "string"}, "x-crabbox": {"path": true}}),
            Kind::List(Box::new(Kind::Path)),
        ),
    ];
    for (property, kind) in cases {
        let schema = json!({"type": "object", "$defs": defs, "properties": {"key": property}});
        assert_eq!(Schema::parse(Some(&schema)).unwrap().keys[0].kind, kind, "{property}");
    }
}

#[test]
fn a_schema_that_leads_to_itself_ends() {
    let schema = json!({
        "$defs": {"A": {"$ref": "#/$defs/A"}, "L": {"type": "array", "items": {"$ref": "#/$defs/L"}}},
        "properties": {"a": {"$ref": "#/$defs/A"}, "l": {"$ref": "#/$defs/L"}},
    });
    assert_eq!(Schema::parse(Some(&schema)).unwrap().keys[0].kind, Kind::Any);
}

#[test]
fn annotations_and_what_stands_nearer() {
    let schema = json!({
        "type": "object",
        "required": ["token", "region", "size"],
        "$defs": {"R": {"type": "string", "description": "far", "default": "far"}},
        "properties": {
            "region": {"$ref": "#/$defs/R", "description": "ne\nar\n\nmore", "default": "near",
                       "x-crabbox": {"env": "REGION", "release": true}},
            "size": {"type": "integer"},
            "token": {"type": "string", "x-crabbox": {"secret": true, "env": ["TOK", "TOK2"]}},
            "tokenEnv": {"type": "string", "x-crabbox": {"envName": true}},
            "wait": {"type": "integer", "default": "5m",
                     "x-crabbox": {"duration": true, "env": {"name": "WAIT", "unit": "s"}}},
            "home": {"type": "string", "x-crabbox": {"userOnly": true}},
        },
    });
    let schema = Schema::parse(Some(&schema)).unwrap();
    let key = |name| schema.key(name).unwrap();
    assert_eq!(key("region").description.as_deref(), Some("ne ar"));
    assert_eq!(key("region").default, Some("near".into()));
    assert!(!key("region").required && key("size").required && key("region").release);
    assert!(key("token").secret && key("token").required && key("token").flag("n").is_none());
    assert!(key("tokenEnv").env_name && key("tokenEnv").user_only && key("home").user_only);
    assert_eq!(key("wait").default, Some(300_000.into()));
    assert_eq!(key("wait").env, [Variable { name: "WAIT".into(), unit_ms: Some(1_000) }]);
    let names: Vec<_> = key("token").variables("my-n").into_iter().map(|v| v.name).collect();
    assert_eq!(names, ["CRABBOX_MY_N_TOKEN", "TOK", "TOK2"]);
    assert_eq!(schema.wire["required"], json!(["region", "size"]));
    assert_eq!(schema.wire["properties"].get("token"), None);
}

#[test]
fn what_is_wrong_is_said() {
    for (schema, problem) in [
        (json!(1), "it is not an object"),
        (json!({"type": "string"}), "not an object"),
        (json!({"properties": []}), "`properties` is not an object"),
        (json!({"properties": {"ca-cert": {}}}), "key `ca-cert`: a key is `[a-z][A-Za-z0-9]*`"),
        (json!({"properties": {"Ca": {}}}), "key `Ca`"),
        (json!({"properties": {"a": {"x-crabbox": 1}}}), "`x-crabbox` is not an object"),
        (json!({"properties": {"a": {"x-crabbox": {"env": "A B"}}}}), "no variable's name"),
        (json!({"properties": {"a": {"x-crabbox": {"env": {"name": "A", "unit": "y"}}}}}), "the unit \"y\""),
        (json!({"properties": {"a": {"type": "string", "x-crabbox": {"duration": true}}}}), "milliseconds"),
        (json!({"properties": {"a": {"type": "integer", "x-crabbox": {"path": true}}}}), "`path` is for"),
    ] {
        let found = Schema::parse(Some(&schema)).unwrap_err();
        assert!(found.contains(problem), "{schema}: {found}");
    }
    assert!(Schema::parse(None).unwrap().keys.is_empty());
}
