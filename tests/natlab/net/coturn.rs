//! coturn's server and clients: the standard that STUN is tested against.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use pilot_tests::Process;

use crate::lab::nat::Kind;
use crate::lab::{FILES, Lab, Site};
use crate::suite::installed;

/// How long the server may take to start.
const START: Duration = Duration::from_secs(10);

/// How long its answer may take; the client waits for ever.
const NEAR: Duration = Duration::from_secs(2);

/// How a NAT behaves, as RFC 4787 and coturn call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// There is no NAT.
    None,
    /// The peer does not matter.
    EndpointIndependent,
    /// The peer's address does.
    AddressDependent,
    /// The peer's address and port do.
    AddressAndPortDependent,
    /// The client did not say.
    Unknown,
}

/// Mapping and filtering of a kind of router.
pub(crate) const fn behaviour_of(kind: Kind) -> (Behaviour, Behaviour) {
    use Behaviour::{AddressAndPortDependent, AddressDependent, EndpointIndependent, Unknown};
    match kind {
        Kind::Cone => (EndpointIndependent, EndpointIndependent),
        Kind::Restricted => (EndpointIndependent, AddressDependent),
        Kind::PortRestricted => (EndpointIndependent, AddressAndPortDependent),
        Kind::Symmetric => (AddressAndPortDependent, AddressAndPortDependent),
        Kind::UdpBlocked => (Unknown, Unknown),
    }
}

/// coturn as a STUN server.
#[derive(Debug)]
pub(crate) struct Turnserver {
    _process: Process,
    address: SocketAddr,
}

impl Turnserver {
    /// Starts it at `port` of one address, or of two for behaviour discovery.
    pub(crate) fn start(lab: &Lab, site: Site, at: &[Ipv4Addr], port: u16) -> anyhow::Result<Self> {
        let mut command = installed("turnserver", "coturn")?;
        command.args(["-n", "--stun-only", "--no-auth", "--no-cli", "--no-tls", "--no-dtls"]);
        command.args(["--no-tcp", "--log-file", "stdout"]);
        command.args(["--pidfile", &format!("{FILES}/turnserver.pid")]);
        command.args(["--userdb", &format!("{FILES}/turndb")]);
        command.args(["--listening-port", &port.to_string()]);
        for ip in at {
            command.args(["--listening-ip", &ip.to_string()]);
        }
        let first = at.first().context("no address")?;
        let process = lab.enter(site, || Process::start(command))?;
        // With two addresses it also serves the next port of each.
        let ports = if at.len() > 1 { 2 } else { 1 };
        for (ip, port) in at.iter().flat_map(|ip| (port..port + ports).map(move |port| (ip, port)))
        {
            answers(lab, site, SocketAddr::from((*ip, port)))?;
        }
        Ok(Self { _process: process, address: SocketAddr::from((*first, port)) })
    }

    /// Where clients ask it.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Waits until a binding request of RFC 8489 is answered.
fn answers(lab: &Lab, site: Site, server: SocketAddr) -> anyhow::Result<()> {
    let mut request = [0; 20];
    let start = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.iter_mut().zip(start).for_each(|(to, from)| *to = from);
    let client = lab.udp(site, (Ipv4Addr::UNSPECIFIED, 0))?;
    client.set_read_timeout(Some(Duration::from_millis(20)))?;
    client.connect(server)?;
    let deadline = Instant::now() + START;
    loop {
        // Refused until the server has its socket.
        if client.send(&request).is_ok() && client.recv(&mut [0; 512]).is_ok() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "turnserver does not answer at {server}");
    }
}

/// Where `turnutils_stunclient` is told that `site` is seen; none if it is told nothing.
pub(crate) fn reflexive(
    lab: &Lab,
    site: Site,
    server: SocketAddr,
) -> anyhow::Result<Option<SocketAddr>> {
    let mut command = installed("turnutils_stunclient", "coturn")?;
    command.args(["-p", &server.port().to_string(), &server.ip().to_string()]);
    let mut process = lab.enter(site, || Process::start(command))?;
    match process.words("UDP reflexive addr: ", NEAR) {
        Ok(address) => Ok(Some(printed(&address)?)),
        Err(_) => Ok(None),
    }
}

/// An address as coturn prints it: one of IPv6 without brackets.
fn printed(address: &str) -> anyhow::Result<SocketAddr> {
    let (ip, port) = address.rsplit_once(':').context("no port")?;
    Ok(SocketAddr::new(ip.parse()?, port.parse()?))
}

/// Mapping and filtering as `turnutils_natdiscovery` finds them. It takes
/// seconds where something is filtered.
pub(crate) fn discover(
    lab: &Lab,
    site: Site,
    server: SocketAddr,
) -> anyhow::Result<(Behaviour, Behaviour)> {
    let IpAddr::V4(server_ip) = server.ip() else { bail!("only of IPv4") };
    // It compares with the address it is bound to.
    let local = lab.source(site, server_ip)?.to_string();
    let mut command = installed("turnutils_natdiscovery", "coturn")?;
    command.args(["-m", "-f", "-L", &local, "-p", &server.port().to_string()]);
    command.arg(server.ip().to_string()).stdin(Stdio::null());
    let output = lab.enter(site, || Ok(command.output()?))?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok((behaviour(&said, "Mapping"), behaviour(&said, "Filtering")))
}

fn behaviour(said: &str, of: &str) -> Behaviour {
    let verdict = format!(" {of}!");
    let Some(line) = said
        .lines()
        .find(|line| line.ends_with(&verdict) || line.starts_with("No NAT!") && line.contains(of))
    else {
        return Behaviour::Unknown;
    };
    match line.trim_start_matches("NAT with ").trim_end_matches(&verdict) {
        "Endpoint Independent" => Behaviour::EndpointIndependent,
        "Address Dependent" => Behaviour::AddressDependent,
        "Address and Port Dependent" => Behaviour::AddressAndPortDependent,
        _ => Behaviour::None,
    }
}
