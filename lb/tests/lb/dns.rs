//! A DNS server that says what it is told, over UDP and TCP.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        RData, Record, RecordType,
        rdata::{A, AAAA},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

use crate::common::address;

/// What it says.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    Addresses(BTreeSet<IpAddr>),
    Code(ResponseCode),
    Garbage,
    Nothing,
}

/// Stops when dropped.
pub(crate) struct Dns {
    pub(crate) addr: SocketAddr,
    state: Arc<State>,
    _running: JoinSet<()>,
}

struct State {
    says: Mutex<Says>,
    udp: AtomicUsize,
    tcp: AtomicUsize,
}

impl Dns {
    pub(crate) async fn start(says: Says) -> Self {
        let (tcp, udp) = loop {
            let tcp = crate::common::listen().await;
            if let Ok(udp) = UdpSocket::bind(address(&tcp)).await {
                break (tcp, udp);
            }
        };
        let state = Arc::new(State {
            says: Mutex::new(says),
            udp: AtomicUsize::new(0),
            tcp: AtomicUsize::new(0),
        });
        let addr = address(&tcp);
        let mut running = JoinSet::new();
        running.spawn(serve_udp(udp, Arc::clone(&state)));
        running.spawn(serve_tcp(tcp, Arc::clone(&state)));
        Self {
            addr,
            state,
            _running: running,
        }
    }

    pub(crate) fn set(&self, says: Says) {
        *self.state.says.lock().unwrap() = says;
    }

    /// Questions over UDP and over TCP so far.
    pub(crate) fn asked(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (count(&self.state.udp), count(&self.state.tcp))
    }
}

async fn serve_udp(socket: UdpSocket, state: Arc<State>) {
    let mut buffer = [0; 4096];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        state.udp.fetch_add(1, Ordering::SeqCst);
        let question = Message::from_vec(&buffer[..length]).unwrap();
        // Without EDNS0, 512 bytes is all there may be.
        let most = usize::from(question.max_payload());
        let Some(mut answer) = answer(&question, &state) else {
            continue;
        };
        if answer.len() > most {
            let mut short = Message::from_vec(&answer).unwrap();
            short.answers.clear();
            short.metadata.truncation = true;
            answer = short.to_vec().unwrap();
        }
        socket.send_to(&answer, client).await.unwrap();
    }
}

async fn serve_tcp(listener: TcpListener, state: Arc<State>) {
    loop {
        let (mut tcp, _) = listener.accept().await.unwrap();
        state.tcp.fetch_add(1, Ordering::SeqCst);
        let mut question = vec![0; usize::from(tcp.read_u16().await.unwrap())];
        tcp.read_exact(&mut question).await.unwrap();
        let question = Message::from_vec(&question).unwrap();
        if let Some(answer) = answer(&question, &state) {
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            tcp.write_all(&[&length, &answer[..]].concat())
                .await
                .unwrap();
        }
    }
}

fn answer(question: &Message, state: &State) -> Option<Vec<u8>> {
    let meta = question.metadata;
    let mut answer = Message::response(meta.id, meta.op_code);
    let query = question.queries[0].clone();
    answer.add_query(query.clone());
    match state.says.lock().unwrap().clone() {
        Says::Nothing => return None,
        Says::Garbage => return Some(vec![0xff; 30]),
        Says::Code(code) => answer.metadata.response_code = code,
        Says::Addresses(ips) => {
            let data = |ip: &IpAddr| match (ip, query.query_type()) {
                (IpAddr::V4(ip), RecordType::A) => Some(RData::A(A(*ip))),
                (IpAddr::V6(ip), RecordType::AAAA) => Some(RData::AAAA(AAAA(*ip))),
                _ => None,
            };
            for data in ips.iter().filter_map(data) {
                // Ten minutes, as a container engine says.
                answer.add_answer(Record::from_rdata(query.name().clone(), 600, data));
            }
        }
    }
    Some(answer.to_vec().unwrap())
}
