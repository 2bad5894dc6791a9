//! A broken handshake, a broken manifest.

use super::{FIRST, INITIALIZE, LINE, SUMMARY, broken, check_all};

#[test]
fn a_broken_handshake_or_manifest_is_told_by_its_rule() {
    check_all(&[
        &[broken("as it is", &[], &[])],
        &[
            broken(
                "ends where it does not speak a version",
                &[(INITIALIZE, r#""initialize": lambda p: MANIFEST if 1 in p["versions"] else os._exit(1)"#)],
                &["versions-of-the-future"],
            ),
            broken(
                "wants every line to have its end",
                &[(LINE, "    if line[-1:] != b'\\n': break\n    message = json.loads(line)")],
                &["last-line-without-lf"],
            ),
            broken(
                "has no help",
                &[("sys.exit(print(__doc__, ", "sys.exit((lambda *_, **__: None)(")],
                &["help-without-stdio"],
            ),
            broken(
                "requires something",
                &[("\"features\":", "\"requires\": [\"magic\"], \"features\":")],
                &["requires-known"],
            ),
            broken("declares something", &[("[\"cancel\"]", "[\"cancel\", \"magic\"]")], &["names-known"]),
        ],
        &[
            broken(
                "picks the first version",
                &[(
                    INITIALIZE,
                    r#""initialize": lambda p: {**MANIFEST, "protocol": p["versions"][0] if 1 in p["versions"] else 1}"#,
                )],
                &["versions-picked"],
            ),
            broken(
                "leaves a process",
                &[(FIRST, "writing = threading.Lock()\nsubprocess.Popen(['sleep', '60'])")],
                &["leaves-no-process"],
            ),
            broken(
                "has no schema",
                &[("\"type\": \"string\", \"desc", "\"type\": \"strong\", \"desc")],
                &["schema-sound"],
            ),
        ],
        &[
            broken(
                "objects to a field",
                &[(
                    INITIALIZE,
                    r#""initialize": lambda p: MANIFEST if len(p["host"]) == 2 else os._exit(1)"#,
                )],
                &["unknown-fields-ignored"],
            ),
            broken(
                "writes a file",
                &[(
                    FIRST,
                    "writing = threading.Lock()\nif 'HOME' in os.environ: open(os.environ['HOME'] + '/seen', 'w')",
                )],
                &["initialize-writes-nothing"],
            ),
            broken(
                "has another name",
                &[("\"name\": \"pydir\"", "\"name\": \"other\"")],
                &["name-is-the-files"],
            ),
            broken(
                "says how large its environment is",
                &[(SUMMARY, "str(len(os.environ)) + \"Directories on")],
                &["initialize-with-path-alone"],
            ),
        ],
        &[
            broken(
                "does not end",
                &[("os._exit(0)", "time.sleep(60)")],
                &["ends-with-its-input", "ends-in-mid-run"],
            ),
            broken(
                "says where it is",
                &[(SUMMARY, "os.getcwd() + \"Directories on")],
                &["initialize-is-pure"],
            ),
            broken("has no release", &[("\"release\", \"list\"]", "\"list\"]")], &["methods-complete"]),
        ],
    ]);
}
