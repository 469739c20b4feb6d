//! The supervisor's thread: does what the schedule says, and tells the schedule what happened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::{mpsc, watch};

use super::notify::{Folder, NotifySocket};
use super::plan::{Plan, ProcessPlan};
use super::process::{self, Event, Exit, News, Running};
use super::schedule::{Action, ProcessState, Schedule};
use super::{Error, ProcessStatus, Shared};

/// News that are waiting to be read; the processes wait while it is full.
const EVENT_QUEUE_LENGTH: usize = 64;

/// Everything the supervisor's thread owns.
pub(super) struct Watch {
    launcher: PathBuf,
    shared: Arc<Shared>,
    schedule: Schedule,
    slots: Vec<Slot>,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    /// Holds the folder's lock until everything is gone.
    _folder: Folder,
}

/// The place of one process, which stays when the process is started again.
struct Slot {
    plan: ProcessPlan,
    socket: Arc<NotifySocket>,
    running: Option<Running>,
    started: Instant,
    status: ProcessStatus,
}

impl Watch {
    /// Prepares everything and starts nothing yet. Needs a Tokio runtime.
    pub(super) fn new(plan: Plan, launcher: PathBuf, shared: Arc<Shared>) -> Result<Watch, Error> {
        if let Some(process) = plan.processes.iter().find(|process| process.command.is_empty()) {
            return Err(Error::NoCommand { process: process.name.clone() });
        }
        let folder = Folder::open(&plan.runtime_directory)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let schedule = Schedule::new(plan.processes.iter().map(|process| process.main), cores, plan.stop_timeout);
        let slots = plan.processes.into_iter().enumerate();
        let slots =
            slots.map(|(index, plan)| Ok(Slot::new(plan, folder.bind(index)?))).collect::<Result<_, Error>>()?;
        let (sender, events) = mpsc::channel(EVENT_QUEUE_LENGTH);
        let mut watch = Watch { launcher, shared, schedule, slots, events, sender, _folder: folder };
        watch.publish();
        Ok(watch)
    }

    /// Runs everything until `stop` says true, or nobody is left to say it; then ends everything.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut stopping = false;
        loop {
            let now = Instant::now();
            for action in self.schedule.poll(now) {
                self.perform(action);
            }
            self.publish();
            if self.schedule.finished() {
                return;
            }
            let deadline = self.schedule.deadline(now);
            tokio::select! {
                Some(event) = self.events.recv() => self.note(event),
                _ = stop.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    self.schedule.stop();
                }
                () = sleep_until(deadline) => {}
            }
        }
    }

    fn perform(&mut self, action: Action) {
        let (Action::Start(index) | Action::Terminate(index) | Action::Kill(index) | Action::ReportSlow(index)) =
            action;
        let Some(slot) = self.slots.get_mut(index) else { return };
        let process = slot.plan.name.as_str();
        let pid = slot.running.as_ref().map(|running| running.pid);
        match action {
            Action::Start(_) => self.start(index),
            Action::Terminate(_) => {
                tracing::info!(process, pid, reason = "dendron stops", "process is asked to end");
                slot.running.iter().for_each(Running::terminate);
            }
            Action::Kill(_) => {
                tracing::warn!(process, pid, reason = "it did not end in time", "process is killed");
                slot.running.iter().for_each(Running::kill);
            }
            Action::ReportSlow(_) => {
                let seconds = slot.started.elapsed().as_secs();
                tracing::warn!(process, pid, seconds, "process is still not ready; waiting goes on");
            }
        }
    }

    fn start(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.started = Instant::now();
        match process::start(index, &slot.plan, &self.launcher, Arc::clone(&slot.socket), self.sender.clone()) {
            Ok(running) => {
                tracing::info!(process = slot.plan.name, pid = running.pid, "process is started");
                slot.running = Some(running);
            }
            Err(error) => self.exited(index, Exit::NotStarted(error.to_string())),
        }
    }

    fn note(&mut self, event: Event) {
        let Event { index, news } = event;
        match news {
            News::Ready => {
                self.schedule.ready(index);
                if let Some(slot) = self.slots.get(index).filter(|_| self.schedule.state(index) == ProcessState::Ready)
                {
                    let seconds = slot.started.elapsed().as_secs_f64();
                    tracing::info!(process = slot.plan.name, pid = slot.status.pid, seconds, "process is ready");
                }
            }
            News::Leaving => self.schedule.leaving(index),
            News::Exited(exit) => self.exited(index, exit),
        }
    }

    fn exited(&mut self, index: usize, exit: Exit) {
        let delay = self.schedule.exited(index, Instant::now());
        let Some(slot) = self.slots.get_mut(index) else { return };
        let process = slot.plan.name.as_str();
        let pid = slot.running.take().map(|running| running.pid);
        match delay.map(|delay| delay.as_secs_f64()) {
            Some(delay_seconds) => {
                tracing::warn!(process, pid, reason = %exit, delay_seconds, "process ended; it is started again");
            }
            None => tracing::info!(process, pid, reason = %exit, "process ended"),
        }
        slot.status.last_exit = Some(exit);
    }

    /// Shows the present state to the holders of the handle.
    fn publish(&mut self) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let state = self.schedule.state(index);
            if slot.status.state != state {
                slot.status.state = state;
                slot.status.since = SystemTime::now();
            }
            slot.status.pid = slot.running.as_ref().map(|running| running.pid);
            slot.status.restarts = self.schedule.restarts(index);
        }
        self.shared.show(self.slots.iter().map(|slot| slot.status.clone()).collect());
    }
}

impl Slot {
    fn new(plan: ProcessPlan, socket: NotifySocket) -> Slot {
        let status = ProcessStatus {
            name: plan.name.clone(),
            main: plan.main,
            pid: None,
            state: ProcessState::Waiting,
            since: SystemTime::now(),
            restarts: 0,
            last_exit: None,
        };
        Slot { plan, socket: Arc::new(socket), running: None, started: Instant::now(), status }
    }
}

/// Waits for ever if there is nothing to wait for.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
