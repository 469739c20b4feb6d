//! Why a login is not answered here but forwarded unchanged: for a whole deployment ([`Policy`]), or for one request.
//!
//! Every reason has a stable name, which is the label of a metric and what `dendron check` says.

use std::fmt;

use super::limits::{Rule, Rules};
use super::password::Pepper;

/// Why the edge does not answer a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// None of Synapse's files is read.
    SynapseUnknown,
    /// The administrator switched logins at the edge off.
    SwitchedOff,
    /// The Matrix Authentication Service does the logins (`config/mas.py`).
    DelegatedAuth,
    /// `password_config.enabled` is false or `only_for_reauth` (`config/auth.py`).
    PasswordLoginOff,
    /// `password_config.localdb_enabled` is false: passwords are not in Synapse's own database.
    LocalDatabaseOff,
    /// Modules, password providers or a spam checker are loaded, which may change what a login means.
    Modules,
    /// New accounts wait for approval (MSC3866).
    ApprovalRequired,
    /// Users are not in a PostgreSQL database that the edge could read.
    NoPostgres,
    /// Nobody at Synapse takes the write half of a login: no replication listener, and no JWT.
    NoWriter,
    /// A limit is zero, negative or no number; Synapse divides by it.
    UnusableLimits,
    /// The server's name cannot be part of a user id.
    UnusableServerName,
    /// The body is not read here: its length is not announced, or is more than the edge can send on; or it comes in parts,
    /// or only if it is asked for.
    Unread,
    /// The body is JSON that Python might read in another way than we do.
    DoubtfulJson,
    /// A login of another type than `m.login.password`.
    OtherType,
    /// A login of an application service, which has limits of its own.
    ApplicationService,
    /// A field has a type that Synapse stumbles over.
    SurprisingType,
    /// A text holds NUL, which PostgreSQL cannot store.
    Nul,
    /// The user has a telephone number, which needs a library of numbering plans.
    Phone,
    /// A third-party identifier other than e-mail.
    OtherThirdParty,
    /// An e-mail address that is not ASCII, whose case is folded by Python's tables.
    ForeignEmail,
    /// A user id of another server, or of this one in another spelling.
    ForeignUser,
    /// The device id is empty.
    EmptyDeviceId,
    /// The password holds characters that Python may be too old to know, so that it would normalize them differently.
    NewCharacters,
    /// The stored hash is none that Synapse makes.
    ForeignHash,
    /// The account is locked, and Synapse may be one that lets locked users log in (before 1.134).
    Locked,
    /// The account may be waiting for approval.
    NotApproved,
    /// What the answer says of the server's addresses is not learned yet.
    WellKnownUnknown,
    /// The database cannot be asked, or its schema is not known.
    DatabaseUnavailable,
    /// Passwords cannot be checked on this machine: a hash that is known comes out wrong.
    Miscalculated,
    /// The threads that check passwords have stopped.
    HashingStopped,
    /// Synapse's main process could not be reached for the write half; nothing was sent.
    WriterNotReached,
    /// Synapse's main process answered the write half in a way that is not understood.
    WriterUnusable,
}

/// What decides whether the edge may answer logins at all: plain facts, gathered from Synapse's files by the caller.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whether the administrator wants logins answered here.
    pub switched_on: bool,
    /// The part behind the colon of user ids.
    pub server_name: String,
    /// Whether the Matrix Authentication Service does the logins.
    pub delegated_auth: bool,
    /// Whether passwords log people in.
    pub password_login: bool,
    /// Whether passwords are in Synapse's own database.
    pub local_database: bool,
    /// Whether modules, password providers, LDAP or a spam checker are loaded.
    pub modules: bool,
    /// Whether new accounts wait for approval (MSC3866).
    pub approval_required: bool,
    /// Whether users are in a PostgreSQL that the edge is configured to read.
    pub postgres: bool,
    /// Whether somebody at Synapse takes the write half.
    pub writer: bool,
    /// Whether Synapse gives refresh tokens (`refreshable_access_token_lifetime` is not null; by default it is not).
    pub refresh_tokens: bool,
    /// What is put behind every password before it is hashed.
    pub pepper: Pepper,
    /// The cost of new hashes.
    pub bcrypt_rounds: u32,
    /// The limits of `rc_login`.
    pub limits: Rules,
    /// Whether an answer carries what `GET /.well-known/matrix/client` says: if `public_baseurl` is written out.
    pub gives_well_known: bool,
}

/// What answering logins needs to know, once nothing speaks against it.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The part behind the colon of user ids.
    pub server_name: String,
    /// Whether Synapse gives refresh tokens.
    pub refresh_tokens: bool,
    /// What is put behind every password before it is hashed.
    pub pepper: Pepper,
    /// The cost of new hashes.
    pub bcrypt_rounds: u32,
    /// The limits of `rc_login`.
    pub limits: Rules,
    /// Whether a successful answer carries what `GET /.well-known/matrix/client` says.
    pub gives_well_known: bool,
}

// === impl Reason ===

impl Reason {
    /// Every reason, in the order of the declaration.
    pub const ALL: [Reason; 32] = [
        Reason::SynapseUnknown,
        Reason::SwitchedOff,
        Reason::DelegatedAuth,
        Reason::PasswordLoginOff,
        Reason::LocalDatabaseOff,
        Reason::Modules,
        Reason::ApprovalRequired,
        Reason::NoPostgres,
        Reason::NoWriter,
        Reason::UnusableLimits,
        Reason::UnusableServerName,
        Reason::Unread,
        Reason::DoubtfulJson,
        Reason::OtherType,
        Reason::ApplicationService,
        Reason::SurprisingType,
        Reason::Nul,
        Reason::Phone,
        Reason::OtherThirdParty,
        Reason::ForeignEmail,
        Reason::ForeignUser,
        Reason::EmptyDeviceId,
        Reason::NewCharacters,
        Reason::ForeignHash,
        Reason::Locked,
        Reason::NotApproved,
        Reason::WellKnownUnknown,
        Reason::DatabaseUnavailable,
        Reason::Miscalculated,
        Reason::HashingStopped,
        Reason::WriterNotReached,
        Reason::WriterUnusable,
    ];

    /// Its name in metrics and in what `dendron check` prints. It does not change.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::SynapseUnknown => "synapse_unknown",
            Reason::SwitchedOff => "switched_off",
            Reason::DelegatedAuth => "delegated_auth",
            Reason::PasswordLoginOff => "password_login_off",
            Reason::LocalDatabaseOff => "local_database_off",
            Reason::Modules => "modules",
            Reason::ApprovalRequired => "approval_required",
            Reason::NoPostgres => "no_postgres",
            Reason::NoWriter => "no_writer",
            Reason::UnusableLimits => "unusable_limits",
            Reason::UnusableServerName => "unusable_server_name",
            Reason::Unread => "unread",
            Reason::DoubtfulJson => "doubtful_json",
            Reason::OtherType => "other_type",
            Reason::ApplicationService => "application_service",
            Reason::SurprisingType => "surprising_type",
            Reason::Nul => "nul",
            Reason::Phone => "phone",
            Reason::OtherThirdParty => "other_third_party",
            Reason::ForeignEmail => "foreign_email",
            Reason::ForeignUser => "foreign_user",
            Reason::EmptyDeviceId => "empty_device_id",
            Reason::NewCharacters => "new_characters",
            Reason::ForeignHash => "foreign_hash",
            Reason::Locked => "locked",
            Reason::NotApproved => "not_approved",
            Reason::WellKnownUnknown => "well_known_unknown",
            Reason::DatabaseUnavailable => "database_unavailable",
            Reason::Miscalculated => "miscalculated",
            Reason::HashingStopped => "hashing_stopped",
            Reason::WriterNotReached => "writer_not_reached",
            Reason::WriterUnusable => "writer_unusable",
        }
    }

    /// What an administrator is told of it, where it concerns all logins.
    pub const fn explanation(self) -> &'static str {
        match self {
            Reason::SynapseUnknown => "Synapse's files are not read (synapse.config)",
            Reason::SwitchedOff => "login.enabled is off",
            Reason::DelegatedAuth => "the Matrix Authentication Service does the logins",
            Reason::PasswordLoginOff => "password_config.enabled is off",
            Reason::LocalDatabaseOff => "password_config.localdb_enabled is off",
            Reason::Modules => "modules, password providers, LDAP or a spam checker may change what a login means",
            Reason::ApprovalRequired => "new accounts wait for approval",
            Reason::NoPostgres => "the database is not PostgreSQL",
            Reason::NoWriter => {
                "the main process has no listener with the resource replication, and jwt_config is not on with HS256"
            }
            Reason::UnusableLimits => "a limit of rc_login is zero or negative",
            Reason::UnusableServerName => "server_name is not usable",
            _ => "it depends on the request",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

// === impl Policy ===

impl Policy {
    /// The policy, or everything that speaks against answering logins here.
    pub fn from_facts(facts: Facts) -> Result<Policy, Vec<Reason>> {
        let Rules { address, account, failed_attempts } = facts.limits;
        let limits = [address, account, failed_attempts].iter().all(Rule::is_usable);
        let against = [
            (!facts.switched_on, Reason::SwitchedOff),
            (facts.delegated_auth, Reason::DelegatedAuth),
            (!facts.password_login, Reason::PasswordLoginOff),
            (!facts.local_database, Reason::LocalDatabaseOff),
            (facts.modules, Reason::Modules),
            (facts.approval_required, Reason::ApprovalRequired),
            (!facts.postgres, Reason::NoPostgres),
            (!facts.writer, Reason::NoWriter),
            (!limits, Reason::UnusableLimits),
            (facts.server_name.is_empty() || facts.server_name.contains('\0'), Reason::UnusableServerName),
        ];
        let reasons: Vec<Reason> = against.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect();
        if !reasons.is_empty() {
            return Err(reasons);
        }
        Ok(Policy {
            server_name: facts.server_name,
            refresh_tokens: facts.refresh_tokens,
            pepper: facts.pepper,
            bcrypt_rounds: facts.bcrypt_rounds,
            limits: facts.limits,
            gives_well_known: facts.gives_well_known,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The facts of a Synapse of which nothing but the defaults is known.
    pub(crate) fn facts() -> Facts {
        Facts {
            switched_on: true,
            server_name: "edge.test".into(),
            delegated_auth: false,
            password_login: true,
            local_database: true,
            modules: false,
            approval_required: false,
            postgres: true,
            writer: true,
            refresh_tokens: true,
            pepper: Pepper::default(),
            bcrypt_rounds: 4,
            limits: Rules::default(),
            gives_well_known: false,
        }
    }

    #[test]
    fn names_are_distinct_labels() {
        let names: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }

    #[test]
    fn one_fact_against_it_is_enough_and_is_named() {
        type Change = fn(&mut Facts);
        let table: [(Change, Reason); 12] = [
            (|facts| facts.switched_on = false, Reason::SwitchedOff),
            (|facts| facts.delegated_auth = true, Reason::DelegatedAuth),
            (|facts| facts.password_login = false, Reason::PasswordLoginOff),
            (|facts| facts.local_database = false, Reason::LocalDatabaseOff),
            (|facts| facts.modules = true, Reason::Modules),
            (|facts| facts.approval_required = true, Reason::ApprovalRequired),
            (|facts| facts.postgres = false, Reason::NoPostgres),
            (|facts| facts.writer = false, Reason::NoWriter),
            (|facts| facts.limits.address.per_second = 0.0, Reason::UnusableLimits),
            (|facts| facts.limits.account.per_second = -1.0, Reason::UnusableLimits),
            (|facts| facts.limits.failed_attempts.per_second = f64::NAN, Reason::UnusableLimits),
            (|facts| facts.server_name.clear(), Reason::UnusableServerName),
        ];
        assert!(Policy::from_facts(facts()).is_ok());
        for (change, reason) in table {
            let mut facts = facts();
            change(&mut facts);
            assert_eq!(Policy::from_facts(facts).map(|_| ()), Err(vec![reason]));
        }
        let mut both = facts();
        (both.postgres, both.modules) = (false, true);
        assert_eq!(Policy::from_facts(both).map(|_| ()), Err(vec![Reason::Modules, Reason::NoPostgres]));
    }
}
