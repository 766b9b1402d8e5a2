//! The far end of a cable: a second network namespace, in which a real server runs.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use nix::sched::{CloneFlags, setns};

use super::{ip, wait_until};

/// A namespace that holds `far`, 192.0.2.1/24, the peer of an interface in the caller's namespace.
pub struct Far {
    holder: Child,
    /// A folder for the configuration of servers.
    pub folder: PathBuf,
}

impl Far {
    /// Makes the namespace and the pair; its end `near` is left down.
    pub fn plug_in() -> Self {
        Self::plug_in_as("near")
    }

    /// As [`Far::plug_in`], with another name for the near end.
    pub fn plug_in_as(near: &str) -> Self {
        let far = Self::unplugged();
        ip(&format!(
            "link add {near} type veth peer name far netns {}",
            far.holder.id()
        ));
        far.has_address("192.0.2.1");
        far
    }

    /// A cable whose far end has 2001:db8:1::1/64, and whose near end has a known hardware address.
    pub fn plug_in_ipv6() -> Self {
        let far = Self::plug_in();
        for command in [
            "ip link set far down",
            "sysctl -q -w net.ipv6.conf.far.accept_dad=0 net.ipv6.conf.far.accept_ra=0",
            "ip link set far address 52:54:00:00:00:01 up",
            "ip address add 2001:db8:1::1/64 dev far nodad",
        ] {
            far.run(command);
        }
        ip("link set near address 52:54:00:12:34:56");
        far
    }

    /// Makes another namespace on the same cable, whose `far` has the address 192.0.2.`host`: `far`
    /// becomes a bridge.
    pub fn beside(&self, host: u8) -> Self {
        let other = Self::unplugged();
        for command in [
            "ip link set far down",
            "ip link set far name cable",
            "ip link add far type bridge",
            &format!(
                "ip link add other type veth peer name far netns {}",
                other.holder.id()
            ),
            "ip link set cable master far up",
            "ip link set other master far up",
            "ip address flush dev cable",
        ] {
            self.run(command);
        }
        self.has_address("192.0.2.1");
        other.has_address(&format!("192.0.2.{host}"));
        other
    }

    /// Makes a namespace behind this one, which becomes a router: `behind`, 203.0.113.1/24, leads to
    /// the other's `far`, 203.0.113.2/24.
    pub fn behind(&self) -> Self {
        let other = Self::unplugged();
        for command in [
            &format!(
                "ip link add name behind type veth peer name far netns {}",
                other.holder.id()
            ),
            "ip address add 203.0.113.1/24 dev behind",
            "ip link set behind up",
            "sysctl -q -w net.ipv4.ip_forward=1",
        ] {
            self.run(command);
        }
        other.run("ip address add 203.0.113.2/24 dev far");
        other.run("ip link set far up");
        other.run("ip route add 192.0.2.0/24 via 203.0.113.1");
        other
    }

    fn has_address(&self, address: &str) {
        self.run(&format!("ip address add {address}/24 dev far"));
        self.run("ip link set far up");
    }

    fn unplugged() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; read end"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is installed");
        let mut ready = [0; 6];
        let stdout = holder.stdout.as_mut().expect("it is piped");
        stdout.read_exact(&mut ready).expect("a network namespace");
        let pid = holder.id();
        let folder = std::env::temp_dir().join(format!("wireboot-far-{pid}"));
        std::fs::create_dir(&folder).expect("a temporary folder");
        Self { holder, folder }
    }

    /// Returns the file that is this namespace.
    pub fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// Serves the files of `folder` by HTTP on port 80, of IPv4 and IPv6.
    pub fn serve_web(&self, folder: &Path) -> Server {
        let folder = folder.display();
        let command = format!("python3 -u -m http.server -b :: -d {folder} 80");
        self.serve(&command, "Serving HTTP")
    }

    /// Answers for `files.boot.example`, 192.0.2.1, and for no other name.
    pub fn serve_names(&self) -> Server {
        self.serve(
            "dnsmasq --conf-file=/dev/null --no-daemon --user=root --pid-file= --no-resolv --no-hosts
             --local=/boot.example/ --host-record=files.boot.example,192.0.2.1",
            "started",
        )
    }

    /// Accepts connections on port 81, and says nothing.
    pub fn serve_silence(&self) -> Server {
        let script = self.write(
            "silent.py",
            "import socket, time\n\
             server = socket.create_server((\"192.0.2.1\", 81))\n\
             print(\"ready\", flush=True)\n\
             time.sleep(300)\n",
        );
        self.serve(&format!("python3 {script}"), "ready")
    }

    /// Runs a command to its end in this namespace.
    pub fn run(&self, command: &str) {
        let output = self.output_of(command);
        assert!(output.status.success(), "{command}: {output:?}");
    }

    /// Runs a command to its end in this namespace and returns what it printed, whatever became of
    /// it.
    pub fn output(&self, command: &str) -> String {
        String::from_utf8_lossy(&self.output_of(command).stdout).into_owned()
    }

    fn output_of(&self, command: &str) -> Output {
        self.command(command).output().expect("nsenter runs")
    }

    /// Runs `act` on a thread in this namespace.
    pub fn enter(&self, act: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
        let namespace = File::open(self.namespace()).expect("the namespace is held");
        thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("CAP_SYS_ADMIN");
            act();
        })
    }

    /// Starts a server and waits until it says `ready`.
    pub fn serve(&self, command: &str, ready: &str) -> Server {
        let server = self.start(command);
        server.wait_for(ready);
        server
    }

    /// Starts a server whose clients ask again until it is there.
    pub fn start(&self, command: &str) -> Server {
        let mut command = self.command(command);
        command.env("KEA_PIDFILE_DIR", &self.folder);
        command.env("KEA_LOCKFILE_DIR", &self.folder);
        Server::start(&mut command)
    }

    /// Writes the configuration of a server and returns its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, text).expect("a temporary file");
        path.to_str().expect("it is ASCII").to_owned()
    }

    fn command(&self, command: &str) -> Command {
        let mut whole = Command::new("nsenter");
        whole.arg(format!("--net={}", self.namespace()));
        whole.args(command.split_whitespace());
        whole
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        end(&mut self.holder);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A running program, most often a server; ends when dropped, without a chance to say good-bye.
pub struct Server {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Server {
    /// Starts a program in the namespace of the calling thread.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it is installed");
        let said = Arc::new(Mutex::new(String::new()));
        listen(child.stdout.take().expect("it is piped"), &said);
        listen(child.stderr.take().expect("it is piped"), &said);
        Self { child, said }
    }

    /// Returns the number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("Linux numbers processes so");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Waits for its end and returns its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("it is our child").code()
    }

    /// Returns how many of the lines said so far contain `text`.
    pub fn count(&self, text: &str) -> usize {
        let said = self.said.lock().expect("no listener panics");
        said.lines().filter(|line| line.contains(text)).count()
    }

    /// Forgets what was said so far.
    pub fn forget(&self) {
        self.said.lock().expect("no listener panics").clear();
    }

    /// Waits until the server has said `text`.
    pub fn wait_for(&self, text: &str) {
        wait_until(text, || self.count(text) > 0);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
        if thread::panicking() {
            let said = self.said.lock().map(|said| said.clone());
            eprintln!("the server said:\n{}", said.unwrap_or_default());
        }
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn listen(from: impl Read + Send + 'static, said: &Arc<Mutex<String>>) {
    let said = Arc::clone(said);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut said = said.lock().expect("no test panics while it looks");
            said.push_str(&line);
            said.push('\n');
        }
    });
}
