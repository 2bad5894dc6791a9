//! Commands: output, exit codes, the tree, and what becomes of them when nobody waits any more.

use super::Site;

#[test]
fn a_run_is_a_job_that_is_gone_afterwards() {
    let site = Site::new();
    let command = "cat README.md; echo err >&2; ls src; exit 7";
    let (code, stdout, stderr) = site.run(&["run", "--", "sh", "-c", command]);
    assert_eq!((code, stdout.as_str()), (7, "hello\nmain.c\n"), "{stderr}");
    assert!(stderr.contains("err\n"), "{stderr}");
    site.nothing_is_left();
}
