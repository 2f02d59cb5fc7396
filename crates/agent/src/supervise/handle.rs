//! How the session with the server speaks to the guardian's loop, and hears from it.

use std::{
    ffi::OsString,
    os::fd::OwnedFd,
    sync::{Arc, mpsc},
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Exit, Spec};
use crate::deliver::File;

/// What the session asks of the guardian.
#[derive(Debug)]
pub(crate) enum Command {
    Start(Box<Spec>),
    Replace(Box<Spec>),
    Deliver(Vec<File>),
    Signal(i32),
    Hook(Vec<OsString>),
    Refuse(Exit, String),
    Finished,
}

/// What the guardian tells the session.
#[derive(Debug)]
pub enum Event {
    /// The program runs, for the first time or again.
    Started,
    /// The files of the last [`Handle::deliver`] are in place and can be read, or why not.
    Delivered(Result<(), String>),
    /// The user wants to end before the program was started. Stop fetching, revoke, return.
    Interrupted,
    /// Nothing of the program is left. Revoke, return.
    Ended(Exit),
}

/// The session's hold on the guardian.
#[derive(Debug)]
pub struct Handle {
    commands: Commands,
    events: UnboundedReceiver<Event>,
}

impl Handle {
    /// Everything is resolved: start the program.
    pub fn start(&self, spec: Spec) {
        self.commands.send(Command::Start(Box::new(spec)));
    }

    /// Ends the program and starts it again with new values. [`Event::Started`] follows once it runs.
    pub fn replace(&self, spec: Spec) {
        self.commands.send(Command::Replace(Box::new(spec)));
    }

    /// Puts new content into the files of the running program. [`Event::Delivered`] follows.
    pub fn deliver(&self, files: Vec<File>) {
        self.commands.send(Command::Deliver(files));
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: i32) {
        self.commands.send(Command::Signal(signal));
    }

    /// Runs a command beside the program, in its environment; its failure is reported and changes nothing.
    pub fn hook(&self, command: Vec<OsString>) {
        self.commands.send(Command::Hook(command));
    }

    /// The program must not start; `message` says why, without any secret in it.
    pub fn refuse(&self, exit: Exit, message: String) {
        self.commands.send(Command::Refuse(exit, message));
    }

    /// The next event; `None` never comes before [`Event::Ended`].
    pub async fn event(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The next event if there is one already.
    pub fn try_event(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}

impl Handle {
    /// A handle, and the end that its events are sent from.
    pub(super) fn new(commands: Commands) -> (Self, UnboundedSender<Event>) {
        let (sender, events) = unbounded_channel();
        (Self { commands, events }, sender)
    }
}

#[cfg(test)]
impl Handle {
    /// A handle whose commands arrive at the test, which sends the events.
    pub(crate) fn for_test() -> (Self, mpsc::Receiver<Command>, UnboundedSender<Event>) {
        use rustix::event::{EventfdFlags, eventfd};
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap());
        let (queue, commands) = Commands::new(wake);
        let (handle, events) = Self::new(queue);
        (handle, commands, events)
    }
}

/// The way to the guardian's loop.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    queue: mpsc::Sender<Command>,
    wake: Arc<OwnedFd>,
}

impl Commands {
    /// A queue whose entries wake the loop through `wake`.
    pub(super) fn new(wake: Arc<OwnedFd>) -> (Self, mpsc::Receiver<Command>) {
        let (queue, commands) = mpsc::channel();
        (Self { queue, wake }, commands)
    }

    fn send(&self, command: Command) {
        // The loop outlives the session, unless the process is ending anyway.
        let _ = self.queue.send(command);
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }
}

/// Tells the guardian that the session is over, however it ended.
pub(super) struct Finished(pub(super) Commands);

impl Drop for Finished {
    fn drop(&mut self) {
        self.0.send(Command::Finished);
    }
}
