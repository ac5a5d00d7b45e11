//! What is remembered, as a value: nothing in it falls, and of admissions only those go that were revoked or are many.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use countersign_format::{ComponentName, Digest, FormatError, limits};
use countersign_runtime::CompileLimit;
use countersign_trust_store::{Crl, CrlNumber, Issuer, TrustState, UnixTime};
use serde::{Deserialize, Serialize};

use super::admitted::Admitted;
use super::stopped::Stopped;
use crate::identity::Proved;

/// Most admissions that are kept of one component that proved healthy, and as many of those that did not.
const ADMISSIONS_EACH: usize = 4;

/// How often a version is tried that fails before it proves healthy.
const TRIES: u32 = 3;

/// Most admissions of all components: four for each of the services that a configuration may have, and as many of their code.
const ADMISSIONS: usize = 8_000;

/// Of most names that never ran here the least version is remembered: half of the room that there is.
const MAX_STRANGE: u64 = limits::MAX_RECEIPT_ENTRIES / 2;

/// What a gateway remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    /// How often it was written: what a counter in hardware is compared with.
    generation: u64,
    /// A time that has certainly passed: seconds since 1970.
    floor: u64,
    /// SHA-256 of an issuer's SubjectPublicKeyInfo, and the highest number of its lists; both hexadecimal.
    lists: BTreeMap<String, String>,
    /// SHA-256 of a root's SubjectPublicKeyInfo, a blank, a component's name: and the version that proved healthy.
    versions: BTreeMap<String, u64>,
    /// SHA-256 of a file's signatures: and how it was admitted.
    #[serde(default)]
    admissions: BTreeMap<String, Admitted>,
    /// A component's name, and the least version of it that may run.
    #[serde(default)]
    minimums: BTreeMap<String, u64>,
    /// What bundles have left.
    #[serde(default)]
    bundles: Bundles,
    /// What stopped the compiler.
    #[serde(default)]
    stopped: Stopped,
    /// The number of the last receipt.
    #[serde(default)]
    receipts: u64,
    /// Which device this was when that was proved last.
    #[serde(default)]
    identity: Option<Proved>,
    /// What the counter in hardware stands at when this memory is the newest, if it is bound to one.
    #[serde(default)]
    counted: Option<u64>,
    /// The floor when the counter moved last.
    #[serde(default)]
    counted_floor: u64,
}

/// What bundles have left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bundles {
    /// Of each line, the number of the last that proved healthy, and SHA-256 of its index.
    last: BTreeMap<String, (u64, String)>,
    /// SHA-256 of the index of the one that runs.
    current: Option<String>,
    /// SHA-256 of the file with the revocation lists of all that verified, whatever became of them: lists are not taken back.
    #[serde(default)]
    carried: Option<String>,
}

/// How far the floor may rise, and receipts be given, without the counter (a day, in seconds): an older memory of that time is not
/// noticed, and a counter does not last for as many writes as a disk.
const FLOOR_COUNTS: u64 = 86_400;

impl Memory {
    /// The bundle that runs, by SHA-256 of its index.
    ///
    /// # Errors
    /// If it holds what this program does not write.
    pub(crate) fn bundle(&self) -> anyhow::Result<Option<Digest>> {
        digest(self.bundles.current.as_deref())
    }

    /// The file with the lists that bundles have brought, by SHA-256.
    ///
    /// # Errors
    /// As [`Self::bundle`].
    pub(crate) fn carried_lists(&self) -> anyhow::Result<Option<Digest>> {
        digest(self.bundles.carried.as_deref())
    }

    /// Number and index of the last bundle of a line that proved healthy.
    ///
    /// # Errors
    /// As [`Self::bundle`].
    pub(crate) fn last_bundle(&self, line: &str) -> anyhow::Result<Option<(u64, Digest)>> {
        let Some((number, index)) = self.bundles.last.get(line) else {
            return Ok(None);
        };
        Ok(digest(Some(index))?.map(|index| (*number, index)))
    }

    /// That this file has the lists that bundles have brought.
    pub(crate) fn carry_lists(&mut self, file: Digest) {
        self.bundles.carried = Some(file.to_string());
    }

    /// That a bundle proved healthy: it is the one that runs from now on, and none before it comes back.
    pub(crate) fn raise_bundle(&mut self, line: &str, number: u64, index: Digest) {
        let seen = self.bundles.last.entry(line.to_owned()).or_default();
        if seen.0 <= number {
            *seen = (number, index.to_string());
            self.bundles.current = Some(index.to_string());
        }
    }

    /// Line, number and index of the bundle that runs.
    ///
    /// # Errors
    /// As [`Self::bundle`].
    pub(crate) fn running_bundle(&self) -> anyhow::Result<Option<(&str, u64, Digest)>> {
        let Some(current) = self.bundle()? else {
            return Ok(None);
        };
        let index = current.to_string();
        let mut lines = self.bundles.last.iter();
        let found = lines.find(|(_, (_, last))| *last == index);
        Ok(found.map(|(line, (number, _))| (line.as_str(), *number, current)))
    }

    /// Counts a receipt: its number, which no other has.
    ///
    /// # Errors
    /// If no number is left.
    pub(crate) fn next_receipt(&mut self) -> anyhow::Result<u64> {
        let next = self.receipts.checked_add(1);
        self.receipts = next.context("more receipts were given than can be counted")?;
        Ok(self.receipts)
    }

    /// Which device this was when that was proved last.
    pub(crate) const fn identity(&self) -> Option<&Proved> {
        self.identity.as_ref()
    }

    /// That it was proved to be this device.
    pub(crate) fn know_identity(&mut self, proved: Proved) {
        self.identity = Some(proved);
    }

    /// Components' names, and the least version of each that may run.
    pub(crate) fn minimums(&self) -> impl Iterator<Item = (&str, u64)> {
        let minimums = self.minimums.iter();
        minimums.map(|(name, least)| (name.as_str(), *least))
    }

    /// Whether there is room to remember the least versions of these components, too: of as many as a receipt has room for. Those of what
    /// runs or ran here always find it, whoever has withdrawn whatever else. `configured` are the names of what is to run.
    ///
    /// # Errors
    /// The limit that there is no room for.
    pub(crate) fn has_room_for<'a>(
        &self,
        minimums: impl Iterator<Item = &'a ComponentName>,
        configured: impl Iterator<Item = &'a ComponentName>,
    ) -> Result<(), FormatError> {
        let mut names: BTreeSet<_> = self.minimums.keys().cloned().collect();
        let before = names.len();
        names.extend(minimums.map(ToString::to_string));
        let ran = self.versions().map(|(_, name, _)| name.to_owned());
        let admitted = self.admissions.values();
        let known: BTreeSet<_> = configured
            .map(ToString::to_string)
            .chain(ran)
            .chain(admitted.map(|admitted| admitted.component.clone()))
            .collect();
        let strange = names.iter().filter(|name| !known.contains(*name)).count();
        let is_more = |name: &&String| !self.minimums.contains_key(*name) && !known.contains(*name);
        let more_strange = names.iter().filter(is_more).count();
        let within = |what, limit: u64, actual: usize, more: usize| {
            let actual = actual as u64;
            match actual > limit && more > 0 {
                true => Err(FormatError::LimitExceeded {
                    what,
                    limit,
                    actual,
                }),
                false => Ok(()),
            }
        };
        let what = "names of which bundles have withdrawn versions and that never ran here";
        within(what, MAX_STRANGE, strange, more_strange)?;
        let what = "names of which bundles have withdrawn versions";
        let more = names.len().saturating_sub(before);
        within(what, limits::MAX_RECEIPT_ENTRIES, names.len(), more)
    }

    /// That no older version of a component may run.
    pub(crate) fn raise_minimum(&mut self, name: &ComponentName, least: u64) {
        let seen = self.minimums.entry(name.to_string()).or_default();
        *seen = least.max(*seen);
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn floor(&self) -> UnixTime {
        UnixTime::from_secs(self.floor)
    }

    pub(crate) fn raise_floor(&mut self, floor: UnixTime) {
        self.floor = self.floor.max(floor.as_secs());
    }

    pub(crate) fn raise_list(&mut self, issuer: Digest, number: CrlNumber) {
        let number = hex::encode(number.to_be_bytes());
        let seen = self.lists.entry(issuer.to_string()).or_default();
        // Of one length, and so in the order of the numbers.
        if *seen < number {
            *seen = number;
        }
    }

    pub(crate) fn raise_version(&mut self, root: Digest, name: ComponentName, version: u64) {
        let seen = self.versions.entry(format!("{root} {name}")).or_default();
        *seen = version.max(*seen);
    }

    /// Who has issued the certificates of whatever was admitted, and of this device.
    pub(crate) fn issuers(&self) -> impl Iterator<Item = Issuer> {
        let admitted = self.admissions.values().flat_map(Admitted::links);
        let own = self.identity.iter().flat_map(Proved::links);
        admitted.chain(own).map(|link| link.issuer().clone())
    }

    /// The issuers of lists by their keys, and the highest number of each.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (&str, String)> {
        self.lists.iter().map(|(issuer, number)| {
            let mut bytes = [0; 20];
            let decoded = hex::decode_to_slice(number, &mut bytes);
            let number = decoded.map(|()| CrlNumber::from_be_bytes(bytes).to_string());
            (issuer.as_str(), number.unwrap_or_default())
        })
    }

    /// The issuers of lists by their keys, and the highest number of each, most significant byte first.
    ///
    /// # Errors
    /// As [`Self::bundle`].
    pub(crate) fn list_numbers(&self) -> anyhow::Result<Vec<(Digest, [u8; 20])>> {
        let foreign = || "what this gateway remembers holds an entry of another form";
        let numbers = self.lists.iter().map(|(issuer, number)| {
            let mut bytes = [0; 20];
            let decoded = hex::decode_to_slice(number, &mut bytes).ok();
            let issuer = issuer.parse().ok();
            issuer.zip(decoded.map(|()| bytes)).with_context(foreign)
        });
        numbers.collect()
    }

    /// Roots by their keys, components under them, and the version of each that proved healthy.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.versions.iter().filter_map(|(key, version)| {
            let (root, name) = key.split_once(' ')?;
            Some((root, name, *version))
        })
    }

    /// Puts down that a file was admitted. What was admitted already stays as it is.
    pub(crate) fn admit(&mut self, signatures: Digest, mut admitted: Admitted) {
        let signatures = signatures.to_string();
        let before = self.admissions.get(&signatures);
        if before.is_some_and(|before| before.says_the_same_as(&admitted)) {
            return;
        }
        admitted.order = self.generation.saturating_add(1);
        let (component, code) = (admitted.component.clone(), admitted.code);
        self.admissions.insert(signatures, admitted);
        self.forget_oldest(ADMISSIONS_EACH, |other| {
            other.component == component && other.code == code && !other.proved
        });
        self.forget_oldest(ADMISSIONS, |_| true);
    }

    /// Puts down that what was admitted proved healthy: it is kept longer than what did not.
    pub(crate) fn admission_proved(&mut self, signatures: Digest) {
        let order = self.generation.saturating_add(1);
        let Some(admitted) = self.admissions.get_mut(&signatures.to_string()) else {
            return;
        };
        if admitted.proved {
            return;
        }
        admitted.proved = true;
        admitted.order = order;
        let (component, code) = (admitted.component.clone(), admitted.code);
        self.forget_oldest(ADMISSIONS_EACH, |other| {
            other.component == component && other.code == code && other.proved
        });
    }

    /// Whether what was admitted with these signatures proved healthy here.
    pub(crate) fn has_proved(&self, signatures: Digest) -> bool {
        let admitted = self.admissions.get(&signatures.to_string());
        admitted.is_some_and(|admitted| admitted.proved)
    }

    /// Puts down that what was admitted failed before it proved healthy.
    pub(crate) fn admission_failed(&mut self, signatures: Digest) {
        if let Some(admitted) = self.admissions.get_mut(&signatures.to_string()) {
            admitted.failed = admitted.failed.saturating_add(1);
        }
    }

    /// Whether it failed so often before it proved healthy that it is not tried again unless somebody says so.
    pub(crate) fn is_quarantined(&self, signatures: Digest) -> bool {
        self.admissions
            .get(&signatures.to_string())
            .is_some_and(|admitted| !admitted.proved && admitted.failed >= TRIES)
    }

    /// Whether no version of a component that is so old may run.
    pub(crate) fn is_withdrawn(&self, component: &str, security_version: u64) -> bool {
        let least = self.minimums.get(component);
        least.is_some_and(|least| security_version < *least)
    }

    /// Puts down that the compiler was stopped.
    pub(crate) fn compiler_stopped(&mut self, work: &str, why: &str, by: CompileLimit) {
        let order = self.generation.saturating_add(1);
        self.stopped.note(work, why, by, order);
    }

    /// What stopped the compiler at this work, if it is not to be tried again.
    pub(crate) fn stopped_compiler(&self, work: &str) -> Option<&str> {
        self.stopped.of(work)
    }

    /// Takes back the admissions whose signers' certificates these lists name, for good, and raises the lists' numbers. The
    /// names of the components.
    pub(crate) fn withdraw(&mut self, lists: &[Crl]) -> Vec<String> {
        let mut numbers = Vec::new();
        let mut withdrawn = Vec::new();
        self.admissions.retain(|_, admitted| {
            let mut revoked = false;
            for status in admitted.statuses(lists) {
                revoked |= status.revoked;
                numbers.push((status.issuer_spki_sha256, status.number));
            }
            if revoked {
                withdrawn.push(admitted.component.clone());
            }
            !revoked
        });
        for (issuer, number) in numbers {
            self.raise_list(issuer, number);
        }
        self.identity = self
            .identity
            .take()
            .filter(|proved| !proved.is_revoked(lists));
        withdrawn
    }

    fn forget_oldest(&mut self, most: usize, of: impl Fn(&Admitted) -> bool) {
        let mut orders: Vec<_> = self
            .admissions
            .values()
            .filter(|admitted| of(admitted))
            .map(|admitted| admitted.order)
            .collect();
        let Some(surplus) = orders
            .len()
            .checked_sub(most)
            .filter(|surplus| *surplus > 0)
        else {
            return;
        };
        orders.sort_unstable();
        let Some(last) = orders.get(surplus.saturating_sub(1)).copied() else {
            return;
        };
        self.admissions
            .retain(|_, admitted| !of(admitted) || admitted.order > last);
    }

    /// What the counter in hardware stands at when this memory is the newest, if it is bound to one.
    pub(super) const fn counted(&self) -> Option<u64> {
        self.counted
    }

    /// Binds it to a counter that stands there.
    pub(super) const fn bind(&mut self, stands: u64) {
        self.counted = Some(stands);
    }

    /// Has the counter move with this memory, which comes after that one, unless nothing has changed in less than a day but the time
    /// and how many receipts were given. Whether it moves.
    pub(super) fn count_after(&mut self, before: &Self) -> anyhow::Result<bool> {
        let Some(counted) = self.counted else {
            return Ok(false);
        };
        let is_paced = Self {
            floor: before.floor,
            receipts: before.receipts,
            ..self.clone()
        } == *before;
        if is_paced && self.floor.saturating_sub(self.counted_floor) < FLOOR_COUNTS {
            return Ok(false);
        }
        let next = counted
            .checked_add(1)
            .context("the counter is at its end; replace the hardware")?;
        self.counted = Some(next);
        self.counted_floor = self.floor;
        Ok(true)
    }

    /// Counts one more writing.
    pub(super) fn rise(&mut self) -> anyhow::Result<()> {
        self.generation = self
            .generation
            .checked_add(1)
            .context("the memory was written more often than can be counted")?;
        Ok(())
    }

    /// The same for the judge of components, without lists.
    ///
    /// # Errors
    /// If it holds what this program does not write.
    pub(crate) fn trust_state(&self) -> anyhow::Result<TrustState> {
        let foreign = || "what this gateway remembers holds an entry of another form";
        let mut state = TrustState::remembering();
        for (issuer, number) in &self.lists {
            let mut bytes = [0; 20];
            hex::decode_to_slice(number, &mut bytes)
                .ok()
                .with_context(foreign)?;
            let issuer: Digest = issuer.parse().ok().with_context(foreign)?;
            state.note_crl_number(issuer, CrlNumber::from_be_bytes(bytes));
        }
        for (key, version) in &self.versions {
            let (root, name) = key.split_once(' ').with_context(foreign)?;
            let name = ComponentName::parse(name).with_context(foreign)?;
            let root: Digest = root.parse().ok().with_context(foreign)?;
            state.note_version(root, name, *version);
        }
        for (signatures, admitted) in &self.admissions {
            state.note_admission(admitted.admission(signatures)?);
        }
        for (name, least) in &self.minimums {
            let name = ComponentName::parse(name).with_context(foreign)?;
            state.note_minimum(name, *least);
        }
        Ok(state)
    }
}

fn digest(text: Option<&str>) -> anyhow::Result<Option<Digest>> {
    let foreign = || "what this gateway remembers holds a bundle of another form";
    text.map(|text| text.parse().ok().with_context(foreign))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn td12_td07_numbers_and_versions_reach_the_judge_and_never_fall() {
        let (issuer, root) = (Digest::of(b"issuer"), Digest::of(b"root"));
        let name: ComponentName = "acme:pump".parse().expect("a name");
        let number = |last: u8| {
            let mut bytes = [0; 20];
            bytes[18..].copy_from_slice(&[last, 0]);
            CrlNumber::from_be_bytes(bytes)
        };
        let mut memory = Memory::default();
        memory.raise_list(issuer, number(9));
        memory.raise_list(issuer, number(2));
        memory.raise_version(root, name.clone(), 9);
        memory.raise_version(root, name, 2);
        let mut as_high = Memory::default();
        as_high.raise_list(issuer, number(9));
        as_high.raise_version(root, "acme:pump".parse().expect("a name"), 9);
        assert_eq!(memory, as_high);
        let state = format!("{:?}", memory.trust_state().expect("ours"));
        assert!(state.contains(&format!("{:?}", number(9))), "{state}");
        assert!(state.contains("acme") && state.contains(": 9"), "{state}");
    }

    #[test]
    fn td09_td18_bundles_and_minimums_never_fall() {
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let pump: ComponentName = "acme:pump".parse().expect("a name");
        let mut memory = Memory::default();
        memory.raise_bundle("plant", 7, one);
        memory.raise_bundle("plant", 6, two);
        memory.raise_minimum(&pump, 9);
        memory.raise_minimum(&pump, 2);
        assert_eq!(memory.last_bundle("plant").expect("ours"), Some((7, one)));
        assert_eq!(memory.last_bundle("other").expect("ours"), None);
        assert_eq!(memory.bundle().expect("ours"), Some(one));
        assert!(memory.is_withdrawn("acme:pump", 8) && !memory.is_withdrawn("acme:pump", 9));
        assert!(!memory.is_withdrawn("acme:door", 0));
        let state = memory.trust_state().expect("ours");
        assert!(state.check_minimum(&pump, 9 + 1024).is_ok());
        assert!(state.check_minimum(&pump, 10 + 1024).is_err());
        // What an earlier version of this program wrote has none of them.
        let before: Memory =
            serde_json::from_str(r#"{"generation":1,"floor":2,"lists":{},"versions":{}}"#)
                .expect("readable");
        assert_eq!(before.bundle().expect("ours"), None);
    }

    #[test]
    fn td08_receipts_do_not_wear_the_counter_out() {
        let mut memory = Memory::default();
        memory.bind(7);
        let after = |before: &Memory, change: &dyn Fn(&mut Memory)| {
            let mut next = before.clone();
            change(&mut next);
            let moves = next.count_after(before).expect("numbers are left");
            (next, moves)
        };
        let given = |memory: &mut Memory| {
            memory.next_receipt().expect("numbers are left");
        };
        let mut moved = 0;
        for _ in 0..1_000 {
            let (next, moves) = after(&memory, &given);
            moved += u32::from(moves);
            memory = next;
        }
        assert_eq!((moved, memory.counted()), (0, Some(7)));
        // With what must not come back it moves; and once in a day with the receipts.
        let (memory, moves) = after(&memory, &|memory| {
            given(memory);
            memory.raise_list(Digest::of(b"issuer"), CrlNumber::from_be_bytes([1; 20]));
        });
        assert!(moves && memory.counted() == Some(8));
        let (_, moves) = after(&memory, &|memory| {
            given(memory);
            memory.raise_floor(UnixTime::from_secs(FLOOR_COUNTS));
        });
        assert!(moves);
    }

    fn name(text: &str) -> ComponentName {
        text.parse().expect("a name")
    }

    #[test]
    fn td18_invented_names_take_no_room_from_the_withdrawals_of_what_runs_or_ran_here() {
        let invented = |from: u64, to: u64| -> Vec<_> {
            let names = from..to;
            names
                .map(|number| name(&format!("invented:n{number}")))
                .collect()
        };
        let none = || std::iter::empty();
        let mut memory = Memory::default();
        let keep = |memory: &mut Memory, names: &[ComponentName]| {
            memory.has_room_for(names.iter(), none())?;
            names.iter().for_each(|name| memory.raise_minimum(name, 1));
            Ok::<_, FormatError>(())
        };
        // Bundle after bundle, until there is no room for more.
        let each = limits::MAX_BUNDLE_MINIMUMS;
        let mut bundles = (0..).map(|number| invented(number * each, (number + 1) * each));
        let brought = bundles
            .by_ref()
            .take_while(|names| keep(&mut memory, names).is_ok());
        assert_eq!(brought.count() as u64, MAX_STRANGE / each);
        keep(&mut memory, &invented(0, each)).expect("those are remembered already");
        keep(&mut memory, &[name("invented:one-more")]).expect_err("no room");
        // Of what is configured, proved healthy, or was admitted there is.
        memory.raise_version(Digest::of(b"root"), name("acme:pump"), 3);
        keep(&mut memory, &[name("acme:pump")]).expect("it ran here");
        let (door, both) = (
            name("acme:door"),
            [name("acme:door"), name("invented:more")],
        );
        let has_room = |names: &[ComponentName]| {
            let names = names.iter();
            memory.has_room_for(names, std::iter::once(&door))
        };
        has_room(std::slice::from_ref(&door)).expect("it is to run here");
        has_room(&both).expect_err("one of them is invented");
        // What runs here no longer counts with the invented, and what is remembered already is refused to nobody.
        memory.raise_minimum(&door, 1);
        keep(&mut memory, &invented(0, each)).expect("those are remembered already");
    }

    #[test]
    fn tf13_a_name_counts_once_among_those_of_which_versions_were_withdrawn() {
        let mut memory = Memory::default();
        let most = limits::MAX_RECEIPT_ENTRIES;
        let ran = |number: u64| name(&format!("acme:n{number}"));
        for number in 0..=most {
            memory.raise_version(Digest::of(b"root"), ran(number), 1);
        }
        for number in 1..most {
            memory.raise_minimum(&ran(number), 1);
        }
        // For one there is room, and not for two, however often each is named.
        let has_room = |names: &[ComponentName]| {
            let room = memory.has_room_for(names.iter(), std::iter::empty());
            room.is_ok()
        };
        assert!(has_room(&[ran(1), ran(0), ran(0)]));
        assert!(!has_room(&[ran(1), ran(0), ran(most)]));
    }
}
