//! Dendron is the edge in front of a Synapse homeserver: one program in the place of nginx or HAProxy, which sends every
//! Matrix request to the Synapse process that should have it.
//!
//! # Three sentences that decide the rest
//!
//! - **Synapse is right.** The edge answers only what it can prove; everything else is Synapse's own bytes.
//! - **Unsure means forward.** A part that is unsure returns `None`, and the request goes on. The one error that dendron
//!   may add is the one that no process of Synapse can prevent: that none can be reached.
//! - **Logic is pure and is handed the time; only thin shells do I/O.**
//!
//! # A request's life
//!
//! ```text
//! listener → front → classify → answer? → route → peer → (failure → reply) → observe
//! ```
//!
//! | phase of Pingora | module | what happens |
//! | --- | --- | --- |
//! | accept | [`listener`] | a connection, counted, its certificate chosen by name |
//! | (before any) | [`front`] | one request's head, in time and well-formed, or a refusal; what is plain is decided here already |
//! | `early_request_filter` | [`endpoint`], [`client_address`] | method and raw path → class, label, subject; who asks |
//! | `request_filter` | [`answer`] | what needs no Synapse is answered here; `None` goes on |
//! | `upstream_peer` | [`route`], [`upstream`] | class → pool → key → one process |
//! | `upstream_request_filter` | [`proxy`] | one `X-Forwarded-For`, the request's name |
//! | `response_filter` | [`token`] | what a passing answer tells of access tokens |
//! | `fail_to_proxy` | [`reply`] | the one place where a failure becomes a Matrix error |
//! | `logging` | [`observe`] | one line in the access log, the metrics |
//!
//! # Words
//!
//! *Edge*: dendron. *Endpoint*: one row of the Matrix API. *Class*: endpoints that share a pool, a key and timeouts.
//! *Pool*: the processes for a class. *Process*, also *backend*: one process of Synapse. *Key*: what requests that
//! belong together have in common, so that one process's caches serve them. *Patience*: how long Synapse may be silent.
//! *Subject*: the room, user or media that a path is about. *Caller*: the user and device behind an access token.
//! *Exchange*: one request's story.
//!
//! # Where to read first
//!
//! `proxy/mod.rs` shows the phases, each a call into a module that decides; `endpoint/table.rs` and `route/rules.rs` are
//! the two tables that everything follows from; `server.rs` joins the parts. The modules below stand in the order in
//! which they may import: each only from those behind it. A test holds them to that.

pub mod args;
pub mod explain;
pub mod server;

pub mod config;

pub mod admin;
pub mod front;
pub mod proxy;

pub mod supervise;

pub mod listener;

pub mod quiet;

pub mod answer;

pub mod replication;

pub mod token;

pub mod synapse;

pub mod database;

pub mod upstream;

pub mod route;

pub mod observe;

pub mod exchange;
pub mod reply;

pub mod client_address;
pub mod credentials;
pub mod duration;
pub mod endpoint;
pub mod query;
pub mod secret;
