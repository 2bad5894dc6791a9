//! A broken lease, a broken run.

use super::{ACQUIRED, ENDED, LISTED, RELEASED, RESOLVED, broken, check_all};

#[test]
fn a_broken_lease_is_told_by_its_rule() {
    check_all(&[
        &[
            broken("acquires once", &[("exist_ok=True", "exist_ok=False")], &["acquire-is-idempotent"]),
            broken(
                "needs what it said",
                &[(
                    RESOLVED,
                    r#"return {"state": "ready" if there and "ref" in params["lease"] else "missing"}"#,
                )],
                &["works-without-state"],
            ),
            broken(
                "lists nothing",
                &[(LISTED, r#"return {"leases": [], "complete": True}"#)],
                &["list-has-the-lease"],
            ),
            broken(
                "releases what is not there",
                &[(RELEASED, r#"return {"outcome": "released"}"#)],
                &["release-of-nothing"],
            ),
        ],
        &[
            broken(
                "acquires another each time",
                &[(ACQUIRED, r#"return {"lease": {"ref": os.urandom(4).hex(), "root": path}}"#)],
                &["acquire-is-idempotent"],
            ),
            broken(
                "stops what is observed",
                &[(
                    RESOLVED,
                    r#"return {"state": ("stopped" if params["intent"] == "observe" else "ready") if there else "missing"}"#,
                )],
                &["observe-changes-nothing"],
            ),
            broken("lists what it may", &[(LISTED, r#"return {"leases": [], "complete": False}"#)], &[]),
            broken(
                "is never done",
                &[(
                    RELEASED,
                    r#"return {"outcome": "released" if there else "absent" if params["lease"]["slug"] == "nobody" else "pending"}"#,
                )],
                &["release-is-idempotent"],
            ),
        ],
        &[broken(
            "acquires somebody else's",
            &[(ACQUIRED, r#"return {"lease": {"id": "cbx_000000000000"}}"#)],
            &["acquire-answers"],
        )],
        &[
            broken(
                "finds whatever is looked for",
                &[(RESOLVED, r#"return {"state": "ready"}"#)],
                &["never-made-is-not-there", "released-is-missing"],
            ),
            broken(
                "objects to what is gone",
                &[(
                    RELEASED,
                    "if not there: raise Failure('it is gone', 'notFound')\n    return {\"outcome\": \"released\"}",
                )],
                &["release-of-nothing", "release-is-idempotent"],
            ),
        ],
        &[broken(
            "does not know what is gone",
            &[(RESOLVED, r#"return {"state": "ready" if there else "unknown"}"#)],
            &["released-is-missing"],
        )],
        &[broken(
            "releases nothing",
            &[(RELEASED, r#"return {"outcome": "absent"}"#)],
            &["release-confirms"],
        )],
    ]);
}

#[test]
fn a_broken_run_is_told_by_its_rule() {
    check_all(&[
        &[
            broken(
                "strips its words",
                &[(r#"params["argv"], stdin"#, r#"[word.strip() for word in params["argv"]], stdin"#)],
                &["argv-is-exact"],
            ),
            broken(
                "cuts codes",
                &[(
                    ENDED,
                    r#"send(id=request, result={"exitCode": code & 127} if code >= 0 else {"signal": str(-code)})"#,
                )],
                &["exit-codes-are-exact"],
            ),
            broken("takes more than a piece", &[("32768", "70000")], &["output-in-pieces"]),
        ],
        &[
            broken(
                "says 1 for a signal",
                &[(ENDED, r#"send(id=request, result={"exitCode": max(code, 0) or int(code < 0)})"#)],
                &["signals-are-told"],
            ),
            broken(
                "answers a cancel too late",
                &[(
                    "    if request in runs and",
                    "    if request not in runs: send(id=request, result={\"signal\": \"TERM\"})\n    if request in runs and",
                )],
                &["answers-come-once"],
            ),
            broken(
                "mixes the streams",
                &[(r#"process.stderr: "stderr"}"#, r#"process.stderr: "stdout"}"#)],
                &["output-is-exact", "directory-is-the-leases"],
            ),
        ],
        &[
            broken(
                "loses carriage returns",
                &[(
                    "output(request, pipes[pipe], data)",
                    "output(request, pipes[pipe], data.replace(b'\\r', b''))",
                )],
                &["argv-is-exact", "output-is-exact", "stdin-is-exact", "sync-round-trip"],
            ),
            broken(
                "kills the leader alone",
                &[("os.killpg(group, number)", "os.kill(group, number)")],
                &["cancel-in-mid-run", "ends-in-mid-run"],
            ),
        ],
        &[
            broken(
                "holds output to the end",
                &[
                    ("    ended, ready = False, []", "    ended, ready, held = False, [], []"),
                    ("output(request, pipes[pipe], data)", "held.append((pipes[pipe], data))"),
                    (
                        "    del runs[request]\n",
                        "    for piece in held: output(request, *piece)\n    del runs[request]\n",
                    ),
                ],
                &["output-is-live"],
            ),
            broken(
                "tells after the end",
                &[(
                    ENDED,
                    "send(id=request, result={\"exitCode\": code} if code >= 0 else {\"signal\": str(-code)})\n    send(method=\"progress\", params={\"request\": request, \"message\": \"done\"})",
                )],
                &["notifications-come-before"],
            ),
        ],
        &[broken(
            "ignores a cancel",
            &[("            cancel(params[\"request\"])", "            pass")],
            &["cancel-in-mid-run"],
        )],
    ]);
}
