//! The watch: one look every few seconds, until the notice or until the programs have ended.

use crate::commands::{Commands, Outcome};
use crate::interval;
use crate::options::{Interval, Options, Rebalance};
use ckpt_cloud::error::one_line;
use ckpt_cloud::imds::{Imds, Notice};
use ckpt_cloud::job::table::{JobError, Jobs};
use ckpt_cloud::job::{Record, Request, State};
use ckpt_cloud::ownership::Ownership;
use ckpt_cloud::{config, Cloud, Done, Failure};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A notice comes two minutes ahead; some of them are left for the upload.
const LAST_CHECKPOINT: Duration = Duration::from_secs(100);

/// Exit status: a notice came, and the last checkpoint is complete (and uploaded, if that was asked for).
const NOTICED: u8 = 5;

pub async fn run(options: Options) -> Result<Done, Failure> {
    let poll = Duration::from_secs_f64(options.poll.clamp(0.05, 600.0));
    let mut watch = Watch::new(options).await?;
    loop {
        if let Some(end) = watch.look().await? {
            return Ok(end);
        }
        tokio::time::sleep(poll).await;
    }
}

fn say(as_json: bool, what: &str, text: &str) {
    use std::io::Write;
    let line = match as_json {
        true => json!({ "what": what, "text": one_line(text) }).to_string(),
        false => format!("ckpt_spot: {}", one_line(text)),
    };
    // A reader that left must not end the watch.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn ended() -> Done {
    Done::from("the programs have ended; nothing is left to watch".to_owned())
}

struct Watch {
    options: Options,
    imds: Imds,
    commands: Commands,
    job: Option<(Jobs, Ownership)>,
    record: Option<Record>,
    last_beat: Option<Instant>,
    rebalance_seen: Option<String>,
    set_interval: Option<u32>,
    metadata_silent: bool,
    record_silent: bool,
    background: Option<JoinHandle<()>>,
}

impl Watch {
    async fn new(options: Options) -> Result<Watch, Failure> {
        let job = match Ownership::load(&options.ckptdir)? {
            Some(ownership) => Some((Jobs::new(&Cloud::load(&options.cloud).await?, &ownership.table), ownership)),
            None => None,
        };
        Ok(Watch {
            imds: Imds::new(&config::http_client()),
            commands: Commands::new(&options),
            job,
            record: None,
            last_beat: None,
            rebalance_seen: None,
            set_interval: None,
            metadata_silent: false,
            record_silent: false,
            background: None,
            options,
        })
    }

    /// One look at everything. Some: the watch is over, and this is what happened.
    async fn look(&mut self) -> Result<Option<Done>, Failure> {
        match self.imds.spot_action().await {
            Ok(Some(notice)) => return self.notice(&notice).await.map(Some),
            Ok(None) => self.metadata_silent = false,
            // Said once: without metadata there is no notice, but the interval and the record go on.
            Err(e) if !std::mem::replace(&mut self.metadata_silent, true) => self.say("metadata", &e.to_string()),
            Err(_) => {}
        }
        self.rebalance().await;
        self.beat().await?;
        self.adjust().await
    }

    fn say(&self, what: &str, text: &str) {
        say(self.options.json, what, text);
    }

    /// The last checkpoint, the upload, the record: each is tried whatever became of the one before.
    async fn notice(&mut self, notice: &Notice) -> Result<Done, Failure> {
        self.say("notice", &format!("this instance has a notice: {} at {}", notice.action, notice.time));
        if let Some(task) = self.background.take() {
            task.abort();
        }
        let clock = Instant::now();
        let outcome = self.last_checkpoint(clock).await;
        let took = clock.elapsed();
        if outcome == Outcome::Gone {
            return Ok(ended());
        }
        let uploaded = self.then(&notice.action).await;
        let recorded = match &self.job {
            Some((jobs, ownership)) if !self.options.no_kill && !matches!(outcome, Outcome::Failed(_)) => {
                jobs.tell(ownership, Request::End(State::Interrupted)).await.map(drop)
            }
            _ => Ok(()),
        };
        match outcome {
            Outcome::Failed(why) => return Err(format!("the last checkpoint failed: {why}; the newest one before it stands").into()),
            Outcome::HookFailed(why) => self.say("hook", &format!("the last checkpoint is complete, but its {why}")),
            _ => {}
        }
        uploaded?;
        recorded?;
        let (took, whole) = (took.as_secs_f64(), clock.elapsed().as_secs_f64());
        Ok(Done { line: format!("last checkpoint complete after {took:.2} s, reported after {whole:.2} s"), status: NOTICED })
    }

    /// Tried again while there is time: a checkpoint fails for reasons that pass.
    async fn last_checkpoint(&self, clock: Instant) -> Outcome {
        loop {
            let left = LAST_CHECKPOINT.saturating_sub(clock.elapsed());
            let outcome = self.commands.checkpoint(!self.options.no_kill, left).await;
            match &outcome {
                Outcome::Failed(why) if left > Duration::from_secs(10) => self.say("failed", &format!("{why}; trying again")),
                _ => return outcome,
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn then(&self, notice: &str) -> Result<(), String> {
        match &self.options.then {
            Some(line) => Commands::then(line, &self.options.ckptdir, notice).await,
            None => Ok(()),
        }
    }

    /// A checkpoint and its upload, while the watch goes on: a notice may come meanwhile.
    fn begin_checkpoint(&mut self, why: &'static str) {
        if self.under_way() {
            return;
        }
        let (commands, options) = (self.commands.clone(), self.options.clone());
        self.background = Some(tokio::spawn(async move {
            match commands.checkpoint(false, Duration::from_secs(6 * 3600)).await {
                Outcome::Done => {}
                Outcome::Gone => return,
                Outcome::HookFailed(reason) | Outcome::Failed(reason) => return say(options.json, "failed", &reason),
            }
            if let Some(line) = &options.then {
                if let Err(e) = Commands::then(line, &options.ckptdir, why).await {
                    say(options.json, "failed", &e);
                }
            }
        }));
    }

    fn under_way(&self) -> bool {
        self.background.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// A recommendation means a higher risk, not an end: a checkpoint, once for each.
    async fn rebalance(&mut self) {
        if self.options.rebalance == Rebalance::Ignore {
            return;
        }
        let Ok(Some(time)) = self.imds.rebalance().await else { return };
        if self.rebalance_seen.replace(time.clone()) == Some(time.clone()) {
            return;
        }
        self.say("rebalance", &format!("this instance is more likely to be taken away since {time}: checkpoint"));
        self.begin_checkpoint("rebalance");
    }

    /// A sign of life in the job record, three in each lease. Another owner: this instance must stop.
    async fn beat(&mut self) -> Result<(), Failure> {
        let Some((jobs, ownership)) = &self.job else { return Ok(()) };
        let every = Duration::from_secs(self.record.as_ref().map_or(60, |r| r.lease)) / 3;
        if self.last_beat.is_some_and(|at| at.elapsed() < every) {
            return Ok(());
        }
        match jobs.tell(ownership, Request::Beat).await {
            Ok(record) => {
                (self.record, self.last_beat, self.record_silent) = (Some(record), Some(Instant::now()), false);
                Ok(())
            }
            Err(e @ JobError::Refused(_)) => {
                let fenced = match self.options.fence {
                    true => match self.commands.kill().await {
                        Outcome::Done | Outcome::Gone => "; the programs here were ended (--fence)".to_owned(),
                        Outcome::HookFailed(why) | Outcome::Failed(why) => format!("; the programs here could not be ended: {why}"),
                    },
                    false => "; the programs here run on, but nothing of theirs is uploaded any more".to_owned(),
                };
                Err(Failure { message: format!("{e}{fenced}"), status: 3 })
            }
            Err(JobError::Cloud(e)) => {
                if !std::mem::replace(&mut self.record_silent, true) {
                    self.say("record", &e.to_string());
                }
                Ok(())
            }
        }
    }

    async fn adjust(&mut self) -> Result<Option<Done>, Failure> {
        let status = match self.commands.status().await {
            Ok(status) => status,
            Err(Outcome::Gone) => return Ok(Some(ended())),
            // Busy: the next look asks again.
            Err(_) => return Ok(None),
        };
        let wanted = match (self.options.interval, &status.last) {
            (None, _) => return Ok(None),
            (Some(Interval::Seconds(seconds)), _) => seconds,
            (Some(Interval::Auto), Some(last)) => interval::period(Duration::from_micros(last.duration_us), self.mtbf()),
            // Nothing is known yet: the first checkpoint measures its own cost.
            (Some(Interval::Auto), None) => {
                self.begin_checkpoint("measure");
                return Ok(None);
            }
        };
        if interval::differs(self.set_interval.or((status.interval > 0).then_some(status.interval)), wanted) {
            match self.commands.set_interval(wanted).await {
                Ok(()) => {
                    self.set_interval = Some(wanted);
                    let last = status.last.map(|l| format!(" (checkpoint {} took {:.3} s, an instance lasts {:.1} h)", l.generation, l.duration_us as f64 / 1e6, self.mtbf() / 3600.0));
                    self.say("interval", &format!("a checkpoint every {wanted} s{}", last.unwrap_or_default()));
                }
                Err(Outcome::Gone) => return Ok(Some(ended())),
                Err(Outcome::HookFailed(why) | Outcome::Failed(why)) => self.say("failed", &why),
                Err(Outcome::Done) => {}
            }
        }
        Ok(None)
    }

    fn mtbf(&self) -> f64 {
        match (self.options.mtbf, &self.record) {
            (Some(hours), _) => (hours * 3600.0).max(1.0),
            (None, Some(record)) => interval::learnt(record.interruptions, Duration::from_secs(record.run_seconds)),
            (None, None) => interval::learnt(0, Duration::ZERO),
        }
    }
}
