//! Plans as text for people and as JSON for programs.

use crate::prelude::*;
use serde::Serialize;

use super::{BootPlan, Note, PlanPart};
use crate::text::safe::Safe;

#[derive(Serialize)]
struct PlanReport<'a> {
    kernel: FileReport<'a>,
    initrds: Vec<FileReport<'a>>,
    command_line: &'a str,
    append: Option<&'a str>,
    device_tree: Option<FileReport<'a>>,
    /// Whether `device_tree` is loaded or only named.
    loads_device_tree: bool,
}

#[derive(Serialize)]
struct FileReport<'a> {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
}

impl<'a> From<&'a PlanPart> for FileReport<'a> {
    fn from(part: &'a PlanPart) -> Self {
        let placement = part.placement.as_ref();
        Self {
            url: part.url.to_string(),
            sha256: part.url.sha256().map(|hash| hash.to_string()),
            signature: part.signature.as_ref().map(ToString::to_string),
            path: placement.map(|placement| placement.path.as_str()),
            mode: placement.map(|placement| format!("{:04o}", placement.mode)),
        }
    }
}

/// Returns the plan as JSON; addresses are without credentials.
pub fn json(plan: &BootPlan) -> String {
    let plan = PlanReport {
        kernel: (&plan.kernel).into(),
        initrds: plan.initrds.iter().map(Into::into).collect(),
        command_line: &plan.command_line,
        append: plan.append.as_deref(),
        device_tree: plan.device_tree.as_ref().map(Into::into),
        loads_device_tree: plan.loads_device_tree,
    };
    // Strings and lists of strings always have a form in JSON.
    serde_json::to_string_pretty(&plan).unwrap_or_default()
}

/// Returns the plan in lines for people.
pub fn text(plan: &BootPlan) -> String {
    let mut lines = vec![format!("kernel        {}", Safe::line(&plan.kernel.url))];
    for initrd in &plan.initrds {
        let place = initrd.placement.as_ref();
        let place = place.map_or(String::new(), |place| {
            format!(" as /{}", Safe::name(&place.path))
        });
        lines.push(format!("initrd        {}{place}", Safe::line(&initrd.url)));
    }
    if let Some(tree) = &plan.device_tree {
        let what = if plan.loads_device_tree {
            "device tree"
        } else {
            "not loaded"
        };
        lines.push(format!("{what:13} {}", Safe::line(&tree.url)));
    }
    let command_line = plan.with_append(&plan.command_line);
    lines.push(format!("command line  {}", Safe::line(command_line)));
    lines.join("\n") + "\n"
}

/// Returns which file and line each decision came from, in order and without details.
pub fn explain(notes: &[Note]) -> String {
    let lines = notes
        .iter()
        .filter(|note| !note.is_detail)
        .map(|note| format!("{note}\n"));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::url::Url;

    #[test]
    fn json_has_every_part_and_no_credentials() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        let mut plan = BootPlan::of_kernel(url("http://me:pw@h/k").into(), "a=\"b\"".to_owned());
        let pin = "00".repeat(32);
        plan.initrds
            .push(url(&format!("tftp://h/i#sha256={pin}")).into());
        let json: serde_json::Value = serde_json::from_str(&json(&plan)).unwrap();
        assert_eq!(json["kernel"]["url"], "http://h/k");
        assert_eq!(json["initrds"][0]["sha256"], pin);
        assert_eq!(json["command_line"], "a=\"b\"");
        assert!(json["append"].is_null());
        let text = text(&plan);
        assert!(text.contains("initrd        tftp://h/i\n"), "{text}");
    }
}
