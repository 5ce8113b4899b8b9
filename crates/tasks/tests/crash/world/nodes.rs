//! What a node's shell does: feeds its machine, executes what comes out.

use pilot_identity::Digest;
use pilot_proto::TaskId;
use pilot_proto::tasks::{ResultBody, TaskAnswer, TaskRequest, TaskResult};
use pilot_tasks::{OfferFacts, Outgoing, ResultFacts, SubmitterOutput, WorkerOutput};

use super::{Crash, Packet, Side, World, index};

impl World {
    pub(super) fn worker_hears(&mut self, request: TaskRequest) -> Result<TaskAnswer, Crash> {
        let peer = self.keys[0].id();
        match request {
            TaskRequest::Offer(offer) => {
                self.check_has_files(Side::Worker, &offer.id);
                self.worker_loads(&offer.id);
                let facts = OfferFacts {
                    digest: Digest::of(&offer.body),
                    len: offer.body.len() as u64,
                    summary: "do it".to_owned(),
                    exclusive: None,
                    leave_result: false,
                    files: Ok(()),
                };
                let verdict = self.worker.handle_offer(peer, &offer, &facts, true, self.now);
                let body = verdict.keep_body.then(|| (offer.id, offer.body.to_vec()));
                self.drain(Side::Worker, body)?;
                Ok(verdict.answer)
            }
            TaskRequest::Cancel(cancel) => {
                self.worker_loads(&cancel.id);
                let answer = self.worker.handle_cancel(peer, &cancel, self.now);
                self.drain(Side::Worker, None)?;
                Ok(answer)
            }
            TaskRequest::Update(_)
            | TaskRequest::Result(_)
            | TaskRequest::Ask
            | TaskRequest::Fetch(_)
            | TaskRequest::Logs(_) => panic!("sent the wrong way"),
        }
    }

    pub(super) fn submitter_hears(&mut self, request: TaskRequest) -> Result<TaskAnswer, Crash> {
        let peer = self.keys[1].id();
        match request {
            TaskRequest::Update(update) => {
                self.submitter_loads(&update.id);
                let answer = self.submitter.handle_update(peer, &update, self.now);
                self.drain(Side::Submitter, None)?;
                Ok(answer)
            }
            TaskRequest::Result(result) => {
                self.check_has_files(Side::Submitter, &result.id);
                self.submitter_loads(&result.id);
                let facts = facts_of(&result);
                let verdict = self.submitter.handle_result(peer, &result, &facts, self.now);
                let body = verdict.keep.map(|_| (result.id, result.body.to_vec()));
                self.drain(Side::Submitter, body)?;
                Ok(verdict.answer)
            }
            TaskRequest::Offer(_)
            | TaskRequest::Cancel(_)
            | TaskRequest::Ask
            | TaskRequest::Fetch(_)
            | TaskRequest::Logs(_) => panic!("sent the wrong way"),
        }
    }

    pub(super) fn submitter_loads(&mut self, id: &TaskId) {
        if !self.submitter.knows(id)
            && let Some(record) = self.disks[0].submitted(id)
        {
            self.submitter.restore(record);
        }
    }

    pub(super) fn worker_loads(&mut self, id: &TaskId) {
        if !self.worker.knows(id)
            && let Some(record) = self.disks[1].received(id)
        {
            self.worker.restore(record);
        }
    }

    /// Executes the outputs of one side; `body` goes into the first commit.
    pub(super) fn drain(
        &mut self,
        side: Side,
        body: Option<(TaskId, Vec<u8>)>,
    ) -> Result<(), Crash> {
        match side {
            Side::Submitter => self.drain_submitter(body),
            Side::Worker => self.drain_worker(body),
        }
    }

    fn drain_submitter(&mut self, mut body: Option<(TaskId, Vec<u8>)>) -> Result<(), Crash> {
        loop {
            let (mut records, mut rest, mut unload) = (Vec::new(), Vec::new(), Vec::new());
            while let Some(output) = self.submitter.poll_output() {
                match output {
                    SubmitterOutput::Persist(record) => records.push(record),
                    SubmitterOutput::Send { to: _, requests } => rest.extend(requests),
                    SubmitterOutput::Unload(transfer) => unload.push(transfer),
                    SubmitterOutput::Changed { .. }
                    | SubmitterOutput::Owed { .. }
                    | SubmitterOutput::Place => {}
                }
            }
            if records.is_empty() && rest.is_empty() {
                assert!(body.is_none(), "a body without a commit");
                return Ok(());
            }
            if !records.is_empty() {
                self.point(Side::Submitter)?;
                let disk = &mut self.disks[0];
                match body.take() {
                    Some((id, bytes)) if disk.tasks.contains_key(&id) => {
                        disk.results.insert(id, bytes);
                    }
                    Some((id, bytes)) => {
                        disk.tasks.insert(id, bytes);
                    }
                    None => {}
                }
                for record in &records {
                    disk.write_submitted(record);
                    disk.answer_for(record.freight.as_ref());
                }
                disk.strays.extend(unload.iter().copied());
                self.point(Side::Submitter)?;
                unload.into_iter().for_each(|transfer| self.disks[0].cancel(transfer));
                for record in &records {
                    self.submitter.handle_persisted(&record.terms.id, record.revision);
                }
            }
            for request in rest {
                let stored = self.disks[0].tasks.get(&request.key.id).cloned().unwrap_or_default();
                self.send(Side::Submitter, request, stored)?;
            }
        }
    }

    fn drain_worker(&mut self, mut body: Option<(TaskId, Vec<u8>)>) -> Result<(), Crash> {
        loop {
            let (mut records, mut rest, mut forget) = (Vec::new(), Vec::new(), Vec::new());
            while let Some(output) = self.worker.poll_output() {
                match output {
                    WorkerOutput::Persist { record, result_body } => {
                        records.push((record, result_body));
                    }
                    WorkerOutput::Send { to: _, requests } => rest.extend(requests),
                    WorkerOutput::ForgetBody(id) => forget.push(id),
                    // The submitter of this world wants every result.
                    WorkerOutput::ForgetTask(id) => panic!("{id} is not wanted"),
                    // It tries once, and nobody's lease ends with a process.
                    WorkerOutput::ForgetResult(id) => panic!("{id} has one attempt"),
                    WorkerOutput::Bound(process) | WorkerOutput::Unbound(process) => {
                        panic!("a lease of {process:?}")
                    }
                    WorkerOutput::Changed { .. }
                    | WorkerOutput::Owed { .. }
                    | WorkerOutput::Ready => {}
                }
            }
            if records.is_empty() && rest.is_empty() {
                assert!(body.is_none(), "a body without a commit");
                return Ok(());
            }
            if !records.is_empty() {
                self.point(Side::Worker)?;
                let disk = &mut self.disks[1];
                match body.take() {
                    Some((id, bytes)) if disk.tasks.contains_key(&id) => {
                        disk.results.insert(id, bytes);
                    }
                    Some((id, bytes)) => {
                        disk.tasks.insert(id, bytes);
                    }
                    None => {}
                }
                for (record, result_body) in &records {
                    disk.write_received(record);
                    disk.answer_for(record.freight.as_ref());
                    if let Some(bytes) = result_body {
                        disk.results.insert(record.terms.id, bytes.clone());
                    }
                }
                for id in forget {
                    self.check_may_forget(&id);
                    self.disks[1].results.remove(&id);
                }
                self.point(Side::Worker)?;
                for (record, _) in &records {
                    self.worker.handle_persisted(&record.terms.id, record.revision);
                }
            }
            for request in rest {
                let stored =
                    self.disks[1].results.get(&request.key.id).cloned().unwrap_or_default();
                self.send(Side::Worker, request, stored)?;
            }
        }
    }

    fn send(&mut self, from: Side, outgoing: Outgoing, body: Vec<u8>) -> Result<(), Crash> {
        self.point(from)?;
        let key = outgoing.key;
        assert!(outgoing.body_len == 0 || outgoing.body_len == body.len() as u64, "lost a body");
        let request = outgoing.into_request(body.into());
        self.check_backed(from, &key);
        self.in_flight[index(from)].push(key);
        self.sent.push((from, request.clone()));
        for _ in 0..self.scenario.copies {
            let request = Box::new(request.clone());
            self.network.push_back(Packet::Request { from, key, request });
        }
        self.point(from)
    }
}

fn facts_of(result: &TaskResult) -> ResultFacts {
    let body: ResultBody = postcard::from_bytes(&result.body).unwrap();
    ResultFacts {
        digest: Digest::of(&result.body),
        len: result.body.len() as u64,
        reason: body.reason.into_string(),
        files: Ok(()),
        for_good: false,
        is_left: false,
    }
}
