//! `coder create`: checks, values, a plan, the workspace, and its first build.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::output::Failure;
use super::{Cli, hang};
use crate::coder::deployment::{Preset, Template};
use crate::coder::state::{Refusal, State};
use crate::coder::workspace::{Build, Transition, Workspace, later, uuid};

impl Cli {
    pub(super) fn create(&self) -> Result<(), Failure> {
        self.login()?;
        let (owner, name) = self.new_name()?;
        self.ask(|_| Ok(()))?;
        self.warn()?;
        let full = format!("{owner}/{name}");
        if self.ask(|state| Ok(state.find(&full).is_ok()))? {
            let capital = self.ask(|state| Ok(!state.deployment.since(18)))?;
            let article = if capital { 'A' } else { 'a' };
            return Err(Failure::text(&format!("{article} workspace already exists named \"{name}\"")));
        }
        let source = match self.flags.text("copy-parameters-from") {
            Some(source) => {
                let found = self.ask(|state| state.find(source).cloned());
                Some(found.map_err(|it| it.during("get source workspace"))?)
            }
            None => None,
        };
        let template = self.template_of_new(source.as_ref())?;
        let preset = self.preset(&template)?;
        let copied = source.map(|it| it.parameters).unwrap_or_default();
        let parameters = self.values_of_new(&template, &copied, preset.as_ref())?;
        if template.external_auth {
            self.say(
                "You must authenticate with GitHub to create a workspace with this template. Visit:\n\n",
            );
            self.say("\thttps://coder.test/external-auth/github\n\n");
            hang();
        }
        self.say("Planning workspace...\n");
        self.stage("Queued", template.plan);
        self.confirm("Confirm create?", "yes")?;
        let preset = preset.map(|it| it.name);
        let ttl = self.flags.text("stop-after").map(milliseconds).transpose()?;
        let updates = self.flags.text("automatic-updates").unwrap_or("never").to_owned();
        let workspace = self.ask(|state| {
            let workspace =
                Workspace { ttl_ms: ttl, automatic_updates: updates, ..new(state, &template, &owner, &name) };
            insert(state, Workspace { parameters, preset, ..workspace })
        });
        let workspace = workspace.map_err(|it| it.during("create workspace"))?;
        if self.flags.is_set("no-wait") {
            self.say(&format!(
                "\nThe {name} workspace has been created and is building in the background.\n"
            ));
            return Ok(());
        }
        self.wait_for_build(&workspace.id, workspace.latest()).map_err(|it| it.during("watch build"))?;
        self.say(&format!("\nThe {name} workspace has been created at {}!\n", moment()));
        Ok(())
    }

    /// Whose it is to be, and its name.
    fn new_name(&self) -> Result<(String, String), Failure> {
        let identifier = match self.flags.arguments.first() {
            Some(identifier) => identifier.clone(),
            None => self.ask_for_value("Specify a name for your workspace:", "")?,
        };
        let me = self.store.with(|state| state.deployment.user.clone())?;
        let (owner, name) = split(&identifier)?;
        is_valid(&name)
            .map_err(|why| Failure::text(&format!("workspace name \"{name}\" is invalid: {why}")))?;
        Ok((owner.filter(|it| it != "me").unwrap_or(me), name))
    }

    /// The template that is named, or that the workspace has whose parameters are copied.
    fn template_of_new(&self, source: Option<&Workspace>) -> Result<Template, Failure> {
        let all = self.ask(|state| Ok(state.deployment.templates.clone()))?;
        if let Some(source) = source {
            self.say(&format!(
                "Coder will use the same template \"{}\" as the source workspace.\n",
                source.template
            ));
        }
        let Some(name) = source.map(|it| it.template.as_str()).or_else(|| self.flags.text("template")) else {
            let names: Vec<String> = all.into_iter().map(|it| it.name).collect();
            self.choose("Select a template below to preview the provisioned infrastructure:", &names);
        };
        let found: Vec<&Template> = all.iter().filter(|it| it.name == name).collect();
        let organizations: Vec<&str> = found.iter().map(|it| it.organization.as_str()).collect();
        match (found.as_slice(), self.flags.text("org")) {
            ([], _) => Err(Failure::text(&format!("no template found with the name \"{name}\""))),
            ([one], None) => Ok((*one).clone()),
            ([one], Some(organization)) if one.organization == organization => Ok((*one).clone()),
            ([one], Some(organization)) => Err(Failure::text(&format!(
                "template is in organization \"{0}\", but '--org=\"{organization}\"' was specified. Use \
                 '--org=\"{0}\"' to use this template",
                one.organization
            ))),
            (many, organization) => {
                let one = many.iter().find(|it| Some(it.organization.as_str()) == organization);
                one.map(|it| (*it).clone()).ok_or_else(|| {
                    Failure::text(&format!(
                        "multiple templates found with the name \"{name}\", use `--org=<organization_name>` to \
                         specify which template by that name to use. Organizations available: {}",
                        organizations.join(", ")
                    ))
                })
            }
        }
    }

    /// The preset that is named, or that applies when none is.
    fn preset(&self, template: &Template) -> Result<Option<Preset>, Failure> {
        let presets = self.ask(|state| Ok(state.deployment.since(25)))?;
        if !presets {
            return Ok(None);
        }
        let name = self.flags.text("preset").unwrap_or_default();
        if template.presets.is_empty() || name.eq_ignore_ascii_case("none") {
            self.say("No preset applied.\n");
            return Ok(None);
        }
        let fits = |it: &&Preset| if name.is_empty() { it.default } else { it.name == name };
        let Some(preset) = template.presets.iter().find(fits) else {
            if name.is_empty() {
                let names: Vec<String> = template.presets.iter().map(|it| it.name.clone()).collect();
                self.choose("Select a preset below:", &names);
            }
            return Err(Failure::text(&format!("unable to resolve preset: preset \"{name}\" not found")));
        };
        let default = if preset.default { " (default)" } else { "" };
        self.say(&format!("Preset '{}'{default} applied:\n", preset.name));
        preset.parameters.iter().for_each(|(name, value)| self.say(&format!("  {name}: '{value}'\n")));
        Ok(Some(preset.clone()))
    }
}

fn new(state: &mut State, template: &Template, owner: &str, name: &str) -> Workspace {
    let error = state.deployment.faults.build_failure(Transition::Start);
    let build = Build::new(Transition::Start, template, &state.deployment.user, "initiator", error);
    Workspace {
        id: uuid(),
        name: name.to_owned(),
        owner: owner.to_owned(),
        template: template.name.clone(),
        organization: template.organization.clone(),
        created: build.created,
        visible: later(build.created, state.deployment.faults.late_row),
        last_used: build.created,
        dormant: None,
        ttl_ms: None,
        automatic_updates: "never".to_owned(),
        parameters: BTreeMap::new(),
        preset: None,
        builds: vec![build],
    }
}

/// Adds a workspace, unless the owner has one of that name: somebody may have been faster.
fn insert(state: &mut State, workspace: Workspace) -> Result<Workspace, Refusal> {
    let same = |it: &Workspace| it.owner == workspace.owner && it.name.eq_ignore_ascii_case(&workspace.name);
    if state.workspaces.iter().any(same) {
        let text = format!("Workspace \"{}\" already exists.", workspace.name);
        let more =
            "\n1 validation error(s) found\n\tname: This value is already in use and should be unique.";
        return Err(Refusal::new(409, &(text + more)));
    }
    state.workspaces.push(workspace.clone());
    Ok(workspace)
}

/// An owner, if one is named, and a name.
pub(super) fn split(identifier: &str) -> Result<(Option<String>, String), Failure> {
    match identifier.split('/').collect::<Vec<_>>().as_slice() {
        [name] => Ok((None, (*name).to_owned())),
        [owner, name] => Ok((Some((*owner).to_owned()), (*name).to_owned())),
        _ => Err(Failure::text(&format!("invalid workspace name: \"{identifier}\""))),
    }
}

/// Whether a workspace may have this name.
fn is_valid(name: &str) -> Result<(), String> {
    let part = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match name {
        "" => Err("must be >= 1 character".to_owned()),
        "new" | "create" => Err(format!("cannot use \"{name}\" as a name")),
        _ if name.len() > 32 => Err("must be <= 32 characters".to_owned()),
        _ if name.split('-').all(part) => Ok(()),
        _ => Err("must be alphanumeric with hyphens".to_owned()),
    }
}

/// A duration as Go writes it, in milliseconds: `8h`, `1h30m`, `90s`.
fn milliseconds(text: &str) -> Result<u64, Failure> {
    let (mut total, mut digits) = (0_u64, String::new());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let factor = match letter {
            '0'..='9' => {
                digits.push(letter);
                continue;
            }
            'h' => 3_600_000,
            'm' if letters.next_if_eq(&'s').is_some() => 1,
            'm' => 60_000,
            's' => 1000,
            _ => return Err(bad_duration(text)),
        };
        total += factor * digits.parse::<u64>().map_err(|_| bad_duration(text))?;
        digits.clear();
    }
    if digits.is_empty() && total > 0 { Ok(total) } else { Err(bad_duration(text)) }
}

fn bad_duration(text: &str) -> Failure {
    Failure::text(&format!(
        "invalid argument \"{text}\" for \"--stop-after\" flag: time: invalid duration \"{text}\""
    ))
}

/// This moment, as the CLI writes it.
pub(super) fn moment() -> String {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    now.strftime("%b %e %H:%M:%S").to_string()
}

/// Whether a moment has passed.
pub(super) fn is_over(moment: Timestamp) -> bool {
    moment <= Timestamp::now()
}
