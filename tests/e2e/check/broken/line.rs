//! Broken lines, whatever they answer.

use super::{FIRST, LISTED, SEND, broken, check_all};

#[test]
fn a_broken_line_is_told_by_its_rule() {
    check_all(&[
        &[
            broken(
                "prints",
                &[(
                    FIRST,
                    "writing = threading.Lock()\nif '--stdio' in sys.argv: print('hello', flush=True)",
                )],
                &["stdout-is-the-protocols"],
            ),
            broken(
                "says maybe",
                &[(LISTED, r#"return {"leases": leases, "complete": "maybe"}"#)],
                &["results-fit"],
            ),
            broken("has kinds of its own", &[("\"unsupported\"", "\"woe\"")], &["errors-have-kinds"]),
        ],
        &[broken(
            "writes half a message",
            &[(
                FIRST,
                "writing = threading.Lock()\nif '--stdio' in sys.argv: print('{\"jsonrpc\":\"2.0\",\"id\":1,\"resu', flush=True)",
            )],
            &["messages-can-be-read"],
        )],
        &[broken(
            "answers twice",
            &[(
                "send(id=request, result=METHODS[method](params))",
                "[send(id=request, result=METHODS[method](params)) for _ in (1, 2)]",
            )],
            &["answers-come-once"],
        )],
        &[
            broken(
                "leaves out the version",
                &[(SEND, r#"json.dumps(message).encode("ascii") + b"\n""#)],
                &["jsonrpc-is-said"],
            ),
            broken(
                "says 1 for true",
                &[(LISTED, r#"return {"leases": leases, "complete": 1}"#)],
                &["types-are-exact"],
            ),
        ],
        &[
            broken(
                "has ids of text",
                &[(
                    SEND,
                    r#"json.dumps({"jsonrpc": "2.0", **message, **({"id": str(message["id"])} if "id" in message else {})}).encode("ascii") + b"\n""#,
                )],
                &["ids-are-integers"],
            ),
            broken(
                "has words of its own",
                &[(
                    LISTED,
                    r#"return {"leases": [{**lease, "state": "happy"} for lease in leases], "complete": True}"#,
                )],
                &["words-are-known"],
            ),
        ],
        &[
            broken(
                "ends lines in CR LF, and begins them with a byte order mark",
                &[(
                    SEND,
                    r#"b"\xef\xbb\xbf" + json.dumps({"jsonrpc": "2.0", **message}).encode("ascii") + b"\r\n""#,
                )],
                &["lines-end-in-lf", "no-byte-order-mark"],
            ),
            broken(
                "says null",
                &[(
                    LISTED,
                    r#"return {"leases": [{**lease, "labels": None} for lease in leases], "complete": True}"#,
                )],
                &["absent-is-left-out"],
            ),
        ],
    ]);
}
