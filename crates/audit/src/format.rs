//! Formats an entry as one line of JSON in Vault's layout, with the hashes of one device.

use std::{
    cell::{Cell, OnceCell},
    sync::atomic::{AtomicU64, Ordering},
};

use clock::Timestamp;
use secret::Zeroizing;

use crate::{
    entry::{Auth, Data, Entry, Granting, Header, PolicyResults, Request, Response, Sensitive, WrapInfo},
    hashing::{Hasher, Tag},
    json::{Object, write_list, write_number, write_tag, write_text, write_time},
    options::Common,
    scan::{Rules, write_data},
    split::{Places, Split},
};

/// How one device writes its entries: its salt and its options.
#[derive(Clone, Debug)]
pub struct Format {
    hasher: Hasher,
    common: Common,
    /// Clones write the same.
    id: u64,
}

impl Format {
    /// The format of a device with this salt and these options.
    pub fn new(hasher: Hasher, common: Common) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { hasher, common, id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// The device's keyed hash.
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    pub(crate) fn skips_test(&self) -> bool {
        self.common.skip_test
    }

    /// The entry as one line: the device's prefix, a JSON object without line breaks, a line feed.
    pub fn line(&self, entry: &Entry<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(3072);
        self.write_line(entry, &mut out);
        out
    }

    /// Appends the line to `out`.
    pub(crate) fn write_line(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.common.prefix.as_bytes());
        Line::new(self, entry).write(out);
        out.push(b'\n');
    }

    /// The line without what is another each time the same is asked.
    pub(crate) fn split(&self, entry: &Entry<'_>) -> Split {
        // What is remembered of a request does not say where its id stands.
        let entry = &Entry { memo: None, ..*entry };
        let mut out = Zeroizing::new(Vec::with_capacity(3072));
        out.extend_from_slice(self.common.prefix.as_bytes());
        let line = Line::new(self, entry);
        line.write(&mut out);
        out.push(b'\n');
        Split::new(&out, &line.places.get())
    }
}

/// One entry on its way into one line.
struct Line<'a> {
    id: u64,
    entry: &'a Entry<'a>,
    /// The hashes of the request's token and accessor, which stand in a record twice.
    token: OnceCell<Tag>,
    accessor: OnceCell<Tag>,
    /// `None` if everything is written in clear.
    hasher: Option<&'a Hasher>,
    hash_accessors: bool,
    elide: bool,
    /// Where the moment, the id and the port were written.
    places: Cell<Places>,
}

impl<'a> Line<'a> {
    fn new(format: &'a Format, entry: &'a Entry<'a>) -> Self {
        let hasher = (!format.common.log_raw).then_some(&format.hasher);
        let elide = format.common.elide_list_responses && entry.request.operation == "list";
        Self {
            id: format.id,
            entry,
            token: OnceCell::new(),
            accessor: OnceCell::new(),
            hasher,
            hash_accessors: format.common.hmac_accessor,
            elide,
            places: Cell::default(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let entry = self.entry;
        let mut line = Object::begin(out);
        let time = line.placed("time", |out| write_time(out, entry.time));
        self.places.set(Places { time, ..Places::default() });
        line.text("type", entry.kind.as_str());
        line.members(|out| match entry.memo {
            Some(memo) => memo.write(self.id, entry, out, |out| self.asked(out)),
            None => self.asked(out),
        });
        if let Some(response) = entry.response {
            line.object("response", |to| self.response(to, response));
        }
        line.text("error", entry.error);
        line.text("forwarded_from", entry.forwarded_from);
        line.end();
    }

    /// Who asks and what is asked, behind a member of the line.
    fn asked(&self, out: &mut Vec<u8>) {
        let mut line = Object::go_on(out);
        if let Some(auth) = self.entry.auth {
            line.object("auth", |to| self.auth(to, auth));
        }
        line.object("request", |to| self.request(to, self.entry.request));
    }

    fn auth(&self, to: &mut Object<'_>, auth: &Auth<'_>) {
        match auth.kept {
            Some(kept) => {
                to.all(|out| kept.write(self.writer(CALLER), out, |out| self.caller(&mut Object::first(out), auth)))
            }
            None => self.caller(to, auth),
        }
        to.number("remaining_uses", auth.remaining_uses);
        if let Some(results) = &auth.policy_results {
            to.object("policy_results", |to| policy_results(to, results));
        }
    }

    /// What is the same in all requests of a caller.
    fn caller(&self, to: &mut Object<'_>, auth: &Auth<'_>) {
        self.token(to, "client_token", auth.client_token);
        self.accessor(to, "accessor", auth.accessor);
        to.text("display_name", auth.display_name);
        to.texts("policies", auth.policies);
        to.texts("token_policies", auth.token_policies);
        to.texts("identity_policies", auth.identity_policies);
        to.flag("no_default_policy", auth.no_default_policy);
        to.pairs("metadata", auth.metadata);
        to.number("num_uses", auth.num_uses);
        to.text("entity_id", auth.entity_id);
        to.flag("entity_created", auth.entity_created);
        to.text("token_type", auth.token_type);
        to.number("token_ttl", auth.token_ttl);
        time(to, "token_issue_time", auth.token_issue_time);
    }

    fn request(&self, to: &mut Object<'_>, request: &Request<'_>) {
        if !request.id.is_empty() {
            let id = to.placed("id", |out| write_text(out, request.id));
            self.places.set(Places { id: Some(id), ..self.places.get() });
        }
        to.text("client_id", request.client_id);
        to.text("operation", request.operation);
        to.text("actor", request.actor);
        to.text("mount_point", request.mount_point);
        to.text("mount_type", request.mount_type);
        to.text("mount_accessor", request.mount_accessor);
        to.text("mount_running_version", request.mount_running_version);
        to.text("mount_class", request.mount_class);
        match self.entry.auth.and_then(|auth| auth.kept) {
            Some(kept) => {
                to.all(|out| kept.write(self.writer(TOKEN), out, |out| self.names(&mut Object::first(out), request)))
            }
            None => self.names(to, request),
        }
        to.object("namespace", |to| {
            to.text("id", request.namespace.id);
            to.text("path", request.namespace.path);
        });
        to.text("path", request.path);
        self.data(to, &request.data, false);
        to.flag("policy_override", request.policy_override);
        to.text("remote_address", request.remote_address);
        if request.remote_port != 0 {
            let port = to.placed("remote_port", |out| write_number(out, u64::from(request.remote_port)));
            self.places.set(Places { port: Some(port), ..self.places.get() });
        }
        to.number("wrap_ttl", request.wrap_ttl);
        self.headers(to, request.headers);
        to.text("client_certificate_serial_number", request.client_certificate_serial_number);
        to.text("lease_id", request.lease_id);
        to.text("username", request.username);
        to.text("serial", request.serial);
    }

    /// By what the caller is known.
    fn names(&self, to: &mut Object<'_>, request: &Request<'_>) {
        self.token(to, "client_token", request.client_token);
        self.accessor(to, "client_token_accessor", request.client_token_accessor);
    }

    fn response(&self, to: &mut Object<'_>, response: &Response<'_>) {
        if let Some(auth) = response.auth {
            to.object("auth", |to| self.auth(to, auth));
        }
        to.text("mount_point", response.mount_point);
        to.text("mount_type", response.mount_type);
        to.text("mount_accessor", response.mount_accessor);
        to.text("mount_running_plugin_version", response.mount_running_plugin_version);
        to.text("mount_class", response.mount_class);
        to.object("secret", |to| to.text("lease_id", response.lease_id));
        self.data(to, &response.data, self.elide);
        to.texts("warnings", response.warnings);
        to.text("redirect", response.redirect);
        if let Some(info) = &response.wrap_info {
            to.object("wrap_info", |to| self.wrap_info(to, info));
        }
        self.headers(to, response.headers);
    }

    fn wrap_info(&self, to: &mut Object<'_>, info: &WrapInfo<'_>) {
        to.number("ttl", info.ttl);
        self.token(to, "token", info.token);
        self.accessor(to, "accessor", info.accessor);
        time(to, "creation_time", info.creation_time);
        to.text("creation_path", info.creation_path);
        self.accessor(to, "wrapped_accessor", info.wrapped_accessor);
    }

    fn data(&self, to: &mut Object<'_>, data: &Data<'_>, elide: bool) {
        let rules = Rules { hasher: self.hasher, elide };
        match data.kept.filter(|_| !elide && data.unhashed.is_empty()) {
            Some(kept) => to.value("data", |out| {
                let start = out.len();
                kept.write(self.writer(DATA), out, |out| _ = write_data(data, &rules, out));
                out.len() > start
            }),
            None => to.value("data", |out| write_data(data, &rules, out)),
        }
    }

    /// The number under which this format finds a text of its own again.
    fn writer(&self, part: u64) -> u64 {
        self.id * PARTS + part
    }

    /// Lines of the same name are gathered into one list.
    fn headers(&self, to: &mut Object<'_>, headers: &[Header<'_>]) {
        if headers.is_empty() {
            return;
        }
        to.object("headers", |to| {
            for group in headers.chunk_by(|one, other| one.name == other.name) {
                let name = group.first().map_or("", |header| header.name);
                write_list(to.foreign_key(name), group.iter(), |out, header| match self.hasher {
                    Some(hasher) if header.hashed => write_tag(out, &hasher.tag(header.value.as_bytes())),
                    _ => write_text(out, header.value),
                });
            }
        });
    }

    fn token(&self, to: &mut Object<'_>, name: &'static str, token: Sensitive<'_>) {
        let Sensitive(text) = token;
        match self.hasher {
            _ if text.is_empty() => {}
            Some(hasher) => to.tag(name, &self.remembered(hasher, text)),
            None => to.text(name, text),
        }
    }

    fn accessor(&self, to: &mut Object<'_>, name: &'static str, accessor: &str) {
        match self.hasher {
            _ if accessor.is_empty() => {}
            Some(hasher) if self.hash_accessors => to.tag(name, &self.remembered(hasher, accessor)),
            _ => to.text(name, accessor),
        }
    }

    fn remembered(&self, hasher: &Hasher, text: &str) -> Tag {
        let make = || hasher.tag(text.as_bytes());
        if text == self.entry.request.client_token.0 {
            *self.token.get_or_init(make)
        } else if text == self.entry.request.client_token_accessor {
            *self.accessor.get_or_init(make)
        } else {
            make()
        }
    }
}

const PARTS: u64 = 3;
const CALLER: u64 = 0;
const TOKEN: u64 = 1;
const DATA: u64 = 2;

fn policy_results(to: &mut Object<'_>, results: &PolicyResults<'_>) {
    // A refusal says so outright, although what is false is left out elsewhere.
    to.key("allowed").extend_from_slice(if results.allowed { b"true" } else { b"false" });
    if !results.granting_policies.is_empty() {
        write_list(to.key("granting_policies"), results.granting_policies.iter(), granting);
    }
}

fn granting(out: &mut Vec<u8>, policy: &Granting<'_>) {
    let mut to = Object::begin(out);
    to.text("name", policy.name);
    to.text("namespace_id", policy.namespace_id);
    to.text("namespace_path", policy.namespace_path);
    to.text("type", policy.kind);
    to.text("rule", policy.rule);
    to.number("line", u64::from(policy.line));
    to.end();
}

fn time(to: &mut Object<'_>, name: &'static str, time: Option<Timestamp>) {
    if let Some(time) = time {
        to.time(name, time);
    }
}

#[cfg(test)]
mod tests;
