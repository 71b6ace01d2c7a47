//! The event loop.

use super::connection::{Broken, Connection, READ_AT_ONCE};
use super::console::{self, Console};
use super::hook_runner::HookRunner;
use super::listen::{self, Listeners};
use super::log::Log;
use super::setup::{encode_fitting, raise_file_limit, random_id, variables, watch_signals};
use super::{ServerError, Settings};
use crate::auth::Key;
use crate::barrier::{Action, ClientId, Micros, Occasion, SECOND};
use crate::hooks::{self, Situation};
use crate::hub::Hub;
use ckpt_wire::{ClientMessage, CommandMessage, CoordinatorMessage};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A connection that has not said who it is by then is closed.
const INTRODUCTION: Micros = 10 * SECOND;
/// Connections from outside that may be without a proof at a time.
const MAX_UNPROVEN: usize = 64;
/// A coordinator that leaves with its last client waits this long for its first.
const FIRST_CLIENT: Micros = 30 * SECOND;

// epoll tokens beyond those of clients.
const LOCAL: u64 = 1 << 32;
const REMOTE: u64 = LOCAL + 1;
const SIGNALS: u64 = LOCAL + 2;
const STDIN: u64 = LOCAL + 3;
const HOOK_EXIT: u64 = LOCAL + 4;
const HOOK_OUTPUT: u64 = LOCAL + 5;

pub struct Server {
    epoll: Epoll,
    listeners: Listeners,
    signals: SignalFd,
    hub: Hub,
    connections: BTreeMap<ClientId, Connection>,
    /// Those that have not said who they are, the oldest first: looked at after every event.
    strangers: BTreeMap<ClientId, Micros>,
    /// What was received goes through here.
    buffer: Box<[u8]>,
    next_client: ClientId,
    console: Option<Console>,
    log: Log,
    clock: Instant,
    /// Given up for a moment to refuse a client when no other descriptor is left.
    spare: Option<File>,
    settings: Settings,
    hooks: HookRunner,
    /// Microseconds since 1970 at zero of `clock`.
    epoch: Micros,
    /// Since when there is no client.
    lonely_since: Micros,
    exiting: bool,
}

impl Server {
    /// Everything that can fail at the start.
    pub fn open(settings: &Settings) -> Result<Server, ServerError> {
        let named = |what: &str, path: &std::path::Path| {
            let what = format!("{what} {}", path.display());
            move |source| ServerError::File { what, source }
        };
        raise_file_limit();
        let listeners = listen::open(settings)?;
        let port = listeners.claim.port;
        if let Some(path) = &settings.coord.port_file {
            std::fs::write(path, format!("{port}\n")).map_err(named("port file", path))?;
        }
        let log_path = settings.log.as_deref();
        let log = Log::open(log_path).map_err(named("log", log_path.unwrap_or("stderr".as_ref())))?;
        let signals = watch_signals()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listeners.claim.listener, EpollEvent::new(EpollFlags::EPOLLIN, LOCAL))?;
        epoll.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNALS))?;
        if let Some((tcp, _)) = &listeners.tcp {
            epoll.add(tcp, EpollEvent::new(EpollFlags::EPOLLIN, REMOTE))?;
        }
        let mut hub = Hub::new(port, settings.deadlines(), random_id);
        hub.set_interval(0, settings.interval);
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as Micros);
        let hooks = HookRunner::new(&settings.hooks, settings.folder.clone(), epoch, variables(settings, port));
        hub.configure(hooks.plan(), epoch);
        Ok(Server {
            epoll,
            listeners,
            signals,
            hub,
            connections: BTreeMap::new(),
            strangers: BTreeMap::new(),
            buffer: vec![0; READ_AT_ONCE].into(),
            next_client: 1,
            console: None,
            log,
            clock: Instant::now(),
            spare: File::open("/dev/null").ok(),
            settings: settings.clone(),
            hooks,
            epoch,
            lonely_since: 0,
            exiting: false,
        })
    }

    pub fn port(&self) -> u16 {
        self.listeners.claim.port
    }

    pub fn announce(&mut self) {
        let (port, folder) = (self.port(), self.listeners.claim.folder.display().to_string());
        let outside = self.settings.listen_address().filter(|_| self.listeners.tcp.is_some());
        let tcp = outside.map(|address| format!(" and on {address}")).unwrap_or_default();
        self.log.line(&format!("listening on port {port} in {folder}{tcp}, pid {}", std::process::id()));
    }

    /// Takes commands from standard input where that is a terminal.
    pub fn watch_console(&mut self, forced: bool) -> Result<(), ServerError> {
        if !Console::wanted(forced) {
            return Ok(());
        }
        let console = self.console.insert(Console::new());
        console.prompt();
        match self.epoll.add(io::stdin(), EpollEvent::new(EpollFlags::EPOLLIN, STDIN)) {
            // An ordinary file never blocks: take it all now.
            Err(nix::Error::EPERM) => {
                while self.console.as_ref().is_some_and(|console| !console.ended) {
                    self.console_ready();
                }
                Ok(())
            }
            watched => Ok(watched?),
        }
    }

    pub fn run(mut self) -> Result<(), ServerError> {
        let mut events = [EpollEvent::empty(); 1024];
        while !self.exiting || self.hooks.is_busy() {
            let count = match self.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => count,
                Err(nix::Error::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..count] {
                self.ready(event.data(), event.events());
            }
            self.housekeeping();
        }
        self.flush_all();
        self.log.line("exits");
        Ok(())
    }

    fn now(&self) -> Micros {
        self.clock.elapsed().as_micros() as Micros
    }

    fn timeout(&self) -> EpollTimeout {
        let introduction = self.strangers.values().next().map(|opened| opened + INTRODUCTION);
        let due = [self.hub.next_due(), introduction, self.lonely_until(), self.hooks.next_due()];
        let due = due.into_iter().flatten().min();
        match due {
            None => EpollTimeout::NONE,
            Some(due) => {
                let millis = due.saturating_sub(self.now()).div_ceil(1_000);
                EpollTimeout::try_from(millis.min(3_600_000) as u32).unwrap_or(EpollTimeout::ZERO)
            }
        }
    }

    /// When a coordinator without clients exits.
    fn lonely_until(&self) -> Option<Micros> {
        if !self.connections.is_empty() || self.hooks.is_busy() {
            return None;
        }
        let patience = if self.hub.had_agents() { 0 } else { FIRST_CLIENT };
        let last = self.settings.exit_on_last.then_some(patience);
        let stale = self.settings.stale_timeout.map(|seconds| Micros::from(seconds) * SECOND);
        Some(self.lonely_since + [last, stale].into_iter().flatten().min()?)
    }

    fn ready(&mut self, token: u64, flags: EpollFlags) {
        match token {
            LOCAL => self.accept_local(),
            REMOTE => self.accept_remote(),
            SIGNALS => self.signalled(),
            STDIN => self.console_ready(),
            HOOK_OUTPUT => self.hook_printed(),
            HOOK_EXIT => self.hook_exited(),
            client => self.client_ready(client as ClientId, flags),
        }
    }

    fn housekeeping(&mut self) {
        let now = self.now();
        while let Some((&client, _)) = self.strangers.first_key_value().filter(|(_, opened)| now >= **opened + INTRODUCTION) {
            self.drop_client(client, "it did not say who it is");
        }
        let actions = self.hub.tick(now);
        self.perform(actions);
        self.hooks.kill_overdue(now);
        if self.lonely_until().is_some_and(|until| now >= until) {
            self.exiting = true;
        }
    }

    fn accept_local(&mut self) {
        while let Some((stream, _)) = self.accepted(|server| server.listeners.claim.listener.accept()) {
            match listen::admit_local(stream) {
                Ok(Some(stream)) => self.admit(stream, None),
                Ok(None) => self.log.line("a client of another user is turned away"),
                Err(error) => self.log.line(&format!("a client is turned away: {error}")),
            }
        }
    }

    fn accept_remote(&mut self) {
        let Some(key) = self.listeners.tcp.as_ref().map(|(_, key)| key.clone()) else { return };
        while let Some((stream, peer)) = self.accepted(|server| match &server.listeners.tcp {
            Some((tcp, _)) => tcp.accept(),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }) {
            let unproven = self.connections.values().filter(|connection| !connection.is_proven()).count();
            match listen::prepare_remote(stream) {
                Ok(stream) if unproven < MAX_UNPROVEN => self.admit(stream, Some(&key)),
                _ => self.log.line(&format!("{peer} is turned away: too many connections without a proof")),
            }
        }
    }

    /// The next waiting connection. With no descriptor left, it is taken on the spare one and closed.
    fn accepted<T>(&mut self, accept: impl Fn(&Server) -> io::Result<T>) -> Option<T> {
        match accept(self) {
            Ok(accepted) => Some(accepted),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                self.spare = None;
                drop(accept(self));
                self.spare = File::open("/dev/null").ok();
                self.log.line(&format!("a client is turned away: {error}; raise the limit of open files"));
                None
            }
            Err(_) => None,
        }
    }

    fn admit(&mut self, stream: OwnedFd, key: Option<&Key>) {
        let client = self.next_client;
        self.next_client = self.next_client.wrapping_add(1).max(1);
        let opened = match Connection::new(stream, key) {
            Ok(connection) => connection,
            Err(error) => return self.log.line(&error.to_string()),
        };
        let watched = self.epoll.add(&opened, EpollEvent::new(EpollFlags::EPOLLIN, u64::from(client)));
        if let Err(error) = watched {
            return self.log.line(&format!("a client is turned away: {error}"));
        }
        self.hub.connected(client, key.is_none());
        self.connections.insert(client, opened);
        self.strangers.insert(client, self.now());
        self.flush(client);
    }

    fn client_ready(&mut self, client: ClientId, flags: EpollFlags) {
        let Some(connection) = self.connections.get_mut(&client) else { return };
        let mut messages = Vec::new();
        let readable = flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
        let read = if readable { connection.read(&mut self.buffer, &mut messages) } else { Ok(()) };
        if !messages.is_empty() {
            self.strangers.remove(&client);
        }
        for message in messages {
            let actions = self.hub.message(self.now(), client, message);
            self.perform(actions);
        }
        match read {
            Ok(()) => self.flush(client),
            Err(Broken::Ended) => self.forget_client(client),
            Err(error) => self.drop_client(client, &error.to_string()),
        }
    }

    /// Carries out actions and what follows from them.
    fn perform(&mut self, actions: Vec<Action>) {
        let mut pending = VecDeque::from(actions);
        while let Some(action) = pending.pop_front() {
            match action {
                Action::Note(text) => self.log.line(&text),
                Action::Exit => self.exiting = true,
                Action::BringHooks { client, request } => {
                    self.hooks.bring(client, request);
                    self.hub.configure(self.hooks.plan(), self.epoch);
                }
                Action::DropHooks { client } => {
                    self.hooks.drop_client(client);
                    self.hub.configure(self.hooks.plan(), self.epoch);
                }
                Action::RunHooks(occasion) => pending.extend(self.run_hooks(&occasion)),
                Action::Send { to: console::CLIENT, message } => self.answer_console(&message),
                Action::Send { to, message } => self.send(to, &message),
                Action::Close { client } => {
                    if let Some(connection) = self.connections.get_mut(&client) {
                        connection.closing = true;
                    }
                    self.flush(client);
                }
            }
        }
    }

    fn run_hooks(&mut self, occasion: &Occasion) -> Vec<Action> {
        let situation = Situation {
            computation: self.hub.computation(),
            port: self.port(),
            ckptdir: self.hub.ckptdir(),
            hold: self.hooks.plan().hold,
            now: self.epoch + self.now(),
        };
        let event = hooks::event_json(occasion, &situation).to_string();
        self.hooks.add(occasion.event, occasion.generation, event);
        self.next_hook()
    }

    /// Starts what is next; what follows from events whose hooks are over.
    fn next_hook(&mut self) -> Vec<Action> {
        let now = self.now();
        let mut actions = Vec::new();
        loop {
            if self.hooks.advance(now, &mut self.log) {
                self.watch_hook();
            }
            let Some(ended) = self.hooks.ended() else { return actions };
            actions.extend(self.hub.hooks_ended(now, (ended.event, ended.generation), ended.reports));
        }
    }

    /// A hook that cannot be watched would never be seen to end.
    fn watch_hook(&mut self) {
        let Some((exited, output)) = self.hooks.watched() else { return };
        let watch = |fd, token| self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token));
        if watch(output, HOOK_OUTPUT).and_then(|()| watch(exited, HOOK_EXIT)).is_err() {
            self.hooks.kill();
        }
    }

    fn hook_printed(&mut self) {
        if !self.hooks.read_output(&mut self.log) {
            return;
        }
        if let Some((_, output)) = self.hooks.watched() {
            // It is watched, so it can be forgotten; nothing else fails here.
            let _ = self.epoll.delete(output);
        }
    }

    fn hook_exited(&mut self) {
        if self.hooks.reap(self.now(), &mut self.log) {
            let actions = self.next_hook();
            self.perform(actions);
        }
    }

    fn send(&mut self, to: ClientId, message: &CoordinatorMessage) {
        let Some(connection) = self.connections.get_mut(&to) else { return };
        let queued = encode_fitting(message).map_err(Broken::from).and_then(|frame| connection.queue(&frame));
        match queued {
            Ok(()) => self.flush(to),
            Err(error) => self.drop_client(to, &error.to_string()),
        }
    }

    /// Sends what can be sent; watches for room where something is left.
    fn flush(&mut self, client: ClientId) {
        let Some(connection) = self.connections.get_mut(&client) else { return };
        if let Err(error) = connection.flush() {
            return self.drop_client(client, &error.to_string());
        }
        let waits = connection.has_output();
        if connection.closing && !waits {
            return self.forget_client(client);
        }
        if waits == connection.watches_output {
            return;
        }
        connection.watches_output = waits;
        let output = if waits { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN | output, u64::from(client));
        if let Err(error) = self.epoll.modify(connection.as_fd(), &mut event) {
            self.drop_client(client, &error.to_string());
        }
    }

    fn drop_client(&mut self, client: ClientId, why: &str) {
        self.log.line(&format!("client {client} is dropped: {why}"));
        self.forget_client(client);
    }

    fn forget_client(&mut self, client: ClientId) {
        self.strangers.remove(&client);
        if self.connections.remove(&client).is_none() {
            return;
        }
        self.lonely_since = self.now();
        let actions = self.hub.gone(self.lonely_since, client);
        self.perform(actions);
    }

    fn console_ready(&mut self) {
        let Some(console) = &mut self.console else { return };
        let commands = console.read();
        if console.ended {
            // An ordinary file was never watched; the error says no more than that.
            let _ = self.epoll.delete(io::stdin());
        }
        for command in commands {
            self.command_from_console(command);
        }
    }

    fn command_from_console(&mut self, command: CommandMessage) {
        let actions = self.hub.message(self.now(), console::CLIENT, ClientMessage::Command(command));
        self.perform(actions);
    }

    fn answer_console(&self, message: &CoordinatorMessage) {
        if let Some(console) = &self.console {
            console.answer(message);
        }
    }

    fn signalled(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let hangup = signal.ssi_signo == Signal::SIGHUP as u32;
            if !(hangup && self.settings.daemon) {
                self.exiting = true;
                self.hooks.kill();
            }
        }
    }

    /// Last words: gives every client a moment to take what it was sent.
    fn flush_all(&mut self) {
        let deadline = self.now() + SECOND;
        loop {
            let clients: Vec<_> = self.connections.keys().copied().collect();
            clients.into_iter().for_each(|client| self.flush(client));
            let waiting = self.connections.values().any(Connection::has_output);
            let Some(left) = deadline.checked_sub(self.now()).filter(|_| waiting) else { return };
            let timeout = EpollTimeout::try_from((left / 1_000) as u32).unwrap_or(EpollTimeout::ZERO);
            let _ = self.epoll.wait(&mut [EpollEvent::empty(); 64], timeout);
        }
    }
}
