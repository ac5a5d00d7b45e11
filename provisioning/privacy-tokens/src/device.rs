//! What a device is given, and makes tokens with.

use std::fmt;

use rand_core::TryCryptoRng;

use crate::{
    Assignment, Error, HardwareHash, KeyIndex, MasterKey, TABLES_OF_A_DEVICE, TableId, Token,
    random,
};

/// A device's three tables with their master keys. `Debug` shows the numbers only.
pub struct DeviceTables(pub(crate) [(TableId, MasterKey); TABLES_OF_A_DEVICE]);

impl DeviceTables {
    /// The tables as the device kept them.
    ///
    /// # Errors
    /// [`Error::Assignment`] unless they are three different ones.
    pub fn new(tables: [(TableId, MasterKey); TABLES_OF_A_DEVICE]) -> Result<Self, Error> {
        let [(first, _), (second, _), (third, _)] = &tables;
        Assignment::new([*first, *second, *third])?;
        Ok(Self(tables))
    }

    /// The tables, for the one message that brings them to the device.
    #[must_use]
    pub fn expose(&self) -> &[(TableId, MasterKey); TABLES_OF_A_DEVICE] {
        &self.0
    }

    /// A new token: one of the three tables, one of its keys, and a nonce, all drawn anew.
    ///
    /// # Errors
    /// [`Error::Random`]; [`Error::Cipher`].
    pub fn seal(
        &self,
        hash: &HardwareHash,
        random: &mut impl TryCryptoRng,
    ) -> Result<Token, Error> {
        let [first, second, third] = &self.0;
        let (table, master) = match random::below(3, random)? {
            0 => first,
            1 => second,
            _ => third,
        };
        let index = KeyIndex::draw(random)?;
        Token::seal(*table, index, &master.derive(index)?, hash, random)
    }
}

impl fmt::Debug for DeviceTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(id, _)| id))
            .finish()
    }
}
