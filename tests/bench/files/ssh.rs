//! scp, rsync and tar over ssh to this machine itself, with AES-256-GCM, where
//! they are installed.

use std::fs;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

const CIPHER: &str = "aes256-gcm@openssh.com";

/// Where the server is.
const SERVER: &str = "/usr/sbin/sshd";

/// How long it may take to start.
const START: Duration = Duration::from_secs(10);

/// A server of ssh for this user, with keys of its own.
pub(super) struct Ssh {
    server: Child,
    port: u16,
    key: PathBuf,
}

impl Ssh {
    /// Starts one with its files in `folder`; none if it is not installed.
    pub(super) fn start(folder: &Path) -> anyhow::Result<Option<Self>> {
        let is_there = |program: &&str| {
            Command::new("sh")
                .args(["-c", &format!("command -v {program}")])
                .stdout(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        if !Path::new(SERVER).exists() || !["ssh", "scp", "rsync", "tar"].iter().all(is_there) {
            let missing = "without sshd, ssh, scp, rsync and tar there is nothing to compare with";
            writeln!(io::stderr(), "{missing}")?;
            return Ok(None);
        }
        fs::create_dir_all(folder)?;
        let [host, key] = ["host", "key"].map(|name| folder.join(name));
        for path in [&host, &key] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path);
            if !keygen.stdin(Stdio::null()).status()?.success() {
                bail!("ssh-keygen failed");
            }
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let settings = folder.join("settings");
        fs::write(
            &settings,
            format!(
                "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}.pub\n\
                 StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n\
                 Subsystem sftp internal-sftp\n",
                host.display(),
                key.display()
            ),
        )?;
        // It wants this folder to be there.
        drop(fs::create_dir_all("/run/sshd"));
        let server = Command::new(SERVER)
            .args(["-D", "-e", "-f"])
            .arg(&settings)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("sshd does not start")?;
        let ssh = Self { server, port, key };
        let end = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if Instant::now() > end {
                bail!("sshd does not listen");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Some(ssh))
    }

    fn options(&self) -> String {
        format!(
            "-c {CIPHER} -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
             -o LogLevel=ERROR",
            self.key.display()
        )
    }

    /// scp of a file or folder.
    pub(super) fn scp(&self, from: &Path, to: &Path) -> anyhow::Result<Duration> {
        let (options, port) = (self.options(), self.port);
        let (from, to_shown) = (from.display(), to.display());
        timed(&format!("scp -q -r -P {port} {options} {from} 127.0.0.1:{to_shown}"), to)
    }

    /// rsync of a folder.
    pub(super) fn rsync(&self, from: &Path, to: &Path) -> anyhow::Result<Duration> {
        let (options, port) = (self.options(), self.port);
        let (from, to_shown) = (from.display(), to.display());
        timed(&format!("rsync -a -e 'ssh -p {port} {options}' {from} 127.0.0.1:{to_shown}"), to)
    }

    /// tar of a folder, untarred at the other end.
    pub(super) fn tar(&self, from: &Path, to: &Path) -> anyhow::Result<Duration> {
        let (options, port) = (self.options(), self.port);
        let (from, to_shown) = (from.display(), to.display());
        let untar = format!("mkdir -p {to_shown} && tar -xf - -C {to_shown}");
        timed(&format!("tar -cf - -C {from} . | ssh -p {port} {options} 127.0.0.1 '{untar}'"), to)
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// How long a line of shell takes, until what it wrote is on the disk.
fn timed(line: &str, written: &Path) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let line = format!("{line} && sync -f {}", written.display());
    let status = Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).status()?;
    if !status.success() {
        bail!("failed: {line}");
    }
    Ok(started.elapsed())
}
