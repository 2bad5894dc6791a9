//! From a plan to forwards that stand, and to their end: all of them stand, or none does.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use crabbox_protocol::records::{CrewConnection, CrewForward};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::time::{MissedTickBehavior, interval};

use super::plan::{Member, Plan, absent};
use super::ports::{candidates, is_free, range};
use super::seat::Seat;
use crate::commands::ROLE;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::join::join;
use crate::provider::Interrupts;
use crate::ssh::Carrier;
use crate::workflow::patiently;

/// How many connections are opened or closed at once.
const AT_ONCE: usize = 16;

/// How often it is looked whether the members are still there.
const LOOK: Duration = Duration::from_secs(1);

/// How many ports that seem to be free ssh may fail to take, before that is not for their being taken.
const STRIKES: usize = 3;

/// Forwards what was planned. Once all of it stands, `ready` is told, and that goes on until somebody ends it or the
/// members are no more, which is said then. On return nothing is left of it but the seat.
pub(crate) async fn supervise(
    host: &Host,
    plan: &Plan,
    seat: &Seat,
    ready: impl FnOnce(&CrewConnection) -> Result<()>,
) -> Result<Option<String>> {
    let mut interrupts = Interrupts::listen()?;
    let what = format!("connecting crew {}", plan.crew);
    let open = async {
        Carrier::clear(host, seat.left()).await;
        open(host, plan, seat).await
    };
    let mut carriers = tokio::select! {
        carriers = patiently(&what, open) => carriers?,
        number = interrupts.next() => return Err(interrupted(number)),
    };
    let ended = stand(host, plan, seat, &mut carriers, ready, &mut interrupts).await;
    seat.files().withdraw();
    close(carriers).await;
    ended
}

async fn stand(
    host: &Host,
    plan: &Plan,
    seat: &Seat,
    carriers: &mut [Carrier],
    ready: impl FnOnce(&CrewConnection) -> Result<()>,
    interrupts: &mut Interrupts,
) -> Result<Option<String>> {
    let forwards = tokio::select! {
        forwards = forward(plan, carriers) => forwards?,
        number = interrupts.next() => return Err(interrupted(number)),
    };
    ready(&seat.files().write(plan, forwards)?)?;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interrupts.next() => return Ok(None),
            (n, error) = broken(carriers) => {
                let member = &plan.members[n];
                // A lease that is released takes its connection along.
                return match left(host, member) {
                    Some(why) => Ok(Some(why)),
                    None => Err(of_member(member, error)),
                };
            }
            _ = look.tick() => {
                if let Some(why) = plan.members.iter().find_map(|member| left(host, member)) {
                    return Ok(Some(why));
                }
                if !seat.is_known() {
                    return Ok(Some("its directory was removed".to_owned()));
                }
                if nobody_reads() {
                    return Ok(Some("nobody reads its output any more".to_owned()));
                }
            }
        }
    }
}

/// Connects to every member.
async fn open(host: &Host, plan: &Plan, seat: &Seat) -> Result<Vec<Carrier>> {
    let one = |member: &'_ Member| {
        let member = member.clone();
        async move {
            let chosen = host.chosen_for(&member.claim).await?;
            let opened = Carrier::open(host, &chosen, &member.claim, seat.for_guard()?).await;
            opened.map_err(|error| {
                let slug = &member.claim.lease.slug;
                of_member(&member, error)
                    .hint(format!("`crabbox run --id {slug} -- true` asks its provider where it is"))
            })
        }
    };
    let (mut carriers, mut failed) = (Vec::new(), None);
    for opened in join(AT_ONCE, plan.members.iter().map(one)).await {
        match opened {
            Ok(carrier) => carriers.push(carrier),
            Err(error) => _ = failed.get_or_insert(error),
        }
    }
    match failed {
        None => Ok(carriers),
        Some(error) => {
            close(carriers).await;
            Err(error)
        }
    }
}

/// Brings every port here.
async fn forward(plan: &Plan, carriers: &[Carrier]) -> Result<Vec<CrewForward>> {
    let mut forwards = Vec::new();
    for (member, carrier) in plan.members.iter().zip(carriers) {
        for &remote_port in &member.claim.expose {
            let local_port = take(plan, member, carrier, remote_port).await?;
            let lease = &member.claim.lease;
            forwards.push(CrewForward {
                slug: lease.slug.clone(),
                name: member.name.clone(),
                role: lease.labels.get(ROLE).cloned(),
                lease_id: lease.id.clone(),
                provider: member.claim.provider.clone(),
                remote_port,
                local_port,
            });
        }
    }
    Ok(forwards)
}

/// Brings a port to the first one here that is free. Another may take that between our look and ssh's.
async fn take(plan: &Plan, member: &Member, carrier: &Carrier, remote: u16) -> Result<u16> {
    let mut strikes = 0;
    for local in candidates(&plan.crew, &member.name, remote).filter(|port| is_free(*port)) {
        match carrier.forward(local, remote).await {
            Ok(()) => return Ok(local),
            Err(error) => {
                strikes += 1;
                if strikes == STRIKES {
                    return Err(of_member(member, error));
                }
            }
        }
    }
    let message = format!("no port of this machine is free for port {remote} of {}", member.name);
    Err(Error::new(Exit::Transport, message)
        .hint(format!("ports from {} are used: end something that has them", range())))
}

/// Waits until one of the connections ends.
async fn broken(carriers: &mut [Carrier]) -> (usize, Error) {
    poll_fn(|context| {
        for (n, carrier) in carriers.iter_mut().enumerate() {
            if let Poll::Ready(error) = carrier.poll_end(context) {
                return Poll::Ready((n, error));
            }
        }
        Poll::Pending
    })
    .await
}

/// Why a member is no member any more, if it is not. What cannot be read now is taken to be as it was.
fn left(host: &Host, member: &Member) -> Option<String> {
    match host.claims().load(&member.claim.lease.id) {
        Ok(None) => Some(format!("lease {} was released", member.claim.lease.slug)),
        Ok(Some(claim)) => absent(&claim).map(|state| format!("lease {} is {state}", claim.lease.slug)),
        Err(_) => None,
    }
}

async fn close(carriers: Vec<Carrier>) {
    join(AT_ONCE, carriers.into_iter().map(Carrier::close)).await;
}

/// Whether standard output is a pipe whose reader is gone.
fn nobody_reads() -> bool {
    let mut stdout = [PollFd::from_borrowed_fd(rustix::stdio::stdout(), PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut stdout, Some(&now)).is_ok() && stdout[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

fn of_member(member: &Member, error: Error) -> Error {
    Error { message: format!("member {}: {}", member.name, error.message), ..error }
}

fn interrupted(number: u8) -> Error {
    Error::new(Exit::Signal(number), "interrupted")
}
