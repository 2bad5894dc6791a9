//! The providers that `crabbox plugins new` starts from. They are in `host/templates`, and run as they are.

use super::new::Lang;

/// A file of a template.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    /// Where it goes.
    pub(super) path: &'static str,
    /// What is in it.
    pub(super) text: &'static str,
    /// Whether it can be started.
    pub(super) executable: bool,
}

macro_rules! file {
    ($from:literal, $path:literal) => {
        File { path: $path, text: include_str!(concat!("../../templates/", $from)), executable: false }
    };
    ($from:literal, $path:literal, executable) => {
        File { executable: true, ..file!($from, $path) }
    };
}

/// The files of the template in a language.
pub(super) fn files(lang: Lang) -> &'static [File] {
    match lang {
        Lang::Python => &[
            file!("python/crabbox-provider-example", "crabbox-provider-example", executable),
            file!("python/test.py", "test.py", executable),
            file!("python/README.md", "README.md"),
        ],
        Lang::Node => &[
            file!("node/crabbox-provider-example", "crabbox-provider-example", executable),
            file!("node/provider.test.js", "provider.test.js"),
            file!("node/package.json", "package.json"),
            file!("node/README.md", "README.md"),
        ],
        Lang::Go => &[
            file!("go/go.mod", "go.mod"),
            file!("go/main.go", "main.go"),
            file!("go/provider.go", "provider.go"),
            file!("go/run.go", "run.go"),
            file!("go/provider_test.go", "provider_test.go"),
            file!("go/gitignore", ".gitignore"),
            file!("go/README.md", "README.md"),
        ],
        Lang::Sh => &[
            file!("sh/crabbox-provider-example", "crabbox-provider-example", executable),
            file!("sh/test", "test", executable),
            file!("sh/README.md", "README.md"),
        ],
        Lang::Rust => &[
            file!("rust/Cargo.toml", "Cargo.toml"),
            file!("rust/src/main.rs", "src/main.rs"),
            file!("rust/tests/check.rs", "tests/check.rs"),
            file!("rust/gitignore", ".gitignore"),
            file!("rust/README.md", "README.md"),
        ],
    }
}
