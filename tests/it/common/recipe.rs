//! The chapter of recipes, and what its blocks need to run as they stand: the folders that they name,
//! empty and seen by the test alone, and a node and a server whose cards are both `eth0`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use wireboot_proto::format::kernel_image::fixture::bz_image;

use super::far::{Far, Server};
use super::machine::MAC;
use super::{ip, wait_until};

/// A boot file for the kernel and the initrd that [`server`] has.
pub const SCRIPT: &str = "#!ipxe\nkernel vmlinuz\ninitrd initrd.img\nboot\n";

pub const CHAPTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/manual/recipes.md");

/// What a namespace has of its own besides `/etc` and `/run`, so that recipes may write there.
const FOLDERS: [&str; 3] = ["/srv", "/usr/src", "/var/log/nginx"];

/// A section of the chapter.
pub struct Recipe {
    pub title: String,
    blocks: Vec<Block>,
}

struct Block {
    /// Of a file, as the text above it says.
    path: Option<String>,
    is_commands: bool,
    text: String,
}

/// Returns all recipes in their order.
pub fn recipes() -> Vec<Recipe> {
    let chapter = fs::read_to_string(CHAPTER).unwrap();
    let mut recipes: Vec<Recipe> = Vec::new();
    let mut block: Option<Block> = None;
    let mut above = "";
    for line in chapter.lines() {
        match (&mut block, line.strip_prefix("```")) {
            (Some(_), Some(_)) => {
                let last = recipes.last_mut().expect("blocks stand in a recipe");
                last.blocks.extend(block.take());
                above = "";
            }
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, Some(language)) => {
                block = Some(Block {
                    path: path_above(above),
                    is_commands: language == "sh",
                    text: String::new(),
                });
            }
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    recipes.push(Recipe {
                        title: title.to_owned(),
                        blocks: Vec::new(),
                    });
                } else if !line.is_empty() {
                    above = line;
                }
            }
        }
    }
    recipes
}

/// Returns the path that a line ends with, as "… `/etc/dnsmasq.conf`:".
fn path_above(line: &str) -> Option<String> {
    let (_, path) = line.strip_suffix("`:")?.rsplit_once('`')?;
    path.starts_with('/').then(|| path.to_owned())
}

/// Returns the recipe whose title has `part`.
pub fn recipe(part: &str) -> Recipe {
    let mut found = recipes();
    found.retain(|recipe| recipe.title.contains(part));
    assert_eq!(found.len(), 1, "{part}");
    found.remove(0)
}

impl Recipe {
    /// Writes its files to where they belong.
    pub fn write(&self) {
        for block in &self.blocks {
            if let Some(path) = &block.path {
                fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
                fs::write(path, &block.text).unwrap();
            }
        }
    }

    /// Returns the file with this path.
    pub fn file(&self, path: &str) -> &str {
        let is_it = |block: &&Block| block.path.as_deref() == Some(path);
        &self.blocks.iter().find(is_it).expect(path).text
    }

    /// Returns its blocks of commands.
    pub fn commands(&self) -> Vec<&str> {
        let blocks = self.blocks.iter().filter(|block| block.is_commands);
        blocks.map(|block| block.text.as_str()).collect()
    }

    /// Runs its blocks of commands in their order.
    pub fn run_commands(&self) {
        for commands in self.commands() {
            run(commands);
        }
    }

    /// Returns the words for the kernel that wireboot runs on.
    pub fn words(&self) -> &str {
        let is_it = |block: &&Block| !block.is_commands && block.path.is_none();
        let mut words = self.blocks.iter().filter(is_it);
        let found = words.next().expect("words for the node").text.trim_end();
        assert!(
            words.next().is_none(),
            "{}: two blocks of words",
            self.title
        );
        found
    }

    /// Boots the node by its words up to a step, with more arguments.
    pub fn boot(&self, step: &str, more: &[&str]) -> Output {
        fs::write("/run/words", self.words()).unwrap();
        ip("address flush dev eth0");
        ip(&format!("link set eth0 address {MAC}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
        command.args(["boot", "-i", "eth0", "--kernel-command-line", "/run/words"]);
        command.args(["--timeout", "30", "--stop-after", step]);
        command.args(more).output().unwrap()
    }

    /// Returns the plan of the node: kernel and initrds, and the command line.
    pub fn plan(&self, more: &[&str]) -> (Vec<String>, String) {
        let output = self.boot("plan", &[&["--json"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        plan_of(&output)
    }

    /// Returns the exit code of a boot that leads to no plan, and its last lines.
    pub fn refusal(&self) -> (Option<i32>, String) {
        let output = self.boot("plan", &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    }
}

/// Returns the files that a plan was printed with, and its command line.
pub fn plan_of(output: &Output) -> (Vec<String>, String) {
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let url = |part: &Value| part["url"].as_str().unwrap().to_owned();
    let initrds = plan["initrds"].as_array().unwrap().iter();
    let files = [&plan["kernel"]].into_iter().chain(initrds);
    let command_line = plan["command_line"].as_str().unwrap().to_owned();
    (files.map(url).collect(), command_line)
}

/// Runs commands as the chapter says: as root, in the folder of the sources, with wireboot installed.
pub fn run(commands: &str) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_wireboot")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("bash")
        .args(["-euc", commands])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", bin.display()))
        .output()
        .expect("bash is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{commands}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Makes the node's card and the server's, and folders of one's own with a kernel and an initrd to
/// serve.
pub fn server() -> Far {
    for folder in FOLDERS {
        run(&format!("mkdir -p {folder}; mount -t tmpfs none {folder}"));
    }
    fs::create_dir("/srv/tftp").unwrap();
    fs::write("/srv/tftp/vmlinuz", bz_image()).unwrap();
    fs::write("/srv/tftp/initrd.img", "070701".repeat(20)).unwrap();
    let far = Far::plug_in_as("eth0");
    rename(&far);
    far
}

/// Calls the server's card as the recipes do.
pub fn rename(far: &Far) {
    for command in ["set far down", "set far name eth0", "set eth0 up"] {
        far.run(&format!("ip link {command}"));
    }
}

/// Starts dnsmasq with the file that it looks for.
pub fn dnsmasq(far: &Far) -> Server {
    let command = "dnsmasq --conf-file=/etc/dnsmasq.conf --no-daemon --user=root --pid-file= \
        --leasefile-ro --no-ping";
    far.serve(command, "TFTP root is")
}

/// Starts dnsmasq with a file of the test's, which a product would have written.
pub fn dnsmasq_with(far: &Far, more: &str) -> Server {
    let common = "interface=eth0\nbind-interfaces\nno-resolv\nenable-tftp\ntftp-root=/srv/tftp\n\
        dhcp-range=192.0.2.100,192.0.2.199,1h\n";
    fs::write("/etc/dnsmasq.conf", format!("{common}{more}\n")).unwrap();
    dnsmasq(far)
}

/// Starts nginx with the servers in its folder for them.
pub fn nginx(far: &Far) -> Server {
    let configuration =
        "daemon off; master_process off; user root; pid /run/nginx.pid; error_log stderr;
        events {} http { access_log off; include /etc/nginx/conf.d/*.conf; }";
    fs::write("/run/nginx.conf", configuration).unwrap();
    let server = far.start("nginx -c /run/nginx.conf");
    let is_there = || {
        far.output("ss --listening --tcp --numeric")
            .contains("192.0.2.1:")
    };
    wait_until("nginx listens", is_there);
    server
}
