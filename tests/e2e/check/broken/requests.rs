//! Broken requests, a broken configuration.

use super::{CONFIGURED, LINE, SECRET, TWO, broken, check_all};

#[test]
fn a_broken_request_or_configuration_is_told_by_its_rule() {
    check_all(&[
        &[
            broken("has a code of its own", &[(", code=-32601)", ")")], &["unknown-method-refused"]),
            broken(
                "has short lines",
                &[(LINE, "    if len(line) > 500_000: sys.exit(1)\n    message = json.loads(line)")],
                &["request-of-1-mib"],
            ),
            broken(
                "names what is no key",
                &[(
                    CONFIGURED,
                    r#"return {"scope": root, "problems": [{"key": "rot", "message": "no"}] if wrong else []}"#,
                )],
                &["problems-name-keys"],
            ),
        ],
        &[
            broken(
                "answers notifications",
                &[("elif request is not None:", "else:")],
                &["unknown-notification-ignored"],
            ),
            broken(
                "has small ids",
                &[(r#"message.get("id")"#, r#"(lambda id: id and min(id, 1000))(message.get("id"))"#)],
                &["ids-echoed"],
            ),
            broken(
                "reports the first thing that is wrong",
                &[
                    TWO,
                    (
                        CONFIGURED,
                        r#"return {"scope": root, "problems": [{"key": k, "message": "empty"} for k in ("one", "two") if config.get(k) == ""][:1]}"#,
                    ),
                ],
                &["problems-at-once"],
            ),
        ],
        &[
            broken("keeps its secret", &[SECRET], &[]),
            broken(
                "reports what is wrong",
                &[
                    TWO,
                    (
                        CONFIGURED,
                        r#"return {"scope": root, "problems": [{"key": k, "message": "empty"} for k in ("one", "two") if config.get(k) == ""]}"#,
                    ),
                ],
                &[],
            ),
        ],
        &[broken("has no scope", &[(CONFIGURED, r#"return {"scope": ""}"#)], &["configure-answers"])],
        &[
            broken(
                "has a scope of the moment",
                &[(CONFIGURED, r#"return {"scope": str(os.getpid())}"#)],
                &["configure-is-stable"],
            ),
            broken(
                "has no doctor",
                &[("[\"configure\",", "[\"configure\", \"doctor\",")],
                &["doctor-answers"],
            ),
        ],
        &[broken(
            "has its secret in the scope",
            &[SECRET, (CONFIGURED, r#"return {"scope": os.environ.get("CRABBOX_PYDIR_TOKEN", "none")}"#)],
            &["secrets-not-echoed"],
        )],
        &[broken(
            "says its secret",
            &[
                SECRET,
                (
                    CONFIGURED,
                    r#"print(os.environ.get("CRABBOX_PYDIR_TOKEN"), flush=True); return {"scope": root}"#,
                ),
            ],
            &["secrets-not-echoed"],
        )],
    ]);
}
