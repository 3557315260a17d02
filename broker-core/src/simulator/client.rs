//! A connection of the simulated world: a session and an outbox, polled when the seed says so.

use std::{
    cell::RefCell,
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{
    frames::{Flag, Socket, Table},
    truth::Truth,
    view::{Request, View},
};
use crate::{
    outbox::Outbox,
    session::{CloseReason, Command, RequestId, Session},
};

/// What a session is to do next.
#[derive(Default)]
struct Mail {
    commands: VecDeque<(RequestId, Command)>,
    /// The command that is being served, and the one that was served last.
    serving: Option<u64>,
    served: Option<u64>,
    close: Option<CloseReason>,
    waker: Option<Waker>,
}

/// The command that a session serves.
pub(super) enum Serving {
    Nothing,
    Midway(u64),
    Done(u64),
}

pub(super) struct Client {
    pub(super) view: View,
    /// Whether it has sent `connect`, which comes once.
    pub(super) has_connected: bool,
    pub(super) outbox: Outbox,
    pub(super) socket: Option<Arc<Socket>>,
    table: Arc<Table>,
    mail: Rc<RefCell<Mail>>,
    session: Option<Pin<Box<dyn Future<Output = ()>>>>,
    session_flag: Arc<Flag>,
    outbox_flag: Arc<Flag>,
    is_over: bool,
    bytes: Vec<u8>,
    next_id: u64,
}

impl Client {
    pub(super) fn new(
        session: Session,
        outbox: Outbox,
        socket: Option<Arc<Socket>>,
        table: Arc<Table>,
        view: View,
    ) -> Self {
        let mail = Rc::new(RefCell::new(Mail::default()));
        if let Some(socket) = &socket {
            outbox.attach(socket.clone());
        }
        Self {
            view,
            has_connected: false,
            outbox,
            socket,
            table,
            session: Some(Box::pin(serve(session, mail.clone()))),
            mail,
            session_flag: Flag::raised(),
            outbox_flag: Flag::raised(),
            is_over: false,
            bytes: Vec::new(),
            next_id: 0,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.session.is_none() && self.is_over
    }

    /// Whether a frame was cut off: it counts as delivered and cannot be read.
    pub(super) fn is_cut(&self) -> bool {
        !self.bytes.is_empty()
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_over || self.session.is_none() || self.mail.borrow().close.is_some()
    }

    pub(super) fn send(&mut self, request: Request, command: Command) {
        self.next_id += 1;
        let Some(id) = RequestId::new(self.next_id) else { return };
        self.view.requests.insert(self.next_id, request);
        let mut mail = self.mail.borrow_mut();
        mail.commands.push_back((id, command));
        wake(&mut mail);
    }

    pub(super) fn close(&mut self, reason: CloseReason) {
        let mut mail = self.mail.borrow_mut();
        mail.close.get_or_insert(reason);
        wake(&mut mail);
    }

    /// Lets the session go on, if `always` or woken; `None` if it did not.
    pub(super) fn poll_session(&mut self, always: bool) -> Option<Serving> {
        if !(self.session_flag.lower() || always) {
            return None;
        }
        let session = self.session.as_mut()?;
        let waker = Waker::from(self.session_flag.clone());
        if session.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.session = None;
        }
        let mut mail = self.mail.borrow_mut();
        Some(match mail.served.take() {
            Some(id) => Serving::Done(id),
            None => mail.serving.map_or(Serving::Nothing, Serving::Midway),
        })
    }

    /// Lets the connection's task go on, if `always` or woken. Whether it did.
    pub(super) fn poll_outbox(&mut self, always: bool, max: usize) -> bool {
        if self.is_over || !(self.outbox_flag.lower() || always) {
            return false;
        }
        let waker = Waker::from(self.outbox_flag.clone());
        let mut cx = Context::from_waker(&waker);
        let over = if self.socket.is_some() {
            match self.outbox.poll_flush(&mut cx) {
                Poll::Ready(reason) => Some(reason),
                Poll::Pending => None,
            }
        } else {
            let mut frames = Vec::new();
            let over = match self.outbox.poll_pull(&mut cx, max, &mut frames) {
                Poll::Ready(reason) => {
                    // It is to come back.
                    self.outbox_flag.raise();
                    reason
                }
                Poll::Pending => None,
            };
            frames.iter().for_each(|frame| self.bytes.extend_from_slice(frame));
            over
        };
        if let Some(reason) = over {
            self.is_over = true;
            self.close(reason);
        }
        true
    }

    /// Flushes what a session has said, as a transport does at the end of a turn. Whether there was something.
    pub(super) fn flush(&self) -> bool {
        let waits = !self.outbox.is_empty();
        self.outbox.flush();
        waits
    }

    /// Reads what has arrived.
    pub(super) fn read(&mut self, truth: &Truth, trace: bool) {
        if let Some(socket) = &self.socket {
            self.bytes.extend(socket.take());
        }
        let mut from = 0;
        while let Some((seen, length)) = self.table.decode(&self.bytes[from..]) {
            from += length;
            if trace {
                eprintln!("    {} sees {seen:?}", self.view.client);
            }
            self.view.see(truth, seen);
        }
        self.bytes.drain(..from);
    }
}

fn wake(mail: &mut Mail) {
    if let Some(waker) = mail.waker.take() {
        waker.wake();
    }
}

/// Serves one command per poll, so that others come between.
async fn serve(mut session: Session, mail: Rc<RefCell<Mail>>) {
    loop {
        let next = std::future::poll_fn(|cx| {
            let _ = session.poll_progress(cx);
            let mut mail = mail.borrow_mut();
            if let Some(reason) = mail.close.take() {
                return Poll::Ready(Err(reason));
            }
            let next = mail.commands.pop_front();
            mail.serving = next.as_ref().map(|(id, _)| id.value());
            mail.waker = Some(cx.waker().clone());
            next.map_or(Poll::Pending, |next| Poll::Ready(Ok(next)))
        });
        let ended = match next.await {
            Err(reason) => Err(reason),
            Ok((id, command)) => {
                let result = session.handle(Some(id), command).await;
                let mut mail = mail.borrow_mut();
                mail.serving = None;
                mail.served = Some(id.value());
                result
            }
        };
        if let Err(reason) = ended {
            session.close(reason).await;
            return;
        }
        let mut again = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut again, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
