use super::*;
use crate::paths::Paths;

fn find(repo: &str, user: &str, vars: &[(&str, &str)], flags: &HostFlags) -> Result<Settings> {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    std::fs::create_dir_all(base.join("config")).unwrap();
    std::fs::write(base.join("crabbox.yaml"), repo).unwrap();
    std::fs::write(base.join("config/config.yaml"), user).unwrap();
    let env = Env::new(base, vars.iter().copied().chain([("HOME", "/home/me")]));
    let paths = Paths { state: base.into(), cache: base.into(), config: base.join("config") };
    Settings::find(&env, &Files::load(&env, &paths, None)?, flags)
}

#[test]
fn flag_before_variable_before_repository_before_user_before_default() {
    let flags = HostFlags { provider: Some("f".into()), ..Default::default() };
    let vars = [("CRABBOX_PROVIDER", "v")];
    let none = HostFlags::default();
    for (repo, user, vars, flags, value, source) in [
        ("provider: r", "provider: u", &vars[..], &flags, "f", "flag --provider"),
        ("provider: r", "provider: u", &vars, &none, "v", "variable CRABBOX_PROVIDER"),
        ("provider: r", "provider: u", &[], &none, "r", "crabbox.yaml"),
        ("", "provider: u", &[], &none, "u", "config.yaml"),
        ("", "", &[], &none, DEFAULT_PROVIDER, "default"),
    ] {
        let found = find(repo, user, vars, flags).unwrap().provider;
        assert_eq!(found.value, value);
        assert!(found.source.to_string().ends_with(source), "{}", found.source);
    }
}

#[test]
fn defaults() {
    let settings = find("", "", &[], &HostFlags::default()).unwrap();
    assert_eq!(duration::format(settings.ttl.value), "1h30m");
    assert_eq!(duration::format(settings.idle_timeout.value), "30m");
    assert!(settings.sync_delete.value);
    assert_eq!(settings.env_allow.value, ["CI", "NODE_OPTIONS"]);
    assert!(settings.sync_exclude.value.is_empty() && settings.sync_include.value.is_empty());
    assert_eq!((settings.sync_warn_files.value, settings.sync_fail_files.value), (50_000, 150_000));
    assert_eq!(settings.sync_warn_bytes.value, 5_368_709_120);
    assert_eq!(settings.sync_fail_bytes.value, 21_474_836_480);
    assert!(!settings.sync_allow_large.value);
    assert!(settings.warnings.is_empty());
}

#[test]
fn limits_are_numbers_and_sizes_may_have_a_unit() {
    let yaml = "sync: {warnFiles: 1, failFiles: 0, warnBytes: 512 MiB, failBytes: 1048576}";
    let settings = find(yaml, "", &[], &HostFlags::default()).unwrap();
    assert_eq!((settings.sync_warn_files.value, settings.sync_fail_files.value), (1, 0));
    assert_eq!((settings.sync_warn_bytes.value, settings.sync_fail_bytes.value), (512 << 20, 1 << 20));
    for yaml in ["{warnFiles: -1}", "{warnFiles: many}", "{failBytes: 5GB}", "{failBytes: 99999999999GiB}"] {
        let error = find(&format!("sync: {yaml}"), "", &[], &HostFlags::default()).unwrap_err();
        assert!(error.message.contains("`sync."), "{yaml}: {error}");
    }
    let vars = [("CRABBOX_SYNC_ALLOW_LARGE", "1")];
    assert!(find("", "", &vars, &HostFlags::default()).unwrap().sync_allow_large.value);
}

#[test]
fn values_are_read_and_wrong_ones_named() {
    let yaml = "lease: {ttl: 2h}\nttl: 1h\nidleTimeout: 5m\nenv: {allow: [A, 'B_*']}\n\
                sync: {delete: no, exclude: [x], include: 'a, b'}";
    let settings = find(yaml, "", &[], &HostFlags::default()).unwrap();
    assert_eq!(settings.ttl.value, Duration::from_secs(7_200));
    assert_eq!(settings.idle_timeout.value, Duration::from_secs(300));
    assert_eq!(settings.env_allow.value, ["A", "B_*"]);
    assert!(!settings.sync_delete.value);
    assert_eq!(settings.sync_include.value, ["a", "b"]);
    let vars = [("CRABBOX_TTL", "3h"), ("CRABBOX_ENV_ALLOW", "X, Y"), ("CRABBOX_IDLE_TIMEOUT", "1m")];
    let settings = find(yaml, "", &vars, &HostFlags::default()).unwrap();
    assert_eq!(settings.ttl.value, Duration::from_secs(10_800));
    assert_eq!(settings.idle_timeout.value, Duration::from_secs(60));
    assert_eq!(settings.env_allow.value, ["X", "Y"]);
    for (yaml, message) in [
        ("ttl: 90", "`ttl` in "),
        ("lease: {ttl: 0s}", "ttl has to be more than nothing"),
        ("provider: [a]", "is not a text"),
        ("provider: ''", "it is empty"),
        ("sync: {delete: maybe}", "`sync.delete` in "),
        ("sync: {exclude: 1}", "is not a list"),
    ] {
        let error = find(yaml, "", &[], &HostFlags::default()).unwrap_err();
        assert!(error.message.contains(message), "{yaml}: {error}");
        assert_eq!(error.exit.code(), 2);
    }
    let error = find("", "", &[("CRABBOX_TTL", "long")], &HostFlags::default()).unwrap_err();
    assert!(error.message.starts_with("variable CRABBOX_TTL: `long` is not a duration"), "{error}");
}

#[test]
fn a_trusted_file_that_everybody_can_write_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    std::fs::write(&file, "ttl: 1h").unwrap();
    let env = Env::new("/", [("A", "")]);
    let paths = Paths { state: "/none".into(), cache: "/none".into(), config: dir.path().into() };
    for (mode, warnings) in [(0o600, 0), (0o644, 0), (0o666, 1)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let files = Files::load(&env, &paths, Some(dir.path())).unwrap();
        let settings = Settings::find(&env, &files, &HostFlags::default()).unwrap();
        assert_eq!(settings.warnings.len(), warnings, "{mode:o}");
    }
}

#[test]
fn only_the_user_chooses_executables() {
    let user = "plugins: {nimbo: {path: ~/bin/n, env: [A, 'B_*']}, x: {path: rel}}";
    let settings = find("plugins: {nimbo: {path: /evil}}", user, &[], &HostFlags::default()).unwrap();
    assert_eq!(settings.plugin_paths()["nimbo"], PathBuf::from("/home/me/bin/n"));
    assert_eq!(settings.plugins["nimbo"].env.as_ref().unwrap().value, ["A", "B_*"]);
    assert!(settings.plugin_paths()["x"].ends_with("config/rel"));
    assert_eq!(settings.warnings.len(), 1);
    assert!(settings.warnings[0].contains("crabbox.yaml is ignored"), "{:?}", settings.warnings);
    assert!(settings.warnings[0].ends_with("config/config.yaml"));
    let error = find("", "plugins: {a: {env: ['*']}}", &[], &HostFlags::default()).unwrap_err();
    assert!(error.message.contains("`plugins.a.env`"), "{error}");
    let error = find("", "plugins: {No: {}}", &[], &HostFlags::default()).unwrap_err();
    assert!(error.message.contains("`plugins.No`"), "{error}");
}
