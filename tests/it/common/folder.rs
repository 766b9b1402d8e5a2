//! A folder for files that are served and files that are fetched, `wireboot fetch` in it, and the
//! servers of its files.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use wireboot_proto::time::Random;

use super::wait_until;

/// A folder that goes with its test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let name = format!("wireboot-http-{:016x}", wireboot::sys::seed());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("near")).unwrap();
        fs::create_dir(path.join("served")).unwrap();
        Self(path)
    }

    /// Returns the path of a file that was fetched.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join("near").join(name)
    }

    /// Returns the folder of the files that are served.
    pub fn served(&self) -> PathBuf {
        self.0.join("served")
    }

    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
        command.arg("fetch").args(arguments);
        command.current_dir(self.path(""));
        for name in [
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "HTTPS_PROXY",
            "ALL_PROXY",
        ] {
            command.env_remove(name);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn succeeds(&self, arguments: &[&str]) {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// Returns the last line that a failing fetch says.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        let text = String::from_utf8_lossy(&output.stderr);
        text.lines().last().unwrap_or_default().to_owned()
    }

    pub fn offer(&self, name: &str, len: usize) {
        let mut random = Random::new(len as u64);
        let words = std::iter::repeat_with(|| random.next_u64().to_le_bytes());
        let mut content: Vec<u8> = words.take(len / 8 + 1).flatten().collect();
        content.truncate(len);
        fs::write(self.served().join(name), content).unwrap();
    }

    pub fn is_whole(&self, come: &str, served: &str) {
        let served = fs::read(self.served().join(served)).unwrap();
        assert!(fs::read(self.path(come)).unwrap() == served);
    }

    pub fn spawn(&self, program: &str, arguments: &[&str]) -> Running {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.0);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().expect("it is installed"))
    }

    pub fn start(&self, program: &str, arguments: &[&str], port: u16) -> Running {
        let server = self.spawn(program, arguments);
        wait_until(program, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    /// Python's server, which knows no ranges, on port 8000.
    pub fn python(&self) -> Running {
        let options = "-m http.server -b 127.0.0.1 -d served 8000";
        let arguments: Vec<_> = options.split(' ').collect();
        self.start("python3", &arguments, 8000)
    }

    pub fn nginx(&self, more: &str) -> Running {
        let folder = self.0.display();
        let config = format!(
            "daemon off; user root; pid {folder}/pid; error_log {folder}/errors;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
                uwsgi_temp_path {folder}; scgi_temp_path {folder};
                server {{
                    listen 127.0.0.1:8080;
                    root {folder}/served;
                    location /moved/ {{ rewrite ^/moved(.*) $1 redirect; }}
                    location /chunked/ {{ alias {folder}/served/; ssi on; ssi_types *; }}
                    location /slow/ {{ alias {folder}/served/; limit_rate 1k; }}
                }}
                {}
            }}",
            more.replace("root served", &format!("root {folder}/served"))
        );
        let path = self.0.join("nginx.conf");
        fs::write(&path, config).unwrap();
        let path = path.to_str().unwrap();
        self.start("nginx", &["-p", self.0.to_str().unwrap(), "-c", path], 8080)
    }

    /// Makes an authority, and certificates by it that are good, have expired, are not valid
    /// yet, and are for another host; one for a client, with its key in the same file; and one that its owner
    /// made by itself.
    pub fn certificates(&self) {
        let script = "
            key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
            openssl req -x509 $key -keyout ca.key -out ca.pem -subj /CN=authority -days 9
            touch index; echo 01 > serial
            cat > ca.conf <<END
[ca]
default_ca = own
[own]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
END
            sign() {
                openssl req -new $key -keyout $1.key -out $1.csr -subj /CN=$2 -addext subjectAltName=DNS:$2
                openssl ca -batch -config ca.conf -cert ca.pem -keyfile ca.key -notext \\
                    -startdate $3 -enddate $4 -in $1.csr -out $1.pem
            }
            now=$(date -u +%Y%m%d000000Z) later=$(date -u -d '+9 days' +%Y%m%d000000Z)
            sign good localhost $now $later
            sign expired localhost 20200101000000Z 20200201000000Z
            sign early localhost $(date -u -d '+20 days' +%Y%m%d000000Z) \\
                $(date -u -d '+40 days' +%Y%m%d000000Z)
            sign elsewhere elsewhere.example $now $later
            sign client client.example $now $later
            cat client.key >> client.pem
            openssl req -x509 $key -keyout own.key -out own.pem -subj /CN=localhost -days 9 \\
                -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE
            cp ca.pem client.pem own.pem near/
        ";
        let output = Command::new("bash")
            .args(["-euc", script])
            .current_dir(&self.0)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that goes with its test.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        // A chance to end its workers.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// Returns the configuration of a server of nginx whose certificate is the one of `name`.
pub fn tls_server(port: u16, name: &str, more: &str) -> String {
    format!(
        "server {{ listen 127.0.0.1:{port} ssl; root served; ssl_certificate {name}.pem;
         ssl_certificate_key {name}.key; {more} }}\n"
    )
}
